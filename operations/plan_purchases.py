"""Plans and orders what uncovered orders need: rows -> problem -> plan -> purchase orders."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from groups import orders as buyers
from groups.progress import forming
from groups.states import WarehousePolicy
from kit import outbox
from kit.clock import business_now
from kit.db import transaction
from kit.errors import Unavailable
from kit.ids import new_id
from kit.outbox import Fact
from kit.settings import settings
from logistics.network import Network, read_network
from logistics.stranded import anchored
from operations.close_short import close_short
from operations.purchase_decision import DecidedOrder, PurchaseDecision, decide, from_plan, to_plan
from optimizer.plan import plan_procurement
from optimizer.schema import E4
from suppliers import plans
from suppliers.buying import Buyer, Purchase
from suppliers.drafts import order_drafts
from suppliers.needs import Bundle, Missing, UncoveredNeed, net
from suppliers.offers import Company, Terms, read_companies, read_terms
from suppliers.plans import CommitmentExceeded, Refused
from suppliers.problems import SkuDemand

SOLVE_SECONDS: Final = 10.0
_TRIES: Final = 5


class PlanningBusy(Unavailable):
    """Other plans were written again and again while this one was made."""

    code = "purchase_plan.busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The rows a plan is made from, all of one moment."""

    now: datetime
    last_plan: UUID | None
    demands: tuple[SkuDemand, ...]
    unreachable: tuple[Bundle, ...]
    covered_orders: int
    companies: Mapping[str, Company]
    terms: tuple[Terms, ...]
    refused: tuple[Refused, ...]


async def plan_purchases(*, key: str) -> PurchaseDecision:
    """Buy what is missing, as one plan under `key`; the same key again is the same decision.

    Nothing is written when nothing is missing. Another plan that is written meanwhile makes this
    one start again from its rows, so two runs never buy for the same orders.

    Raises:
        PlanningBusy: that happened too often.
    """
    await close_short()
    for _ in range(_TRIES):
        async with transaction() as session:
            done = await plans.find(session, key=key)
        if done is not None:
            return from_plan(done)
        async with transaction(long=True) as session:
            seen = await _read(session)
        if not seen.demands and not seen.unreachable:
            return PurchaseDecision(key=key, covered_orders=seen.covered_orders)
        purchase = await asyncio.to_thread(_buy, seen, key)
        decision = await _write(key, seen, purchase)
        if decision is not None:
            return decision
    raise PlanningBusy("other plans were written while this one was made")


async def _read(session: AsyncSession) -> _Seen:
    """Read everything in one snapshot: a receipt in between would count twice or not at all."""
    connection = await session.connection()
    await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    now = await business_now(session)
    last_plan = await plans.last_plan(session)
    uncovered = await buyers.uncovered(session)
    skus = sorted({order.sku for order in uncovered})
    companies = await read_companies(session)
    terms = await read_terms(session, skus)
    wares = await plans.wares(session, skus)
    network = await read_network(session)
    anchors = await anchored(session)
    needs = [
        _need(
            order,
            network,
            unit_grams=wares[order.sku].weight_grams,
            only=anchors.get(order.group_id),
        )
        for order in uncovered
    ]
    netted = net(
        needs,
        available=await plans.available(session, skus),
        delivered_to=_delivered_to(terms, companies, sorted(network.places)),
    )
    missing: dict[str, list[Missing]] = defaultdict(list)
    for row in netted.missing:
        missing[row.bundle.sku].append(row)
    likely: dict[str, list[tuple[int, int]]] = defaultdict(list)
    if missing:
        for demand in await forming(session):
            likely[demand.sku].append((demand.units, int(demand.probability * E4)))
    return _Seen(
        now=now,
        last_plan=last_plan,
        demands=tuple(
            SkuDemand(
                ware=wares[sku],
                missing=tuple(rows),
                forming=tuple(likely.get(sku, ())),
                leftover=netted.leftover.get(sku, 0),
                terms=tuple(agreed for agreed in terms if agreed.sku == sku),
            )
            for sku, rows in sorted(missing.items())
        ),
        unreachable=tuple(netted.unreachable),
        covered_orders=netted.covered_orders,
        companies=companies,
        terms=tuple(terms),
        refused=tuple(await plans.refused(session)),
    )


def _need(
    order: buyers.UncoveredOrder,
    network: Network,
    *,
    unit_grams: int,
    only: Collection[str] | None,
) -> UncoveredNeed:
    """Return what an order needs; `only` is where the rest of its group waits already."""
    quotes = {
        name: network.quote(
            name,
            province=order.province,
            city=order.city,
            units=order.units,
            unit_grams=unit_grams,
        )
        for name, place in network.places.items()
        if not place.on_hold and (only is None or name in only)
    }
    return UncoveredNeed(
        order_id=order.order_id,
        group_id=order.group_id,
        sku=order.sku,
        units=order.units,
        ways={name: quote.price_fen for name, quote in quotes.items() if quote is not None},
        ship_by=order.ship_by,
        whole=order.warehouse_policy == WarehousePolicy.WHOLE,
    )


def _delivered_to(
    terms: Sequence[Terms], companies: Mapping[str, Company], warehouses: Sequence[str]
) -> dict[str, frozenset[str]]:
    reached: dict[str, set[str]] = defaultdict(set)
    for agreed in terms:
        reached[agreed.sku] |= companies[agreed.supplier].freight_to(warehouses).keys()
    return {sku: frozenset(names) for sku, names in reached.items()}


def _buy(seen: _Seen, key: str) -> Purchase:
    buyer = Buyer(
        companies=seen.companies,
        now=seen.now,
        name=key,
        solve=partial(plan_procurement, deadline_seconds=SOLVE_SECONDS),
    )
    return buyer.buy(seen.demands)


async def _write(key: str, seen: _Seen, purchase: Purchase) -> PurchaseDecision | None:
    """Write plan and orders in one transaction; None when another plan was written since."""
    plan_id = new_id()
    replaced: dict[str, UUID] = {}
    for row in seen.refused:
        replaced.setdefault(row.sku, row.po_id)
    drafts = order_drafts(
        purchase.bought,
        key=key,
        plan_id=plan_id,
        companies=seen.companies,
        terms=seen.terms,
        replaced=replaced,
        now=seen.now,
    )
    try:
        async with transaction(long=True) as session:
            await plans.lock_planning(session)
            if await plans.last_plan(session) != seen.last_plan:
                return None
            limit_fen = settings().approval_limit_fen
            decision = decide(
                key,
                plan_id,
                purchase,
                unreachable=seen.unreachable,
                covered_orders=seen.covered_orders,
                drafts=drafts,
                states={draft.id: plans.first_state(draft, limit_fen) for draft in drafts},
            )
            await plans.insert(session, to_plan(decision, plan_id, purchase))
            await plans.insert_orders(session, drafts, approval_limit_fen=limit_fen)
            planned = {demand.sku for demand in seen.demands}
            await plans.mark_replanned(
                session, sorted({row.po_id for row in seen.refused if row.sku in planned})
            )
            await outbox.emit(session, [_approved(order) for order in decision.ready])
    except CommitmentExceeded:
        return None
    return decision


def _approved(order: DecidedOrder) -> Fact:
    return Fact(
        topic="purchase_order.approved",
        key=order.po_id,
        body={"po_id": order.po_id, "approved_by": "limit"},
    )
