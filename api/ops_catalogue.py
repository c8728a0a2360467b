"""Loading a catalogue over HTTP: the document that `caravan load` takes, streamed."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from api.deps import Operator
from api.errors import BodyRefused, Violation, problem, status_of
from api.schemas import Count, Wire
from operations.load_catalogue import CatalogueInvalid, Counts, load_catalogue

router = APIRouter(prefix="/v1/ops/catalogue", tags=["operations"])

# A 64 MiB file over a slow line; small bodies have their own, shorter limit.
UPLOAD_SECONDS: Final = 120.0
_KINDS: Final = ("application/json", "application/yaml", "application/x-yaml", "text/yaml")
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A catalogue as YAML or JSON; `caravan load --schema` prints its schema",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}


class SectionBody(Wire):
    """What became of the entries of a section."""

    added: Count
    changed: Count
    unchanged: Count
    removed: Count


class LoadBody(Wire):
    """What a load did; `changed` is false when the document said nothing new."""

    changed: bool
    sections: dict[str, SectionBody]


@router.post("", openapi_extra=_BODY, response_model=LoadBody)
async def load(request: Request, _: Operator) -> LoadBody | Response:
    """Load products, carriers, warehouses, suppliers, agreements and campaigns, all or nothing.

    Loading the same document again changes nothing. What it does not name stays.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise BodyRefused(415, code="content_type", detail="a catalogue is JSON or YAML")
    try:
        report = await load_catalogue(await _whole_body(request), name="catalogue")
    except CatalogueInvalid as error:
        return _refusal(error)
    return LoadBody(
        changed=report.changed_anything,
        sections={section: _section(counts) for section, counts in report.counts.items()},
    )


async def _whole_body(request: Request) -> bytes:
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return b"".join([part async for part in request.stream()])
    except TimeoutError:
        raise BodyRefused(
            408, code="body_timeout", detail=f"the body did not end in {UPLOAD_SECONDS:.0f} s"
        ) from None


def _section(counts: Counts) -> SectionBody:
    return SectionBody(
        added=counts.added,
        changed=counts.changed,
        unchanged=counts.unchanged,
        removed=counts.removed,
    )


def _refusal(error: CatalogueInvalid) -> Response:
    return problem(
        status_of(error),
        code=error.code,
        detail=str(error),
        violations=[
            Violation(
                pointer=found.pointer,
                detail=found.rule if found.line is None else f"line {found.line}: {found.rule}",
            )
            for found in error.problems
        ],
    )
