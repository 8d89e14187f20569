"""mode = "raw" on a pty: writers that come in turn, and a line that is away."""

import asyncio
import os
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Pty, Until
from parts_kit import Instrument, another_pty, running
from raw_kit import PIECE, config, opened, says, taken

from gateway.demo.line import Lines
from gateway.errors import LineDown
from gateway.ports.raw import Port


async def test_what_is_offered_to_an_idle_line_leaves_at_once(pty: Pty) -> None:
    async with opened(pty) as port:
        assert port.offer(b"T\r\n") is True
        assert pty.heard() == b"T\r\n"
        await port.send(b"Z\r\n")
        assert pty.heard() == b"Z\r\n"
        assert port.status()["tx_bytes"] == 6


async def test_an_offer_that_would_lock_others_out_for_long_is_declined(pty: Pty) -> None:
    async with opened(pty) as port:
        assert port.offer(bytes(PIECE + 1)) is False
        assert port.status()["tx_bytes"] == 0


def numbered(writer: bytes, count: int) -> bytes:
    """So many pieces that tell whose and which they are."""
    return b"".join((b"%s%03d" % (writer, number)).ljust(PIECE, b".") for number in range(count))


async def test_several_writers_come_in_turn_and_their_pieces_stay_whole(pty: Pty) -> None:
    async with opened(pty) as port:
        sending = asyncio.gather(*(port.send(numbered(writer, 16)) for writer in (b"A", b"B", b"C")))
        heard = await pty.hears(3 * 16 * PIECE)
        await sending
    pieces = [heard[start : start + PIECE] for start in range(0, len(heard), PIECE)]
    assert {piece[4:] for piece in pieces} == {b"." * (PIECE - 4)}
    order = [piece[:4] for piece in pieces]
    assert sorted(order) == [b"%s%03d" % (who, n) for who in (b"A", b"B", b"C") for n in range(16)]
    assert sorted(order, key=lambda piece: piece[:1]) == sorted(order)  # each writer's in its order
    all_three = order[order.index(b"C000") : order.index(b"A015")]
    assert all(before[:1] != after[:1] for before, after in pairwise(all_three))


async def test_nothing_is_taken_while_somebody_is_still_sending(pty: Pty) -> None:
    """Else the end of a long message could come before its middle."""
    async with opened(pty) as port:
        sending = [asyncio.create_task(port.send(numbered(writer, 16))) for writer in (b"A", b"B")]
        offers: list[bool] = []

        def offer_at_every_turn_of_the_loop() -> None:
            if not all(one.done() for one in sending):
                offers.append(port.offer(b"!"))
                asyncio.get_running_loop().call_soon(offer_at_every_turn_of_the_loop)

        await asyncio.sleep(0)
        offer_at_every_turn_of_the_loop()
        heard = await pty.hears(2 * 16 * PIECE)
        await asyncio.wait(sending)
        assert b"!" not in heard
        assert set(offers) == {False}
        assert port.offer(b"!") is True


async def test_the_next_in_turn_goes_on_when_a_writer_gives_up(pty: Pty, until: Until) -> None:
    async with opened(pty) as port:
        tired = asyncio.create_task(port.send(numbered(b"A", 1000)))
        await asyncio.sleep(0.01)
        next_one = asyncio.create_task(port.send(b"B" * 10))
        await asyncio.sleep(0.01)
        tired.cancel()
        heard: list[bytes] = []
        await until(lambda: heard.append(pty.heard()) or b"".join(heard).endswith(b"B" * 10))
        await next_one
        assert len(b"".join(heard)) % PIECE == 10


async def test_the_trace_shows_both_ways(pty: Pty) -> None:
    async with opened(pty) as port:
        with port.trace.tap() as tap:
            port.offer(b"T")
            await port.send(b"Z")
            pty.say(b"OK")
            lines = await tap.take()
            while sum(len(line) for line in lines) < 4:
                lines += await tap.take()
    assert [(line.way, line.data) for line in lines][:2] == [("tx", b"T"), ("tx", b"Z")]
    assert b"".join(line.data for line in lines[2:]) == b"OK"


# A line that is away


async def test_while_the_line_is_away_what_is_sent_is_dropped_and_counted(
    tmp_path: Path, until: Until
) -> None:
    port = Port(config(str(tmp_path / "scale")))
    async with running(port) as life:
        await until(lambda: life.reason)
        assert port.offer(b"T\r\n") is False
        with pytest.raises(LineDown, match="no such device"):
            await port.send(b"T\r\n" * 10_000)
        assert port.status()["dropped_bytes"] == 30_000
        assert port.status()["tx_bytes"] == 0


async def test_what_is_left_of_a_message_when_the_line_vanishes_is_counted_as_dropped(pty: Pty) -> None:
    async with opened(pty) as port:
        message = bytes(20 * PIECE)
        sending = asyncio.create_task(port.send(message))
        heard = await pty.hears(5 * PIECE)
        pty.hang_up()
        with pytest.raises(LineDown):
            await sending
        dropped = port.status()["dropped_bytes"]
        assert dropped % PIECE == 0
        assert 0 < dropped <= len(message) - len(heard) + PIECE


async def test_everybody_who_waits_to_send_learns_that_the_line_has_gone(pty: Pty) -> None:
    async with opened(pty) as port:
        sending = [asyncio.create_task(port.send(bytes(40 * PIECE))) for _ in range(3)]
        await pty.hears(PIECE)
        pty.hang_up()
        await asyncio.wait(sending)
        assert {type(one.exception()) for one in sending} == {LineDown}


async def test_readers_keep_their_place_when_the_tty_comes_back_under_another_name(
    tmp_path: Path, until: Until
) -> None:
    scale = Instrument(tmp_path / "scale")
    port = Port(config(scale.tty))
    with Lines(scale) as lines, port.chunks.tap() as tap:
        async with running(port) as life:
            await says(life, lines, scale, b"before", until)
            assert await taken(tap, 6) == b"before"
            old = os.path.realpath(scale.tty)
            lines.call(scale.unplug)
            await until(lambda: life.state == "waiting" and "no such device" in life.reason)
            with another_pty():
                lines.call(scale.plug)
                assert os.path.realpath(scale.tty) != old
                await says(life, lines, scale, b"after", until)
                assert await taken(tap, 5) == b"after"
                assert port.offer(b"T")
                await until(lambda: scale.told == b"T")
    assert port.status()["rx_bytes"] == 11
