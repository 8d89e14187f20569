"""One writer and many readers: nobody waits for anybody, except where all of them want it."""

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flow import Fan, WhenFull

ITEMS = st.lists(st.integers(0, 12).map(bytes), max_size=30)


async def waits(awaitable: Awaitable[object]) -> asyncio.Future[object]:
    """Asserts that it does not come to its end by itself."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def soon(task: Awaitable[object]) -> object:
    return await asyncio.wait_for(task, 30)


# Order and bounds


async def test_every_reader_gets_everything_in_order() -> None:
    fan: Fan[bytes] = Fan()
    with fan.tap() as one, fan.tap() as other:
        for item in (b"a", b"b", b"c"):
            fan.push(item)
        assert await one.take() == [b"a", b"b", b"c"]
        fan.push(b"d")
        assert await one.take() == [b"d"]
        assert await other.take() == [b"a", b"b", b"c", b"d"]


async def test_a_reader_gets_what_comes_after_it_and_nothing_after_it_has_left() -> None:
    fan: Fan[bytes] = Fan()
    fan.push(b"before")
    with fan.tap() as tap:
        fan.push(b"during")
    fan.push(b"after")

    assert await tap.take() == [b"during"]
    await waits(tap.take())


async def test_a_fan_knows_whether_somebody_listens() -> None:
    fan: Fan[bytes] = Fan()
    assert not fan.taps
    with fan.tap():
        assert fan.taps
    assert not fan.taps


async def test_taking_waits_for_the_first_item_and_may_be_given_up() -> None:
    fan: Fan[bytes] = Fan()
    with fan.tap() as tap:
        given_up = await waits(tap.take())
        given_up.cancel()
        fan.push(b"a")
        fan.push(b"b")
        assert await tap.take() == [b"a", b"b"]
        taking = await waits(tap.take())
        fan.push(b"c")
        fan.push(b"d")
        assert await soon(taking) == [b"c", b"d"]


@given(ITEMS, st.integers(1, 40))
def test_the_oldest_are_dropped_and_counted(items: list[bytes], limit: int) -> None:
    async def scenario() -> None:
        fan: Fan[bytes] = Fan()
        with fan.tap(limit) as tap:
            for item in items:
                fan.push(item)
            kept = await tap.take() if items else []
            assert kept == items[tap.missed :]
            assert sum(map(len, kept)) <= limit or len(kept) == 1
            dropped = items[: tap.missed]
            assert not dropped or len(dropped[-1]) + sum(map(len, kept)) > limit, "no more than needed"

    asyncio.run(scenario())


@given(ITEMS, st.integers(1, 40))
def test_the_newest_are_dropped_and_counted(items: list[bytes], limit: int) -> None:
    async def scenario() -> None:
        fan: Fan[bytes] = Fan()
        with fan.tap(limit, WhenFull.DROP_NEWEST) as tap:
            expected: list[bytes] = []
            for item in items:
                fan.push(item)
                if not expected or sum(map(len, expected)) + len(item) <= limit:
                    expected.append(item)
            assert tap.missed == len(items) - len(expected)
            assert not items or await tap.take() == expected

    asyncio.run(scenario())


async def test_one_item_that_is_larger_than_the_bound_is_still_held() -> None:
    fan: Fan[bytes] = Fan()
    with fan.tap(4) as tap:
        fan.push(bytes(100))
        assert await tap.take() == [bytes(100)]
        assert tap.missed == 0


# offer: the short way


async def test_what_the_reader_takes_in_the_callback_does_not_wait() -> None:
    fan: Fan[bytes] = Fan()
    offered: list[bytes] = []

    def takes(item: bytes) -> bool:
        offered.append(item)
        return True

    with fan.tap(offer=takes) as tap:
        fan.push(b"a")
        assert offered == [b"a"]
        await waits(tap.take())


async def test_what_the_reader_declines_waits_and_nothing_overtakes_it() -> None:
    fan: Fan[bytes] = Fan()
    asked: list[bytes] = []

    def declines(item: bytes) -> bool:
        asked.append(item)
        return item != b"b"

    with fan.tap(offer=declines) as tap:
        for item in (b"a", b"b", b"c"):
            fan.push(item)
        assert asked == [b"a", b"b"]
        assert await tap.take() == [b"b", b"c"]
        fan.push(b"d")
        assert asked == [b"a", b"b", b"d"]


# block: the writer waits


async def test_the_writer_waits_when_its_only_reader_is_behind_and_goes_on_when_it_took() -> None:
    fan: Fan[bytes] = Fan()
    with fan.tap(4, WhenFull.BLOCK) as tap:
        fan.push(b"abc")
        blocked = await waits(fan.brake.pulled())
        fan.push(b"d")
        await soon(blocked)
        room = await waits(fan.brake.released())
        await tap.take()
        await soon(room)
        assert tap.missed == 0


async def test_what_was_under_way_while_the_writer_stops_is_kept_once_more_as_much() -> None:
    fan: Fan[bytes] = Fan()
    with fan.tap(4, WhenFull.BLOCK) as tap:
        for item in (b"abcd", b"efgh", b"i"):
            fan.push(item)
        assert tap.missed == 1
        assert await tap.take() == [b"efgh", b"i"]


@pytest.mark.parametrize("rule", WhenFull)
async def test_a_writer_waits_for_nobody_while_one_reader_keeps_up(rule: WhenFull) -> None:
    fan: Fan[bytes] = Fan()
    with fan.tap(4, WhenFull.BLOCK) as slow, fan.tap(4, rule, lambda _: True):
        blocked = await waits(fan.brake.pulled())
        for _ in range(10):
            fan.push(b"abcd")
        await waits(blocked)
        assert slow.missed == 8


async def test_a_reader_that_may_lose_bytes_never_holds_the_writer() -> None:
    fan: Fan[bytes] = Fan()
    with fan.tap(4, WhenFull.BLOCK), fan.tap(4, WhenFull.DROP_OLDEST):
        for _ in range(10):
            fan.push(b"abcd")
        await waits(fan.brake.pulled())


@pytest.mark.parametrize("comes", ["take", "leave", "another"])
async def test_there_is_room_when_a_reader_takes_or_leaves_or_another_one_comes(comes: str) -> None:
    fan: Fan[bytes] = Fan()
    slow, slower = fan.tap(1, WhenFull.BLOCK), fan.tap(1, WhenFull.BLOCK)
    fan.push(b"ab")
    await soon(fan.brake.pulled())
    room = await waits(fan.brake.released())
    match comes:
        case "take":
            await slow.take()
        case "leave":
            slow.close()
            await waits(room)
            slower.close()
        case "another":
            fan.tap()
    await soon(room)


async def test_without_readers_the_writer_does_not_wait() -> None:
    fan: Fan[bytes] = Fan()
    fan.push(b"a")

    await waits(fan.brake.pulled())
    await soon(fan.brake.released())


async def test_when_the_reader_that_kept_up_leaves_the_next_byte_stops_the_writer() -> None:
    fan: Fan[bytes] = Fan()
    with fan.tap(4, WhenFull.BLOCK) as slow:
        with fan.tap(4, WhenFull.BLOCK, lambda _: True):
            fan.push(b"abcd")
            blocked = await waits(fan.brake.pulled())
        fan.push(b"e")
        await soon(blocked)
        assert slow.missed == 0
