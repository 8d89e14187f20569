"""An open line, on a pseudo terminal with the test as its device."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from conftest import Pty, readable

from gateway.errors import LineDown
from gateway.host.tty import Line

Until = Callable[[Callable[[], object]], Awaitable[None]]
MUCH = 200_000  # bytes: more than the kernel keeps for a pty


@pytest.fixture
async def line(pty: Pty) -> AsyncIterator[Line]:
    fd = pty.open()
    line = Line(fd, pty.path)
    yield line
    line.detach()
    os.close(fd)


class Sink(list[bytes]):
    """What a line brings."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        line.sink = self.append

    @property
    def octets(self) -> bytes:
        return b"".join(self)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# Both ways


async def test_bytes_go_both_ways_as_they_are(pty: Pty, line: Line, until: Until) -> None:
    sink, every = Sink(line), bytes(range(256))
    pty.say(every)
    assert line.offer(every)

    assert await pty.hears(256) == every
    await until(lambda: sink.octets == every)
    assert (line.rx_bytes, line.tx_bytes) == (256, 256)


async def test_many_bytes_come_in_order(pty: Pty, line: Line, until: Until) -> None:
    sink, sent = Sink(line), b""
    while len(sent) < MUCH:
        chunk = os.urandom(1000)
        pty.say(chunk)
        sent += chunk
        await until(lambda: len(sink.octets) == len(sent))  # noqa: B023

    assert sink.octets == sent


# Writing


async def test_writers_go_out_whole_and_in_the_order_of_their_calls(pty: Pty, line: Line) -> None:
    data = [bytes((number,)) * MUCH for number in range(3)]
    writers = [asyncio.ensure_future(line.write(whole)) for whole in data]
    await turns()
    assert not any(writer.done() for writer in writers)

    assert await pty.hears(3 * MUCH) == b"".join(data)
    await asyncio.gather(*writers)
    assert line.tx_bytes == 3 * MUCH


async def test_a_write_returns_once_the_kernel_has_all_of_it(pty: Pty, line: Line) -> None:
    await line.write(b"short")
    writing = asyncio.ensure_future(line.write(bytes(MUCH)))
    await turns()
    assert not writing.done()

    assert await pty.hears(5 + MUCH) == b"short" + bytes(MUCH)
    await asyncio.wait_for(writing, 30)


async def test_an_offer_is_taken_whole_or_declined_while_earlier_bytes_wait(pty: Pty, line: Line) -> None:
    assert line.offer(b"a" * MUCH)
    assert not line.offer(b"b")
    writing = asyncio.ensure_future(line.write(b"c"))
    await turns()
    assert not line.offer(b"d")

    assert await pty.hears(MUCH + 1) == b"a" * MUCH + b"c"
    await writing
    assert line.offer(b"e")
    assert await pty.hears(1) == b"e"


async def test_an_offer_does_not_overtake_a_writer_whose_turn_it_is_next(pty: Pty, line: Line) -> None:
    """In the moment between two writers the line is free, and yet not for others."""

    async def first() -> bool:
        await line.write(b"a" * MUCH)
        return line.offer(b"c")

    writing = asyncio.ensure_future(first())
    await turns()
    waiting = asyncio.ensure_future(line.write(b"b"))
    await turns()

    assert await pty.hears(MUCH + 1) == b"a" * MUCH + b"b"
    assert await writing is False
    await waiting


async def test_a_kernel_that_takes_nothing_at_all_loses_nothing(pty: Pty, line: Line) -> None:
    other, taken = pty.open(), 0
    with contextlib.suppress(BlockingIOError):
        while True:
            taken += os.write(other, b"x")
    os.close(other)
    assert line.offer(b"abc")

    assert await pty.hears(taken + 3) == b"x" * taken + b"abc"


async def test_a_writer_that_gives_up_has_sent_all_or_nothing(pty: Pty, line: Line) -> None:
    writers = [asyncio.ensure_future(line.write(letter * MUCH)) for letter in (b"a", b"b", b"c")]
    await turns()
    for given_up in writers[:2]:
        given_up.cancel()
    await turns()

    assert await pty.hears(2 * MUCH) == b"a" * MUCH + b"c" * MUCH
    await writers[2]
    assert pty.heard() == b""


async def test_output_that_is_discarded_never_reaches_the_device(pty: Pty, line: Line) -> None:
    assert line.offer(b"old" * MUCH)
    line.discard_output()
    await line.write(b"new")

    heard = b""
    while not heard.endswith(b"new"):
        await readable(pty.master)
        heard += pty.heard()
    assert len(heard) < MUCH


async def test_a_writer_does_not_wait_for_what_was_discarded(pty: Pty, line: Line) -> None:
    writing = asyncio.ensure_future(line.write(bytes(MUCH)))
    await turns()
    line.discard_output()

    await asyncio.wait_for(writing, 30)


# Reading when it suits


async def test_a_paused_line_leaves_bytes_to_the_kernel(pty: Pty, line: Line, until: Until) -> None:
    sink = Sink(line)
    line.pause()
    pty.say(b"abc")
    await turns(20)
    assert sink == []
    line.resume()
    await until(lambda: sink)

    assert sink == [b"abc"]


async def test_a_poll_reads_what_has_come_and_nothing_is_nothing(pty: Pty, line: Line, until: Until) -> None:
    sink = Sink(line)
    line.poll()
    assert sink == []
    line.pause()
    pty.say(b"abc")

    async with asyncio.timeout(30):
        while not sink:
            line.poll()
            await asyncio.sleep(0)
    assert sink == [b"abc"]


async def test_a_rest_gathers_what_comes_meanwhile_into_one_chunk(pty: Pty, line: Line, until: Until) -> None:
    loop, sink = asyncio.get_running_loop(), Sink(line)
    begun = loop.time()
    line.rest(0.05)
    for byte in (b"a", b"b", b"c"):
        pty.say(byte)
        await turns()
    await until(lambda: sink)

    assert sink == [b"abc"]
    assert loop.time() - begun >= 0.05
    pty.say(b"d")
    await until(lambda: len(sink) == 2)


async def test_of_two_rests_the_later_counts(pty: Pty, line: Line, until: Until) -> None:
    loop, sink = asyncio.get_running_loop(), Sink(line)
    line.rest(0.001)
    line.rest(0.05)
    begun = loop.time()
    pty.say(b"a")
    await until(lambda: sink)

    assert loop.time() - begun >= 0.05


async def test_a_rest_ends_with_the_line(pty: Pty) -> None:
    fd = pty.open()
    line = Line(fd, pty.path)
    sink = Sink(line)
    line.rest(0.001)
    line.rest(0.002)
    pty.say(b"a")
    line.detach()
    await asyncio.sleep(0.01)

    assert sink == []
    assert os.read(fd, 10) == b"a"
    os.close(fd)


# The end


async def test_an_idle_line_that_vanishes_is_noticed(pty: Pty, line: Line) -> None:
    gone = asyncio.ensure_future(line.gone())
    await turns()
    assert not gone.done()
    pty.hang_up()

    with pytest.raises(LineDown, match=rf"^{pty.path}: (unplugged|input/output error)$"):
        await asyncio.wait_for(gone, 30)


async def test_whoever_notices_first_that_it_is_unplugged_calls_it_so(pty: Pty, line: Line) -> None:
    pty.hang_up()
    with pytest.raises(LineDown, match=rf"^{pty.path}: unplugged$"):
        line.offer(b"12.5 kg")
    with pytest.raises(LineDown, match=rf"^{pty.path}: unplugged$"):
        await line.gone()


async def test_who_writes_while_the_device_vanishes_learns_it(pty: Pty, line: Line) -> None:
    writers = [asyncio.ensure_future(line.write(bytes(MUCH))) for _ in range(3)]
    await turns()
    pty.hang_up()

    outcomes = await asyncio.wait_for(asyncio.gather(*writers, return_exceptions=True), 30)
    assert [type(outcome) for outcome in outcomes] == [LineDown] * 3


@pytest.mark.parametrize("call", ["offer", "write", "gone", "discard_output"])
async def test_a_line_that_is_gone_is_down_for_everybody(pty: Pty, line: Line, call: str) -> None:
    pty.hang_up()
    with pytest.raises(LineDown):
        await asyncio.wait_for(line.gone(), 30)
    line.resume()
    line.poll()
    calls: dict[str, Callable[[], object]] = {
        "offer": lambda: line.offer(b"x"),
        "write": lambda: line.write(b"x"),
        "gone": line.gone,
        "discard_output": line.discard_output,
    }

    with pytest.raises(LineDown):  # noqa: PT012
        outcome = calls[call]()
        if asyncio.iscoroutine(outcome):
            await outcome


async def test_a_line_that_was_closed_is_gone_and_calls_nobody(pty: Pty, line: Line) -> None:
    sink, gone = Sink(line), asyncio.ensure_future(line.gone())
    await turns()
    line.detach()
    pty.say(b"late")

    with pytest.raises(LineDown, match=f"^{pty.path}: closed$"):
        await gone
    assert sink == []


@pytest.mark.parametrize("state", ["open", "after a long write", "resumed", "gone", "closed"])
async def test_a_line_on_which_nothing_happens_costs_nothing(pty: Pty, line: Line, state: str) -> None:
    match state:
        case "after a long write":
            writing = asyncio.ensure_future(line.write(bytes(MUCH)))
            await pty.hears(MUCH)
            await writing
        case "resumed":
            line.pause()
            line.resume()
        case "gone":
            assert line.offer(bytes(MUCH))
            pty.hang_up()
            with pytest.raises(LineDown):
                await line.gone()
            line.resume()
        case "closed":
            assert line.offer(bytes(MUCH))
            pty.say(b"unread")
            line.detach()
    began = time.process_time()
    await asyncio.sleep(0.2)

    assert time.process_time() - began < 0.1


async def test_giving_up_waiting_for_the_end_is_not_the_end(pty: Pty, line: Line, until: Until) -> None:
    sink, given_up = Sink(line), asyncio.ensure_future(line.gone())
    await turns()
    given_up.cancel()
    await turns()
    pty.say(b"a")

    await until(lambda: sink)


async def test_a_driver_that_does_not_count_has_no_counts(line: Line) -> None:
    assert line.driver_counts() is None
