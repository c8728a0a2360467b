"""Runs the audit and keeps its answer where operations look."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from flows.stage import page, stage, table, taken
from operations.audit import audit


@flow(name="check", flow_run_name="check {reason}")
async def check(*, reason: str = "by hand") -> State[Any]:
    """Check every invariant of seats, money and goods; a violation fails the run.

    Reads one consistent snapshot and changes nothing.
    """
    del reason
    async with stage("check") as mine:
        if not mine:
            return taken("check")
        report = await audit()
    rows = [
        {"invariant": found.invariant, "row": found.row, "what": found.detail}
        for found in report.violations
    ]
    said = f"{len(report.checked)} invariants checked, {len(rows)} violations"
    state = await page(
        "audit",
        title="Audit",
        said=said,
        sections=[table(rows) if rows else "Every row agrees with every other."],
    )
    return Failed(message=said) if rows else state
