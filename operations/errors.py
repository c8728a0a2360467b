"""What an operation refuses, in the words a person will read beside the parked message."""

from typing import ClassVar

from kit.errors import Conflict


class CannotApply(Conflict):
    """A partner's message is understood but cannot be true now; it is parked for a person."""

    code: ClassVar[str] = "cannot_apply"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
