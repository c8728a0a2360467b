"""The kit's stores on a real Postgres: clock, outbox, inbox, wake-ups, leases, answers."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

import migrations
from kit import clock, idempotency, inbox, outbox, wakeups
from kit.db import transaction
from kit.leases import lease
from kit.settings import settings

pytestmark = pytest.mark.usefixtures("store")


def _fact(topic: str, key: str) -> outbox.Fact:
    return outbox.Fact(topic=topic, key=key, body={"topic": topic})


async def test_the_tables_in_code_are_the_tables_in_the_database(store: str) -> None:
    await asyncio.to_thread(migrations.check, store)

    async with transaction() as session:
        connection = await session.connection()
        tables = await connection.exec_driver_sql(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        )
        assert tables.scalar_one() == len(migrations.metadata.tables) + 1  # Alembic's own


async def test_business_time_moves_forward_only() -> None:
    async with transaction() as session:
        before = await clock.business_now(session)
        moved = await clock.move_clock(session, to=before + timedelta(days=3))

    assert timedelta(days=3) <= moved - before < timedelta(days=3, minutes=1)
    with pytest.raises(clock.ClockRefused):
        async with transaction() as session:
            await clock.move_clock(session, to=before)


async def test_business_time_stands_still_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_ENV", "production")
    settings.cache_clear()

    with pytest.raises(clock.ClockRefused):
        async with transaction() as session:
            await clock.move_clock(session, to=datetime(2100, 1, 1, tzinfo=UTC))


async def test_an_error_inside_the_block_keeps_nothing() -> None:
    async def emit_and_fail() -> None:
        async with transaction() as session:
            await outbox.emit(session, [_fact("a", "k")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await emit_and_fail()

    async with transaction() as session:
        assert await outbox.claim(session) == []


async def test_messages_of_one_key_keep_their_order_past_a_failure() -> None:
    async with transaction() as session:
        await outbox.emit(
            session, [_fact("first", "tea"), _fact("second", "tea"), _fact("other", "mug")]
        )

    async with transaction() as session:
        claimed = await outbox.claim(session)
        assert [message.topic for message in claimed] == ["first", "second", "other"]
        assert not await outbox.fail(session, claimed[0], error="refused")
        await outbox.give_back(session, [claimed[1].id])
        await outbox.settle(session, [claimed[2].id])
    async with transaction() as session:
        assert await outbox.claim(session) == []  # "second" waits behind "first"

    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE outbox_message SET due_at = now()")
        again = await outbox.claim(session)
    assert [(message.topic, message.attempts) for message in again] == [("first", 2), ("second", 1)]


async def test_a_dead_letter_lets_the_others_pass() -> None:
    async with transaction() as session:
        await outbox.emit(session, [_fact("poison", "tea"), _fact("next", "tea")])
        connection = await session.connection()
        await connection.execute(
            text("UPDATE outbox_message SET attempts = :n WHERE topic = 'poison'"),
            {"n": outbox.MAX_TRIES - 1},
        )

    async with transaction() as session:
        poison, following = await outbox.claim(session)
        assert await outbox.fail(session, poison, error="never")
        await outbox.give_back(session, [following.id])
    async with transaction() as session:
        assert [message.topic for message in await outbox.claim(session)] == ["next"]


async def test_ten_deliveries_of_one_message_are_taken_in_once_and_applied_once() -> None:
    async def deliver() -> bool:
        async with transaction() as session:
            return await inbox.take_in(
                session,
                source="suppliers:a",
                external_id="evt-1",
                kind="x",
                body={},
                occurred_at=datetime.now(UTC),
            )

    taken = await asyncio.gather(*(deliver() for _ in range(10)))
    assert taken.count(True) == 1

    async with transaction() as session:
        (letter,) = await inbox.claim(session)

    async def apply() -> bool:
        async with transaction() as session:
            return await inbox.mark_applied(session, letter.id)

    applied = await asyncio.gather(*(apply() for _ in range(10)))
    assert applied.count(True) == 1


async def test_a_parked_message_can_be_replayed_once() -> None:
    async with transaction() as session:
        await inbox.take_in(
            session,
            source="s",
            external_id="e",
            kind="x",
            body={},
            occurred_at=datetime.now(UTC),
        )
        (letter,) = await inbox.claim(session)
        await inbox.park(session, letter.id, reason="unknown order")
    async with transaction() as session:
        assert await inbox.claim(session) == []
        assert await inbox.replay(session, letter.id)
        assert not await inbox.replay(session, letter.id)


async def test_a_wake_up_asked_for_during_its_run_runs_again() -> None:
    async with transaction() as session:
        await wakeups.wake(session, "fulfil", "a", reason="group succeeded")
        await wakeups.wake(session, "fulfil", "a", reason="group succeeded")
    async with transaction() as session:
        (wanted,) = await wakeups.claim(session, ["fulfil"])
        assert await wakeups.claim(session, ["fulfil"]) == []
    async with transaction() as session:
        await wakeups.wake(session, "fulfil", "a", reason="another")

    async with transaction() as session:
        await wakeups.settle(session, wanted)
    async with transaction() as session:
        (again,) = await wakeups.claim(session, ["fulfil"])
        await wakeups.settle(session, again)
    async with transaction() as session:
        assert await wakeups.claim(session, ["fulfil"]) == []


async def test_a_lease_is_held_by_one() -> None:
    async with lease("replenish:tea") as mine, lease("replenish:tea") as doubled:
        assert mine
        assert not doubled
    async with lease("replenish:tea") as free_again:
        assert free_again


async def _lease_ends_at(name: str) -> datetime:
    async with transaction() as session:
        connection = await session.connection()
        found = await connection.execute(
            text("SELECT until FROM lease WHERE name = :name"), {"name": name}
        )
        ends_at: datetime = found.scalar_one()
    return ends_at


async def test_a_lease_lasts_as_long_as_its_holder_lives() -> None:
    async with lease("replenish:tea", seconds=1):
        ends_at = await _lease_ends_at("replenish:tea")
        async with asyncio.timeout(10):
            while await _lease_ends_at("replenish:tea") <= ends_at + timedelta(seconds=1):
                async with lease("replenish:tea") as doubled:
                    assert not doubled


async def test_wake_ups_that_are_worked_on_are_kept_from_others() -> None:
    async with transaction() as session:
        await wakeups.wake(session, "fulfil", "a")
        wanted = await wakeups.claim(session, ["fulfil"])
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE wake_up SET lease_until = now()")

    async with transaction() as session:
        await wakeups.keep(session, wanted)

    async with transaction() as session:
        assert await wakeups.claim(session, ["fulfil"]) == []


async def test_a_key_gives_its_answer_again_and_refuses_another_body() -> None:
    asked = {"owner": "u", "route": "POST /v1/payments", "key": "k"}
    fingerprint = idempotency.body_hash(b"{}")
    async with transaction() as session:
        assert await idempotency.recall(session, **asked, fingerprint=fingerprint) is None
        await idempotency.remember(
            session, **asked, fingerprint=fingerprint, status=201, answer={"id": 1}
        )

    async with transaction() as session:
        kept = await idempotency.recall(session, **asked, fingerprint=fingerprint)
    assert kept == idempotency.Kept(status=201, answer={"id": 1})
    with pytest.raises(idempotency.KeyReused):
        async with transaction() as session:
            await idempotency.recall(session, **asked, fingerprint=b"other")


async def test_journals_cannot_be_rewritten() -> None:
    async with transaction() as session:
        connection = await session.connection()
        journals = await connection.exec_driver_sql(
            "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%_append_only'"
        )
        guarded = {row[0] for row in journals}

    assert guarded == {
        "stock_movement",
        "ledger_transaction",
        "ledger_entry",
        "order_journal",
        "purchase_order_journal",
        "tracking_event",
    }
