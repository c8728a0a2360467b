"""When a partner misbehaves: stated rules, counted and drawn from a seed, so that a run repeats."""

import random
from collections import Counter
from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, Field


class Rule(BaseModel):
    """A piece of configuration: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Occasion(Rule):
    """Which of the times that something happens are the ones where it goes wrong.

    An empty occasion never comes. `only` alone means every time one of these is concerned.
    """

    first: int = Field(default=0, ge=0, description="the first n times")
    every: int = Field(default=0, ge=0, description="every n-th time; 0 is never")
    share: float = Field(default=0.0, ge=0.0, le=1.0, description="this share, by seeded chance")
    only: frozenset[str] = Field(
        default=frozenset(),
        description="count only where one of these is concerned: SKUs, or names of calls",
    )

    def concerns(self, subjects: Collection[str]) -> bool:
        """Tell whether a time with these subjects is counted at all."""
        return not self.only or not self.only.isdisjoint(subjects)

    def hits(self, *, nth: int, chance: float) -> bool:
        """Tell whether the `nth` counted time (from 1) goes wrong.

        Args:
            nth: how many times were counted, this one included.
            chance: a number drawn evenly from [0, 1).

        >>> Occasion(first=1, every=3).hits(nth=3, chance=0.5)
        True
        >>> Occasion().hits(nth=1, chance=0.0)
        False
        """
        if self.only and not (self.first or self.every or self.share):
            return True
        return (
            nth <= self.first or (self.every > 0 and nth % self.every == 0) or chance < self.share
        )


NEVER = Occasion()


class AnswerFaults(Rule):
    """What goes wrong with the answers to calls that change something.

    A lookup is touched only when an occasion names it in `only`.
    """

    refused: Occasion = Field(default=NEVER, description="503, nothing done")
    limited: Occasion = Field(default=NEVER, description="429 with Retry-After, nothing done")
    hang: Occasion = Field(default=NEVER, description="no answer for hang_seconds, nothing done")
    hang_seconds: float = Field(default=60.0, gt=0)
    lost: Occasion = Field(default=NEVER, description="done, but the connection is closed")
    slow: Occasion = Field(default=NEVER, description="done, answered byte by byte")
    slow_bytes_per_second: float = Field(default=1.0, gt=0)
    garbage: Occasion = Field(default=NEVER, description="done, but the answer is not JSON")
    huge: Occasion = Field(default=NEVER, description="done, but the answer has 10 MB")


class Repeat(Occasion):
    """Something said twice."""

    after_seconds: int = Field(default=0, ge=0, description="business seconds until the repeat")


class EventFaults(Rule):
    """What goes wrong with the webhooks a company sends."""

    duplicates: Repeat = Field(default=Repeat(), description="sent twice with one webhook-id")
    stale: Occasion = Field(
        default=NEVER, description="preceded by a copy signed an hour ago, sent once"
    )


class Chances:
    """Counts occasions by name and draws from one seeded source.

    Each name has its own source, so that adding one misbehaviour does not shift another.
    """

    def __init__(self, *, seed: str) -> None:
        self._seed = seed
        self._times: Counter[str] = Counter()
        self._sources: dict[str, random.Random] = {}

    def strikes(self, name: str, occasion: Occasion, *, subjects: Collection[str] = ()) -> bool:
        """Count one more time for `name` and tell whether it goes wrong."""
        if not occasion.concerns(subjects):
            return False
        self._times[name] += 1
        chance = 1.0
        if occasion.share:
            source = self._sources.get(name)
            if source is None:
                source = self._sources[name] = random.Random(f"{self._seed}:{name}")
            chance = source.random()
        return occasion.hits(nth=self._times[name], chance=chance)

    def forget(self) -> None:
        """Start counting and drawing anew, as after a change of behaviour."""
        self._times.clear()
        self._sources.clear()
