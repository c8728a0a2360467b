"""Keeps one open form per purchase order that waits for a person, and closes the others."""

from typing import Final

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled

from operations import approval_forms

_LIVE: Final = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]
_PAGE: Final = 200


class Forms:
    """Looks at Prefect only while there is an order or a form to look after."""

    def __init__(self) -> None:
        # A runner that starts does not know what the one before it left open.
        self._some_are_open = True

    async def sweep(self) -> None:
        """Make the forms that are missing; cancel those whose order is decided."""
        waiting = {str(one.po_id): one for one in await approval_forms.all_waiting()}
        if not waiting and not self._some_are_open:
            return
        async with get_client() as client:
            runs = await _open_forms(client)
            asked = {str(run.parameters.get("po_id")): run for run in runs}
            for po_id, run in asked.items():
                if po_id not in waiting and run.state_type == StateType.PAUSED:
                    await client.set_flow_run_state(
                        run.id, Cancelled(message="the order was decided elsewhere"), force=True
                    )
            missing = [one for po_id, one in waiting.items() if po_id not in asked]
            if missing:
                deployment = await client.read_deployment_by_name("approve/approve")
                for one in missing:
                    await client.create_flow_run_from_deployment(
                        deployment.id,
                        parameters={
                            "po_id": str(one.po_id),
                            "title": f"{one.supplier} {one.total}",
                        },
                        tags=["caravan", "approval", f"supplier:{one.supplier}"],
                    )
        self._some_are_open = bool(waiting)


async def _open_forms(client: PrefectClient) -> list[FlowRun]:
    return await client.read_flow_runs(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["approve"])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_LIVE))
        ),
        limit=_PAGE,
    )
