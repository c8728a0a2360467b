"""A request under an idempotency key, whose act is safe to repeat, gets its first answer again.

For acts that call a partner in the middle and so cannot be one transaction with the kept answer:
what makes a repetition harmless is the act itself, what makes it equal is the answer kept here.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

from api import errors
from api.deps import Keyed
from kit import idempotency
from kit.db import transaction
from kit.errors import CaravanError, Conflict, NotFound, Unprocessable
from kit.idempotency import Kept

# A repetition may hope for another answer to anything else.
_TERMINAL: Final = (Conflict, NotFound, Unprocessable)


async def answer_once(
    keyed: Keyed, act: Callable[[], Awaitable[tuple[int, Mapping[str, Any]]]]
) -> Response:
    """Run `act` unless its answer is kept; keep and return its status and JSON document.

    Raises:
        KeyReused: the key was used with another body.
        CaravanError: the act may succeed when it is repeated; nothing is kept.
    """
    kept = await _recall(keyed)
    if kept is not None:
        return _response(kept)
    try:
        status, answer = await act()
    except _TERMINAL as refusal:
        status = errors.status_of(refusal)
        answer = _document(status, refusal)
    return _response(await _remember(keyed, Kept(status=status, answer=answer)))


def _document(status: int, refusal: CaravanError) -> Mapping[str, Any]:
    return errors.document(status, code=refusal.code, detail=str(refusal))


async def _recall(keyed: Keyed) -> Kept | None:
    async with transaction() as session:
        return await idempotency.recall(
            session,
            owner=keyed.owner,
            route=keyed.route,
            key=keyed.key,
            fingerprint=keyed.fingerprint,
        )


async def _remember(keyed: Keyed, given: Kept) -> Kept:
    """Keep an answer; return the one that a request at the same time kept first, if any."""
    async with transaction() as session:
        kept = await idempotency.recall(
            session,
            owner=keyed.owner,
            route=keyed.route,
            key=keyed.key,
            fingerprint=keyed.fingerprint,
        )
        if kept is not None:
            return kept
        await idempotency.remember(
            session,
            owner=keyed.owner,
            route=keyed.route,
            key=keyed.key,
            fingerprint=keyed.fingerprint,
            status=given.status,
            answer=given.answer,
        )
    return given


def _response(kept: Kept) -> Response:
    refused = kept.status >= 400  # noqa: PLR2004 - HTTP's own border
    return Response(
        msgspec.json.encode(kept.answer),
        status_code=kept.status,
        media_type=errors.MEDIA_TYPE if refused else "application/json",
    )
