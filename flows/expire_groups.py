"""Sweeps groups and seats past their time, should the clerk have missed any, and reports them."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.stage import nothing, page, stage, table, taken
from operations import expire_groups as expiry


@flow(name="expire_groups", flow_run_name="expire_groups {reason}")
async def expire_groups(*, reason: str = "by hand") -> State[Any]:
    """Release seats and end groups whose time is over.

    The clerk does this within a second; the sweep makes it visible and is a second pair of eyes.
    Safe to run twice: both lock the group and find its state changed.
    """
    del reason
    async with stage("expire_groups") as mine:
        if not mine:
            return taken("expire_groups")
        report = await expiry.sweep()
    if not report.seats_released and not report.groups:
        return nothing("no seat and no group is past its time")
    ended = ", ".join(f"{count} {verdict}" for verdict, count in sorted(report.groups.items()))
    return await page(
        "expired-groups",
        title="Expired groups",
        said=f"released {report.seats_released} unpaid seats; groups: {ended or 'none'}",
        sections=[
            (
                "The clerk should have done this within a second of its time. If this page grows,"
                " look at the clerk."
            ),
            table(
                [
                    {"verdict": verdict, "groups": count}
                    for verdict, count in sorted(report.groups.items())
                ]
            ),
        ],
    )
