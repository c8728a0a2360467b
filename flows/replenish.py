"""Buys what completed groups still need: one plan, one purchase order per supplier, and why."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.stage import nothing, page, stage, table, taken, transient
from kit.ids import new_id
from kit.money import yuan
from operations import plan_purchases, send_orders
from operations.purchase_decision import PurchaseDecision
from operations.send_orders import SendReport


@task(
    name="plan purchases",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 10, 60],
    retry_jitter_factor=0.5,
    retry_condition_fn=transient,
)
async def plan(*, key: str) -> PurchaseDecision:
    """Decide what to buy; the same key again is the same decision."""
    return await plan_purchases.plan_purchases(key=key)


@task(
    name="send orders",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 10, 60],
    retry_jitter_factor=0.5,
    retry_condition_fn=transient,
)
async def send() -> SendReport:
    """Send what is approved; an order is known to its supplier by its own id."""
    return await send_orders.send_orders()


@flow(name="replenish", flow_run_name="replenish {reason}")
async def replenish(*, cycle: str = "", reason: str = "by hand") -> State[Any]:
    """Plan what is missing, order it, and send what is approved.

    Safe to run twice for one cycle: the plan's key is derived from it. Without a cycle every run
    is one of its own; orders under way count as bought, so nothing is bought twice.
    """
    async with stage("replenish") as mine:
        if not mine:
            return taken("replenish")
        decision = await plan(key=cycle or f"run:{flow_run.id or new_id()}")
        report = await send()
    if not decision.orders and not decision.uncovered and not report.sendings:
        return nothing("nothing is missing and nothing waits to be sent")
    return await page(
        "purchase-plan",
        title="Purchase plan",
        said=_said(decision, report),
        sections=[f"Woken by: {reason}.", *_decided(decision), *_sent(report)],
    )


def _said(decision: PurchaseDecision, report: SendReport) -> str:
    total = yuan(sum(order.total_fen for order in decision.orders))
    outcomes = ", ".join(
        f"{count} {outcome}" for outcome in send_orders.Outcome if (count := report.count(outcome))
    )
    return (
        f"{len(decision.lines)} lines in {len(decision.orders)} orders for {total},"
        f" {len(decision.approvals)} wait for a person; sending: {outcomes or 'nothing'}"
    )


def _decided(decision: PurchaseDecision) -> list[str]:
    sections = [f"- {sentence}" for sentence in decision.summary[:20]]
    if decision.lines:
        sections += [
            "## What is bought, and why",
            table(
                [
                    {
                        "supplier": line.supplier,
                        "SKU": line.sku,
                        "units": line.units,
                        "tier from": line.tier_from,
                        "cost": yuan(line.cost_fen),
                        "why": line.reason,
                    }
                    for line in decision.lines
                ]
            ),
        ]
    if decision.uncovered:
        sections += [
            "## What stays uncovered",
            table(
                [
                    {"SKU": row.sku, "units": row.units, "why": row.reason}
                    for row in decision.uncovered
                ]
            ),
        ]
    if decision.approvals:
        sections += [
            "## Waiting for a person",
            table(
                [
                    {"supplier": order.supplier, "total": yuan(order.total_fen), "id": order.po_id}
                    for order in decision.approvals
                ]
            ),
            (
                "Resume the suspended run of flow `approve`, or"
                " `POST /v1/ops/purchase-orders/{id}/approve`."
            ),
        ]
    return sections


def _sent(report: SendReport) -> list[str]:
    if not report.sendings:
        return []
    return [
        "## Sending",
        table(
            [
                {
                    "supplier": one.supplier,
                    "outcome": one.outcome.value,
                    "detail": one.detail,
                    "id": one.po_id,
                }
                for one in report.sendings
            ]
        ),
    ]
