"""A purchase order above the limit waits for a person: a form in the UI, the truth in its row."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed
from pydantic import Field

from flows.stage import stage
from kit.errors import CaravanError
from kit.money import yuan
from operations import approval_forms, approve_order

# Prefect wants an end; a form that ran out is made again while the order still waits.
_FORM_OPEN_FOR: Final = timedelta(days=7)


class Decision(RunInput):
    """What the person fills in; without a tick and a name nothing is approved."""

    approve: bool = Field(default=False, description="tick to approve, leave to reject")
    approver: str = Field(min_length=1, description="your name; it is kept with the order")
    reason: str = Field(default="", description="why, when you reject")
    quantities: dict[str, int] = Field(
        default_factory=dict,
        description="line number to units, when other quantities are wanted; this asks again",
    )


@flow(name="approve", flow_run_name="approve {title}")
async def approve(*, po_id: str, title: str = "by hand") -> State[Any]:
    """Ask a person whether a purchase order above the limit may be sent.

    Resume the suspended run and fill in the form. Approving by API or CLI does the same: the
    first of them wins, the other finds the order decided.
    """
    del title  # it names the run
    async with stage(f"approve:{po_id}") as mine:
        if not mine:
            return Completed(message="this order's form is being answered already")
        asked = await approval_forms.form(UUID(po_id))
        if asked is None:
            return Completed(message="the order is decided already")
    decision = await asuspend_flow_run(
        wait_for_input=Decision.with_initial_data(description=asked),
        timeout=int(_FORM_OPEN_FOR.total_seconds()),
        key="decision",
    )
    async with stage(f"approve:{po_id}"):
        return await _decide(UUID(po_id), decision)


async def _decide(po_id: UUID, decision: Decision) -> State[Any]:
    if not decision.approver.strip():
        return Completed(name="Unanswered", message="nobody signed; the form is made again")
    try:
        if decision.approve:
            judged = await approve_order.approve(
                po_id,
                decision.approver.strip(),
                quantities={int(line): units for line, units in decision.quantities.items()},
            )
        else:
            judged = await approve_order.reject(
                po_id, decision.approver.strip(), decision.reason.strip()
            )
    except (CaravanError, ValueError) as refusal:
        return Completed(name="Refused", message=f"REJECT: {refusal}")
    changed = "" if judged.changed else " already"
    return Completed(message=f"{judged.state.value}{changed}: {yuan(judged.total_fen)}")
