"""The states of a supplier in the search: closed, or used at one of its spend levels."""

from collections.abc import Mapping

from optimizer.master import CLOSED, States, SupplierTerms


def all_states(terms: SupplierTerms) -> frozenset[int]:
    """Return all states; none but levels where being used without spend costs nothing."""
    on = range(len(terms.levels))
    free = not terms.fixed_order_cost and terms.levels and terms.levels[0].least == 0
    return frozenset(on) if free else frozenset({CLOSED, *on})


def shares_of(
    name: str, allowed: frozenset[int], shares: Mapping[tuple[str, int], float]
) -> dict[int, float]:
    """Return how much of each allowed state a relaxation uses; they sum to one."""
    found = {state: shares.get((name, state), 0.0) for state in allowed if state != CLOSED}
    if CLOSED in allowed:
        found[CLOSED] = 1 - sum(found.values())
    return found


def likeliest(name: str, allowed: frozenset[int], shares: Mapping[tuple[str, int], float]) -> int:
    """Return the state that a relaxation uses most."""
    found = shares_of(name, allowed, shares)
    return max(found, key=lambda state: (found[state], state))


def closed_suppliers(states: States) -> frozenset[str]:
    """Return the suppliers that get no order in these states."""
    return frozenset(name for name, allowed in states.items() if allowed == {CLOSED})


def settled(states: States) -> bool:
    """Return whether every supplier has one state left."""
    return all(len(allowed) == 1 for allowed in states.values())
