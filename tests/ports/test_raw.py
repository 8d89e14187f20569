"""mode = "raw" on a pty: bytes at once, frames for those who want them, readers that hold the line."""

import asyncio
import os

import pytest
from conftest import Pty, Until
from parts_kit import Instrument, held, running
from pydantic import ValidationError
from raw_kit import CRLF, config, frames, opened, says, taken
from virtual import in_virtual_time

from gateway.contracts import Stream
from gateway.demo.line import Lines
from gateway.flow import WhenFull
from gateway.ports.raw import Port


async def test_it_is_a_stream() -> None:
    assert isinstance(Port(config("/dev/ttyUSB1")), Stream)


# What the line says


async def test_what_the_line_says_is_there_in_the_reading_callback(pty: Pty, until: Until) -> None:
    async with opened(pty) as port:
        got: list[bytes] = []
        with port.chunks.tap(offer=lambda chunk: bool(got.append(chunk)) or True):
            pty.say(b"\x00\xff12.5 kg\r\n")
            await until(lambda: b"".join(got) == b"\x00\xff12.5 kg\r\n")
        assert port.status()["rx_bytes"] == 11


async def test_all_readers_get_all_bytes(pty: Pty) -> None:
    async with opened(pty) as port:
        with port.chunks.tap() as one, port.chunks.tap() as two:
            pty.say(b"12.5 kg\r\n")
            assert await taken(one, 9) == await taken(two, 9) == b"12.5 kg\r\n"


async def test_frames_are_cut_only_while_somebody_wants_them(pty: Pty, until: Until) -> None:
    async with opened(pty, frame={"length": 2}) as port:
        pty.say(b"aabb")
        await until(lambda: port.status()["rx_bytes"] == 4)
        assert port.status()["rx_frames"] == 0
        with port.frames.tap() as tap:
            pty.say(b"ccdd")
            assert await frames(tap, 2) == [b"cc", b"dd"]
        assert port.status()["rx_frames"] == 2


@pytest.mark.parametrize(
    ("rule", "said", "wanted"),
    [
        ({"delimiter": CRLF}, b"1\r\n\r\n2\r\n3", [b"1\r\n", b"\r\n", b"2\r\n"]),
        ({"delimiter": CRLF, "strip": True}, b"1\r\n2\r\n", [b"1", b"2"]),
        (
            {"delimiter": {"hex": "03"}, "start": {"hex": "02"}, "trailing": 1},
            b"??\x02a\x03x\x02b\x03",
            [b"\x02a\x03x"],
        ),
        (
            {"delimiter": {"hex": "03"}, "start": {"hex": "02"}, "trailing": 1, "strip": True},
            b"\x02a\x03x\x02b\x03y",
            [b"a", b"b"],
        ),
        ({"delimiter": CRLF, "max": "4B"}, b"abcdefg\r\n", [b"abcd", b"efg\r"]),
        ({"length": 3}, b"abcdefgh", [b"abc", b"def"]),
        ({"idle_gap": "5m", "max": "4B"}, b"abcdef", [b"abcd"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "byte by byte"])
async def test_a_frame_ends_by_the_rule_of_the_port(
    rule: dict[str, object], said: bytes, wanted: list[bytes], at_once: bool, pty: Pty, until: Until
) -> None:
    async with opened(pty, frame=rule) as port:
        with port.frames.tap() as tap:
            for start in range(0, len(said), len(said) if at_once else 1):
                piece = said if at_once else said[start : start + 1]
                pty.say(piece)
                await until(lambda: port.status()["rx_bytes"] == start + len(piece))  # noqa: B023
            assert await frames(tap, len(wanted)) == wanted


@in_virtual_time
async def test_a_silence_ends_a_frame_and_a_shorter_one_does_not(pty: Pty, until: Until) -> None:
    async with opened(pty, frame={"idle_gap": "60s"}) as port:
        with port.frames.tap() as tap:
            for piece, size in ((b"12", 2), (b".5", 4), (b" kg", 7)):
                pty.say(piece)
                await until(lambda: port.status()["rx_bytes"] == size)  # noqa: B023
                await asyncio.sleep(40)
            assert port.status()["rx_frames"] == 0
            await asyncio.sleep(40)
            pty.say(b"next")
            assert await frames(tap, 2) == [b"12.5 kg", b"next"]


async def test_what_was_heard_before_the_line_was_lost_is_still_a_frame(pty: Pty, until: Until) -> None:
    async with opened(pty, frame={"idle_gap": "5m"}) as port:
        with port.frames.tap() as tap:
            pty.say(b"12.5")
            await until(lambda: port.status()["rx_bytes"] == 4)
            pty.hang_up()
            assert await frames(tap, 1) == [b"12.5"]


# Readers that are behind


MUCH = os.urandom(1 << 20)


async def test_a_reader_that_is_behind_holds_the_line_and_gets_everything(until: Until) -> None:
    scale = Instrument()
    port = Port(config(scale.tty))
    with Lines(scale) as lines, port.chunks.tap(128 * 1024, WhenFull.BLOCK) as tap:
        async with running(port) as life:
            await says(life, lines, scale, MUCH, until)
            await held(scale, port)
            assert port.status()["rx_bytes"] < len(MUCH) // 2
            assert await taken(tap, len(MUCH)) == MUCH
            assert tap.missed == 0


async def test_the_line_is_let_go_when_the_reader_that_held_it_leaves(until: Until) -> None:
    scale = Instrument()
    port = Port(config(scale.tty))
    with Lines(scale) as lines:
        async with running(port) as life:
            with port.chunks.tap(128 * 1024, WhenFull.BLOCK):
                await says(life, lines, scale, MUCH, until)
                await held(scale, port)
            await until(lambda: port.status()["rx_bytes"] == len(MUCH))


async def test_a_reader_that_is_behind_does_not_hold_the_line_while_another_keeps_up(until: Until) -> None:
    scale = Instrument()
    port = Port(config(scale.tty))
    with Lines(scale) as lines, port.chunks.tap(64 * 1024, WhenFull.BLOCK) as behind:
        async with running(port) as life:
            with port.chunks.tap(64 * 1024, WhenFull.BLOCK) as keeps_up:
                await says(life, lines, scale, MUCH, until)
                assert await taken(keeps_up, len(MUCH)) == MUCH
            assert behind.missed > 0
            assert behind.size <= 2 * 64 * 1024


async def test_readers_of_frames_are_not_held_up_by_a_reader_of_bytes_that_is_behind(until: Until) -> None:
    scale = Instrument()
    port = Port(config(scale.tty, frame={"length": 1024}))
    with Lines(scale) as lines, port.chunks.tap(64 * 1024, WhenFull.BLOCK), port.frames.tap() as tap:
        async with running(port) as life:
            await says(life, lines, scale, MUCH, until)
            assert b"".join(await frames(tap, 1024)) == MUCH


async def test_a_line_that_is_held_can_be_closed_and_opened_again(until: Until) -> None:
    scale = Instrument()
    port = Port(config(scale.tty))
    with Lines(scale) as lines, port.chunks.tap(64 * 1024, WhenFull.BLOCK) as tap:
        async with running(port) as life:
            await says(life, lines, scale, MUCH, until)
            await held(scale, port)
        await until(lambda: not scale.opened)
        await tap.take()
        async with running(port) as life:
            await says(life, lines, scale, b"again", until)
            assert (await taken(tap, 5)).endswith(b"again")


# The config


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        ({"length": 2, "idle_gap": "1s"}, "a frame has one end: idle_gap or length"),
        ({"length": 2, "strip": True}, "strip goes with delimiter"),
        ({"length": 2, "start": CRLF}, "start goes with delimiter"),
        ({"trailing": 2}, "trailing goes with delimiter"),
        ({"length": 5000}, "longer than max, which is 4096 bytes"),
    ],
    ids=str,
)
def test_a_frame_rule_that_contradicts_itself_is_told_so(frame: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        config("/dev/ttyUSB1", frame=frame)


def test_without_a_rule_twenty_milliseconds_of_silence_end_a_frame() -> None:
    assert config("/dev/ttyUSB1").splitter().idle == 0.02
