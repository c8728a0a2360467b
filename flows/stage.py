"""What every flow stands on: the database, the line to partners, one lease, one readable page."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from kit.db import engine_is_set, make_engine, use_engine
from kit.errors import CaravanError, Unavailable
from kit.leases import lease
from kit.settings import settings
from operations.companies import open_line

TAKEN: Final = "Taken"
_MOST_ROWS: Final = 200


class NotConfigured(CaravanError):
    """A process that runs flows was not told where the database is."""

    code = "not_configured"


@asynccontextmanager
async def stage(name: str) -> AsyncIterator[bool]:
    """Hold the lease of a flow, with database and partners at hand; yield False when it is taken.

    In the flow runner the engine is there already; a run that the UI started is a process of its
    own and opens one.
    """
    async with AsyncExitStack() as stack:
        if not engine_is_set():
            url = settings().database_url
            if url is None:
                raise NotConfigured(f"CARAVAN_DATABASE_URL is not set for process {os.getpid()}")
            engine = make_engine(
                url.get_secret_value(), pool_size=2, application=f"caravan-flow-{name}"
            )
            use_engine(engine)
            stack.push_async_callback(engine.dispose)
            stack.callback(use_engine, None)
        await stack.enter_async_context(open_line())
        yield await stack.enter_async_context(lease(f"flow:{name}"))


def taken(name: str) -> State[Any]:
    """Return the state of a doubled run: it found its work taken."""
    return Completed(name=TAKEN, message=f"another run of {name} is at it; nothing done")


def nothing(why: str) -> State[Any]:
    """Return the state of a run that had nothing to do; it leaves no artifact."""
    return Completed(message=f"nothing to do: {why}")


async def page(key: str, *, title: str, said: str, sections: Sequence[str]) -> State[Any]:
    """Write what a run decided and why as its artifact, and return its state.

    Args:
        key: `[a-z0-9-]`; the artifact's history is kept under it.
        said: the one sentence that is also the state's message.
        sections: markdown, in reading order.
    """
    text = "\n\n".join([f"# {title}", said, *sections])
    await acreate_markdown_artifact(key=key, markdown=text, description=said)
    return Completed(message=said)


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as a markdown table; the columns are the first row's."""
    if not rows:
        return ""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows[:_MOST_ROWS]:
        cells = (str(row.get(column, "")).replace("|", "\\|") for column in columns)
        lines.append("| " + " | ".join(cells) + " |")
    if len(rows) > _MOST_ROWS:
        lines.append(f"\n… and {len(rows) - _MOST_ROWS} more")
    return "\n".join(lines)


async def transient(_task: object, _run: object, state: State[Any]) -> bool:
    """Return whether a failed task is worth repeating: only what may go away by itself."""
    outcome = await state.aresult(raise_on_failure=False)
    return isinstance(outcome, Unavailable)
