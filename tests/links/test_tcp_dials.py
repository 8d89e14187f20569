"""kind = "tcp" with connect: what the line says while the far end is away arrives when it is back."""

import asyncio
import os
import socket

from buffer_kit import Buffers
from conftest import Until
from parts_kit import Instrument, running
from stream_kit import (
    MEGABYTE,
    FarEnd,
    Port,
    dialler,
    on_a_line,
    up,
)

from gateway.demo.line import Lines


async def test_every_byte_goes_through_a_connection_that_we_made(free_port: int, until: Until) -> None:
    down, up_ = os.urandom(MEGABYTE), os.urandom(MEGABYTE)
    line = Instrument()
    with Lines(line) as lines:
        async with (
            on_a_line(line, lines) as port,
            FarEnd(free_port) as far,
            up(dialler(free_port, port), "up"),
        ):
            await until(lambda: far.clients)
            far.clients[0].write(down)
            lines.call(lambda: line.say(up_, 0.0))
            await until(lambda: len(far.got) == MEGABYTE and len(line.told) == MEGABYTE)
    assert far.got == up_
    assert line.told == down


async def test_where_nobody_listens_is_tried_again_until_somebody_does(free_port: int, until: Until) -> None:
    port = Port()
    async with running(dialler(free_port, port)) as life:
        await until(lambda: life.attempts > 2)
        assert life.reason == f"127.0.0.1:{free_port}: connection refused: nothing listens there"
        async with FarEnd(free_port):
            await until(lambda: life.state == "up")


async def test_what_the_line_said_while_the_far_end_was_away_arrives_in_its_order(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = dialler(free_port, port)
    port.chunks.push(b"before the first connection ")
    async with running(link) as life, FarEnd(free_port) as far:
        await until(lambda: far.got == b"before the first connection ")
        for turn in range(3):
            await far.closes()
            await until(lambda: life.deaths == turn + 1)  # noqa: B023
            far.got.clear()
            for number in range(200):
                port.chunks.push(b"%d.%d " % (turn, number))
            waiting = link.status()["buffer"]
            assert (waiting["records"], waiting["dropped"]) == (200, 0)
            await far.opens()
            expected = b"".join(b"%d.%d " % (turn, number) for number in range(200))
            await until(lambda: far.got == expected)  # noqa: B023
            assert life.reconnects == turn + 1
            await until(lambda: link.status()["buffer"]["records"] == 0)
        assert link.status()["sent"] == 601


async def test_when_more_is_said_than_can_be_kept_the_oldest_goes_and_is_counted(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = dialler(free_port, port, Buffers(first_seq=1, per_link=100 * 1024))
    for number in range(200):
        port.chunks.push(b"%04d".ljust(1024, b".") % number)
    waiting = link.status()["buffer"]
    kept = waiting["records"]
    assert waiting["dropped"] == 200 - kept
    assert waiting["bytes"] <= waiting["capacity_bytes"] == 100 * 1024
    async with running(link), FarEnd(free_port) as far:
        await until(lambda: len(far.got) == kept * len(b"%04d".ljust(1024, b".") % 0))
    size = len(b"%04d".ljust(1024, b".") % 0)
    assert [int(far.got[n * size : n * size + 4]) for n in range(kept)] == list(range(200 - kept, 200))


async def test_a_far_end_that_does_not_read_holds_nothing_up_and_what_is_too_much_is_counted(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = dialler(free_port, port, Buffers(first_seq=1, per_link=MEGABYTE))
    with socket.create_server(("127.0.0.1", free_port)) as deaf:
        async with up(link, "up"):
            async with asyncio.timeout(30):
                while not link.status()["buffer"]["dropped"]:
                    port.chunks.push(bytes(16 * 1024))
                    await asyncio.sleep(0)
            assert link.status()["buffer"]["bytes"] <= MEGABYTE
        deaf.accept()[0].close()


async def test_while_the_line_is_away_the_connection_stays_and_what_comes_is_dropped(
    free_port: int, until: Until
) -> None:
    port = Port()
    port.away = True
    async with FarEnd(free_port) as far, up(dialler(free_port, port), "up") as life:
        await until(lambda: far.clients)
        far.clients[0].write(b"T" * 100)
        await until(lambda: port.dropped == 100)
        port.away = False
        far.clients[0].write(b"now")
        await until(lambda: port.told == b"now")
        assert life.deaths == 0


async def test_the_status_of_a_dialling_link_shows_far_end_and_buffer(free_port: int, until: Until) -> None:
    port = Port()
    link = dialler(free_port, port)
    assert (link.status()["direction"], link.status()["peers"]) == ("connect", [])
    async with FarEnd(free_port) as far, up(link, "up"):
        port.chunks.push(b"12.5 kg")
        await until(lambda: far.got and link.status()["sent"])
        (peer,) = link.status()["peers"]
        assert (peer["address"], peer["tx_bytes"]) == (f"127.0.0.1:{free_port}", 7)
        assert link.status()["endpoint"] == f"127.0.0.1:{free_port}"
