"""kind = "tcp" with listen.

Every byte both ways, for clients that are many, slow or rude, or a line that is away.
"""

import asyncio
import os
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from conftest import Until
from parts_kit import Instrument, held, running
from pydantic import ValidationError
from stream_kit import (
    MEGABYTE,
    PIECE,
    Port,
    client,
    exactly,
    on_a_line,
    scale,
    server,
    there,
    up,
)

from gateway.demo.line import Lines
from gateway.links.tcp import Config
from gateway.ports import raw


async def test_every_byte_goes_through_both_ways_at_once(free_port: int, until: Until) -> None:
    down, up_ = os.urandom(MEGABYTE), os.urandom(MEGABYTE)
    line = Instrument()
    with Lines(line) as lines:
        async with (
            on_a_line(line, lines) as port,
            up(server(free_port, port), "listening"),
            client(free_port) as (reader, writer),
        ):
            writer.write(b"T")
            await until(lambda: line.told == b"T")
            writer.write(down)
            lines.call(lambda: line.say(up_, 0.0))
            assert await exactly(reader, MEGABYTE) == up_
            await until(lambda: len(line.told) == 1 + MEGABYTE)
    assert bytes(line.told[1:]) == down


async def test_each_of_many_clients_gets_every_byte(free_port: int, until: Until) -> None:
    said = os.urandom(MEGABYTE // 4)
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = server(free_port, port, max_clients=4)
            async with (
                up(link, "listening"),
                client(free_port) as (one, _),
                client(free_port) as (two, _),
                client(free_port) as (three, _),
            ):
                await there(link, 3, until)
                lines.call(lambda: line.say(said, 0.0))
                got = await asyncio.gather(*(exactly(reader, len(said)) for reader in (one, two, three)))
    assert got == [said] * 3


async def test_one_client_is_allowed_if_nothing_else_is_said_and_its_place_is_free_when_it_left(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = server(free_port, port)
    async with up(link, "listening"):
        async with client(free_port):
            await there(link, 1, until)
            async with client(free_port) as (refused, _):
                assert await refused.read() == b""
        await until(lambda: not link.status()["peers"])
        async with client(free_port) as (reader, _):
            await there(link, 1, until)
            port.chunks.push(b"12.5 kg\r\n")
            assert await exactly(reader, 9) == b"12.5 kg\r\n"
    assert link.status()["refused"] == 1


async def test_a_client_gets_what_the_line_says_from_then_on_and_nothing_older(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = server(free_port, port)
    async with up(link, "listening"):
        port.chunks.push(b"old")
        async with client(free_port) as (reader, _):
            await there(link, 1, until)
            port.chunks.push(b"new")
            assert await exactly(reader, 3) == b"new"


# Clients that are slow


async def filled(line: Instrument, lines: Lines, port: raw.Port, said: bytes) -> None:
    """Says so much that the line has to wait."""
    lines.call(lambda: line.say(said, 0.0))
    await held(line, port)


async def test_a_slow_client_that_is_alone_holds_the_line_and_gets_every_byte(
    free_port: int, until: Until
) -> None:
    said = os.urandom(8 * MEGABYTE)
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = server(free_port, port)
            async with up(link, "listening"), client(free_port, slow=True) as (reader, _):
                await there(link, 1, until)
                await filled(line, lines, port, said)
                assert port.status()["rx_bytes"] < len(said)
                assert await exactly(reader, len(said)) == said


async def test_a_slow_client_neither_stalls_the_others_nor_costs_them_a_byte(
    free_port: int, until: Until
) -> None:
    said = os.urandom(8 * MEGABYTE)
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = server(free_port, port, max_clients=2)
            async with (
                up(link, "listening"),
                client(free_port, slow=True) as (slow, _),
                client(free_port) as (fast, _),
            ):
                await there(link, 2, until)
                lines.call(lambda: line.say(said, 0.0))
                assert await exactly(fast, len(said)) == said
                lines.call(lambda: line.say(b"end", 0.0))
                assert await exactly(fast, 3) == b"end"
                got = b""
                async with asyncio.timeout(30):
                    while not got.endswith(b"end"):
                        got += await slow.read(65536)
    assert len(got) < len(said)
    assert said.startswith(got[: MEGABYTE // 4])


async def test_the_line_goes_on_when_the_client_that_held_it_has_left(free_port: int, until: Until) -> None:
    said = os.urandom(8 * MEGABYTE)
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = server(free_port, port, max_clients=2)
            async with up(link, "listening"):
                async with client(free_port, slow=True) as (_, writer):
                    await there(link, 1, until)
                    await filled(line, lines, port, said)
                    writer.transport.abort()
                await until(lambda: not line.choked)
                await until(lambda: port.status()["rx_bytes"] == len(said))


async def test_a_client_that_comes_to_a_line_that_is_held_sets_it_going_again(
    free_port: int, until: Until
) -> None:
    said = os.urandom(8 * MEGABYTE)
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = server(free_port, port, max_clients=2)
            async with up(link, "listening"), client(free_port, slow=True):
                await there(link, 1, until)
                await filled(line, lines, port, said)
                async with client(free_port) as (reader, _):
                    missing = len(said) - port.status()["rx_bytes"]
                    assert said.endswith(await exactly(reader, missing))


# Several that write


async def test_what_several_clients_send_keeps_its_order_and_goes_out_in_turn(
    free_port: int, until: Until
) -> None:
    low, high = (bytes(byte & 0x7F | bit for byte in os.urandom(MEGABYTE // 2)) for bit in (0x00, 0x80))
    line = Instrument()
    with Lines(line) as lines:
        async with on_a_line(line, lines) as port:
            link = server(free_port, port, max_clients=2)
            async with up(link, "listening"), client(free_port) as (_, one), client(free_port) as (_, two):
                await there(link, 2, until)
                line.deaf = True
                one.write(low)
                two.write(high)
                await until(lambda: all(peer["rx_bytes"] > 2 * PIECE for peer in link.status()["peers"]))
                line.deaf = False
                lines.call(lambda: None)  # let it look again
                await until(lambda: len(line.told) == MEGABYTE)
    assert bytes(byte for byte in line.told if byte < 0x80) == low
    assert bytes(byte for byte in line.told if byte >= 0x80) == high
    turns = [len(list(turn)) for _, turn in groupby(line.told, lambda byte: byte < 0x80)]
    assert len(turns) > 20
    assert sum(length % PIECE != 0 for length in turns) < len(turns) // 2


async def test_while_the_line_is_away_clients_stay_and_what_they_send_is_dropped_and_counted(
    tmp_path: Path, free_port: int, until: Until
) -> None:
    line = Instrument(tmp_path / "scale")
    line.unplug()
    port = scale(line)
    async with running(port) as life, up(server(free_port, port), "listening"):
        await until(lambda: life.reason)
        async with client(free_port) as (reader, writer):
            for total in (1, 10_001, 10_002):
                writer.write(b"T" * (total - port.status()["dropped_bytes"]))
                await until(lambda: port.status()["dropped_bytes"] == total)  # noqa: B023
            line.plug()
            with Lines(line) as lines:
                await until(lambda: life.state == "open" and line.opened)
                writer.write(b"now")
                await until(lambda: line.told == b"now")
                lines.call(lambda: line.say(b"12.5 kg", 0.0))
                assert await exactly(reader, 7) == b"12.5 kg"


async def test_bytes_go_on_in_the_callback_that_brought_them_both_ways(free_port: int, until: Until) -> None:
    port = Port()
    link = server(free_port, port)
    async with up(link, "listening"), client(free_port) as (_, writer):
        await there(link, 1, until)
        port.chunks.push(b"12.5 kg")
        assert link.status()["peers"][0]["tx_bytes"] == 7
        writer.write(b"T")
        await until(lambda: port.told)
        assert port.taken_at_once == 1


async def test_a_client_that_sends_its_last_words_and_leaves_is_heard(free_port: int, until: Until) -> None:
    port = Port()
    async with up(server(free_port, port), "listening"):
        async with client(free_port) as (_, writer):
            writer.write(b"T\r\n")
        await until(lambda: port.told == b"T\r\n")


async def test_the_status_of_a_listening_link_shows_who_is_there(free_port: int, until: Until) -> None:
    port = Port()
    link = server(free_port, port)
    async with up(link, "listening"), client(free_port) as (reader, writer):
        writer.write(b"T\r\n")
        await there(link, 1, until)
        port.chunks.push(b"OK")
        await exactly(reader, 2)
        await until(lambda: port.told)
        record = link.status()
        (peer,) = record["peers"]
    assert (record["kind"], record["direction"], record["port"]) == ("tcp", "listen", "scale")
    assert (peer["rx_bytes"], peer["tx_bytes"]) == (3, 2)
    assert link.status()["peers"] == []


# The config


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"listen": ":4001", "connect": "10.0.0.5:4001"}, ("connect",)),
        ({}, ()),
        ({"connect": "10.0.0.5:4001", "max_clients": 2}, ("max_clients",)),
        ({"connect": ":4001"}, ("connect",)),
    ],
    ids=str,
)
def test_a_table_that_contradicts_itself_is_refused_at_the_right_key(
    keys: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        Config.model_validate({"kind": "tcp", "port": "scale"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [where]


def test_who_dials_belongs_to_the_shape_of_a_link() -> None:
    listens, dials = (
        Config.model_validate({"kind": "tcp", "port": "scale", key: "127.0.0.1:4001"})
        for key in ("listen", "connect")
    )
    assert listens.shape != dials.shape
