"""Runs on a real server: what they decide is a page, a doubled one finds its work taken."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State

from flows.deployments import CATALOGUE, Served
from flows.replenish import replenish
from flows.runner import WakeUps
from kit import wakeups
from kit.db import transaction
from kit.leases import lease
from tests.store import supply_world as world
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store", "prefect_url")


async def _messages(client: PrefectClient, flow: str) -> list[str | None]:
    runs = [run for run in await client.read_flow_runs(limit=200) if run.name.startswith(flow)]
    return [run.state.message for run in runs if run.state is not None]


async def _pages(client: PrefectClient, key: str) -> list[str]:
    found = await client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    )
    return [str(page.data) for page in found]


@pytest.mark.parametrize("served", CATALOGUE, ids=lambda served: served.name)
async def test_a_run_in_an_empty_shop_ends_well_and_twice_the_same(
    served: Served, prefect: PrefectClient
) -> None:
    run: Callable[..., Awaitable[State[object]]] = served.flow
    first = await run(reason="a test", return_state=True)
    second = await run(reason="a test", return_state=True)

    assert first.is_completed(), first.message
    assert second.is_completed(), second.message
    assert first.message == second.message
    run_id = first.state_details.flow_run_id
    assert run_id is not None
    kept = await prefect.read_flow_run(run_id)
    assert kept.name.startswith(served.name)
    assert kept.name.endswith("a test")


@pytest.mark.parametrize("served", CATALOGUE, ids=lambda served: served.name)
async def test_a_doubled_run_finds_its_work_taken(served: Served) -> None:
    run: Callable[..., Awaitable[State[object]]] = served.flow
    async with lease(f"flow:{served.name}") as mine:
        assert mine
        state = await run(reason="a test", return_state=True)

    assert state.is_completed()
    assert state.message == f"another run of {served.name} is at it; nothing done"


async def _shop() -> UUID:
    await world.build_network()
    await world.add_products("tea", max_excess_units=20)
    await world.add_supplier("jade")
    await world.agree("jade", "tea", tiers=((1, 1000), (60, 900)))
    return (await world.succeed(members=55)).group_id


async def test_a_purchase_run_says_what_it_bought_and_why_and_buys_once(
    prefect: PrefectClient,
) -> None:
    await _shop()

    first = await replenish(cycle="monday", reason="orders.uncovered", return_state=True)
    again = await replenish(cycle="monday", reason="orders.uncovered", return_state=True)

    (order,) = await world.all_orders()
    assert [line.units.ordered_units for line in order.lines] == [60]
    assert first.message is not None
    assert first.message.startswith("1 lines in 1 orders for ¥540.00")
    assert again.is_completed()
    page = (await _pages(prefect, "purchase-plan"))[-1]
    assert "orders.uncovered" in page
    assert "| jade | tea | 60 | 60 | ¥540.00 |" in page
    assert "60" in page
    assert "55" in page


async def test_a_wake_up_becomes_one_run_and_is_forgotten(prefect: PrefectClient) -> None:
    async with transaction() as session:
        await wakeups.wake(session, "expire_groups", reason="first cause")
        await wakeups.wake(session, "expire_groups", "other", reason="second cause")
    runner = WakeUps([one for one in CATALOGUE if one.name == "expire_groups"])

    await runner.turn()
    await runner.finish()

    async with transaction() as session:
        assert await wakeups.claim(session, ["expire_groups"]) == []
    assert await sql("SELECT 1 FROM wake_up") == []
    runs = await prefect.read_flow_runs(limit=200)
    (woken,) = [run for run in runs if run.name.endswith("first cause, second cause")]
    assert set(woken.tags) == {"caravan", "groups"}


async def test_a_wake_up_waits_for_a_run_that_somebody_else_started() -> None:
    async with transaction() as session:
        await wakeups.wake(session, "fulfil", reason="group.succeeded")
    runner = WakeUps([one for one in CATALOGUE if one.name == "fulfil"])

    async with lease("flow:fulfil"):
        await runner.turn()
        await runner.finish()

    ((lease_until, waits),) = await sql("SELECT lease_until, due_at > now() FROM wake_up")
    assert lease_until is None
    assert waits


async def test_a_run_that_dies_leaves_its_wake_up_for_another() -> None:
    async with transaction() as session:
        await wakeups.wake(session, "replenish", reason="a broken table")
        connection = await session.connection()
        await connection.exec_driver_sql("ALTER TABLE purchase_order RENAME TO mislaid")
    runner = WakeUps([one for one in CATALOGUE if one.name == "replenish"])

    await runner.turn()
    await runner.finish()

    ((lease_until, waits),) = await sql(
        "SELECT lease_until, due_at > now() FROM wake_up WHERE flow = 'replenish'"
    )
    assert lease_until is None
    assert waits
    await sql("ALTER TABLE mislaid RENAME TO purchase_order")
