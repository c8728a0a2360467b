"""Stop asking a partner that does not answer, and try again carefully."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import ClassVar, Final, TypeVar

from kit.errors import Unavailable

T = TypeVar("T")

FAILURES_TO_OPEN: Final = 5
OPEN_SECONDS: Final = 10.0


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerOpen(Unavailable):
    """The partner failed lately; nothing was sent."""

    code: ClassVar[str] = "partner_paused"

    def __init__(self, name: str, *, retry_in_seconds: float) -> None:
        super().__init__(f"{name} does not answer; next try in {retry_in_seconds:.1f} s")
        self.name, self.retry_in_seconds = name, retry_in_seconds


class Breaker:
    """Closed lets calls through, open none, half-open one trial at a time.

    The state is a function of the calls' outcomes and the clock; there is no timer and no task.

    Args:
        name: the partner, for messages.
        failures_to_open: failures in a row.
        open_seconds: pause before the first trial; it doubles with every failed trial.
        open_seconds_at_most: where the doubling ends.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        name: str,
        *,
        monotonic: Callable[[], float],
        failures_to_open: int = FAILURES_TO_OPEN,
        open_seconds: float = OPEN_SECONDS,
        open_seconds_at_most: float = 8 * OPEN_SECONDS,
    ) -> None:
        self.name = name
        self._monotonic = monotonic
        self._failures_to_open = failures_to_open
        self._open_seconds = open_seconds
        self._open_seconds_at_most = open_seconds_at_most
        self._failures = 0
        self._failed_trials = 0
        self._opened_at: float | None = None
        self._trial: object | None = None

    @property
    def state(self) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        if self._trial is not None or self._pause_left() <= 0:
            return BreakerState.HALF_OPEN
        return BreakerState.OPEN

    def _pause_left(self) -> float:
        if self._opened_at is None:
            return 0.0
        pause = min(self._open_seconds * 2.0**self._failed_trials, self._open_seconds_at_most)
        return self._opened_at + pause - self._monotonic()

    def admit(self) -> object:
        """Return a permit to call; hand it back with `succeeded`, `failed` or `abandoned`.

        Raises:
            BreakerOpen: the partner rests, or another trial is under way.
        """
        permit = object()
        if self._opened_at is not None:
            left = self._pause_left()
            if left > 0 or self._trial is not None:
                raise BreakerOpen(self.name, retry_in_seconds=max(left, 0.0))
            self._trial = permit
        return permit

    def succeeded(self, permit: object) -> None:
        """The partner answered; a late answer from before it opened changes nothing."""
        if self._opened_at is not None and permit is not self._trial:
            return
        self._failures = self._failed_trials = 0
        self._opened_at = self._trial = None

    def failed(self, permit: object) -> None:
        """The partner did not answer, or answered that it is broken."""
        if self._opened_at is None:
            self._failures += 1
            if self._failures >= self._failures_to_open:
                self._opened_at = self._monotonic()
        elif permit is self._trial:
            self._failed_trials += 1
            self._opened_at = self._monotonic()
            self._trial = None

    def abandoned(self, permit: object) -> None:
        """The call ended without telling anything about the partner (its caller was cancelled)."""
        if permit is self._trial:
            self._trial = None

    async def call(
        self, work: Callable[[], Awaitable[T]], *, counts: tuple[type[BaseException], ...]
    ) -> T:
        """Run `work`; an exception of the kinds in `counts` is a failure, another an answer.

        Raises:
            BreakerOpen: nothing was run.
        """
        permit = self.admit()
        try:
            result = await work()
        except counts:
            self.failed(permit)
            raise
        except Exception:
            self.succeeded(permit)
            raise
        except BaseException:
            self.abandoned(permit)
            raise
        self.succeeded(permit)
        return result
