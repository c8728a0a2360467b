"""Builders of goods: products, stock, promises, and orders that hold claims."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.states import LatePayment, Mode, OrderState, WarehousePolicy
from groups.tables import Campaign, CampaignVersion, Group, Order
from inventory import budgets, ledger
from inventory.budgets import GiveBack, Terms
from inventory.ledger import Bucket, Movement, MovementType
from inventory.tables import Product
from kit.ids import new_id

OPENED_AT = datetime(2011, 12, 5, 8, tzinfo=UTC)
WEEK_SECONDS = 7 * 86_400


class Standing(NamedTuple):
    """One SKU in one line, as DOMAIN.md writes it."""

    budget: int
    claimed: int
    taken: int
    reserved: int
    on_hand: int


def movement(
    sku: str = "tea",
    units: int = 10,
    *,
    key: str,
    warehouse: str = "east",
    kind: MovementType = MovementType.RECEIPT,
    bucket: Bucket = Bucket.AVAILABLE,
    occurred_at: datetime = OPENED_AT,
) -> Movement:
    """Make a movement that differs from a plain receipt only in what is said."""
    return Movement(
        sku=sku,
        warehouse=warehouse,
        bucket=bucket,
        qty_delta=units,
        kind=kind,
        reference=f"ref:{key}",
        key=key,
        actor="test",
        reason="",
        occurred_at=occurred_at,
    )


async def add_products(session: AsyncSession, *skus: str, safety_units: int = 0) -> None:
    """Load products and their budgets, on sale with a week to ship."""
    session.add_all(
        Product(sku=sku, name=sku, weight_grams=500, volume_cm3=800, safety_units=safety_units)
        for sku in skus
    )
    await session.flush()
    await budgets.ensure(session, skus)
    await budgets.set_terms(
        session,
        [Terms(sku=sku, ship_by_seconds=WEEK_SECONDS, cap_seats=None) for sku in skus],
    )


async def add_stock(
    session: AsyncSession, sku: str = "tea", units: int = 10, *, warehouse: str = "east"
) -> None:
    """Receive units and bring the budget up to date."""
    await ledger.book(
        session, [movement(sku, units, key=f"open:{sku}:{warehouse}", warehouse=warehouse)]
    )
    await budgets.recompute(session, [sku])


async def add_group(session: AsyncSession, sku: str = "tea", *, capacity: int = 1000) -> Group:
    """Open a group of a campaign of its own."""
    campaign = Campaign(code=f"c-{new_id().hex}", sku=sku, created_at=OPENED_AT)
    session.add(campaign)
    await session.flush()
    session.add(
        CampaignVersion(
            campaign_id=campaign.id,
            version=1,
            title=sku,
            mode=Mode.FIXED,
            capacity=capacity,
            min_size=2,
            list_price_fen=1000,
            price_fen=800,
            late_payment_policy=LatePayment.REOPEN_IF_ROOM,
            warehouse_policy=WarehousePolicy.WHOLE,
            ship_within_seconds=WEEK_SECONDS,
            created_at=OPENED_AT,
        )
    )
    group = Group(
        campaign_id=campaign.id,
        version=1,
        sku=sku,
        mode=Mode.FIXED,
        capacity=capacity,
        min_size=2,
        price_fen=800,
        units_per_seat=1,
        per_user_limit=10,
        seat_ttl_seconds=900,
        ship_within_seconds=WEEK_SECONDS,
        late_payment_policy=LatePayment.REOPEN_IF_ROOM,
        warehouse_policy=WarehousePolicy.WHOLE,
        leader_id=new_id(),
        opened_at=OPENED_AT,
        deadline_at=OPENED_AT + timedelta(days=1),
    )
    session.add(group)
    await session.flush()
    return group


async def join(session: AsyncSession, group: Group, *, units: int = 1) -> UUID | None:
    """Take a seat with its claim and confirm it; None when the budget has no room."""
    wanted = GiveBack(sku=group.sku, claim_units=units, seats=1)
    if not await budgets.take(session, wanted):
        return None
    order = Order(
        group_id=group.id,
        campaign_id=group.campaign_id,
        user_id=new_id(),
        sku=group.sku,
        quantity=units,
        units=units,
        price_fen=800,
        amount_fen=800 * units,
        state=OrderState.CONFIRMED,
        claim_units=units,
        province="310000",
        city="310100",
        address={},
        reserved_until=OPENED_AT,
        created_at=OPENED_AT,
    )
    session.add(order)
    await session.flush()
    return order.id


async def orders_of(session: AsyncSession, group: Group, count: int) -> list[UUID]:
    """Join `count` members of one unit each, oldest first."""
    joined = [await join(session, group) for _ in range(count)]
    return [order_id for order_id in joined if order_id is not None]


async def set_claims(session: AsyncSession, units: dict[UUID, int]) -> None:
    """Do what callers of the inventory do to their orders' claims."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE buyer_order o SET claim_units = n.units"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:units AS int[])) AS n (id, units)"
            " WHERE o.id = n.id"
        ),
        {"ids": list(units), "units": list(units.values())},
    )


async def standing(session: AsyncSession, sku: str = "tea") -> Standing:
    """Read where one SKU stands."""
    connection = await session.connection()
    row = (
        await connection.execute(
            text(
                "SELECT b.budget_units, b.claimed_units, b.taken_seats,"
                " coalesce(sum(l.reserved), 0) AS reserved,"
                " coalesce(sum(l.on_hand), 0) AS on_hand FROM seat_budget b"
                " LEFT JOIN stock_level l USING (sku) WHERE b.sku = :sku GROUP BY b.sku"
            ),
            {"sku": sku},
        )
    ).one()
    return Standing(*row)


async def broken(session: AsyncSession) -> list[str]:
    """Return what the invariants S1, S2, S3, S7 and S8 find, for the end of a test."""
    connection = await session.connection()
    rows = await connection.exec_driver_sql(
        """
        SELECT 'S1 ' || l.sku || ' ' || l.warehouse FROM stock_level l LEFT JOIN LATERAL (
            SELECT coalesce(sum(qty_delta), 0) AS units, count(*) AS moves,
            coalesce(sum(qty_delta) FILTER (WHERE bucket = 'held'), 0) AS held,
            coalesce(max(seq), 0) AS last FROM stock_movement m
            WHERE m.sku = l.sku AND m.warehouse = l.warehouse) m ON true
        WHERE (l.on_hand, l.held, l.last_seq, l.last_seq)
            IS DISTINCT FROM (m.units, m.held, m.last, m.moves)
        UNION ALL
        SELECT 'S2 ' || l.sku FROM stock_level l WHERE l.reserved <> (SELECT
            coalesce(sum(units), 0) FROM reservation r WHERE r.sku = l.sku
            AND r.warehouse = l.warehouse AND r.state = 'live')
        UNION ALL
        SELECT 'S3 ' || l.sku FROM stock_level l WHERE (l.reserved + l.held > l.on_hand)
            <> EXISTS (SELECT FROM discrepancy d WHERE d.sku = l.sku
            AND d.warehouse = l.warehouse AND d.kind = 'shortage' AND d.state = 'open')
        UNION ALL
        SELECT 'S7 ' || b.sku FROM seat_budget b WHERE b.claimed_units <> (SELECT
            coalesce(sum(claim_units), 0) FROM buyer_order o WHERE o.sku = b.sku)
        UNION ALL
        SELECT 'S8 ' || p.sku FROM supply_promise p WHERE p.pegged_units > p.units
            OR p.pegged_units <> (SELECT coalesce(sum(units), 0) FROM peg
            WHERE peg.line_id = p.line_id AND peg.state = 'live')
        """
    )
    return [row[0] for row in rows]
