"""What became of everything since a moment, for operations' screens and for a replay's summary."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from api.deps import Operator
from operations import overview

router = APIRouter(tags=["operations"])


class MovedUp(BaseModel):
    """A purchase of more than was needed because the next tier makes it cheaper."""

    model_config = ConfigDict(from_attributes=True)

    supplier: str
    sku: str
    reason: str
    saved_fen: int


class Overview(BaseModel):
    """Counts by state and sums of what was made since a moment of business time."""

    model_config = ConfigDict(from_attributes=True)

    since: datetime
    now: datetime
    by_state: dict[str, dict[str, int]]
    money: dict[str, int]
    supply: dict[str, int]
    delivery: dict[str, int]
    left: dict[str, int]
    tier_moves: list[MovedUp]


@router.get("/v1/ops/overview")
async def show_overview(
    _: Operator,
    since: Annotated[AwareDatetime, Query(description="business time, with its offset")],
) -> Overview:
    """Read one consistent snapshot."""
    return Overview.model_validate(await overview.overview(since=since))
