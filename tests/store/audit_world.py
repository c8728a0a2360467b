"""A small shop in which every invariant holds, row by row; for tests that break one at a time.

Six groups of tea and mugs: one has shipped, one is allocated and pegged, one has an uncovered and
a refunded member, one is open, one failed with late money, one is tiered and succeeded small.
"""

from uuid import UUID

from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.states import LatePayment, Mode, WarehousePolicy
from groups.tables import Campaign, CampaignVersion
from inventory.tables import (
    Product,
)
from logistics.tables import (
    Carrier,
    Warehouse,
)
from suppliers.tables import (
    PriceMode,
    PriceTier,
    Supplier,
    SupplyAgreement,
)
from tests.store.audit_demand import add_demand, add_money
from tests.store.audit_rows import PRICE_FEN, THEN, World
from tests.store.audit_supply import add_goods, add_parcels, add_supply


async def build(session: AsyncSession) -> dict[str, UUID]:
    """Write the shop; return the ids of its rows by name."""
    world = World()
    _catalogue(world)
    add_demand(world)
    add_money(world)
    add_supply(world)
    add_goods(world)
    add_parcels(world)
    # Tables are filled in the order of their foreign keys, a level at a time.
    for table in SQLModel.metadata.sorted_tables:
        of_table = [row for row in world.rows if row.__tablename__ == table.name]
        session.add_all(of_table)
        if of_table:
            await session.flush()
    return world.ids


def _catalogue(world: World) -> None:
    for sku in ("tea", "mug"):
        world.add(
            Product(sku=sku, name=sku, weight_grams=500, volume_cm3=800),
            Campaign(created_at=THEN, id=world.id(f"campaign {sku}"), code=f"c-{sku}", sku=sku),
        )
    world.add(
        _version(world, "tea", mode=Mode.FIXED, capacity=2, seat_cap=100),
        _version(world, "mug", mode=Mode.TIERED, capacity=4, seat_cap=None),
        Warehouse(
            code="east",
            name="East",
            province="320000",
            city="320200",
            lon=120.3,
            lat=31.6,
            daily_parcels=10,
        ),
        Carrier(code="quick", name="Quick"),
        Supplier(code="jade", name="Jade"),
        SupplyAgreement(
            valid_from=THEN,
            id=world.id("agreement"),
            supplier="jade",
            sku="tea",
            moq=10,
            pack=5,
            capacity_per_day=100,
            lead_days=2,
            committed_units=100,
            allowance_bp=1000,
            released_units=20,
        ),
        SupplyAgreement(
            valid_from=THEN,
            id=world.id("ladder agreement"),
            supplier="jade",
            sku="mug",
            moq=10,
            pack=5,
            capacity_per_day=100,
            lead_days=2,
            price_mode=PriceMode.INCREMENTAL,
        ),
    )
    for name, tiers in (
        ("agreement", [(10, 50), (100, 40)]),
        ("ladder agreement", [(10, 30), (20, 25)]),
    ):
        world.add(
            *(
                PriceTier(agreement_id=world.id(name), min_units=units, unit_price_fen=fen)
                for units, fen in tiers
            )
        )


def _version(
    world: World, sku: str, *, mode: Mode, capacity: int, seat_cap: int | None
) -> CampaignVersion:
    return CampaignVersion(
        created_at=THEN,
        campaign_id=world.id(f"campaign {sku}"),
        version=1,
        title=sku,
        mode=mode,
        capacity=capacity,
        min_size=2,
        seat_cap=seat_cap,
        list_price_fen=1200,
        price_fen=PRICE_FEN,
        late_payment_policy=LatePayment.REOPEN_IF_ROOM,
        warehouse_policy=WarehousePolicy.WHOLE,
        ship_within_seconds=604_800,
    )
