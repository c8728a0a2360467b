"""Seats under concurrency: one winner of the last seat, no unit promised twice, nothing left."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from api.groups import render
from groups import seats
from groups.admission import Admission, Unknown
from groups.seat_facts import Ask
from kit.batching import Batcher
from kit.db import DatabaseDown, engine, make_engine, transaction, use_engine
from kit.idempotency import KeyReused
from kit.ids import new_id
from tests.store.groups_world import (
    add_buyers,
    add_campaign,
    ask,
    assert_seats_add_up,
    code_of,
    count,
    seat_of,
)
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
async def admission(store: str) -> AsyncIterator[Admission]:
    del store
    made = Admission(render)
    yield made
    await made.close()


async def open_group(admission: Admission, campaign_id: UUID) -> UUID:
    (leader,) = await add_buyers(1)
    answer = await admission.take_seat(ask(leader, campaign_id=campaign_id))
    return UUID(seat_of(answer)["group"]["id"])


async def test_opening_a_group_gives_its_leader_a_seat_and_a_deadline(
    admission: Admission,
) -> None:
    campaign_id = await add_campaign(capacity=3)
    (leader,) = await add_buyers(1)

    seat = seat_of(await admission.take_seat(ask(leader, campaign_id=campaign_id, quantity=2)))

    (group,) = await sql(
        "SELECT state, leader_id, held_seats, paid_seats, deadline_at = due_at AS due,"
        " deadline_at - opened_at AS lasts, ship_within_seconds FROM buying_group WHERE id = :id",
        id=UUID(seat["group"]["id"]),
    )
    (order,) = await sql("SELECT * FROM buyer_order")
    assert (group.state, group.leader_id, group.held_seats, group.paid_seats) == (
        "draft",
        leader,
        1,
        0,
    )
    assert group.due
    assert group.lasts.total_seconds() == 86_400
    assert group.ship_within_seconds == 172_800
    assert (order.state, order.quantity, order.units, order.claim_units) == ("reserved", 2, 2, 2)
    assert (order.price_fen, order.amount_fen, order.province) == (9900, 19_800, "440000")
    assert (order.reserved_until - order.created_at).total_seconds() == 900
    assert seat["order"]["amount_fen"] == 19_800
    assert seat["group"]["missing"] == 2
    await assert_seats_add_up()


@pytest.mark.parametrize("pair", range(5))
async def test_two_hundred_callers_on_the_last_seat_leave_one_winner(
    admission: Admission, pair: int
) -> None:
    del pair
    campaign_id = await add_campaign(capacity=2, per_user_limit=1000)
    buyers = await add_buyers(200)
    for _ in range(10):
        group_id = await open_group(admission, campaign_id)

        answers = await asyncio.gather(
            *(admission.take_seat(ask(buyer, group_id=group_id)) for buyer in buyers)
        )

        codes = Counter(code_of(answer) for answer in answers)
        assert codes == {"taken": 1, "group_full": 199}
        assert await count("buyer_order", "group_id = :id", id=group_id) == 2
    await assert_seats_add_up()


async def test_a_thousand_buyers_of_a_hundred_units_are_a_hundred_winners(
    admission: Admission,
) -> None:
    campaign_id = await add_campaign(budget_units=101, capacity=1000)
    group_id = await open_group(admission, campaign_id)
    buyers = await add_buyers(1000)

    answers = await asyncio.gather(
        *(admission.take_seat(ask(buyer, group_id=group_id)) for buyer in buyers)
    )

    assert Counter(map(code_of, answers)) == {"taken": 100, "out_of_stock": 900}
    (budget,) = await sql("SELECT * FROM seat_budget")
    assert (budget.claimed_units, budget.taken_seats) == (101, 101)
    await assert_seats_add_up()


async def test_the_limit_per_user_holds_over_groups_and_at_once(admission: Admission) -> None:
    campaign_id = await add_campaign(per_user_limit=3)
    group_ids = [await open_group(admission, campaign_id) for _ in range(12)]
    (buyer,) = await add_buyers(1)

    answers = await asyncio.gather(
        *(admission.take_seat(ask(buyer, group_id=group_id)) for group_id in group_ids)
    )

    assert Counter(map(code_of, answers)) == {"taken": 3, "user_limit": 9}
    await assert_seats_add_up()


async def test_the_cap_on_participants_holds_over_all_groups(admission: Admission) -> None:
    campaign_id = await add_campaign(cap_seats=7, capacity=2, per_user_limit=1)
    buyers = await add_buyers(20)

    answers = await asyncio.gather(
        *(admission.take_seat(ask(buyer, campaign_id=campaign_id)) for buyer in buyers)
    )

    assert Counter(map(code_of, answers)) == {"taken": 7, "seat_cap": 13}
    assert await count("buying_group") == 7
    await assert_seats_add_up()


async def test_one_key_ten_times_at_once_is_one_order_and_one_answer(
    admission: Admission,
) -> None:
    campaign_id = await add_campaign()
    group_id = await open_group(admission, campaign_id)
    (buyer,) = await add_buyers(1)

    answers = await asyncio.gather(
        *(admission.take_seat(ask(buyer, group_id=group_id, key="k")) for _ in range(10))
    )
    later = await admission.take_seat(ask(buyer, group_id=group_id, key="k"))

    told = [json.loads(answer.body) for answer in (*answers, later)]
    assert all(one == told[0] for one in told)
    assert await count("buyer_order", "user_id = :id", id=buyer) == 1
    assert await count("idempotent_answer", "key = 'k'") == 1


async def test_a_key_with_another_body_is_refused_and_changes_nothing(
    admission: Admission,
) -> None:
    campaign_id = await add_campaign()
    group_id = await open_group(admission, campaign_id)
    (buyer,) = await add_buyers(1)
    await admission.take_seat(ask(buyer, group_id=group_id, key="k"))

    with pytest.raises(KeyReused):
        await admission.take_seat(ask(buyer, group_id=group_id, key="k", body=b"other"))

    assert await count("buyer_order", "user_id = :id", id=buyer) == 1


async def test_a_refusal_leaves_its_kept_answer_and_nothing_else(admission: Admission) -> None:
    campaign_id = await add_campaign(budget_units=1)
    group_id = await open_group(admission, campaign_id)
    (buyer,) = await add_buyers(1)
    tables = ("buyer_order", "order_journal", "outbox_message", "buying_group")
    before = [await count(table) for table in tables]

    refused = await admission.take_seat(ask(buyer, group_id=group_id, key="k"))
    await sql("UPDATE seat_budget SET budget_units = 100")
    again = await admission.take_seat(ask(buyer, group_id=group_id, key="k"))

    assert [await count(table) for table in tables] == before
    assert json.loads(again.body) == json.loads(refused.body)
    assert code_of(refused) == "out_of_stock"
    assert await count("idempotent_answer", "key = 'k' AND status = 409") == 1


async def test_what_is_not_there_is_not_found_and_not_kept(admission: Admission) -> None:
    draft = await add_campaign(state="draft")
    (buyer,) = await add_buyers(1)

    for asked in (ask(buyer, group_id=new_id()), ask(buyer, campaign_id=draft)):
        with pytest.raises(Unknown):
            await admission.take_seat(asked)

    assert await count("idempotent_answer") == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE campaign SET state = 'paused'", "campaign_paused"),
        ("UPDATE buying_group SET state = 'closing'", "group_closed"),
        ("UPDATE buying_group SET deadline_at = kit_now()", "group_closed"),
        ("UPDATE seat_budget SET budget_units = -5", "out_of_stock"),
        ("UPDATE seat_budget SET cap_seats = 0", "seat_cap"),
        ("DELETE FROM seat_budget", "out_of_stock"),
    ],
)
async def test_the_state_of_the_world_refuses(admission: Admission, change: str, code: str) -> None:
    campaign_id = await add_campaign()
    group_id = await open_group(admission, campaign_id)
    (buyer,) = await add_buyers(1)
    await sql(change)

    answer = await admission.take_seat(ask(buyer, group_id=group_id))

    assert (answer.status, code_of(answer)) == (409, code)


async def test_a_member_is_told_so_even_when_the_group_is_full(admission: Admission) -> None:
    campaign_id = await add_campaign(capacity=2)
    group_id = await open_group(admission, campaign_id)
    (buyer,) = await add_buyers(1)

    codes = [code_of(await admission.take_seat(ask(buyer, group_id=group_id))) for _ in range(2)]

    assert codes == ["taken", "already_member"]


async def test_an_expired_seat_is_given_up_before_a_buyer_is_refused(
    admission: Admission,
) -> None:
    campaign_id = await add_campaign(capacity=2)
    group_id = await open_group(admission, campaign_id)
    late, early = await add_buyers(2)
    await admission.take_seat(ask(late, group_id=group_id))
    await sql("UPDATE buyer_order SET reserved_until = kit_now() WHERE user_id = :id", id=late)

    answer = await admission.take_seat(ask(early, group_id=group_id))

    assert code_of(answer) == "taken"
    states = await sql("SELECT user_id, state, claim_units, closed_reason FROM buyer_order")
    assert {(row.user_id, row.state) for row in states} >= {
        (late, "released"),
        (early, "reserved"),
    }
    assert await count("outbox_message", "topic = 'order.released'") == 1
    assert await count("order_journal", "kind = 'release'") == 1
    await assert_seats_add_up()


async def test_expired_seats_of_other_groups_make_room_in_the_stock(
    admission: Admission,
) -> None:
    campaign_id = await add_campaign(budget_units=3, capacity=2)
    abandoned = await open_group(admission, campaign_id)
    wanted = await open_group(admission, campaign_id)
    (paid,) = await add_buyers(1)
    await admission.take_seat(ask(paid, group_id=abandoned))
    await sql(
        "UPDATE buyer_order SET reserved_until = kit_now() WHERE group_id = :id", id=abandoned
    )
    (buyer,) = await add_buyers(1)

    answer = await admission.take_seat(ask(buyer, group_id=wanted))

    assert code_of(answer) == "taken"
    (group,) = await sql("SELECT * FROM buying_group WHERE id = :id", id=abandoned)
    assert (group.state, group.held_seats, group.due_at) == ("cancelled", 0, None)
    assert group.closed_at is not None
    assert await count("outbox_message", "topic = 'group.cancelled'") == 1
    await assert_seats_add_up()


async def test_the_joiner_of_an_abandoned_draft_leads_it(admission: Admission) -> None:
    campaign_id = await add_campaign(budget_units=1, capacity=2)
    group_id = await open_group(admission, campaign_id)
    await sql("UPDATE buyer_order SET reserved_until = kit_now()")
    (buyer,) = await add_buyers(1)

    answer = await admission.take_seat(ask(buyer, group_id=group_id))

    assert code_of(answer) == "taken"
    (group,) = await sql("SELECT * FROM buying_group")
    assert (group.state, group.leader_id, group.held_seats) == ("draft", buyer, 1)
    await assert_seats_add_up()


async def test_a_leader_whose_seat_goes_hands_over_to_who_has_paid(
    admission: Admission,
) -> None:
    campaign_id = await add_campaign(capacity=2)
    group_id = await open_group(admission, campaign_id)
    heir, buyer = await add_buyers(2)
    await admission.take_seat(ask(heir, group_id=group_id))
    await sql(
        "UPDATE buyer_order SET state = 'paid', paid_at = kit_now() WHERE user_id = :h", h=heir
    )
    await sql("UPDATE buying_group SET held_seats = 1, paid_seats = 1")
    await sql("UPDATE buyer_order SET reserved_until = kit_now() WHERE state = 'reserved'")
    await sql("UPDATE buying_group SET deadline_at = kit_now() + interval '1 hour'")

    answer = await admission.take_seat(ask(buyer, group_id=group_id))

    assert code_of(answer) == "taken"
    (group,) = await sql(
        "SELECT state, leader_id, deadline_at = due_at AND deadline_at > kit_now()"
        " + interval '23 hours' AS window_runs FROM buying_group"
    )
    assert (group.state, group.leader_id, group.window_runs) == ("open", heir, True)
    assert seat_of(answer)["group"]["state"] == "open"
    assert await count("outbox_message", "topic = 'group.opened'") == 1


async def test_a_batch_is_three_statements_however_many_join(store: str) -> None:
    del store
    admission = Admission(render)
    campaign_id = await add_campaign(capacity=200)
    group_id = await open_group(admission, campaign_id)
    buyers = await add_buyers(100)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine().sync_engine, "before_cursor_execute", note)
    answers = await admission._settle([ask(buyer, group_id=group_id) for buyer in buyers])
    event.remove(engine().sync_engine, "before_cursor_execute", note)

    assert len(answers) == 100
    assert len(statements) == 3
    await admission.close()


async def test_a_batch_that_refuses_for_room_adds_one_statement(store: str) -> None:
    del store
    admission = Admission(render)
    campaign_id = await add_campaign(capacity=2)
    group_id = await open_group(admission, campaign_id)
    buyers = await add_buyers(50)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine().sync_engine, "before_cursor_execute", note)
    await admission._settle([ask(buyer, group_id=group_id) for buyer in buyers])
    event.remove(engine().sync_engine, "before_cursor_execute", note)

    assert len(statements) == 4
    await admission.close()


async def test_two_processes_race_for_the_last_units_and_sell_each_once(store: str) -> None:
    campaign_id = await add_campaign(budget_units=52, capacity=30)
    here, there = Admission(render), Admission(render)
    group_ids = [await open_group(here, campaign_id) for _ in range(2)]
    buyers = await add_buyers(300)
    other = make_engine(store, pool_size=4, application="caravan-test-other")
    mine = engine()

    async def settle_there(asks: list[Ask]) -> list[str]:
        use_engine(other)
        try:
            pending = [asyncio.ensure_future(there.take_seat(asked)) for asked in asks]
            await asyncio.sleep(0)
        finally:
            use_engine(mine)
        return [code_of(answer) for answer in await asyncio.gather(*pending)]

    both = await asyncio.gather(
        settle_there([ask(b, group_id=group_ids[i % 2]) for i, b in enumerate(buyers[:150])]),
        asyncio.gather(
            *(here.take_seat(ask(b, group_id=group_ids[i % 2])) for i, b in enumerate(buyers[150:]))
        ),
    )
    await here.close()
    await there.close()
    await other.dispose()

    codes = Counter([*both[0], *(code_of(answer) for answer in both[1])])
    assert codes == {"taken": 50, "out_of_stock": 250}
    await assert_seats_add_up()


async def test_batches_over_many_products_never_wait_for_each_other_in_a_circle(
    store: str,
) -> None:
    del store
    campaigns = [await add_campaign(f"sku-{n}", capacity=50) for n in range(12)]
    desks = [Admission(render) for _ in range(3)]
    groups = [await open_group(desks[0], one) for one in campaigns for _ in range(2)]
    buyers = await add_buyers(150)
    order = Random(7)  # noqa: S311 - a seeded mix

    answers = await asyncio.gather(
        *(
            desk.take_seat(
                ask(buyer, campaign_id=order.choice(campaigns))
                if order.random() < 0.2
                else ask(buyer, group_id=order.choice(groups))
            )
            for buyer in buyers
            for desk in desks
        )
    )

    assert set(map(code_of, answers)) <= {"taken", "already_member", "user_limit"}
    (database,) = await sql(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert database.deadlocks == 0
    for desk in desks:
        await desk.close()
    await assert_seats_add_up()


async def test_no_statement_of_a_batch_scans_a_table(admission: Admission) -> None:
    campaign_id = await add_campaign(capacity=3)
    group_id = await open_group(admission, campaign_id)
    buyers = await add_buyers(5)
    tables = ("buyer_order", "buying_group", "idempotent_answer", "seat_budget", "campaign")
    async with transaction() as session:
        connection = await session.connection()
        await admission._settle_in(session, [ask(buyer, group_id=group_id) for buyer in buyers])
        scans = await connection.exec_driver_sql(
            "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables"
            " WHERE seq_tup_read > 0 AND relname = ANY ($1)",
            (list(tables),),
        )

        assert list(scans) == []


async def test_one_key_in_two_processes_for_two_groups_is_one_order(store: str) -> None:
    """The unique index is the lock: the later batch runs again and sees the kept answer."""
    del store
    campaign_id = await add_campaign(capacity=5, per_user_limit=10)
    here, there = Admission(render), Admission(render)
    for _ in range(20):
        groups = [await open_group(here, campaign_id) for _ in range(2)]
        (buyer,) = await add_buyers(1)

        answers = await asyncio.gather(
            here.take_seat(ask(buyer, group_id=groups[0], key="k", body=b"1")),
            there.take_seat(ask(buyer, group_id=groups[1], key="k", body=b"2")),
            return_exceptions=True,
        )

        assert sorted(type(answer).__name__ for answer in answers) == ["Answer", "KeyReused"]
        assert await count("buyer_order", "user_id = :id", id=buyer) == 1
    await here.close()
    await there.close()


async def test_a_poison_row_fails_alone(admission: Admission) -> None:
    campaign_id = await add_campaign(capacity=50)
    group_id = await open_group(admission, campaign_id)
    *buyers, poisoned = await add_buyers(20)
    good = [ask(buyer, group_id=group_id) for buyer in buyers]
    bad = ask(poisoned, group_id=group_id)
    object.__setattr__(bad, "address", '{"name": "\\u0000"}')  # jsonb refuses NUL

    answers = await asyncio.gather(
        *(admission.take_seat(asked) for asked in (*good[:7], bad, *good[7:])),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers].count(DBAPIError) == 1
    assert isinstance(answers[7], DBAPIError)
    assert await count("buyer_order") == 20
    await assert_seats_add_up()


async def test_a_connection_lost_before_the_commit_leaves_nothing(store: str) -> None:
    del store
    campaign_id = await add_campaign(capacity=50)
    first = Admission(render)
    group_id = await open_group(first, campaign_id)
    (buyer,) = await add_buyers(1)
    asked = ask(buyer, group_id=group_id, key="k")

    async def settle_on_a_dying_connection() -> None:
        async with transaction() as session:
            await first._settle_in(session, [asked])
            connection = await session.connection()
            await connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseDown):
        await settle_on_a_dying_connection()
    assert await count("buyer_order", "user_id = :id", id=buyer) == 0

    answer = await first.take_seat(asked)

    assert code_of(answer) == "taken"
    await first.close()
    await assert_seats_add_up()


async def test_a_full_queue_refuses_and_does_nothing(store: str) -> None:
    del store
    campaign_id = await add_campaign(capacity=10)
    admission = Admission(render)
    group_id = await open_group(admission, campaign_id)
    buyers = await add_buyers(8)
    admission._batcher = Batcher(admission._settle, queue_bound=3, in_flight=1)

    answers = await asyncio.gather(
        *(admission.take_seat(ask(buyer, group_id=group_id)) for buyer in buyers),
        return_exceptions=True,
    )

    kinds = Counter(type(answer).__name__ for answer in answers)
    assert kinds == {"Answer": 3, "Overloaded": 5}
    assert await count("buyer_order") == 4
    await admission.close()


async def test_a_group_locked_for_long_is_a_busy_answer(admission: Admission) -> None:
    campaign_id = await add_campaign()
    group_id = await open_group(admission, campaign_id)
    (buyer,) = await add_buyers(1)
    asked = ask(buyer, group_id=group_id, key="k")

    async with transaction() as session:
        await seats.lock(session, group_ids=[group_id], campaign_ids=[])
        with pytest.raises(Exception, match="busy"):
            await admission.take_seat(asked)

    assert code_of(await admission.take_seat(asked)) == "taken"
