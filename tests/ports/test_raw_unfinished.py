"""mode = "raw": whether the line is in the middle of a frame, for those who want frames."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from conftest import Pty, Until
from parts_kit import running
from raw_kit import CRLF, config, frames, opened
from virtual import in_virtual_time

from gateway.ports.raw import Port

STX_ETX = {"start": {"hex": "02"}, "delimiter": {"hex": "03"}}


def saying(pty: Pty, port: Port, until: Until) -> Callable[[bytes], Awaitable[None]]:
    """Says something on the line, and the port has read it."""

    async def say(data: bytes) -> None:
        wanted = port.status()["rx_bytes"] + len(data)
        pty.say(data)
        await until(lambda: port.status()["rx_bytes"] == wanted)

    return say


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"delimiter": CRLF}, [(b"12", 2), (b".5\r", 5), (b"\n", 0), (b"a\r\nb", 1)]),
        (STX_ETX, [(b"\x0212", 3), (b"\x03?", 0), (b"??", 0), (b"\x02", 1)]),
        ({"length": 4}, [(b"12", 2), (b"345", 1), (b"678", 0)]),
        ({"idle_gap": "5m", "max": "4B"}, [(b"12", 2), (b"345", 1), (b"678", 0)]),
    ],
    ids=str,
)
async def test_the_bytes_of_a_frame_that_has_not_ended_are_counted_by_the_rule_of_the_port(
    rule: dict[str, object], said: list[tuple[bytes, int]], pty: Pty, until: Until
) -> None:
    async with opened(pty, frame=rule) as port:
        say = saying(pty, port, until)
        with port.frames.tap():
            assert port.unfinished == 0
            for data, unfinished in said:
                await say(data)
                assert port.unfinished == unfinished


@in_virtual_time
async def test_a_silence_ends_a_frame_before_it_is_told_of(pty: Pty, until: Until) -> None:
    async with opened(pty, frame={"idle_gap": "60s"}) as port:
        told: list[int] = []
        with port.frames.tap(offer=lambda frame: bool(told.append(port.unfinished)) or True):
            await saying(pty, port, until)(b"12.5 kg")
            assert port.unfinished == 7
            await asyncio.sleep(61)
            assert (told, port.unfinished) == ([0], 0)


async def test_while_nobody_wants_frames_nothing_is_counted(pty: Pty, until: Until) -> None:
    async with opened(pty, frame={"delimiter": CRLF}) as port:
        say = saying(pty, port, until)
        await say(b"12")
        assert port.unfinished == 0
        with port.frames.tap():
            await say(b".5")
        await say(b" kg")
        assert port.unfinished == 0


async def test_who_wants_frames_again_gets_nothing_of_what_was_said_before(pty: Pty, until: Until) -> None:
    async with opened(pty, frame={"delimiter": CRLF}) as port:
        say = saying(pty, port, until)
        with port.frames.tap():
            await say(b"half of one")
        await say(b" which nobody wants\r\n")
        with port.frames.tap() as tap:
            await say(b"12.5 kg\r\n")
            assert await frames(tap, 1) == [b"12.5 kg\r\n"]


async def test_who_comes_in_the_middle_of_a_frame_gets_the_next_one_of_its_length(
    pty: Pty, until: Until
) -> None:
    async with opened(pty, frame={"length": 4}) as port:
        say = saying(pty, port, until)
        await say(b"aaaabb")
        with port.frames.tap() as tap:
            await say(b"b")
            assert port.unfinished == 3
            await say(b"bccccdd")
            assert port.unfinished == 2
            assert await frames(tap, 1) == [b"cccc"]


async def test_a_frame_that_nobody_saw_begin_is_longer_than_what_came_of_it_since(
    pty: Pty, until: Until
) -> None:
    async with opened(pty, frame={"delimiter": CRLF}) as port:
        say = saying(pty, port, until)
        await say(b"12")
        with port.frames.tap():
            await say(b".5")
            assert port.unfinished == 4
            await say(b" kg\r\n13")
            assert port.unfinished == 2


async def test_a_frame_is_over_when_the_line_is_lost(pty: Pty, until: Until) -> None:
    async with opened(pty, frame={"delimiter": CRLF}) as port:
        with port.frames.tap():
            await saying(pty, port, until)(b"12.5")
            assert port.unfinished == 4
            pty.hang_up()
            await until(lambda: port.unfinished == 0)


@in_virtual_time
async def test_the_silence_that_ends_a_frame_is_that_of_the_config_now(pty: Pty, until: Until) -> None:
    """A reload runs another session of the same port."""
    async with opened(pty, frame={"idle_gap": "1h"}) as port:
        with port.frames.tap():
            await saying(pty, port, until)(b"12.5")
    port.config = config(pty.path, frame={"idle_gap": "60s"})
    with port.frames.tap() as tap:
        async with running(port) as life:
            await until(lambda: life.state == "open")
            await saying(pty, port, until)(b"13.0")
            async with asyncio.timeout(600):
                assert (await frames(tap, 1)) == [b"13.0"]
