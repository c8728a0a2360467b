"""A purchase order above the limit waits for a person, whose answer comes through the UI's form."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runner import Runner

from flows.approvals import Forms
from flows.deployments import register_form
from kit.settings import settings
from operations.approve_order import approve
from operations.plan_purchases import plan_purchases
from suppliers.states import PurchaseOrderState
from tests.store import supply_world as world

pytestmark = pytest.mark.usefixtures("store", "prefect_url")

# A served run is a process of its own, and two cores may be busy.
_PATIENCE_SECONDS = 90.0
_LOOK_SECONDS = 0.2


@pytest.fixture
async def _serving(prefect: PrefectClient) -> AsyncIterator[None]:
    """Serve the form as the flow runner does."""
    del prefect
    runner = Runner(name="approval-test", limit=2, query_seconds=1)
    await register_form(runner)
    serving = asyncio.create_task(runner.start())
    yield
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
async def dear_order(monkeypatch: pytest.MonkeyPatch) -> UUID:
    """An order that waits for a person."""
    monkeypatch.setenv("CARAVAN_APPROVAL_LIMIT_FEN", "100")
    settings.cache_clear()
    await world.build_network()
    await world.add_products("tea", max_excess_units=20)
    await world.add_supplier("jade")
    await world.agree("jade", "tea", tiers=((1, 1000), (60, 900)))
    await world.succeed(members=55)
    await plan_purchases(key="dear")
    (order,) = await world.all_orders()
    assert order.state is PurchaseOrderState.PENDING_APPROVAL
    return order.id


async def _until(look: Callable[[], Awaitable[FlowRun | None]]) -> FlowRun:
    """Return what `look` finds, looking again until it does."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            found = await look()
            if found is not None:
                return found
            await asyncio.sleep(_LOOK_SECONDS)  # Prefect's server tells nobody, it is asked


async def _form_of(client: PrefectClient, po_id: UUID, *states: StateType) -> FlowRun | None:
    runs = [
        run
        for run in await client.read_flow_runs(limit=200)
        if run.parameters.get("po_id") == str(po_id) and run.state_type in states
    ]
    return runs[0] if runs else None


@pytest.mark.usefixtures("_serving")
async def test_the_form_shows_why_and_a_signed_tick_approves(
    prefect: PrefectClient, dear_order: UUID
) -> None:
    await Forms().sweep()
    await Forms().sweep()  # one form an order
    asked = await _until(lambda: _form_of(prefect, dear_order, StateType.PAUSED))
    assert asked.name == "approve jade ¥540.00"
    assert "supplier:jade" in asked.tags
    assert asked.state is not None
    assert asked.state.state_details.run_input_keyset is not None
    text = await prefect.read_flow_run_input(
        asked.id, asked.state.state_details.run_input_keyset["description"]
    )
    assert "bought 60 because 55 costs 1,000 fen more" in text

    unsigned = await prefect.resume_flow_run(asked.id, run_input={"approve": True})
    signed = await prefect.resume_flow_run(
        asked.id, run_input={"approve": True, "approver": "Li Na"}
    )

    await _until(lambda: _form_of(prefect, dear_order, StateType.COMPLETED))
    order = await world.read_order(dear_order)
    assert order.state is PurchaseOrderState.APPROVED
    assert order.approved_by == "Li Na"
    assert unsigned.status.value == "REJECT"
    assert signed.status.value == "ACCEPT"


@pytest.mark.usefixtures("_serving")
async def test_an_order_approved_elsewhere_closes_its_form(
    prefect: PrefectClient, dear_order: UUID
) -> None:
    forms = Forms()
    await forms.sweep()
    await _until(lambda: _form_of(prefect, dear_order, StateType.PAUSED))

    await approve(dear_order, "Wang Wei")
    await forms.sweep()

    closed = await _until(lambda: _form_of(prefect, dear_order, StateType.CANCELLED))
    assert closed.state is not None
    assert closed.state.message == "the order was decided elsewhere"
    assert (await world.read_order(dear_order)).approved_by == "Wang Wei"


@pytest.mark.usefixtures("_serving")
async def test_a_lost_form_is_made_again(prefect: PrefectClient, dear_order: UUID) -> None:
    forms = Forms()
    await forms.sweep()
    lost = await _until(lambda: _form_of(prefect, dear_order, StateType.PAUSED))
    await prefect.delete_flow_run(lost.id)

    await forms.sweep()

    again = await _until(lambda: _form_of(prefect, dear_order, StateType.PAUSED))
    assert again.id != lost.id
