"""`caravan up` looks after its processes, and leaves none behind, however it ends."""

import os
import signal
import socket
from pathlib import Path

import pytest

from kit.servers.processes import choose_port
from kit.servers.quarters import discard
from tests.chaos.house import House
from tests.chaos.waiting import eventually

pytestmark = [pytest.mark.kills_servers, pytest.mark.timeout(240)]

_STOP_SECONDS = 30.0
# One more than the supervisor forgives within a minute.
_DEATHS = 6
_INTERRUPTED = 130


async def test_a_part_that_dies_again_and_again_stops_everything(house: House) -> None:
    family = house.family()
    killed: set[int] = set()

    async def is_there_again_or_all_is_over() -> bool:
        if not house.is_open:
            return True
        pid = house.pid_of("clerk")
        return pid is not None and pid not in killed

    # What died in the last minute, before this test, is counted as well.
    for _ in range(_DEATHS):
        await eventually(
            "the clerk runs again", is_there_again_or_all_is_over, within_seconds=_STOP_SECONDS
        )
        if house.is_open:
            killed.add(house.kill("clerk"))

    assert house.supervisor.wait(timeout_seconds=_STOP_SECONDS)
    assert house.supervisor.returncode == 1
    assert house.left(family) == []
    said = " ".join(line.strip() for line in house.said())
    assert said.count("· clerk died (exit code -9); starting it again") >= _DEATHS - 1
    assert f"caravan: clerk died {_DEATHS} times in a minute; see" in said
    assert "Traceback" not in said


async def test_ctrl_c_leaves_no_process(house: House) -> None:
    family = house.family()
    assert len(family) > 7

    os.kill(house.supervisor.pid, signal.SIGINT)

    assert house.supervisor.wait(timeout_seconds=_STOP_SECONDS)
    assert house.supervisor.returncode == 0
    assert house.left(family) == []
    assert not (house.home / "stack.json").exists()
    assert house.said()[-1] == "· stopping"


async def test_ctrl_c_while_it_starts_leaves_no_process(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house.call_up()

    async def has_begun() -> bool:
        return any("bringing the schema up to date" in line for line in house.said())

    await eventually("Postgres and Valkey run", has_begun, within_seconds=60)
    family = house.family()
    os.kill(house.supervisor.pid, signal.SIGINT)

    assert house.supervisor.wait(timeout_seconds=_STOP_SECONDS)
    assert house.supervisor.returncode == _INTERRUPTED
    assert house.left(family) == []
    assert "Traceback" not in "\n".join(house.said())
    for server in ("postgres", "valkey"):
        discard(house.home / server)


@pytest.mark.parametrize("name", ["CARAVAN_PORT", "CARAVAN_PREFECT_PORT"])
def test_a_port_in_use_is_one_sentence_before_anything_starts(tmp_path: Path, name: str) -> None:
    house = House(tmp_path / "home")
    with socket.create_server(("127.0.0.1", choose_port(None))) as somebody:
        port = somebody.getsockname()[1]
        house.call_up(**{name: str(port)})

        assert house.supervisor.wait(timeout_seconds=_STOP_SECONDS)

    assert house.supervisor.returncode == 2
    assert house.left([]) == []
    assert " ".join(house.said()) == (
        f"caravan: port {port} on 127.0.0.1 is already in use; choose another one"
    )
    assert not (house.home / "postgres").exists()
