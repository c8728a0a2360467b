"""Decides which warehouse ships which completed group, and makes it true."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.stage import nothing, page, stage, table, taken
from kit.money import yuan
from operations import allocate_groups
from operations.allocation_report import AllocationReport


@flow(name="fulfil", flow_run_name="fulfil {reason}")
async def fulfil(*, reason: str = "by hand") -> State[Any]:
    """Cover completed groups with stock and inbound goods, earliest completed first.

    Safe to run twice: what is covered is not waiting any more, and what was planned is checked
    again under its locks.
    """
    async with stage("fulfil") as mine:
        if not mine:
            return taken("fulfil")
        report = await allocate_groups.allocate_groups()
    if not report.groups_seen:
        return nothing("no completed group waits for goods")
    return await page(
        "fulfilment-plan",
        title="Fulfilment plan",
        said=_said(report),
        sections=[f"Woken by: {reason}.", *_sections(report)],
    )


def _said(report: AllocationReport) -> str:
    saved = report.nearest_cost_fen - report.cost_fen
    return (
        f"{report.groups_covered} of {report.groups_seen} groups covered:"
        f" {report.orders_reserved} orders from stock, {report.orders_pegged} by inbound goods,"
        f" {report.orders_uncovered} still uncovered; {report.parcels} parcels for"
        f" {yuan(report.cost_fen)}, {yuan(saved)} less than from the nearest warehouse"
    )


def _sections(report: AllocationReport) -> list[str]:
    sections = [f"Solver: {report.status}, proof: {report.proof}."]
    if report.places:
        sections += [
            "## By warehouse and region",
            table(
                [
                    {
                        "warehouse": line.warehouse,
                        "province": line.province,
                        "orders": line.orders,
                        "units": line.units,
                        "cost": yuan(line.cost_fen),
                    }
                    for line in report.places
                ]
            ),
        ]
    if report.late:
        sections += [
            "## Late",
            table(
                [
                    {
                        "group": line.group_id,
                        "warehouse": line.warehouse,
                        "promised": f"{line.ship_by:%Y-%m-%d %H:%M}",
                        "leaves": f"{line.leaves_at:%Y-%m-%d %H:%M}",
                    }
                    for line in report.late
                ]
            ),
        ]
    if report.uncovered:
        sections += [
            "## Waiting, and what for",
            table(
                [
                    {
                        "group": line.group_id,
                        "SKU": line.sku,
                        "orders": line.orders,
                        "units": line.units,
                        "why": line.reason,
                        "missing": f"{line.missing_units} at {line.warehouse}"
                        if line.warehouse
                        else line.missing_units,
                    }
                    for line in report.uncovered
                ]
            ),
        ]
    return sections
