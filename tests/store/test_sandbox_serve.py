"""The sandbox as a process: its command lines, its keys, its clock that ticks."""

import asyncio
import json
import stat
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sandbox.config import load_config
from sandbox.keys import SandboxKeys, keep_keys
from sandbox.serve import bind
from tests.store.recording_shop import MORNING, keys, partners


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def write_config(path: Path, **more: Any) -> Path:
    document = {"caravan_url": "http://127.0.0.1:9", "start": MORNING.isoformat(), **more}
    path.write_text(json.dumps(document))
    return path


async def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    config = write_config(tmp_path / "sandbox.json")
    with bind(host="127.0.0.1", port=0) as listener:
        port = listener.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox.serve", "--config", str(config), "--port", str(port))
    )
    try:
        async with (
            asyncio.timeout(30),
            httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(retries=10), trust_env=False
            ) as client,
        ):
            answer = await client.get(f"http://127.0.0.1:{port}/sandbox/clock")
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), timeout=10)

    assert answer.json() == {"now": MORNING.isoformat(), "next_due_at": None, "backlog": 0}


async def test_what_cannot_begin_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    good = write_config(tmp_path / "good.json")
    bad = write_config(tmp_path / "bad.json", surprise=1)
    with bind(host="127.0.0.1", port=0) as taken:
        port = str(taken.getsockname()[1])
        runs = await asyncio.gather(
            run("sandbox.serve", "--config", str(good), "--port", port),
            run("sandbox.serve", "--config", str(bad), "--port", "0"),
            run("sandbox.serve", "--config", str(tmp_path / "none.json"), "--port", "0"),
            run("sandbox.keys", "--out", str(good)),
        )

    assert [code for code, _, _ in runs] == [2, 2, 2, 2]
    assert runs[0][2] == f"sandbox: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert "surprise" in runs[1][2]
    assert all(err.startswith("sandbox: cannot ") for _, _, err in runs)


def read_keys(path: Path) -> SandboxKeys:
    return msgspec.json.decode(path.read_bytes(), type=SandboxKeys)


def modes_in(directory: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def test_keys_are_made_once_completed_later_and_read_by_their_owner_only(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "keys"
    code, out, _ = await run("sandbox.keys", "--out", str(directory), "--company", "suppliers/jade")
    first = read_keys(Path(out.strip()))

    second = keep_keys(directory, ["suppliers/jade", "carriers/swift"])

    assert code == 0
    assert second.platform_private_key == first.platform_private_key
    assert second.secrets["suppliers/jade"] == first.secrets["suppliers/jade"]
    assert second.secrets["carriers/swift"].startswith("whsec_")
    assert keep_keys(directory) == second
    assert modes_in(directory) == {0o600}


def test_a_configuration_names_key_files_beside_it(tmp_path: Path) -> None:
    kept = keep_keys(tmp_path / "keys")
    payments = kept.provider().model_dump() | {
        "merchant_public_key": "keys/merchant_public.pem",
        "platform_private_key": "keys/platform_private.pem",
    }

    config = load_config(write_config(tmp_path / "sandbox.json", payments=_plain(payments)))

    assert config.payments == kept.provider()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/sandbox/clock", {"to": "tomorrow"}, 422),
        ("POST", "/sandbox/clock", {"to": MORNING.isoformat(), "surprise": 1}, 422),
        ("PUT", "/sandbox/pay/behaviour", {"notify_never": {"first": -1}}, 422),
        ("PUT", "/sandbox/suppliers/none/behaviour", {}, 404),
        ("POST", "/sandbox/pay/wx-none", {"openid": "ann"}, 404),
        ("GET", "/sandbox/none", None, 404),
    ],
)
async def test_a_wrong_call_of_the_sandbox_is_refused(
    method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    async with partners({"payments": keys().provider().model_dump()}) as world:
        answer = await world.client.request(method, path, json=body)

        assert answer.status_code == status


async def test_a_clock_that_ticks_moves_by_itself() -> None:
    async with partners({"ticks": True}) as world, asyncio.timeout(10):
        now = MORNING
        while now < MORNING + timedelta(milliseconds=400):
            now = datetime.fromisoformat((await world.sandbox("GET", "/clock"))["now"])

    assert now < MORNING + timedelta(seconds=10)


def _plain(document: dict[str, Any]) -> Any:
    return msgspec.to_builtins(document, str_keys=True)
