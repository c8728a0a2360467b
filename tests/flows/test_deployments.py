"""What operations can start: every flow is served, fits its parameters, and is kept by name."""

import inspect

import pytest
from prefect.automations import Automation
from prefect.client.orchestration import PrefectClient
from prefect.runner import Runner

from flows import automations
from flows.deployments import CATALOGUE, FORM, Served, register


@pytest.mark.parametrize("served", CATALOGUE, ids=lambda served: served.name)
def test_every_flow_is_async_and_takes_the_reason_it_is_woken_for(served: Served) -> None:
    parameters = inspect.signature(served.flow.fn).parameters

    assert inspect.iscoroutinefunction(served.flow.fn)
    assert "reason" in parameters
    assert all(
        parameter.default is not inspect.Parameter.empty for parameter in parameters.values()
    ), "a schedule gives no parameters"


async def test_the_runner_serves_every_flow_once_however_often_it_starts(
    prefect: PrefectClient,
) -> None:
    for _ in range(2):
        await register(Runner(name="test"))

    served = {one.name: one for one in await prefect.read_deployments()}
    assert set(served) == {one.name for one in CATALOGUE} | {FORM.name}
    for one in CATALOGUE:
        deployment = served[one.name]
        assert deployment.entrypoint == f"flows.{one.name}.{one.name}"
        assert [schedule.active for schedule in deployment.schedules] == (
            [] if one.backup_minutes is None else [True]
        )
    form = served[str(FORM.name)].parameter_openapi_schema
    assert form is not None
    assert form["required"] == ["po_id"]


async def test_automations_are_updated_in_place(prefect: PrefectClient) -> None:
    del prefect
    for _ in range(2):
        await automations.put()

    for wanted in automations.wanted():
        known = await Automation.aread(name=wanted.name)
        assert known.description == wanted.description
        assert known.enabled
