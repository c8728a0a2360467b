"""Works out every seat budget again and shows why a product can promise what it promises."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.stage import nothing, page, stage, table, taken
from operations import cap_groups as capping


@flow(name="cap_groups", flow_run_name="cap_groups {reason}")
async def cap_groups(*, reason: str = "by hand") -> State[Any]:
    """Recompute what may be promised of every SKU, from stock, supply and caps.

    The clerk recomputes a SKU within moments of a change; this is the whole of it, a check and an
    explanation. Lowering a budget never touches seats already given.
    """
    async with stage("cap_groups") as mine:
        if not mine:
            return taken("cap_groups")
        report = await capping.cap_groups()
    if not report.budgets_changed and not report.terms_changed and not report.short_skus:
        return nothing(f"all {report.skus} budgets are right")
    return await page(
        "seat-budgets",
        title="Seat budgets",
        said=(
            f"{report.budgets_changed} of {report.skus} budgets changed,"
            f" {report.short_skus} are below what is promised already"
        ),
        sections=[
            f"Woken by: {reason}.",
            table(
                [
                    {
                        "SKU": row.sku,
                        "before": row.before_units,
                        "budget": row.budget_units,
                        "promised": row.claimed_units,
                        "seats": row.taken_seats,
                        "cap": "none" if row.cap_seats is None else row.cap_seats,
                        "why": ", ".join(
                            f"{part} {value}" for part, value in row.parts.items() if value
                        ),
                    }
                    for row in report.rows
                ]
            ),
        ],
    )
