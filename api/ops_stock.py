"""Operations on stock: see where every SKU stands and why, and correct it with a reason."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import Field, model_validator

from api.deps import Database, Keyed, Operator, checked_key, fingerprint
from api.schemas import Text, Wire
from inventory import overview
from inventory.overview import Overview
from inventory.states import Bucket
from kit import idempotency
from operations.adjust_stock import Act, Adjustment, adjust_stock

router = APIRouter(prefix="/v1/ops/stock", tags=["operations"])

_ROUTE = "POST /v1/ops/stock/adjustments"
_NO_NUL = r"^[^\x00]*$"
_LINES = 200
_UNITS = 100_000_000


class ShelfBody(Wire):
    """Units in one warehouse; free is negative in a shortage."""

    warehouse: str
    on_hand: int
    held: int
    reserved: int
    free: int


class DiscrepancyBody(Wire):
    """An open difference and what can be done about it."""

    id: str
    warehouse: str
    kind: str
    units: int
    detail: dict[str, Any]
    opened_at: datetime
    what_to_do: str


class StockBody(Wire):
    """One SKU: `parts` is where the budget comes from."""

    sku: str
    name: str
    budget_units: int
    claimed_units: int
    units_left: int
    cap_seats: int | None
    taken_seats: int
    ship_by_seconds: int | None
    computed_at: datetime | None
    parts: dict[str, Any]
    warehouses: list[ShelfBody]
    discrepancies: list[DiscrepancyBody]


class StockPage(Wire):
    """A page in order of SKU; `next` is the cursor of the one after it."""

    items: list[StockBody]
    next: str | None


class AdjustmentLine(Wire):
    """adjust: signed units of `bucket`; hold and unhold: so many units between the buckets."""

    sku: Text
    warehouse: Text
    act: Act = Act.ADJUST
    units: Annotated[int, Field(strict=True, ge=-_UNITS, le=_UNITS)]
    bucket: Bucket = Bucket.AVAILABLE

    @model_validator(mode="after")
    def _moves(self) -> "AdjustmentLine":
        if self.units == 0:
            raise ValueError("units is not 0")
        if self.act is not Act.ADJUST and self.units < 0:
            raise ValueError(f"{self.act.value} takes so many units, at least 1")
        return self


class Adjust(Wire):
    """Corrections that are booked together, all of them or none."""

    reason: Text
    lines: Annotated[list[AdjustmentLine], Field(min_length=1, max_length=_LINES)]


class Adjusted(Wire):
    """How many movements were booked."""

    movements: int


_WHAT_TO_DO = {
    "shortage": "more is promised to orders than is there: move goods in, buy, or re-plan; what is"
    " uncovered at ship-by is refunded. It closes when the units are there again.",
    "review": "the warehouse counted what cannot be: count again, or adjust with a reason. The"
    " lower number is in force until the next count agrees.",
}


@router.get("")
async def show_stock(
    _: Operator,
    session: Database,
    sku: Annotated[str | None, Query(max_length=200, pattern=_NO_NUL)] = None,
    cursor: Annotated[str | None, Query(max_length=200, pattern=_NO_NUL)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> StockPage:
    """Levels, budget, claims and open discrepancies, in order of SKU."""
    found = await overview.page(session, sku=sku, after=cursor, limit=limit)
    after = found[-1].sku if len(found) == limit and sku is None else None
    return StockPage(items=[_shown(entry) for entry in found], next=after)


@router.post("/adjustments", status_code=201)
async def adjust(
    body: Adjust,
    operator: Operator,
    session: Database,
    request: Request,
    key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> Adjusted:
    """Correct stock; the same key gets the same answer and books nothing again."""
    keyed = Keyed(
        owner=f"ops:{operator.actor}",
        route=_ROUTE,
        key=checked_key(key),
        fingerprint=fingerprint(request.url.path, await request.body()),
    )
    kept = await idempotency.recall(session, **asdict(keyed))
    if kept is not None:
        return Adjusted.model_validate(kept.answer)
    booked = await adjust_stock(
        session,
        [
            Adjustment(
                sku=line.sku,
                warehouse=line.warehouse,
                act=line.act,
                units=line.units,
                bucket=line.bucket,
            )
            for line in body.lines
        ],
        key=f"{operator.actor}:{keyed.key}",
        actor=operator.actor,
        reason=body.reason,
    )
    adjusted = Adjusted(movements=booked)
    await idempotency.remember(session, **asdict(keyed), status=201, answer=adjusted.model_dump())
    return adjusted


def _shown(entry: Overview) -> StockBody:
    return StockBody(
        sku=entry.sku,
        name=entry.name,
        budget_units=entry.budget_units,
        claimed_units=entry.claimed_units,
        units_left=max(0, entry.budget_units - entry.claimed_units),
        cap_seats=entry.cap_seats,
        taken_seats=entry.taken_seats,
        ship_by_seconds=entry.ship_by_seconds,
        computed_at=entry.computed_at,
        parts=dict(entry.parts),
        warehouses=[
            ShelfBody(
                warehouse=shelf.warehouse,
                on_hand=shelf.on_hand,
                held=shelf.held,
                reserved=shelf.reserved,
                free=shelf.free,
            )
            for shelf in entry.shelves
        ],
        discrepancies=[
            DiscrepancyBody(
                id=str(found.id),
                warehouse=found.place.warehouse,
                kind=found.kind,
                units=found.units,
                detail=dict(found.detail),
                opened_at=found.opened_at,
                what_to_do=_WHAT_TO_DO.get(found.kind, ""),
            )
            for found in entry.open
        ],
    )
