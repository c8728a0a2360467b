"""What the clerk does in one turn of each duty; each returns how much it found to do."""

from typing import Final

import structlog
from sqlalchemy import text

from kit import inbox, outbox, wakeups
from kit.db import is_gone, transaction
from kit.errors import CaravanError
from operations import (
    apply_stock_feed,
    cap_groups,
    close_short,
    expire_groups,
    give_up_groups,
    hear,
    tell,
)
from operations import poll_payments as payment_polls
from operations.errors import CannotApply

_LETTERS: Final = 50
_MESSAGES: Final = 500
_SEATS: Final = 500
_GROUPS: Final = 200
_SKUS: Final = 200
_PAYMENTS: Final = 50
_ANSWER_DAYS: Final = 7
_ANSWERS: Final = 5_000

log = structlog.get_logger("clerk")


async def apply_inbox() -> int:
    """Apply waiting letters one by one, each with its mark in one transaction."""
    async with transaction() as session:
        letters = await inbox.claim(session, limit=_LETTERS)
    for letter in letters:
        await _apply(letter)
    return len(letters)


async def _apply(letter: inbox.Letter) -> None:
    try:
        async with transaction(long=True) as session:
            if await inbox.mark_applied(session, letter.id):
                await hear.apply(session, letter)
    except CannotApply as refusal:
        await _park(letter, reason=str(refusal))
    except Exception as error:
        # An edge: one poisonous letter must not stop the others. It is tried again after its
        # lease, and parked for a person when that never helps.
        if is_gone(error):
            raise
        log.exception("inbox.failed", letter=str(letter.id), kind=letter.kind)
        if letter.attempts >= inbox.MAX_TRIES:
            await _park(letter, reason=f"failed {letter.attempts} times: {error}")


async def _park(letter: inbox.Letter, *, reason: str) -> None:
    log.warning("inbox.parked", letter=str(letter.id), kind=letter.kind, reason=reason)
    async with transaction() as session:
        await inbox.park(session, letter.id, reason=reason)


async def tell_outbox() -> int:
    """Tell what happened; what cannot be told holds back only its own key."""
    async with transaction() as session:
        messages = await outbox.claim(session, limit=_MESSAGES)
        # Most facts only wake a flow: that is done, and marked, in this same transaction.
        told = await tell.wake(session, messages)
        await outbox.settle(session, told)
    settled = set(told)
    held_back: set[str] = set()
    for message in messages:
        if message.id in settled:
            continue
        if message.key in held_back:
            async with transaction() as session:
                await outbox.give_back(session, [message.id])
        elif not await _tell_shop(message):
            held_back.add(message.key)
    return len(messages)


async def _tell_shop(message: outbox.Message) -> bool:
    try:
        await tell.shop(message)
    except CaravanError as error:
        async with transaction() as session:
            dead = await outbox.fail(session, message, error=str(error))
        log.warning("outbox.failed", topic=message.topic, key=message.key, dead=dead)
        return dead
    async with transaction() as session:
        await outbox.settle(session, [message.id])
    return True


async def release_seats() -> int:
    """Release seats that were not paid in time."""
    return await expire_groups.release_expired(limit=_SEATS)


async def settle_groups() -> int:
    """End groups whose deadline or grace has passed."""
    return await expire_groups.settle_due(limit=_GROUPS)


async def poll_payments() -> int:
    """Ask the provider about payments whose notify has not come."""
    return await payment_polls.poll_payments(limit=_PAYMENTS)


async def recompute_budgets() -> int:
    """Work out again what may be promised of SKUs whose stock or supply changed."""
    return await cap_groups.recompute_dirty(limit=_SKUS)


async def wake_for_cut_offs() -> int:
    """Wake the ship flow for waves whose cut-off has come; those on hold wait for their release."""
    async with transaction() as session:
        connection = await session.connection()
        due = await connection.execute(
            text(
                "SELECT DISTINCT w.warehouse FROM wave w JOIN warehouse h ON h.code = w.warehouse"
                " WHERE w.state = 'open' AND w.cut_off_at <= kit_now() AND NOT h.on_hold"
                " AND NOT EXISTS"
                " (SELECT FROM wake_up u WHERE u.flow = 'ship' AND u.key = w.warehouse)"
            )
        )
        warehouses = [row.warehouse for row in due]
        for warehouse in warehouses:
            await wakeups.wake(session, "ship", warehouse, reason="cut-off")
    return len(warehouses)


async def watch_purchases() -> int:
    """Give up what suppliers never delivered, and end the rests of those that refused."""
    return await close_short.watch_purchases()


async def keep_promises() -> int:
    """Refund groups that nothing can cover by their ship-by date."""
    return await give_up_groups.give_up_groups()


async def replay_early_letters() -> int:
    """Try stock changes again that came before what they depend on."""
    await apply_stock_feed.replay_early()
    return 0  # most of them still wait: look again after a pause


async def forget_old_answers() -> int:
    """Drop kept answers that are older than any honest retry (wall clock)."""
    async with transaction() as session:
        connection = await session.connection()
        gone = await connection.execute(
            text(
                "DELETE FROM idempotent_answer WHERE (owner, route, key) IN"
                " (SELECT owner, route, key FROM idempotent_answer"
                "  WHERE created_at < now() - :days * interval '1 day' LIMIT :limit)"
            ),
            {"days": _ANSWER_DAYS, "limit": _ANSWERS},
        )
        return gone.rowcount
