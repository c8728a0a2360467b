import asyncio

from caravan.clerk import Bell, attend

_FOR_EVER = 3_600.0


async def test_a_ring_ends_an_idle_pause() -> None:
    bell, stop, looks = Bell(), asyncio.Event(), asyncio.Queue[int]()

    async def look() -> int:
        looks.put_nowait(1)
        return 0

    attending = asyncio.create_task(attend("x", look, stop, bell, idle_seconds=_FOR_EVER))
    await looks.get()
    bell.ring()
    await looks.get()

    stop.set()
    bell.ring()
    await attending
    assert looks.empty()  # the first look and one for the ring


async def test_a_ring_during_the_work_is_not_missed() -> None:
    bell, stop = Bell(), asyncio.Event()
    looked = 0

    async def look() -> int:
        nonlocal looked
        looked += 1
        if looked == 2:
            stop.set()
        bell.ring()  # while this look is on its way
        return 0

    async with asyncio.timeout(5):
        await attend("x", look, stop, bell, idle_seconds=_FOR_EVER)

    assert looked == 2


async def test_a_duty_without_a_bell_stops_at_the_end() -> None:
    stop, looks = asyncio.Event(), asyncio.Queue[int]()

    async def look() -> int:
        looks.put_nowait(1)
        return 0

    attending = asyncio.create_task(attend("x", look, stop, None, idle_seconds=_FOR_EVER))
    await looks.get()
    stop.set()

    async with asyncio.timeout(5):
        await attending
    assert looks.empty()  # it looked once and was not kept by its pause
