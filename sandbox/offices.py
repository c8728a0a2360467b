"""What every signing company has: its clock, its luck, its seal, its post and its door."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sandbox.answers import Door
from sandbox.clock import BusinessClock
from sandbox.delivery import Courier
from sandbox.envelopes import Announcer, Seal
from sandbox.misbehaviour import AnswerFaults, Chances


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """One company's surroundings.

    Args:
        mark: part of every number it hands out, so that two runs never give the same one.
    """

    code: str
    mark: str
    clock: BusinessClock
    chances: Chances
    seal: Seal
    announcer: Announcer
    counts: Counter[str] = field(default_factory=Counter)

    def door(self, faults: Callable[[], AnswerFaults]) -> Door:
        """Return where its calls come in."""
        return Door(
            clock=self.clock,
            chances=self.chances,
            counts=self.counts,
            faults=faults,
            believe=self.seal.believe,
        )

    def number(self, kind: str) -> str:
        """Return the next number of a kind, such as an advice's."""
        self.counts[f"{kind}_numbers"] += 1
        return f"{kind}-{self.code}-{self.mark}-{self.counts[f'{kind}_numbers']:06d}".upper()


def open_office(
    *,
    kind: str,
    code: str,
    secret: str,
    seed: int,
    mark: str,
    caravan_url: str,
    clock: BusinessClock,
    courier: Courier,
    pauses_seconds: Sequence[float],
) -> Office:
    """Return the office of a company.

    Args:
        kind: suppliers, warehouses or carriers, as in the webhook's path.
    """
    chances = Chances(seed=f"{seed}:{kind}:{code}")
    seal = Seal(secret)
    return Office(
        code=code,
        mark=mark,
        clock=clock,
        chances=chances,
        seal=seal,
        announcer=Announcer(
            clock=clock,
            courier=courier,
            chances=chances,
            seal=seal,
            url=f"{caravan_url.rstrip('/')}/v1/webhooks/{kind}/{code}",
            pauses_seconds=pauses_seconds,
        ),
    )
