"""Business time on both sides of the replay: Caravan's clock, then that of the companies."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from caravan.http_client import Client, WrongAnswer
from caravan.timeline import Reading

_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Business time as Caravan has it, and what each side says of its work."""

    now: datetime
    caravan: Reading
    companies: Reading

    @property
    def backlog(self) -> int:
        """Return the work that waits on both sides."""
        return self.caravan.backlog + self.companies.backlog


@dataclass(frozen=True, slots=True)
class Clocks:
    """Moves and reads both clocks; the companies never run ahead of Caravan."""

    api: Client
    companies: Client
    token: str

    async def read(self) -> Time:
        """Return both readings; the companies' clock follows Caravan's, which ticks by itself."""
        return await self._follow(await self.api.get("/v1/ops/clock", token=self.token))

    async def move(self, to: datetime) -> Time:
        """Move business time forward; a moment that has passed meanwhile moves nothing."""
        answer = await self.api.call(
            "POST", "/v1/ops/clock", token=self.token, document={"to": to.isoformat()}
        )
        if answer.status == HTTPStatus.OK:
            return await self._follow(answer.document)
        if answer.code == "clock_refused":
            return await self.read()
        raise WrongAnswer(f"/v1/ops/clock answered {answer.status}: {answer.document}")

    async def settle(self, *, within_seconds: float) -> Time:
        """Wait until nothing waits on either side, or for so long in wall time."""
        gives_up_at = time.monotonic() + within_seconds
        read = await self.read()
        while read.backlog and time.monotonic() < gives_up_at:
            await asyncio.sleep(_LOOK_SECONDS)
            read = await self.read()
        return read

    async def _follow(self, ours: Any) -> Time:
        theirs = await self.companies.post("/sandbox/clock", {"to": ours["now"]})
        return Time(
            now=datetime.fromisoformat(ours["now"]),
            caravan=_reading(ours),
            companies=_reading(theirs),
        )


def _reading(answer: Any) -> Reading:
    due = answer["next_due_at"]
    return Reading(
        next_due_at=None if due is None else datetime.fromisoformat(due),
        backlog=int(answer["backlog"]),
    )
