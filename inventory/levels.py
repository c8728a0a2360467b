"""Stock levels by place: made, locked in order, read under their locks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory.projection import Level, Place
from kit.errors import NotFound

# Serialises making a level of a warehouse with a complete count of it: the count must meet every
# level there is, and a level made during the count must see that count.
_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtextextended('levels:' || w, 0)) FROM unnest("
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('levels:' || :warehouse, 0))"


class UnknownProduct(NotFound):
    """No product by that SKU was ever loaded."""

    code: ClassVar[str] = "inventory.unknown_product"

    def __init__(self, skus: Sequence[str]) -> None:
        super().__init__(f"unknown SKU {', '.join(skus[:5])}")
        self.skus = tuple(skus)


def columns_of(places: Sequence[Place]) -> dict[str, list[str]]:
    """Return places as the two arrays that the statements unnest."""
    return {
        "skus": [place.sku for place in places],
        "warehouses": [place.warehouse for place in places],
    }


async def lock(session: AsyncSession, places: Iterable[Place]) -> dict[Place, Level]:
    """Lock the levels of `places` in order, making those that are missing, and read them.

    Raises:
        UnknownProduct: a missing level names a SKU that is no product.
    """
    ordered = sorted(set(places))
    if not ordered:
        return {}
    await _make_missing(session, ordered)
    connection = await session.connection()
    await connection.execute(
        text(
            "SELECT 1 FROM stock_level WHERE (sku, warehouse) IN"
            " (SELECT * FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[])))"
            " ORDER BY sku, warehouse FOR UPDATE"
        ),
        columns_of(ordered),
    )
    return await read(session, ordered)


async def read(session: AsyncSession, places: Sequence[Place]) -> dict[Place, Level]:
    """Return the levels of `places` as they are now; missing ones are left out."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT l.sku, l.warehouse, l.on_hand, l.held, l.reserved, l.last_seq,"
            " greatest(s.as_of, f.last_complete_as_of) AS counted_at"
            " FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]))"
            "  AS place (sku, warehouse)"
            " JOIN stock_level l USING (sku, warehouse)"
            " LEFT JOIN snapshot_line s USING (sku, warehouse)"
            " LEFT JOIN feed_source f USING (warehouse)"
        ),
        columns_of(places),
    )
    return {
        Place(row.sku, row.warehouse): Level(
            on_hand=row.on_hand,
            held=row.held,
            reserved=row.reserved,
            last_seq=row.last_seq,
            counted_at=row.counted_at,
        )
        for row in rows
    }


async def write(session: AsyncSession, levels: Mapping[Place, Level]) -> None:
    """Write locked levels back; `reserved` is moved by `reserve` and left alone here."""
    places = list(levels)
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE stock_level l SET on_hand = n.on_hand, held = n.held, last_seq = n.last_seq"
            " FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]),"
            "  CAST(:on_hand AS int[]), CAST(:held AS int[]), CAST(:last_seq AS bigint[]))"
            "  AS n (sku, warehouse, on_hand, held, last_seq)"
            " WHERE l.sku = n.sku AND l.warehouse = n.warehouse"
        ),
        columns_of(places)
        | {
            "on_hand": [levels[place].on_hand for place in places],
            "held": [levels[place].held for place in places],
            "last_seq": [levels[place].last_seq for place in places],
        },
    )


async def move_reserved(session: AsyncSession, units: Mapping[Place, int]) -> None:
    """Add to `reserved` of locked levels; negative units give back."""
    places = list(units)
    if not places:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE stock_level l SET reserved = l.reserved + n.units"
            " FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]),"
            "  CAST(:units AS int[])) AS n (sku, warehouse, units)"
            " WHERE l.sku = n.sku AND l.warehouse = n.warehouse"
        ),
        columns_of(places) | {"units": [units[place] for place in places]},
    )


async def close_warehouse(session: AsyncSession, warehouse: str) -> list[Place]:
    """Let nobody make a level in `warehouse` until this transaction ends; return those there."""
    connection = await session.connection()
    await connection.execute(text(_ALONE), {"warehouse": warehouse})
    rows = await connection.execute(
        text("SELECT sku FROM stock_level WHERE warehouse = :warehouse"), {"warehouse": warehouse}
    )
    return [Place(row.sku, warehouse) for row in rows]


async def known_skus(session: AsyncSession, skus: Collection[str]) -> set[str]:
    """Return those of `skus` that are products."""
    connection = await session.connection()
    rows = await connection.execute(
        text("SELECT sku FROM product WHERE sku = ANY(CAST(:skus AS text[]))"),
        {"skus": list(skus)},
    )
    return {row.sku for row in rows}


async def _make_missing(session: AsyncSession, ordered: Sequence[Place]) -> None:
    connection = await session.connection()
    found = await connection.execute(
        text(
            "SELECT sku, warehouse FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]))"
            " AS place (sku, warehouse) WHERE NOT EXISTS (SELECT FROM stock_level l"
            "  WHERE l.sku = place.sku AND l.warehouse = place.warehouse)"
        ),
        columns_of(ordered),
    )
    missing = sorted(Place(row.sku, row.warehouse) for row in found)
    if not missing:
        return
    unknown = {place.sku for place in missing} - await known_skus(
        session, {place.sku for place in missing}
    )
    if unknown:
        raise UnknownProduct(sorted(unknown))
    await connection.execute(
        text(_SHARED + "CAST(:warehouses AS text[])) AS w"),
        {"warehouses": sorted({place.warehouse for place in missing})},
    )
    await connection.execute(
        text(
            "INSERT INTO stock_level (sku, warehouse)"
            " SELECT * FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]))"
            " ON CONFLICT DO NOTHING"
        ),
        columns_of(missing),
    )
