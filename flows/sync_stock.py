"""Supervises what is known of the stock outside: polls, reconciles, reports its lag."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.stage import nothing, page, stage, table, taken
from operations import watch_feeds


@flow(name="sync_stock", flow_run_name="sync_stock {reason}")
async def sync_stock(*, reason: str = "by hand") -> State[Any]:
    """Poll the warehouses that are silent and report how far each source was heard.

    What warehouses push is applied by the clerk within moments; this flow is for what they do
    not push. Safe to run twice: a line of stock is applied once per time it was true.
    """
    del reason
    async with stage("sync_stock") as mine:
        if not mine:
            return taken("sync_stock")
        report = await watch_feeds.watch_feeds()
    if not report.did_something:
        return nothing("every warehouse was heard and nothing differs")
    return await page(
        "stock-sync",
        title="Stock sync",
        said=report.sentence,
        sections=[table(report.sources), table(report.discrepancies)],
    )
