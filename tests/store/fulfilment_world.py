"""Builders of fulfilment: a network of two warehouses, completed groups, news from partners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from inventory import budgets, promises
from inventory.promises import PromiseRow
from kit import clock, inbox
from kit.db import transaction
from kit.ids import new_id
from kit.inbox import Letter
from operations import hear
from operations.audit.report import audit
from tests.store.inventory_world import add_group, add_products, add_stock, broken
from tests.store.rows import sql

NORTH, SOUTH = "110000", "440000"
DAY = timedelta(days=1)
LEAVING = {"L1", "L2", "L3", "L4", "L5"}
ADDRESS: Mapping[str, str] = {
    "province": "北京",
    "city": "北京",
    "district": "东城区",
    "detail": "长安街 1 号",
    "name": "李明",
    "phone": "13800000000",
}


async def now() -> datetime:
    """Return business time."""
    async with transaction() as session:
        return await clock.business_now(session)


async def add_network(*, daily_parcels: int = 10_000) -> None:
    """Put a warehouse in the north and one in the south, and two carriers between them.

    The swift carrier is cheaper near by; only the slow one carries parcels over 20 kg.
    """
    async with transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "INSERT INTO warehouse (code, name, province, city, lon, lat, daily_parcels)"
                " VALUES ('north', 'North', '110000', '110100', 116.4, 39.9, :parcels),"
                " ('south', 'South', '440000', '440100', 113.3, 23.1, :parcels)"
            ),
            {"parcels": daily_parcels},
        )
        await connection.execute(
            text(
                "INSERT INTO carrier (code, name, max_parcel_grams)"
                " VALUES ('swift', 'Swift', 20000), ('slow', 'Slow', 50000)"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO lane (warehouse, carrier, province, first_grams, first_fen,"
                "  step_grams, step_fen, days)"
                " SELECT w.code, c.code, p.province, 1000,"
                "  CASE WHEN w.province = p.province THEN 600 ELSE 1100 END"
                "   + CASE WHEN c.code = 'slow' THEN 200 ELSE 0 END, 500, 100,"
                "  CASE WHEN w.province = p.province THEN 1 ELSE 3 END"
                " FROM warehouse w, carrier c,"
                "  (VALUES ('110000'), ('440000'), ('650000')) AS p (province)"
                # Far away only the slow one goes.
                " WHERE p.province <> '650000' OR c.code = 'slow'"
            )
        )


async def add_goods(
    sku: str = "tea", *, north: int = 0, south: int = 0, budget_units: int = 100_000
) -> None:
    """Make a product with stock, and room in its budget for any claim."""
    async with transaction() as session:
        await add_products(session, sku)
    for warehouse, units in (("north", north), ("south", south)):
        if units:
            async with transaction() as session:
                await add_stock(session, sku, units, warehouse=warehouse)
    await sql(
        "UPDATE seat_budget SET budget_units = :units WHERE sku = :sku",
        units=budget_units,
        sku=sku,
    )


async def add_inbound(
    sku: str = "tea", units: int = 10, *, warehouse: str = "north", in_days: float = 1
) -> UUID:
    """Put units of a sent purchase order on their way; return the line."""
    line_id = new_id()
    async with transaction() as session:
        moment = await clock.business_now(session)
        await promises.put(
            session,
            [
                PromiseRow(
                    line_id=line_id,
                    sku=sku,
                    warehouse=warehouse,
                    units=units,
                    promised_at=moment + in_days * DAY,
                )
            ],
        )
    return line_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A completed group and its orders, in the order of its members."""

    group_id: UUID
    orders: Sequence[UUID] = field(default_factory=list)


async def complete_group(
    *provinces: str,
    sku: str = "tea",
    units: int = 1,
    policy: str = "whole",
    minutes_ago: float = 0,
    user_ids: Sequence[UUID] = (),
) -> Completed:
    """Complete a group with one confirmed order to each of the provinces."""
    async with transaction() as session:
        group = await add_group(session, sku)
        await budgets.take(
            session,
            budgets.GiveBack(sku=sku, claim_units=units * len(provinces), seats=len(provinces)),
        )
        connection = await session.connection()
        await connection.execute(
            text(
                "UPDATE buying_group SET state = 'succeeded', warehouse_policy = :policy,"
                " closed_at = kit_now() - :minutes * interval '1 minute',"
                " ship_by = kit_now() + interval '2 days', paid_seats = :seats WHERE id = :id"
            ),
            {"id": group.id, "policy": policy, "minutes": minutes_ago, "seats": len(provinces)},
        )
        ids = [new_id() for _ in provinces]
        await connection.execute(
            text(
                "INSERT INTO buyer_order (id, group_id, campaign_id, user_id, sku, quantity, units,"
                " price_fen, amount_fen, state, claim_units, province, city, address,"
                " reserved_until, confirmed_at)"
                " SELECT n.id, :group, :campaign, n.user_id, :sku, :units, :units, 800,"
                "  800 * CAST(:units AS int), 'confirmed', :units, n.province, n.province,"
                "  jsonb_build_object('district', '', 'detail', 'No. 1', 'name', 'Ann',"
                "   'phone', '13800000000'), kit_now(), kit_now()"
                " FROM unnest(CAST(:ids AS uuid[]), CAST(:users AS uuid[]),"
                "  CAST(:provinces AS text[])) AS n (id, user_id, province)"
            ),
            {
                "group": group.id,
                "campaign": group.campaign_id,
                "sku": sku,
                "units": units,
                "ids": ids,
                "users": list(user_ids) or [new_id() for _ in provinces],
                "provinces": list(provinces),
            },
        )
    return Completed(group_id=group.id, orders=ids)


async def states(order_ids: Sequence[UUID]) -> list[str]:
    """Return the states of orders, in the order asked."""
    rows = await sql(
        "SELECT id, state FROM buyer_order WHERE id = ANY(CAST(:ids AS uuid[]))",
        ids=list(order_ids),
    )
    found = {row.id: row.state for row in rows}
    return [found[order_id] for order_id in order_ids]


async def reserved_in(order_ids: Sequence[UUID]) -> list[str | None]:
    """Return the warehouse of each order's live reservation."""
    rows = await sql(
        "SELECT order_id, warehouse FROM reservation"
        " WHERE order_id = ANY(CAST(:ids AS uuid[])) AND state = 'live'",
        ids=list(order_ids),
    )
    found = {row.order_id: row.warehouse for row in rows}
    return [found.get(order_id) for order_id in order_ids]


async def live_parcels(order_ids: Sequence[UUID]) -> list[Any]:
    """Return the shipments that the orders travel in, cancelled ones left out."""
    return await sql(
        "SELECT DISTINCT s.* FROM shipment s JOIN shipment_order so ON so.shipment_id = s.id"
        " WHERE so.order_id = ANY(CAST(:ids AS uuid[])) AND s.state <> 'cancelled' ORDER BY s.id",
        ids=list(order_ids),
    )


async def hear_letter(source: str, kind: str, body: Mapping[str, Any]) -> None:
    """Apply what a partner says as the clerk does."""
    external_id = new_id().hex
    async with transaction() as session:
        await inbox.take_in(
            session,
            source=source,
            external_id=external_id,
            kind=kind,
            body=body,
            occurred_at=await clock.business_now(session),
        )
    (row,) = await sql(
        "SELECT * FROM inbox_message WHERE source = :source AND external_id = :id",
        source=source,
        id=external_id,
    )
    letter = Letter(
        id=row.id,
        source=row.source,
        external_id=row.external_id,
        kind=row.kind,
        body=row.body,
        occurred_at=row.occurred_at,
        attempts=1,
    )
    async with transaction() as session:
        assert await inbox.mark_applied(session, letter.id)
        await hear.apply(session, letter)


async def move_clock(to: datetime) -> None:
    """Move business time."""
    async with transaction() as session:
        await clock.move_clock(session, to=to)


async def violations() -> list[str]:
    """Return what the audit finds in goods and parcels, and what else must hold here.

    Orders of these tests are made without a payment, so what the audit says of money is not asked.
    """
    async with transaction() as session:
        goods = await broken(session)
    report = await audit()
    found = [
        f"{v.invariant} {v.row} {v.detail}"
        for v in report.violations
        if v.invariant in {"S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8"} | LEAVING
    ]
    rows = await sql(
        """
        SELECT 'covered without one parcel ' || o.id AS found FROM buyer_order o
            WHERE o.state IN ('allocated', 'shipped', 'delivered') AND o.units <> (
                SELECT coalesce(sum(so.units), 0) FROM shipment_order so
                JOIN shipment s ON s.id = so.shipment_id AND s.state <> 'cancelled'
                WHERE so.order_id = o.id)
        UNION ALL
        SELECT 'two waves for one slot ' || w.warehouse FROM wave w WHERE w.state = 'open'
            GROUP BY w.warehouse, w.carrier, w.cut_off_at HAVING count(*) > 1
        """
    )
    return goods + found + [row.found for row in rows]
