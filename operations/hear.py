"""Who acts on a partner's message: one table from (kind of partner, event) to the act."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kit.inbox import Letter
from operations import (
    apply_stock_feed,
    hear_carrier,
    hear_supplier,
    hear_warehouse,
    receive_goods,
)
from operations.errors import CannotApply

Act = Callable[[AsyncSession, Letter], Awaitable[None]]

ACTS: Final[Mapping[tuple[str, str], Act]] = MappingProxyType(
    {
        ("suppliers", "purchase_order.accepted"): hear_supplier.apply,
        ("suppliers", "purchase_order.partially_accepted"): hear_supplier.apply,
        ("suppliers", "purchase_order.rejected"): hear_supplier.apply,
        ("suppliers", "purchase_order.changed"): hear_supplier.apply,
        ("suppliers", "despatch_advice.created"): hear_supplier.apply,
        ("suppliers", "despatch_advice.updated"): hear_supplier.apply,
        ("suppliers", "despatch_advice.cancelled"): hear_supplier.apply,
        ("suppliers", "supplier_item.price_changed"): hear_supplier.apply,
        ("suppliers", "supplier_item.availability_changed"): hear_supplier.apply,
        ("warehouses", "inventory.delta"): apply_stock_feed.apply,
        ("warehouses", "inventory.snapshot"): apply_stock_feed.apply,
        ("warehouses", "receipt_advice.posted"): receive_goods.apply,
        ("warehouses", "shipment.despatched"): hear_warehouse.apply,
        ("carriers", "tracking.updated"): hear_carrier.apply,
    }
)


async def apply(session: AsyncSession, letter: Letter) -> None:
    """Apply a letter's effect in the caller's transaction, which also marks it applied.

    Raises:
        CannotApply: it is understood but cannot be true now; a person looks at it.
    """
    kind, _, _ = letter.source.partition(":")
    act = ACTS.get((kind, letter.kind))
    if act is None:
        raise CannotApply(f"nobody here acts on {letter.kind} of {letter.source}")
    await act(session, letter)
