"""What a planted violation is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """What to break, and the row that the audit must name; {names} are ids of the world."""

    invariant: str
    row: str
    says: str
    statements: tuple[str, ...]


def plant(invariant: str, row: str, says: str, *statements: str) -> Plant:
    return Plant(invariant=invariant, row=row, says=says, statements=statements)
