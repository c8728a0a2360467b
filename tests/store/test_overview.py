from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from kit.clock import business_now
from kit.db import transaction
from kit.ids import new_id
from operations.overview import overview
from suppliers.states import PurchaseOrderState
from suppliers.tables import PurchaseOrder, PurchasePlan, Supplier

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_LATER = datetime(2100, 1, 1, tzinfo=UTC)


RESULT: dict[str, Any] = {
    "parts": [
        {
            "explanation": {
                "findings": [
                    {
                        "kind": "tier_edge",
                        "subject": f"jade/{sku}",
                        "numbers": {"units": 3, "instead": 2, "more_fen": saved},
                    }
                    for sku, saved in (("tea", 40), ("cup", 9))
                ]
            }
        }
    ],
    "decision": {
        "lines": [
            {"supplier": "jade", "sku": "tea", "tier_from": 3, "reason": "a tier"},
            {"supplier": "jade", "sku": "cup", "tier_from": 1, "reason": "no tier"},
        ]
    },
}


async def add_order(*, state: PurchaseOrderState, replaces: UUID | None = None) -> UUID:
    async with transaction() as session:
        plan = PurchasePlan(
            key=str(new_id()),
            status="optimal",
            problem={},
            result=RESULT,
            created_at=await business_now(session),
        )
        session.add(plan)
        await session.flush()
        order = PurchaseOrder(
            plan_key=f"{plan.key}:jade",
            plan_id=plan.id,
            supplier="jade",
            state=state,
            total_fen=700,
            replaces_po_id=replaces,
            sent_at=await business_now(session),
            send_at=await business_now(session),
            created_at=await business_now(session),
        )
        session.add(order)
        return order.id


@pytest.mark.usefixtures("store")
async def test_an_empty_shop_has_nothing_to_tell() -> None:
    found = await overview(since=_LONG_AGO)

    assert all(not states for states in found.by_state.values())
    assert set(found.money.values()) == {0}
    assert set(found.supply.values()) == {0}
    assert set(found.delivery.values()) == {0}
    assert found.tier_moves == ()


@pytest.mark.usefixtures("store")
async def test_a_rejection_its_replan_and_a_tier_move_are_counted_since_the_moment() -> None:
    async with transaction() as session:
        session.add(Supplier(code="jade", name="Jade"))
    rejected = await add_order(state=PurchaseOrderState.REJECTED)
    await add_order(state=PurchaseOrderState.SENT, replaces=rejected)

    found = await overview(since=_LONG_AGO)
    nothing = await overview(since=_LATER)

    assert found.by_state["purchase_orders"] == {"rejected": 1, "sent": 1}
    assert (found.supply["sent"], found.supply["ordered_fen"]) == (2, 1_400)
    assert (found.supply["rejected"], found.supply["replans"]) == (1, 1)
    assert [(move.sku, move.saved_fen) for move in found.tier_moves] == [("tea", 40), ("tea", 40)]
    assert nothing.by_state["purchase_orders"] == {}
    assert nothing.tier_moves == ()
