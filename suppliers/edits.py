"""Changes the quantities of an order that a person is still judging, within the agreed terms."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.errors import Unprocessable
from kit.money import yuan
from optimizer.schema import PriceBreak
from suppliers.lines import new_line
from suppliers.orders import OrderLine, SupplyOrder
from suppliers.tables import PriceMode


class EditRefused(Unprocessable):
    """The supplier would not take these quantities under the agreement."""

    code = "purchase_order.edit_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditTerms:
    """What an edit must keep to: the agreements of the order's lines, and the order's minimum."""

    min_order_value_fen: int
    agreements: Mapping[UUID, "AgreedQuantity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedQuantity:
    """What an agreement says of quantities and prices."""

    moq: int
    pack: int
    max_units: int | None
    price_mode: PriceMode
    breaks: tuple[PriceBreak, ...]


def differs(order: SupplyOrder, quantities: Mapping[int, int]) -> bool:
    """Return whether the quantities are others than those of the order.

    Raises:
        EditRefused: a line is named that the order does not have.
    """
    ordered = {line.line_no: line.units.ordered_units for line in order.lines}
    unknown = sorted(quantities.keys() - ordered.keys())
    if unknown:
        raise EditRefused(f"there is no line {unknown[0]}")
    return any(ordered[line_no] != units for line_no, units in quantities.items())


def edit(order: SupplyOrder, quantities: Mapping[int, int], *, terms: EditTerms) -> SupplyOrder:
    """Return the order with other quantities, priced by the tier they reach together.

    Raises:
        EditRefused: the quantities break the agreement.
    """
    changed = [
        replace(line, units=new_line(quantities.get(line.line_no, line.units.ordered_units)))
        for line in order.lines
    ]
    units_of: dict[UUID, int] = defaultdict(int)
    for line in changed:
        units_of[line.agreement_id] += line.units.ordered_units
    prices = {
        agreement_id: _price(
            terms.agreements[agreement_id], units=units, sku=_sku(changed, agreement_id)
        )
        for agreement_id, units in units_of.items()
    }
    lines = tuple(replace(line, unit_price_fen=prices[line.agreement_id]) for line in changed)
    total_fen = sum(line.units.ordered_units * line.unit_price_fen for line in lines)
    if total_fen < terms.min_order_value_fen:
        raise EditRefused(f"the supplier takes no order below {yuan(terms.min_order_value_fen)}")
    return replace(order, lines=lines, total_fen=total_fen)


def _sku(lines: list[OrderLine], agreement_id: UUID) -> str:
    return next(line.sku for line in lines if line.agreement_id == agreement_id)


def _price(agreed: AgreedQuantity, *, units: int, sku: str) -> int:
    if agreed.price_mode is PriceMode.INCREMENTAL:
        # Its lines are steps of a price list; other quantities are other lines.
        raise EditRefused(f"{sku} is bought by an incremental price list: reject and plan again")
    if units < agreed.moq:
        raise EditRefused(f"{sku}: the supplier's smallest order is {agreed.moq} units")
    if units % agreed.pack:
        raise EditRefused(f"{sku}: {units} units are not whole packs of {agreed.pack}")
    if agreed.max_units is not None and units > agreed.max_units:
        raise EditRefused(f"{sku}: the supplier's largest order is {agreed.max_units} units")
    reached = [step.price for step in agreed.breaks if step.from_units <= units]
    if not reached:
        raise EditRefused(f"{sku}: the price list does not price {units} units")
    return reached[-1]


async def read_terms_of(session: AsyncSession, order: SupplyOrder) -> EditTerms:
    """Return the terms that the order was made under."""
    connection = await session.connection()
    minimum = await connection.execute(
        text("SELECT min_order_value_fen FROM supplier WHERE code = :code"),
        {"code": order.supplier},
    )
    rows = await connection.execute(
        text(
            "SELECT a.id, a.moq, a.pack, a.max_units, a.price_mode,"
            " (SELECT jsonb_agg(jsonb_build_array(t.min_units, t.unit_price_fen)"
            "  ORDER BY t.min_units) FROM price_tier t WHERE t.agreement_id = a.id) AS breaks"
            " FROM supply_agreement a WHERE a.id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": list({line.agreement_id for line in order.lines})},
    )
    return EditTerms(
        min_order_value_fen=minimum.scalar_one(),
        agreements={
            row.id: AgreedQuantity(
                moq=row.moq,
                pack=row.pack,
                max_units=row.max_units,
                price_mode=PriceMode(row.price_mode),
                breaks=tuple(PriceBreak(from_units=n, price=fen) for n, fen in row.breaks),
            )
            for row in rows
        },
    )


async def save(session: AsyncSession, order: SupplyOrder) -> None:
    """Write the quantities, prices and total of an edited order, which the caller holds."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE purchase_order_line l SET ordered_units = e.units,"
            " unanswered_units = e.units, unit_price_fen = e.price"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:units AS integer[]),"
            "  CAST(:prices AS integer[])) AS e (id, units, price) WHERE l.id = e.id"
        ),
        {
            "ids": [line.id for line in order.lines],
            "units": [line.units.ordered_units for line in order.lines],
            "prices": [line.unit_price_fen for line in order.lines],
        },
    )
    await connection.execute(
        text("UPDATE purchase_order SET total_fen = :total WHERE id = :id"),
        {"id": order.id, "total": order.total_fen},
    )
