"""Waits for what must come true, with an end."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

_LOOK_SECONDS: Final = 0.05


async def eventually(
    what: str, is_so: Callable[[], Awaitable[bool]], *, within_seconds: float
) -> None:
    """Return as soon as `is_so`; fail when it is not so in time."""
    gives_up_at = time.monotonic() + within_seconds
    while not await is_so():
        assert time.monotonic() < gives_up_at, f"not within {within_seconds:g} s: {what}"
        await asyncio.sleep(_LOOK_SECONDS)
