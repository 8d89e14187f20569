"""`tap = true`: clients see both ways of a line, and neither touch it nor slow it down."""

import asyncio
import os
from typing import Any

import pytest
from conftest import Until
from parts_kit import Instrument
from pydantic import ValidationError
from stream_kit import MEGABYTE, client, exactly, on_a_line, server, up

from gateway.demo.line import Lines
from gateway.flow import WhenFull
from gateway.links.tcp import Config, Server
from gateway.ports import raw


async def looks_on(link: Server, port: raw.Port, until: Until, clients: int = 1) -> None:
    await until(lambda: len(link.status()["peers"]) == len(port.trace.taps) == clients)


def tap(tcp_port: int, port: raw.Port, **keys: Any) -> Server:
    return server(tcp_port, port, tap=True, **keys)


async def test_it_sees_what_the_line_says_and_what_others_write_to_it(free_port: int, until: Until) -> None:
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = tap(free_port, port)
            async with up(link, "listening"), client(free_port) as (reader, _):
                await looks_on(link, port, until)
                assert port.offer(b"W\r\n")
                assert await exactly(reader, 3) == b"W\r\n"
                lines.call(lambda: line.say(b"12.5 kg\r\n", 0.0))
                assert await exactly(reader, 9) == b"12.5 kg\r\n"
                long = os.urandom(100_000)
                await port.send(long)
                assert await exactly(reader, len(long)) == long
                lines.call(lambda: line.say(b"0.0 kg\r\n", 0.0))
                assert await exactly(reader, 8) == b"0.0 kg\r\n"


async def test_what_its_clients_send_never_reaches_the_line_and_is_counted(
    free_port: int, until: Until
) -> None:
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = tap(free_port, port, max_clients=2)
            async with (
                up(link, "listening"),
                client(free_port) as (_, one),
                client(free_port) as (reader, two),
            ):
                await looks_on(link, port, until, 2)
                one.write(b"format c:")
                two.write(os.urandom(MEGABYTE))
                await until(lambda: link.status()["tap"]["ignored_bytes"] == 9 + MEGABYTE)
                port.offer(b"Z")
                assert await exactly(reader, 1) == b"Z"
                await until(lambda: line.told == b"Z")


async def test_a_client_that_does_not_read_neither_slows_the_line_nor_costs_its_readers_a_byte(
    free_port: int, until: Until
) -> None:
    said, heard = os.urandom(8 * MEGABYTE), bytearray()
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = tap(free_port, port)
            async with up(link, "listening"), client(free_port, slow=True) as (reader, _):
                await looks_on(link, port, until)
                with port.chunks.tap(1 << 16, WhenFull.BLOCK, lambda chunk: not heard.extend(chunk)):
                    lines.call(lambda: line.say(said, 0.0))
                    async with asyncio.timeout(30):
                        while len(heard) < len(said):
                            await asyncio.sleep(0.01)
                missed = link.status()["tap"]["missed_bytes"]
                assert 0 < missed < len(said)
                assert said.startswith(await exactly(reader, MEGABYTE // 8))
    assert heard == said


async def test_looking_on_does_not_count_as_a_reader_that_keeps_up(free_port: int, until: Until) -> None:
    """Or a slow one, for whom the line waits while it is alone, would lose bytes to it."""
    said = os.urandom(2 * MEGABYTE)
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = tap(free_port, port)
            async with up(link, "listening"), client(free_port) as (reader, _):
                await looks_on(link, port, until)
                got = b""
                with port.chunks.tap(1 << 16, WhenFull.BLOCK) as slow:
                    lines.call(lambda: line.say(said, 0.0))
                    while len(got) < len(said):
                        await exactly(reader, min(1 << 16, len(said) - len(got)))
                        got += b"".join(await slow.take())
                assert (got, slow.missed) == (said, 0)


async def test_nobody_listens_at_the_line_while_nobody_looks_on(free_port: int, until: Until) -> None:
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = tap(free_port, port)
            async with up(link, "listening"):
                assert port.trace.taps == ()
                async with client(free_port):
                    await looks_on(link, port, until)
                await looks_on(link, port, until, 0)


def test_it_is_for_links_that_listen() -> None:
    with pytest.raises(ValidationError, match="tap goes with listen"):
        Config.model_validate({"kind": "tcp", "connect": "10.0.0.5:4001", "port": "scale", "tap": True})
