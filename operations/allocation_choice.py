"""Where groups leave from: served fairly, then more cheaply, then moved where they cannot stay."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from logistics import refining
from logistics.network import Network
from logistics.placing import Placed, Placement, Reason, by_distance, place_fairly
from logistics.shelves import Shelves, Source
from operations.fulfilment_needs import CompletedGroup
from optimizer.plan import plan_allocation

SECONDS_TO_PLAN: Final = 10.0
GAP: Final = 1e-3  # of the cost; a run comes every minute, the last fen can wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one plan is made from."""

    network: Network
    groups: Mapping[UUID, CompletedGroup]
    held: frozenset[UUID]  # groups that wait in a warehouse on hold
    sources: Sequence[Source]
    capacity: Mapping[str, int]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A decision: who is served from where, and who gives up another place for it."""

    placement: Placement
    moving: frozenset[UUID]
    status: str
    proof: str
    nearest_cost_fen: Mapping[UUID, int]


def decide(facts: Facts) -> Plan:
    """Serve fairly, then let the optimizer serve the same groups more cheaply."""
    shelves = Shelves(facts.sources)
    capacity = dict(facts.capacity)
    waiting = [group for group in facts.groups.values() if group.uncovered]
    placement = place_fairly(
        (group.rest() for group in waiting),
        network=facts.network,
        shelves=shelves,
        capacity=capacity,
    )
    placement, status, proof = _refine(
        placement, network=facts.network, shelves=shelves, capacity=capacity
    )
    placement, moving = _move(facts, placement, shelves=shelves, capacity=capacity)
    return Plan(
        placement=placement,
        moving=moving,
        status=status,
        proof=proof,
        nearest_cost_fen=_nearest(facts, placement),
    )


def _refine(
    placement: Placement, *, network: Network, shelves: Shelves, capacity: dict[str, int]
) -> tuple[Placement, str, str]:
    question = refining.question_of(placement, network=network, shelves=shelves, capacity=capacity)
    if question is None:
        return placement, "optimal", "nothing to choose"
    result = plan_allocation(question.problem, deadline_seconds=SECONDS_TO_PLAN, relative_gap=GAP)
    if result.plan is None or result.unserved:
        # Shipping never waits for a solver; the fair plan is feasible.
        return placement, "greedy", result.proof
    better = refining.answered(
        question, result.plan.assignment, placement=placement, network=network
    )
    costs = [refining.plan_cost_fen(each, network=network) for each in (better, placement)]
    if costs[0] > costs[1]:
        return placement, "greedy", result.proof
    for placed in placement.placed.values():
        _give_back(placed, shelves=shelves, capacity=capacity)
    for placed in better.placed.values():
        _take(placed, shelves=shelves, capacity=capacity)
    return better, result.status, result.proof


def _move(
    facts: Facts, placement: Placement, *, shelves: Shelves, capacity: dict[str, int]
) -> tuple[Placement, frozenset[UUID]]:
    """Plan anew, whole, the groups that cannot stay: on hold, or their rest fits nowhere near.

    What they give up is not offered to them again, and nothing is given up unless they fit.
    """
    stuck = {u.group.group_id for u in placement.unserved if u.reason is not Reason.CAPACITY}
    candidates = [
        group
        for group in facts.groups.values()
        if group.movable
        and group.covered
        and (group.group_id in facts.held or (group.whole and group.group_id in stuck))
        and group.group_id not in placement.placed
    ]
    moved = place_fairly(
        (group.anew() for group in candidates),
        network=facts.network,
        shelves=shelves,
        capacity=capacity,
    )
    return (
        Placement(
            placed={**placement.placed, **moved.placed},
            unserved=[u for u in placement.unserved if u.group.group_id not in moved.placed],
        ),
        frozenset(moved.placed),
    )


def _nearest(facts: Facts, placement: Placement) -> dict[UUID, int]:
    """Return what each group would cost from the nearest warehouse that has its goods.

    Where that rule finds no place for a group, it costs what the plan says.
    """
    served = [placed[0].group for placed in placement.placed.values()]
    baseline = place_fairly(
        served,
        network=facts.network,
        shelves=Shelves(facts.sources),
        capacity=dict(facts.capacity),
        rank=by_distance,
    )
    both = {**placement.placed, **baseline.placed}
    return {
        group_id: sum(each.quote.price_fen for each in placed) for group_id, placed in both.items()
    }


def _give_back(placed: Iterable[Placed], *, shelves: Shelves, capacity: dict[str, int]) -> None:
    for each in placed:
        shelves.put_back([each.draw])
        capacity[each.warehouse] += each.quote.parcels


def _take(placed: Iterable[Placed], *, shelves: Shelves, capacity: dict[str, int]) -> None:
    for each in placed:
        shelves.take([each.draw])
        capacity[each.warehouse] -= each.quote.parcels
