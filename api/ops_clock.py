"""Business time for replay, simulation and tests; there is no such route in production."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict

from api.deps import Operator
from kit.errors import NotFound
from kit.settings import settings
from operations import move_clock

router = APIRouter(tags=["operations"])


class ClockAbsent(NotFound):
    """Production has one clock, and nobody moves it."""


class MoveClock(BaseModel):
    """Where business time shall go; never backwards."""

    model_config = ConfigDict(extra="forbid")

    to: AwareDatetime


class Clock(BaseModel):
    """Business time, the earliest moment that is due (in the past: late), and work waiting."""

    now: datetime
    next_due_at: datetime | None
    backlog: int


@router.get("/v1/ops/clock")
async def read_clock(_: Operator) -> Clock:
    """Read business time."""
    return _shown(await move_clock.read())


@router.post("/v1/ops/clock")
async def set_clock(body: MoveClock, _: Operator) -> Clock:
    """Move business time forward; it goes on ticking from there."""
    if settings().production:
        raise ClockAbsent("no such path")
    return _shown(await move_clock.move(to=body.to))


def _shown(report: move_clock.ClockReport) -> Clock:
    return Clock(now=report.now, next_due_at=report.next_due_at, backlog=report.backlog)
