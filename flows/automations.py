"""Automations as code: found by name and updated in place, so a restart doubles none."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, DoNothing
from prefect.events.schemas.automations import EventTrigger, Posture

_MISSED_HEARTBEATS: Final = timedelta(seconds=90)
_SILENCE: Final = timedelta(minutes=5)


def wanted() -> Sequence[Automation]:
    """Return the automations that a shop needs."""
    return (
        Automation(
            name="caravan: a run whose process died is crashed",
            description="A flow run sends a heartbeat every 30 s; 90 s of silence is a death.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={
                    "prefect.flow-run.heartbeat",
                    "prefect.flow-run.Completed",
                    "prefect.flow-run.Failed",
                    "prefect.flow-run.Cancelled",
                    "prefect.flow-run.Crashed",
                    "prefect.flow-run.Suspended",
                },
                match={"prefect.resource.id": ["prefect.flow-run.*"]},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=_MISSED_HEARTBEATS,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message="no heartbeat for 90 s: the process is gone; its work is found again",
                )
            ],
        ),
        Automation(
            name="caravan: an automation's action failed",
            description="Visible in the event feed; look at the automation that it names.",
            trigger=EventTrigger(
                expect={"prefect.automation.action.failed"},
                match={"prefect.resource.id": ["prefect.automation.*"]},
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(seconds=0),
            ),
            actions=[DoNothing()],
        ),
        Automation(
            name="caravan: no stock sync for 5 minutes",
            description="The flow runner or the Prefect server stands still.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Completed"},
                match={"prefect.resource.id": ["prefect.flow-run.*"]},
                match_related={
                    "prefect.resource.role": ["flow"],
                    "prefect.resource.name": ["sync_stock"],
                },
                posture=Posture.Proactive,
                threshold=1,
                within=_SILENCE,
            ),
            actions=[DoNothing()],
        ),
    )


async def put() -> None:
    """Create or update every automation, by its name."""
    for automation in wanted():
        try:
            known = await Automation.aread(name=automation.name)
        except ValueError:
            await automation.acreate()
            continue
        automation.id = known.id
        await automation.aupdate()
