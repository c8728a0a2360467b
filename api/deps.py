"""What an endpoint may ask for: who is calling, under which key, and a transaction.

Each is a plain function as well, for the Starlette routes.
"""

import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Header, Request
from sqlmodel.ext.asyncio.session import AsyncSession

from api.errors import Forbidden, KeyInvalid, KeyMissing, Unauthenticated
from api.limits import Limits
from groups import sessions
from groups.sessions import Who
from kit.batching import Batcher
from kit.db import transaction

# A revoked token works this long in a process that has just seen it.
_TRUST_SECONDS: Final = 5.0
_REMEMBERED_AT_MOST: Final = 50_000
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerIdentity:
    """A buyer who is logged in."""

    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorIdentity:
    """A person of operations, by the name their token was made for."""

    actor: str


class Identities:
    """Tells who holds a token; asks the database for many callers at once.

    Answers are trusted for a few seconds, so that a buyer's second request asks nobody.
    """

    def __init__(self) -> None:
        self._asked: Batcher[bytes, Who | None] = Batcher(_look_up)
        self._known: dict[bytes, tuple[Who, float]] = {}

    async def of(self, authorization: str | None) -> Who:
        """Return the holder of the token in an Authorization header.

        Raises:
            Unauthenticated: there is none, or it is unknown, idle too long or expired.
        """
        if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
            raise Unauthenticated("a bearer token is needed")
        # Headers are Latin-1; whatever they hold has bytes to hash.
        digest = hashlib.sha256(authorization[len(_BEARER) :].encode()).digest()
        known = self._known.get(digest)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        who = await self._asked.submit(digest)
        if who is None:
            self._known.pop(digest, None)
            raise Unauthenticated("the token is unknown or expired")
        if len(self._known) >= _REMEMBERED_AT_MOST:
            self._known.clear()
        self._known[digest] = (who, time.monotonic() + _TRUST_SECONDS)
        return who

    async def close(self) -> None:
        """Answer who was asked about and stop."""
        await self._asked.close()


async def _look_up(hashes: Sequence[bytes]) -> list[Who | None]:
    async with transaction() as session:
        found = await sessions.who_are(session, set(hashes))
    return [found.get(wanted) for wanted in hashes]


def as_buyer(who: Who) -> BuyerIdentity:
    """Return the buyer behind a token; raise Forbidden for anybody else."""
    if who.role != "buyer" or who.user_id is None:
        raise Forbidden("this is for buyers")
    return BuyerIdentity(user_id=who.user_id)


def as_operator(who: Who) -> OperatorIdentity:
    """Return the operator behind a token; raise Forbidden for anybody else."""
    if who.role != "ops" or who.actor is None:
        raise Forbidden("this is for operations")
    return OperatorIdentity(actor=who.actor)


def checked_key(key: str | None) -> str:
    """Return an Idempotency-Key that may be used.

    Raises:
        KeyMissing: there is none.
        KeyInvalid: it is not 1 to 255 visible ASCII characters.
    """
    if key is None:
        raise KeyMissing("every POST by a buyer carries an Idempotency-Key")
    if _KEY.fullmatch(key) is None:
        raise KeyInvalid("an Idempotency-Key is 1 to 255 visible ASCII characters")
    return key


def fingerprint(path: str, body: bytes) -> bytes:
    """Return what tells two requests under one key apart: the resource named and the body."""
    return hashlib.sha256(path.encode() + b"\n" + body).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """Under what a request's answer is kept: the arguments of kit.idempotency.recall."""

    owner: str
    route: str
    key: str
    fingerprint: bytes


async def _who(request: Request, authorization: Annotated[str | None, Header()] = None) -> Who:
    identities: Identities = request.app.state.identities
    return await identities.of(authorization)


async def _buyer(request: Request, who: Annotated[Who, Depends(_who)]) -> BuyerIdentity:
    buyer = as_buyer(who)
    limits: Limits = request.app.state.limits
    limits.take(user=str(buyer.user_id), route=f"{request.method} {request.scope['route'].path}")
    return buyer


async def _operator(who: Annotated[Who, Depends(_who)]) -> OperatorIdentity:
    return as_operator(who)


async def _database() -> AsyncIterator[AsyncSession]:
    async with transaction() as session:
        yield session


Caller = Annotated[Who, Depends(_who)]
Buyer = Annotated[BuyerIdentity, Depends(_buyer)]
Operator = Annotated[OperatorIdentity, Depends(_operator)]
# scope="function": the commit happens before the answer leaves, so a failed one is not a 201.
Database = Annotated[AsyncSession, Depends(_database, scope="function")]


async def _keyed(
    request: Request,
    buyer: Buyer,
    key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> Keyed:
    return Keyed(
        owner=str(buyer.user_id),
        route=f"{request.method} {request.scope['route'].path}",
        key=checked_key(key),
        fingerprint=fingerprint(request.url.path, await request.body()),
    )


Idempotent = Annotated[Keyed, Depends(_keyed)]
