"""Every flow that operations can start, how often it runs by itself, and its backup schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from prefect import Flow
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.approve import approve
from flows.cap_groups import cap_groups
from flows.check import check
from flows.expire_groups import expire_groups
from flows.fulfil import fulfil
from flows.refund import refund
from flows.replenish import replenish
from flows.ship import ship
from flows.sync_stock import sync_stock


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A flow, awaited on wake-ups and served as a deployment of the same name.

    Args:
        gap_seconds: least wall time between two runs; wake-ups in between are one run.
        every_seconds: also run so often without being asked.
        backup_minutes: schedule of the deployment, should the runner's own clock stand still.
    """

    flow: Flow[..., Any]
    tags: tuple[str, ...]
    gap_seconds: float
    every_seconds: float | None
    backup_minutes: int | None

    @property
    def name(self) -> str:
        return str(self.flow.name)


CATALOGUE: Final[Sequence[Served]] = (
    Served(flow=sync_stock, tags=("stock",), gap_seconds=5, every_seconds=10, backup_minutes=10),
    Served(flow=cap_groups, tags=("stock",), gap_seconds=10, every_seconds=300, backup_minutes=30),
    Served(
        flow=expire_groups, tags=("groups",), gap_seconds=10, every_seconds=300, backup_minutes=30
    ),
    Served(flow=refund, tags=("money",), gap_seconds=6, every_seconds=60, backup_minutes=30),
    Served(flow=replenish, tags=("supply",), gap_seconds=5, every_seconds=3600, backup_minutes=60),
    Served(flow=fulfil, tags=("logistics",), gap_seconds=5, every_seconds=60, backup_minutes=30),
    Served(flow=ship, tags=("logistics",), gap_seconds=3, every_seconds=300, backup_minutes=30),
    Served(flow=check, tags=("audit",), gap_seconds=60, every_seconds=3600, backup_minutes=120),
)

# Started for one purchase order at a time, by flows.approvals or by a person.
FORM: Final[Flow[..., Any]] = approve


async def register(runner: Runner) -> None:
    """Serve every flow of the catalogue, and the approval form, from this runner."""
    for served in CATALOGUE:
        minutes = served.backup_minutes
        await runner.aadd_flow(
            served.flow,
            name=served.name,
            interval=None if minutes is None else minutes * 60,
            tags=["caravan", *served.tags],
            description=(served.flow.description or "").strip(),
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    await register_form(runner)


async def register_form(runner: Runner) -> None:
    """Serve the approval form, which has no schedule: it is started for one order at a time."""
    await runner.aadd_flow(
        FORM,
        name=str(FORM.name),
        tags=["caravan", "supply", "approval"],
        description=(FORM.description or "").strip(),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
