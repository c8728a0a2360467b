"""The invariants of the shop as data."""

from fastapi import APIRouter

from api.deps import Operator
from api.schemas import Wire
from operations.audit import audit

router = APIRouter(prefix="/v1/ops/audit", tags=["operations"])


class ViolationBody(Wire):
    """A row that breaks an invariant, and how."""

    invariant: str
    row: str
    detail: str


class AuditBody(Wire):
    """What was checked, in one moment, and what breaks it."""

    checked: list[str]
    violations: list[ViolationBody]


@router.get("")
async def show_audit(_: Operator) -> AuditBody:
    """Check every invariant of seats, money and goods now; an empty list is good news."""
    report = await audit()
    return AuditBody(
        checked=list(report.checked),
        violations=[
            ViolationBody(invariant=found.invariant, row=found.row, detail=found.detail)
            for found in report.violations
        ],
    )
