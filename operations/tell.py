"""Who is told what: facts from the outbox wake flows, and the shop's own endpoint hears some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit import wakeups
from kit.outbox import Message
from operations.companies import endpoint, line

SHOP: Final = ("shop", "shop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """A flow to run; `delay_seconds` (wall) lets what follows be done in the same run."""

    flow: str
    delay_seconds: float


_SOON: Final = 0.5
_BATCHED: Final = 1.5

WAKES: Final[Mapping[str, tuple[Wake, ...]]] = MappingProxyType(
    {
        "group.succeeded": (Wake(flow="fulfil", delay_seconds=_BATCHED),),
        "group.failed": (Wake(flow="refund", delay_seconds=_SOON),),
        "group.cancelled": (Wake(flow="refund", delay_seconds=_SOON),),
        "refund.queued": (Wake(flow="refund", delay_seconds=_SOON),),
        "orders.uncovered": (Wake(flow="replenish", delay_seconds=_BATCHED),),
        "purchase_order.approved": (Wake(flow="replenish", delay_seconds=_SOON),),
        "purchase_order.rejected": (Wake(flow="replenish", delay_seconds=_SOON),),
        "purchase_order.sent": (Wake(flow="fulfil", delay_seconds=_BATCHED),),
        "purchase_order.answered": (Wake(flow="fulfil", delay_seconds=_BATCHED),),
        "goods.received": (
            Wake(flow="fulfil", delay_seconds=_BATCHED),
            Wake(flow="ship", delay_seconds=_BATCHED),
        ),
        # New goods may cover who waits; broken ones leave somebody without.
        "stock.changed": (
            Wake(flow="cap_groups", delay_seconds=_BATCHED),
            Wake(flow="fulfil", delay_seconds=_BATCHED),
        ),
    }
)

# What the shop's own endpoint hears (API.md, outgoing events).
SHOP_TOPICS: Final = frozenset(
    {
        "group.opened",
        "group.progress",
        "group.succeeded",
        "group.failed",
        "order.confirmed",
        "order.shipped",
        "order.delivered",
        "order.refunded",
        "seat_cap.low",
    }
)


async def wake(session: AsyncSession, messages: Sequence[Message]) -> list[UUID]:
    """Wake the flows that the messages want; return those that are thereby told."""
    wanted: dict[str, tuple[float, str]] = {}
    for message in messages:
        for woken in WAKES.get(message.topic, ()):
            delay, _ = wanted.get(woken.flow, (woken.delay_seconds, ""))
            wanted[woken.flow] = (min(delay, woken.delay_seconds), message.topic)
    for flow in sorted(wanted):
        delay, topic = wanted[flow]
        await wakeups.wake(session, flow, reason=topic, delay_seconds=delay)
    listening = await _shop_listens(session)
    return [m.id for m in messages if not (listening and m.topic in SHOP_TOPICS)]


async def _shop_listens(session: AsyncSession) -> bool:
    connection = await session.connection()
    found = await connection.execute(
        text(
            "SELECT EXISTS (SELECT FROM partner WHERE kind = :kind AND code = :code"
            " AND active AND url IS NOT NULL)"
        ),
        {"kind": SHOP[0], "code": SHOP[1]},
    )
    return bool(found.scalar_one())


async def shop(message: Message) -> None:
    """Post a fact to the shop's endpoint; the message's id is the key of a repetition.

    Raises:
        CaravanError: it was not, or perhaps not, taken in; the same key is sent again later.
    """
    await line().post(
        await endpoint(*SHOP),
        "",
        document={
            "type": message.topic,
            "timestamp": message.occurred_at.isoformat(),
            "data": dict(message.body),
        },
        idempotency_key=str(message.id),
    )
