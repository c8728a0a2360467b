"""An invariant: a sentence of DOMAIN.md, section 6, and the query that finds its breaches."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """A sentence that is always true, and how to find the rows for which it is not.

    The query returns two columns: `row`, the table and key of the row that breaks it, and
    `detail`, a sentence with the numbers. It may use `:grace_seconds`, how long after its deadline
    a group may wait for the payment provider.
    """

    name: str
    says: str
    breaches: str
