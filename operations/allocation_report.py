"""What an allocation run decided, in rows that operations can read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from logistics.placing import Placed, Unserved
from operations.allocation_choice import Facts
from operations.cover_groups import leaves_at

_ROWS_KEPT: Final = 200  # of each list, in the plan's row


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLine:
    """What leaves one warehouse for one province."""

    warehouse: str
    province: str
    orders: int
    units: int
    cost_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UncoveredLine:
    """A group that still waits, and what for."""

    group_id: UUID
    sku: str
    orders: int
    units: int
    reason: str  # no_lane | short | capacity | contended
    warehouse: str | None  # where least is missing
    missing_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LateLine:
    """A covered group that leaves after its promise."""

    group_id: UUID
    warehouse: str
    ship_by: datetime
    leaves_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationReport:
    """What a run decided, ready to be shown.

    Costs are what carriers charge for what was placed; `nearest_cost_fen` is what they would
    charge for the same groups from the nearest warehouse with the goods.
    """

    status: str  # nothing | optimal | feasible | greedy
    proof: str
    groups_seen: int
    groups_covered: int
    groups_moved: int
    orders_released: int  # their goods were not there any more
    orders_reserved: int
    orders_pegged: int
    orders_uncovered: int
    parcels: int
    waves_opened: int
    cost_fen: int
    nearest_cost_fen: int
    places: tuple[PlaceLine, ...]
    uncovered: tuple[UncoveredLine, ...]
    late: tuple[LateLine, ...]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run has done so far."""

    groups_seen: int = 0
    moved: int = 0
    covered: list[Sequence[Placed]] = field(default_factory=list)
    reserved: int = 0
    pegged: int = 0
    parcels: int = 0
    nearest_cost_fen: int = 0
    cost_fen: int = 0
    uncovered: list[UncoveredLine] = field(default_factory=list)
    late: list[LateLine] = field(default_factory=list)
    first_seen: set[UUID] = field(default_factory=set)
    statuses: list[str] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)


def detail(report: AllocationReport, short: Mapping[str, int]) -> dict[str, Any]:
    """Return what the plan's row keeps."""
    return {
        "short": dict(short),
        "places": [
            [line.warehouse, line.province, line.orders, line.units, line.cost_fen]
            for line in report.places[:_ROWS_KEPT]
        ],
        "uncovered": [
            {
                "group_id": str(line.group_id),
                "sku": line.sku,
                "units": line.units,
                "reason": line.reason,
                "warehouse": line.warehouse,
                "missing_units": line.missing_units,
            }
            for line in report.uncovered[:_ROWS_KEPT]
        ],
        "late": [
            {
                "group_id": str(line.group_id),
                "warehouse": line.warehouse,
                "ship_by": line.ship_by.isoformat(),
                "leaves_at": line.leaves_at.isoformat(),
            }
            for line in report.late[:_ROWS_KEPT]
        ],
    }


def late_line(placed: Sequence[Placed], facts: Facts) -> LateLine | None:
    """Name a group that leaves after its promise; None when it leaves in time."""
    group = placed[0].group
    moment, last = max(
        ((leaves_at(each, network=facts.network, now=facts.now), each) for each in placed),
        key=lambda pair: pair[0],
    )
    if moment <= group.ship_by:
        return None
    return LateLine(
        group_id=group.group_id,
        warehouse=last.warehouse,
        ship_by=group.ship_by,
        leaves_at=moment,
    )


def uncovered_line(unserved: Unserved) -> UncoveredLine:
    """Say why a group waits."""
    return UncoveredLine(
        group_id=unserved.group.group_id,
        sku=unserved.group.sku,
        orders=len(unserved.group.wants),
        units=unserved.group.units,
        reason=unserved.reason,
        warehouse=unserved.warehouse,
        missing_units=unserved.missing_units,
    )


def contended_line(placed: Sequence[Placed]) -> UncoveredLine:
    """Say that a group was not what or where it was when it was planned."""
    group = placed[0].group
    return UncoveredLine(
        group_id=group.group_id,
        sku=group.sku,
        orders=len(group.wants),
        units=group.units,
        reason="contended",
        warehouse=None,
        missing_units=0,
    )


def report_of(tally: Tally, *, released: int, waves_opened: int) -> AllocationReport:
    """Return the report of a finished run."""
    rows: dict[tuple[str, str], list[Placed]] = {}
    for placed in tally.covered:
        for each in placed:
            rows.setdefault((each.warehouse, each.want.province), []).append(each)
    worst = next((s for s in ("greedy", "feasible", "optimal") if s in tally.statuses), "nothing")
    return AllocationReport(
        status=worst,
        proof="; ".join(dict.fromkeys(tally.proofs)),
        groups_seen=tally.groups_seen,
        groups_covered=len(tally.covered),
        groups_moved=tally.moved,
        orders_released=released,
        orders_reserved=tally.reserved,
        orders_pegged=tally.pegged,
        orders_uncovered=sum(line.orders for line in tally.uncovered),
        parcels=tally.parcels,
        waves_opened=waves_opened,
        cost_fen=tally.cost_fen,
        nearest_cost_fen=tally.nearest_cost_fen,
        places=tuple(
            PlaceLine(
                warehouse=warehouse,
                province=province,
                orders=len(each),
                units=sum(one.want.units for one in each),
                cost_fen=sum(one.quote.price_fen for one in each),
            )
            for (warehouse, province), each in sorted(rows.items())
        ),
        uncovered=tuple(tally.uncovered),
        late=tuple(tally.late),
    )
