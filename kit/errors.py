"""The four error families; a room's error is a class beside the function that raises it."""

from typing import ClassVar


class CaravanError(Exception):
    """Something the caller did or met that is part of the contract, never a bug.

    `code` is public API: clients branch on it.
    """

    code: ClassVar[str] = "error"


class NotFound(CaravanError):
    """What was named does not exist, or is not the caller's. HTTP 404."""

    code = "not_found"


class Conflict(CaravanError):
    """The state of the world refuses the act. HTTP 409."""

    code = "conflict"


class Unprocessable(CaravanError):
    """What was sent cannot be meant. HTTP 422."""

    code = "unprocessable"


class Unavailable(CaravanError):
    """Not now; the same request may succeed later. HTTP 503, retried by flows."""

    code = "unavailable"


class LostRace(Conflict):
    """A row moved on between reading and writing it; read again."""

    code = "lost_race"
