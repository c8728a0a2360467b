"""The one line to partners is shared by whoever uses it, and closed by the last of them."""

import asyncio

import pytest

from kit.outgoing import Outgoing
from operations.companies import line, open_line

pytestmark = pytest.mark.usefixtures("store")


def _closed(outgoing: Outgoing) -> bool:
    return outgoing._client.is_closed


async def test_blocks_that_overlap_share_a_line_and_the_last_closes_it() -> None:
    second_is_in, first_is_out = asyncio.Event(), asyncio.Event()

    async def first() -> Outgoing:
        async with open_line() as outgoing:
            await second_is_in.wait()
        first_is_out.set()
        return outgoing

    async def second() -> tuple[Outgoing, bool, bool]:
        async with open_line() as outgoing:
            second_is_in.set()
            await first_is_out.wait()
            return outgoing, line() is outgoing, _closed(outgoing)

    opened, (shared, still_the_line, closed_early) = await asyncio.gather(first(), second())

    assert opened is shared
    assert (still_the_line, closed_early) == (True, False)
    assert _closed(shared)
    with pytest.raises(RuntimeError, match="no line to partners"):
        line()


async def test_an_error_inside_leaves_the_outer_block_its_line() -> None:
    async with open_line() as outer:
        with pytest.raises(KeyError):
            async with open_line() as inner:
                raise KeyError
        assert inner is outer is line()
        assert not _closed(outer)

    async with open_line() as anew:
        assert anew is not outer
