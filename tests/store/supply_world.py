"""Builders of supply: who sells what on which terms, who waits for it, and who says what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.orders import mark_pegged
from groups.states import GroupState, LatePayment, Mode, OrderState, WarehousePolicy
from groups.tables import Campaign, CampaignVersion, Group, Order
from inventory import budgets, pegs
from inventory.budgets import Terms
from inventory.pegs import PegWant
from inventory.tables import Product
from kit import inbox
from kit.clock import business_now
from kit.db import transaction
from kit.ids import new_id
from kit.inbox import Letter
from kit.tables import Partner
from logistics.tables import Carrier, Lane, Warehouse
from operations import hear_supplier, receive_goods
from operations.hold_order import hold_order
from suppliers import orders, sending
from suppliers.agreements import Agreement, save_agreements
from suppliers.orders import SupplyOrder
from suppliers.tables import PriceMode, Supplier
from tests.store.rows import sql

WEEK_SECONDS = 7 * 86_400
EAST, NORTH = "31", "11"  # provinces, each with a warehouse of its own


async def build_network() -> None:
    """Make two warehouses, each the cheapest for its own province."""
    async with transaction() as session:
        session.add(Carrier(code="swift", name="Swift"))
        for code, province in (("east", EAST), ("north", NORTH)):
            session.add(
                Warehouse(
                    code=code,
                    name=code,
                    province=province,
                    city=f"{province}0100",
                    lon=121.0,
                    lat=31.0,
                    daily_parcels=10_000,
                )
            )
        await session.flush()
        for warehouse, province, price in (
            ("east", EAST, 600),
            ("east", NORTH, 1500),
            ("north", NORTH, 600),
            ("north", EAST, 1500),
        ):
            session.add(
                Lane(
                    warehouse=warehouse,
                    carrier="swift",
                    province=province,
                    first_grams=1000,
                    first_fen=price,
                    step_grams=1000,
                    step_fen=100,
                    days=2,
                )
            )


async def add_products(*skus: str, **terms: Any) -> None:
    """Load products on sale with a week to ship."""
    async with transaction() as session:
        session.add_all(
            Product(sku=sku, name=sku, weight_grams=500, volume_cm3=800, **terms) for sku in skus
        )
        await session.flush()
        await budgets.ensure(session, skus)
        await budgets.set_terms(
            session,
            [Terms(sku=sku, ship_by_seconds=WEEK_SECONDS, cap_seats=None) for sku in skus],
        )


async def add_supplier(
    code: str = "jade", *, url: str | None = None, secret: str | None = None, **terms: Any
) -> None:
    """Make a supplier that never sleeps, with an endpoint when a URL is given."""
    async with transaction() as session:
        session.add(Supplier(code=code, name=code, cut_off=time(23, 59, 59), **terms))
        if url is not None:
            session.add(Partner(kind="suppliers", code=code, url=url, secret=secret))


async def agree(
    supplier: str = "jade",
    sku: str = "tea",
    *,
    tiers: Sequence[tuple[int, int]] = ((1, 1000),),
    **terms: Any,
) -> None:
    """Make an agreement."""
    given: dict[str, Any] = {
        "moq": 1,
        "pack": 1,
        "max_units": None,
        "capacity_per_day": 1000,
        "lead_days": 2,
        "hard_safety_days": 0,
        "soft_safety_days": 0,
        "cancel_window_hours": 0,
        "price_mode": PriceMode.ALL_UNITS,
        "committed_units": None,
        "allowance_bp": 0,
    }
    agreement = Agreement(supplier=supplier, sku=sku, tiers=tuple(tiers), **given | terms)
    async with transaction() as session:
        await save_agreements(session, [agreement], now=await business_now(session))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A succeeded group and its confirmed orders."""

    group_id: UUID
    order_ids: tuple[UUID, ...]


async def succeed(
    sku: str = "tea",
    *,
    members: int = 1,
    units: int = 1,
    province: str = EAST,
    whole: bool = True,
    ship_within: timedelta = timedelta(days=5),
) -> Waiting:
    """Make a group that has just succeeded, whose members wait for their units."""
    policy = WarehousePolicy.WHOLE if whole else WarehousePolicy.SPLIT_OK
    async with transaction() as session:
        now = await business_now(session)
        campaign = Campaign(code=f"c-{new_id().hex}", sku=sku, created_at=now)
        session.add(campaign)
        await session.flush()
        terms: dict[str, Any] = {
            "mode": Mode.FIXED,
            "capacity": 1000,
            "min_size": 1,
            "price_fen": 2000,
            "units_per_seat": units,
            "late_payment_policy": LatePayment.REFUND,
            "warehouse_policy": policy,
        }
        session.add(
            CampaignVersion(
                campaign_id=campaign.id,
                version=1,
                title=sku,
                list_price_fen=2500,
                ship_within_seconds=WEEK_SECONDS,
                **terms,
            )
        )
        group = Group(
            campaign_id=campaign.id,
            version=1,
            sku=sku,
            state=GroupState.SUCCEEDED,
            leader_id=new_id(),
            per_user_limit=1,
            seat_ttl_seconds=900,
            ship_within_seconds=WEEK_SECONDS,
            paid_seats=members,
            deadline_at=now,
            closed_at=now,
            ship_by=now + ship_within,
            **terms,
        )
        session.add(group)
        await session.flush()
        found = [_order(group, province=province, now=now) for _ in range(members)]
        session.add_all(found)
        await session.flush()
        await _claim(session, sku, units=members * units, seats=members)
        return Waiting(group_id=group.id, order_ids=tuple(order.id for order in found))


def _order(group: Group, *, province: str, now: datetime) -> Order:
    return Order(
        group_id=group.id,
        campaign_id=group.campaign_id,
        user_id=new_id(),
        sku=group.sku,
        quantity=1,
        units=group.units_per_seat,
        price_fen=group.price_fen,
        amount_fen=group.price_fen,
        state=OrderState.CONFIRMED,
        claim_units=group.units_per_seat,
        province=province,
        city=f"{province}0100",
        address={},
        created_at=now,
        reserved_until=now,
        confirmed_at=now,
    )


async def _claim(session: AsyncSession, sku: str, *, units: int, seats: int) -> None:
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE seat_budget SET claimed_units = claimed_units + :units,"
            " taken_seats = taken_seats + :seats WHERE sku = :sku"
        ),
        {"sku": sku, "units": units, "seats": seats},
    )


async def hear_letter(source: str, kind: str, body: Mapping[str, Any]) -> None:
    """Take a partner's message in and apply it, as the clerk does."""
    external_id = new_id().hex
    async with transaction() as session:
        now = await business_now(session)
        await inbox.take_in(
            session,
            source=source,
            external_id=external_id,
            kind=kind,
            body=body,
            occurred_at=now,
        )
    async with transaction() as session:
        (letter,) = await inbox.claim(session)
    async with transaction() as session:
        assert await inbox.mark_applied(session, letter.id)
        act = receive_goods if source.startswith("warehouses:") else hear_supplier
        await act.apply(session, letter)


def letter(source: str, kind: str, body: Mapping[str, Any]) -> Letter:
    """Make a letter as the clerk holds it, without an inbox."""
    return Letter(
        id=new_id(),
        source=source,
        external_id=new_id().hex,
        kind=kind,
        body=body,
        occurred_at=datetime.now(UTC),
        attempts=1,
    )


async def apply(found: Letter) -> None:
    """Apply a letter in a transaction of its own."""
    act = receive_goods if found.source.startswith("warehouses:") else hear_supplier
    async with transaction() as session:
        await act.apply(session, found)


async def said_by(supplier: str, kind: str, po_id: UUID, **data: Any) -> None:
    """Let a supplier say something about an order."""
    body = {"client_ref": str(po_id), **data}
    if kind.startswith("purchase_order."):
        body = {"supplier_ref": "so-1", "revision": 1, **body}
    await hear_letter(f"suppliers:{supplier}", kind, body)


def accepted_lines(
    order: SupplyOrder, units: Mapping[int, int] | None = None, *, price_fen: int | None = None
) -> list[dict[str, Any]]:
    """Return the lines of an answer that accepts what was ordered, or `units` of some lines."""
    return [
        {
            "line_no": line.line_no,
            "accepted_units": (units or {}).get(line.line_no, line.units.ordered_units),
            "unit_price_fen": line.unit_price_fen if price_fen is None else price_fen,
            "promised_at": line.requested_at.isoformat(),
        }
        for line in order.lines
    ]


async def counted_by(
    warehouse: str,
    po_id: UUID,
    *lines: tuple[int, int, int],
    receipt_no: str = "r-1",
    received_at: datetime | None = None,
) -> None:
    """Let a warehouse post a receipt of (line, good, damaged) units."""
    async with transaction() as session:
        now = received_at or await business_now(session)
    await hear_letter(
        f"warehouses:{warehouse}",
        "receipt_advice.posted",
        {
            "receipt_no": receipt_no,
            "client_ref": str(po_id),
            "received_at": now.isoformat(),
            "lines": [
                {"line_no": line_no, "good_units": good, "damaged_units": damaged}
                for line_no, good, damaged in lines
            ],
        },
    )


async def mark_sent(po_id: UUID) -> SupplyOrder:
    """Do what sending does once the supplier has answered."""
    async with transaction() as session:
        order = await hold_order(session, po_id)
        return await sending.mark_sent(session, order, supplier_ref="so-1")


async def peg(po_id: UUID, order_ids: Sequence[UUID], *, line_no: int = 1) -> None:
    """Let inbound units of a line belong to buyers' orders."""
    order = await read_order(po_id)
    (line,) = (line for line in order.lines if line.line_no == line_no)
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text("SELECT id, units FROM buyer_order WHERE id = ANY(CAST(:ids AS uuid[]))"),
            {"ids": list(order_ids)},
        )
        wants = [PegWant(order_id=row.id, line_id=line.id, units=row.units) for row in rows]
        pegged = await pegs.peg(session, wants)
        assert pegged == set(order_ids)
        await mark_pegged(session, list(pegged))


async def read_order(po_id: UUID) -> SupplyOrder:
    """Read an order back."""
    async with transaction() as session:
        return await orders.read(session, po_id)


async def all_orders() -> list[SupplyOrder]:
    """Read all orders, oldest first."""
    ids = [row.id for row in await sql("SELECT id FROM purchase_order ORDER BY id")]
    async with transaction() as session:
        return await orders.read_many(session, ids)


async def topics() -> list[str]:
    """Return the topics of the outbox, in order."""
    return [row.topic for row in await sql("SELECT topic FROM outbox_message ORDER BY id")]


async def broken() -> list[str]:
    """Return what invariants P1 to P6 and S4 find, for the end of a test."""
    rows = await sql(
        """
        SELECT 'P3 moq ' || p.id FROM purchase_order p JOIN purchase_order_line l ON l.po_id = p.id
            JOIN supply_agreement a ON a.id = l.agreement_id
        GROUP BY p.id, a.id HAVING sum(l.ordered_units) < a.moq
            OR sum(l.ordered_units) % a.pack <> 0
        UNION ALL
        SELECT 'P3 price ' || l.id FROM purchase_order_line l
            JOIN supply_agreement a ON a.id = l.agreement_id
        WHERE l.unit_price_fen <> (SELECT t.unit_price_fen FROM price_tier t
            WHERE t.agreement_id = a.id AND t.min_units <= (SELECT sum(ordered_units)
                FROM purchase_order_line o WHERE o.po_id = l.po_id
                AND o.agreement_id = l.agreement_id)
            ORDER BY t.min_units DESC LIMIT 1) AND a.price_mode = 'all_units'
        UNION ALL
        SELECT 'P4 ' || l.id FROM purchase_order_line l WHERE
            l.good_units + l.damaged_units + l.over_units <> coalesce((SELECT
            sum((c->>'good_units')::int + (c->>'damaged_units')::int) FROM receipt r
            CROSS JOIN jsonb_array_elements(r.lines) c
            WHERE r.po_id = l.po_id AND (c->>'line_no')::int = l.line_no), 0)
        UNION ALL
        SELECT 'P4 movements' WHERE (SELECT coalesce(sum(qty_delta), 0) FROM stock_movement
            WHERE reference LIKE 'receipt:%') <> (SELECT
            coalesce(sum(good_units + damaged_units + over_units), 0) FROM purchase_order_line)
        UNION ALL
        SELECT 'P6 ' || id FROM supply_agreement
        WHERE released_units > committed_units * (1 + allowance_bp / 10000.0)
        UNION ALL
        SELECT 'S4 ' || o.id FROM buyer_order o WHERE o.state IN ('confirmed', 'won')
            AND (o.claim_units > 0) = EXISTS (SELECT FROM peg
            WHERE peg.order_id = o.id AND peg.state = 'live')
        UNION ALL
        SELECT 'inbound ' || l.id FROM purchase_order_line l
            JOIN purchase_order p ON p.id = l.po_id
            LEFT JOIN supply_promise s ON s.line_id = l.id
        WHERE p.sent_at IS NOT NULL AND l.unanswered_units + l.open_units <> coalesce(s.units, 0)
        UNION ALL
        SELECT 'capability ' || c.supplier || ' ' || c.sku FROM supply_capability c
        WHERE c.open_units <> (SELECT coalesce(sum(l.unanswered_units + l.open_units), 0)
            FROM purchase_order_line l JOIN purchase_order p ON p.id = l.po_id
            WHERE p.supplier = c.supplier AND l.sku = c.sku AND p.sent_at IS NOT NULL)
        """
    )
    return [row[0] for row in rows]
