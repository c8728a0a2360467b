"""Sends the refunds that are owed, each under a number that stays the same over retries."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.stage import nothing, page, stage, table, taken
from operations import send_refunds


@flow(name="refund", flow_run_name="refund {reason}")
async def refund(*, reason: str = "by hand") -> State[Any]:
    """Send queued refunds and ask about accepted ones, paced below the provider's limit.

    Safe to run twice: the provider knows a refund by its number, and a settled row is not sent.
    """
    async with stage("refund") as mine:
        if not mine:
            return taken("refund")
        report = await send_refunds.send_refunds()
    counts = {
        "sent": report.sent,
        "returned": report.succeeded,
        "accepted, not yet returned": report.accepted,
        "postponed": report.postponed,
        "for a person": report.attention,
        "came due meanwhile": report.left,
    }
    if not any(counts.values()):
        return nothing("no refund is due")
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return await page(
        "refunds",
        title="Refunds",
        said=said,
        sections=[
            f"Woken by: {reason}.",
            table([{"what": what, "refunds": count} for what, count in counts.items()]),
            (
                "An accepted refund is not a returned one: the provider's notify or query decides."
                " Those for a person are orders in the state `refund_attention`."
            ),
        ],
    )
