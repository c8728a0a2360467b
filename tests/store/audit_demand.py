"""Six groups with their orders, and the money that came for them and went back."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlmodel import SQLModel

from groups.states import GroupState, LatePayment, Mode, OrderState, WarehousePolicy
from groups.tables import Group, Order, OrderJournal, User
from inventory.tables import (
    SeatBudget,
)
from kit.tables import InboxMessage, InboxState, OutboxMessage
from payments.tables import (
    Account,
    LedgerEntry,
    LedgerTransaction,
    LineState,
    Payment,
    PaymentLine,
    PaymentState,
    Refund,
    RefundKind,
    RefundState,
)
from tests.store.audit_rows import DAY, FAR, PRICE_FEN, THEN, World

_SHIPPED = {OrderState.SHIPPED, OrderState.DELIVERED}
_UNPAID = {OrderState.RESERVED, OrderState.RELEASED}

# Group: its state and the orders in it, with their states and claims.
_GROUPS: dict[str, tuple[str, GroupState, dict[str, tuple[OrderState, int]]]] = {
    "gone": (
        "tea",
        GroupState.SUCCEEDED,
        {"delivered": (OrderState.DELIVERED, 0), "shipped": (OrderState.SHIPPED, 0)},
    ),
    "ready": (
        "tea",
        GroupState.SUCCEEDED,
        {"allocated": (OrderState.ALLOCATED, 0), "pegged": (OrderState.CONFIRMED, 0)},
    ),
    "short": (
        "tea",
        GroupState.SUCCEEDED,
        {"uncovered": (OrderState.CONFIRMED, 1), "refunded": (OrderState.REFUNDED, 0)},
    ),
    "open": (
        "tea",
        GroupState.OPEN,
        {"paid": (OrderState.PAID, 1), "held": (OrderState.RESERVED, 1)},
    ),
    "failed": (
        "tea",
        GroupState.FAILED,
        {"owed": (OrderState.REFUND_DUE, 0), "late": (OrderState.RELEASED, 0)},
    ),
    "ladder": (
        "mug",
        GroupState.SUCCEEDED,
        {"first": (OrderState.CONFIRMED, 1), "second": (OrderState.CONFIRMED, 1)},
    ),
}


def add_demand(world: World) -> None:
    claimed = {"tea": 0, "mug": 0}
    taken = {"tea": 0, "mug": 0}
    for name, (sku, state, orders) in _GROUPS.items():
        world.add(_group(world, name))
        if state is GroupState.SUCCEEDED:
            world.add(_told(world, f"success {name}", "group.succeeded", f"group {name}", {}))
        for order, (order_state, claim_units) in orders.items():
            world.add(*_order(world, order, group=name, state=order_state, claim=claim_units))
            claimed[sku] += claim_units
            taken[sku] += order_state.value not in {"released", "refund_due", "refunded"}
    for sku, units in claimed.items():
        world.add(SeatBudget(sku=sku, budget_units=50, claimed_units=units, taken_seats=taken[sku]))
    world.add(
        InboxMessage(
            received_at=THEN,
            id=world.id("letter"),
            source="suppliers:jade",
            external_id="evt-1",
            kind="purchase_order.accepted",
            body={},
            occurred_at=THEN,
            state=InboxState.APPLIED,
        )
    )


def _group(world: World, name: str) -> Group:
    sku, state, orders = _GROUPS[name]
    tiered = sku == "mug"
    running = state is GroupState.OPEN
    paid = {GroupState.SUCCEEDED: 2, GroupState.OPEN: 1, GroupState.FAILED: 0}[state]
    return Group(
        id=world.id(f"group {name}"),
        campaign_id=world.id(f"campaign {sku}"),
        version=1,
        sku=sku,
        mode=Mode.TIERED if tiered else Mode.FIXED,
        state=state,
        capacity=4 if tiered else 2,
        min_size=2,
        price_fen=PRICE_FEN,
        units_per_seat=1,
        per_user_limit=1,
        seat_ttl_seconds=900,
        ship_within_seconds=604_800,
        late_payment_policy=LatePayment.REOPEN_IF_ROOM,
        warehouse_policy=WarehousePolicy.WHOLE,
        leader_id=world.id(f"user {next(iter(orders))}"),
        held_seats=1 if running else 0,
        paid_seats=paid,
        opened_at=THEN,
        deadline_at=FAR if running else THEN + DAY,
        # A tiered group that is not full can only have succeeded at its deadline.
        closed_at=None if running else THEN + (DAY if tiered else timedelta(hours=1)),
        final_price_fen=900 if tiered else None,
    )


def _order(
    world: World, name: str, *, group: str, state: OrderState, claim: int
) -> Sequence[SQLModel]:
    confirmed = _GROUPS[group][1] is GroupState.SUCCEEDED
    order = Order(
        id=world.id(name),
        group_id=world.id(f"group {group}"),
        campaign_id=world.id(f"campaign {_GROUPS[group][0]}"),
        user_id=world.id(f"user {name}"),
        sku=_GROUPS[group][0],
        quantity=1,
        units=1,
        price_fen=PRICE_FEN,
        amount_fen=PRICE_FEN,
        state=state,
        claim_units=claim,
        province="320000",
        city="320200",
        address={},
        reserved_until=FAR,
        created_at=THEN,
        paid_at=None if state in _UNPAID else THEN,
        confirmed_at=THEN if confirmed else None,
        shipped_at=THEN + DAY if state in _SHIPPED else None,
        delivered_at=THEN + 2 * DAY if state is OrderState.DELIVERED else None,
    )
    journal = OrderJournal(
        occurred_at=THEN,
        id=world.id(f"journal {name}"),
        order_id=order.id,
        group_id=order.group_id,
        kind="reserve",
    )
    body = {"order_id": str(order.id)}
    return (
        User(created_at=THEN, id=world.id(f"user {name}"), openid=name),
        order,
        journal,
        _told(world, f"event {name}", "order.reserved", f"group {group}", body),
    )


def _told(world: World, name: str, topic: str, key: str, body: dict[str, Any]) -> OutboxMessage:
    return OutboxMessage(
        occurred_at=THEN,
        created_at=THEN,
        due_at=THEN,
        id=world.id(name),
        topic=topic,
        key=str(world.id(key)),
        body=body,
        sent_at=THEN,
    )


def add_money(world: World) -> None:
    for _, _, orders in _GROUPS.values():
        for name, (state, _) in orders.items():
            if name == "late":
                _pay(world, name, state=LineState.ORPHANED)
                _refund(world, name, state=RefundState.SUCCEEDED)
            elif state is not OrderState.RESERVED:
                _pay(world, name, state=LineState.CAPTURED)
            if state in _SHIPPED:
                _post(world, f"earn:{name}", name, Account.DEPOSITS, Account.SALES, PRICE_FEN)
    _refund(world, "owed", state=RefundState.QUEUED)
    _refund(world, "refunded", state=RefundState.SUCCEEDED)
    for name in ("first", "second"):
        _refund(world, name, state=RefundState.QUEUED, kind=RefundKind.DIFFERENCE, fen=100)
    _pay(world, "held", state=LineState.PENDING)


def _pay(world: World, name: str, *, state: LineState) -> None:
    came = state is not LineState.PENDING
    world.add(
        Payment(
            created_at=THEN,
            id=world.id(f"payment {name}"),
            user_id=world.id(f"user {name}"),
            provider="sandbox",
            state=PaymentState.CAPTURED if came else PaymentState.PENDING,
            amount_fen=PRICE_FEN,
            expires_at=FAR,
        ),
        PaymentLine(
            id=world.id(f"line {name}"),
            payment_id=world.id(f"payment {name}"),
            order_id=world.id(name),
            amount_fen=PRICE_FEN,
            state=state,
            transaction_id=f"T-{name}" if came else None,
            captured_at=THEN if came else None,
        ),
    )
    if came:
        _post(world, f"capture:{name}", name, Account.PROVIDER, Account.DEPOSITS, PRICE_FEN)


def _refund(
    world: World,
    name: str,
    *,
    state: RefundState,
    kind: RefundKind = RefundKind.WHOLE,
    fen: int = PRICE_FEN,
) -> None:
    world.add(
        Refund(
            due_at=THEN,
            created_at=THEN,
            id=world.id(f"refund {name}"),
            line_id=world.id(f"line {name}"),
            order_id=world.id(name),
            kind=kind,
            amount_fen=fen,
            reason="test",
            state=state,
        )
    )
    _post(world, f"refund_due:{name}", name, Account.DEPOSITS, Account.REFUNDS_DUE, fen)
    if state is RefundState.SUCCEEDED:
        _post(world, f"refund:{name}", name, Account.REFUNDS_DUE, Account.PROVIDER, fen)


def _post(
    world: World, reference: str, order: str, debit: Account, credit: Account, fen: int
) -> None:
    posting = world.id(f"posting {reference}".replace(":", " "))
    world.add(
        LedgerTransaction(
            recorded_at=THEN,
            id=posting,
            kind=reference.partition(":")[0],
            reference=reference,
            occurred_at=THEN,
        ),
        *(
            LedgerEntry(
                transaction_id=posting,
                account=account,
                order_id=world.id(order),
                amount_fen=amount,
            )
            for account, amount in ((debit, fen), (credit, -fen))
        ),
    )
