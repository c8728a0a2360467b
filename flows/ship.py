"""Lets waves leave at their warehouse's cut-off: labels, manifest, and what stays behind."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.stage import nothing, page, stage, table, taken
from operations import ship_waves


@flow(name="ship", flow_run_name="ship {reason}")
async def ship(*, reason: str = "by hand") -> State[Any]:
    """Open waves for ready parcels and hand over those whose cut-off has come.

    Safe to run twice and after a kill: a label is keyed by its shipment, a manifest by its wave,
    and what is unknown is looked up before anything is bought.
    """
    async with stage("ship") as mine:
        if not mine:
            return taken("ship")
        report = await ship_waves.ship_waves()
    if not (report.waves_opened or report.lines or report.problems or report.labels_voided):
        return nothing("no parcel is ready and no cut-off has come")
    return await page(
        "waves",
        title="Waves",
        said=(
            f"{report.waves_manifested} waves with {report.parcels_manifested} parcels handed over,"
            f" {report.waves_opened} opened; {report.labels_bought} labels bought,"
            f" {report.labels_found} found again, {report.labels_unknown} unknown"
        ),
        sections=[
            f"Woken by: {reason}.",
            table(
                [
                    {
                        "warehouse": line.warehouse,
                        "carrier": line.carrier,
                        "cut-off": f"{line.cut_off_at:%Y-%m-%d %H:%M} UTC",
                        "wave": line.number,
                        "parcels": line.parcels,
                        "outcome": line.outcome,
                    }
                    for line in report.lines
                ]
            ),
            "\n".join(f"- {problem}" for problem in report.problems),
        ],
    )
