"""Saves products and sees to it that each has a seat budget."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets
from inventory.tables import Product
from kit.upserts import Saved, upsert


async def save_products(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> Saved:
    """Save products by SKU; budgets of new and changed ones are worked out again.

    Args:
        rows: columns of `product`, all of them in each row.
    """
    saved = await upsert(session, Product, rows, key=["sku"])
    skus = sorted(sku for (sku,) in saved.touched)
    await budgets.ensure(session, skus)
    await budgets.mark_dirty(session, skus)
    return saved
