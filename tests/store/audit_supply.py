"""Two purchase orders and what came of them: stock, reservations, a peg and parcels."""

from inventory.tables import (
    Bucket,
    MovementType,
    Peg,
    Reservation,
    ReservationState,
    StockLevel,
    StockMovement,
    SupplyPromise,
)
from logistics.tables import (
    LabelState,
    Shipment,
    ShipmentOrder,
    ShipmentState,
    TrackingEvent,
    TrackingStatus,
    Wave,
    WaveState,
)
from suppliers.states import PurchaseOrderState
from suppliers.tables import (
    PurchaseOrder,
    PurchaseOrderLine,
    PurchasePlan,
    Receipt,
)
from tests.store.audit_rows import DAY, THEN, World


def add_supply(world: World) -> None:
    world.add(
        PurchasePlan(
            created_at=THEN,
            id=world.id("plan"),
            key="plan",
            status="optimal",
            problem={},
            result={},
        ),
        _purchase(world, "purchase", PurchaseOrderState.PARTIALLY_RECEIVED, total_fen=1000),
        _purchase(world, "ladder purchase", PurchaseOrderState.SENT, total_fen=720),
        _line(
            world,
            "po line",
            po="purchase",
            agreement="agreement",
            price_fen=50,
            units={
                "ordered_units": 20,
                "accepted_units": 20,
                "good_units": 12,
                "damaged_units": 1,
                "open_units": 7,
            },
        ),
        # 25 units by steps: the first 19 at 30 fen, the rest at 25.
        *(
            _line(
                world,
                f"ladder line {number}",
                po="ladder purchase",
                agreement="ladder agreement",
                price_fen=price_fen,
                units={"ordered_units": units, "unanswered_units": units},
                number=number,
            )
            for number, (units, price_fen) in enumerate(((19, 30), (6, 25)), start=1)
        ),
        Receipt(
            recorded_at=THEN,
            id=world.id("receipt"),
            warehouse="east",
            receipt_no="R1",
            po_id=world.id("purchase"),
            lines=[{"line_no": 1, "good_units": 12, "damaged_units": 1}],
            received_at=THEN,
        ),
    )


def _purchase(
    world: World, name: str, state: PurchaseOrderState, *, total_fen: int
) -> PurchaseOrder:
    return PurchaseOrder(
        send_at=THEN,
        created_at=THEN,
        id=world.id(name),
        plan_key=f"plan:{name}",
        plan_id=world.id("plan"),
        supplier="jade",
        state=state,
        total_fen=total_fen,
    )


def _line(
    world: World,
    name: str,
    *,
    po: str,
    agreement: str,
    price_fen: int,
    units: dict[str, int],
    number: int = 1,
) -> PurchaseOrderLine:
    return PurchaseOrderLine(
        id=world.id(name),
        po_id=world.id(po),
        line_no=number,
        agreement_id=world.id(agreement),
        sku="tea" if agreement == "agreement" else "mug",
        warehouse="east",
        unit_price_fen=price_fen,
        requested_at=THEN,
        promised_at=THEN + DAY,
        **{"unanswered_units": 0, **units},
    )


def add_goods(world: World) -> None:
    movements = (
        ("opening", MovementType.ADJUST, Bucket.AVAILABLE, 10, "opening"),
        ("receipt:east:R1:1:available", MovementType.RECEIPT, Bucket.AVAILABLE, 12, "receipt:R1"),
        ("receipt:east:R1:1:held", MovementType.RECEIPT, Bucket.HELD, 1, "receipt:R1"),
        (f"ship:{world.id('delivered')}", MovementType.SHIP, Bucket.AVAILABLE, -1, "wave"),
        (f"ship:{world.id('shipped')}", MovementType.SHIP, Bucket.AVAILABLE, -1, "wave"),
    )
    for seq, (key, kind, bucket, units, reference) in enumerate(movements, start=1):
        world.add(
            StockMovement(
                recorded_at=THEN,
                id=world.id(f"movement {seq}"),
                sku="tea",
                warehouse="east",
                seq=seq,
                bucket=bucket,
                qty_delta=units,
                kind=kind,
                reference=reference,
                idempotency_key=key,
                actor="test",
                occurred_at=THEN,
            )
        )
    world.add(
        StockLevel(sku="tea", warehouse="east", on_hand=21, held=1, reserved=1, last_seq=5),
        SupplyPromise(
            line_id=world.id("po line"),
            sku="tea",
            warehouse="east",
            units=7,
            pegged_units=1,
            promised_at=THEN + DAY,
        ),
        Peg(
            created_at=THEN,
            id=world.id("peg"),
            order_id=world.id("pegged"),
            line_id=world.id("po line"),
            sku="tea",
            warehouse="east",
            units=1,
        ),
    )
    for name, state in (
        ("delivered", ReservationState.SHIPPED),
        ("shipped", ReservationState.SHIPPED),
        ("allocated", ReservationState.LIVE),
    ):
        world.add(
            Reservation(
                created_at=THEN,
                id=world.id(f"reservation {name}"),
                order_id=world.id(name),
                sku="tea",
                warehouse="east",
                units=1,
                state=state,
                resolved_at=None if state is ReservationState.LIVE else THEN + DAY,
            )
        )


def add_parcels(world: World) -> None:
    world.add(
        Wave(
            created_at=THEN,
            id=world.id("wave"),
            warehouse="east",
            carrier="quick",
            cut_off_at=THEN + DAY,
            state=WaveState.SHIPPED,
            parcels=2,
        )
    )
    for name, state, tracking in (
        ("delivered", ShipmentState.DELIVERED, TrackingStatus.DELIVERED),
        ("shipped", ShipmentState.SHIPPED, TrackingStatus.COLLECTED),
        ("allocated", ShipmentState.PLANNED, TrackingStatus.NONE),
        ("pegged", ShipmentState.PLANNED, TrackingStatus.NONE),
    ):
        left = state is not ShipmentState.PLANNED
        world.add(
            Shipment(
                created_at=THEN,
                id=world.id(f"parcel {name}"),
                wave_id=world.id("wave") if left else None,
                warehouse="east",
                carrier="quick",
                province="320000",
                city="320200",
                weight_grams=500,
                state=state,
                label_state=LabelState.PURCHASED if left else LabelState.NONE,
                label_id=f"L-{name}" if left else None,
                tracking_no=f"N-{name}" if left else None,
                tracking=tracking,
            ),
            ShipmentOrder(
                shipment_id=world.id(f"parcel {name}"),
                order_id=world.id(name),
                group_id=world.id("group gone" if left else "group ready"),
                sku="tea",
                units=1,
            ),
        )
    for parcel, status in (
        ("delivered", TrackingStatus.DELIVERED),
        ("delivered", TrackingStatus.IN_TRANSIT),
        ("shipped", TrackingStatus.COLLECTED),
    ):
        world.add(
            TrackingEvent(
                recorded_at=THEN,
                carrier="quick",
                event_id=f"{parcel}-{status}",
                shipment_id=world.id(f"parcel {parcel}"),
                status=status,
                occurred_at=THEN + DAY,
            )
        )
