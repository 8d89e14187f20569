"""kind = "tcp" with rfc2217, order by order.

What each is answered, malformed ones, their place among the bytes, and the end of a client or of the line.
"""

import asyncio
import os
import random
import socket
import struct
from pathlib import Path

import pytest
from conftest import Pty, Until
from parts_kit import Instrument, another_pty
from stream_kit import server, there, up
from telnet_kit import flags, remote, speaking, speed

from gateway.demo.line import Lines
from gateway.ports import raw
from gateway.wire.rfc2217 import Ask
from gateway.wire.telnet import HERE, NOP, Command, Verb

ANSWERS: dict[str, tuple[Ask, bytes, bytes]] = {
    "baud rate?": (Ask.BAUDRATE, b"\0\0\0\0", b"\0\x01\xc2\0"),
    "baud rate": (Ask.BAUDRATE, b"\0\0\x4b\0", b"\0\0\x4b\0"),
    "a rate that nobody has": (Ask.BAUDRATE, b"\xff\xff\xff\xff", b"\0\x01\xc2\0"),
    "data bits?": (Ask.DATASIZE, b"\0", b"\x08"),
    "data bits": (Ask.DATASIZE, b"\x05", b"\x05"),
    "nine data bits": (Ask.DATASIZE, b"\x09", b"\x08"),
    "parity?": (Ask.PARITY, b"\0", b"\1"),
    "parity": (Ask.PARITY, b"\x05", b"\x05"),
    "no parity that there is": (Ask.PARITY, b"\x09", b"\1"),
    "stop bits?": (Ask.STOPSIZE, b"\0", b"\1"),
    "stop bits": (Ask.STOPSIZE, b"\2", b"\2"),
    "seven stop bits": (Ask.STOPSIZE, b"\7", b"\1"),
    "flow?": (Ask.CONTROL, b"\0", b"\1"),
    "flow by XON and XOFF": (Ask.CONTROL, b"\2", b"\2"),
    "flow by DCD, which a tty has not got": (Ask.CONTROL, b"\x11", b"\1"),
    "flow by DSR": (Ask.CONTROL, b"\x13", b"\1"),
    "break?": (Ask.CONTROL, b"\4", b"\6"),
    "no break": (Ask.CONTROL, b"\6", b"\6"),
    "DTR?": (Ask.CONTROL, b"\7", b"\x08"),
    "DTR off": (Ask.CONTROL, b"\x09", b"\x09"),
    "RTS?": (Ask.CONTROL, b"\x0a", b"\x0b"),
    "RTS off": (Ask.CONTROL, b"\x0c", b"\x0c"),
    "inbound flow?": (Ask.CONTROL, b"\x0d", b"\x0e"),
    "inbound flow of its own": (Ask.CONTROL, b"\x10", b"\x0e"),
    "inbound flow by DTR": (Ask.CONTROL, b"\x12", b"\x0e"),
    "line state?": (Ask.LINE_STATE, b"", b"\x60"),
    "modem state?": (Ask.MODEM_STATE, b"", b"\0"),
    "line state mask": (Ask.LINE_STATE_MASK, b"\x1e", b"\x1e"),
    "modem state mask": (Ask.MODEM_STATE_MASK, b"\0", b"\0"),
    "purge what came": (Ask.PURGE, b"\1", b"\1"),
    "purge what goes": (Ask.PURGE, b"\2", b"\2"),
    "purge both": (Ask.PURGE, b"\3", b"\3"),
}


@pytest.mark.parametrize(("ask", "value", "answer"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_each_order_is_answered_with_what_is_so(
    ask: Ask, value: bytes, answer: bytes, pty: Pty, free_port: int
) -> None:
    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as client:
        assert await client.asks(ask, value) == answer


async def test_the_gateway_says_who_it_is(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as client:
        client.orders(Ask.SIGNATURE, b"a client's own, which is not answered")
        assert (await client.asks(Ask.SIGNATURE)).startswith(b"serial gateway ")


async def test_flow_control_both_ways_is_one(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as client:
        assert await client.asks(Ask.CONTROL, b"\3") == b"\3"
        assert flags(pty) == {"CRTSCTS"}
        assert await client.asks(Ask.CONTROL, b"\x0d") == b"\x10"


async def test_who_agrees_to_rfc_2217_is_told_the_modem_lines_at_once(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as client:
        client.agrees()
        assert await client.told(Ask.MODEM_STATE) == b"\0"


async def test_who_gives_an_order_has_agreed(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as client:
        client.orders(Ask.BAUDRATE, b"\0\0\0\0")
        assert await client.told(Ask.MODEM_STATE) == b"\0"
        assert await client.told(Ask.BAUDRATE) == b"\0\x01\xc2\0"


MALFORMED = (
    b"\xff\xf0",
    b"\xff\xfa\xff\xf0",
    b"\xff\xfa\x2c\xff\xf0",
    *(
        b"\xff\xfa\x2c" + bytes((ask, *short)) + b"\xff\xf0"
        for ask in range(16)
        for short in ((), (255, 255))
    ),
    b"\xff\xfa\x2c\x01\x00\x00\x25\xff\xf0",
    b"\xff\xfa\x2c\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0",
    b"\xff\xfa\x2c\x05\x63\xff\xf0",
    b"\xff\xfa\x2c\x0c\x63\xff\xf0",
    b"\xff\xfa\x2c" + bytes(100_000) + b"\xff\xf0",
    b"\xff\xfa\x18\x01\xff\xf0",
    b"\xff\xfd\xff\xff\xfb\xff\xff\xff",
)


async def test_malformed_options_neither_end_the_client_nor_reach_the_line(
    pty: Pty, free_port: int, until: Until
) -> None:
    async with remote(pty, free_port, rfc2217=True) as (_, link), speaking(free_port) as client:
        client.agrees()
        for wire in MALFORMED[:-1]:
            client.writer.write(wire)
        client.says(b"end")
        assert await pty.hears(3) == b"end"
        client.writer.write(MALFORMED[-1] + b"\xff\xf0")
        assert await client.asks(Ask.DATASIZE, b"\x08") == b"\x08"
        assert len(link.status()["peers"]) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_garbage_ends_nobody_and_the_next_good_order_is_served(
    seed: int, pty: Pty, free_port: int
) -> None:
    chance = random.Random(seed)
    words = [bytes((255, octet)) for octet in (*Verb, 255)] + [
        b"\xff\xfa\x2c" + bytes((n,)) for n in range(14)
    ]
    wire = b"".join(
        chance.choice(words) if chance.random() < 0.6 else chance.randbytes(chance.randrange(6))
        for _ in range(400)
    )
    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as client:
        at = 0
        while at < len(wire):
            size = chance.randrange(1, 200)
            client.writer.write(wire[at : at + size])
            at += size
            pty.heard()
        client.writer.write(b"\0\xff\xf0\xff\xf0")
        client.orders(Ask.BAUDRATE, b"\0\0\x4b\0")
        while await client.told(Ask.BAUDRATE) != b"\0\0\x4b\0":
            pass  # answers to what was an order among the garbage


# Orders among bytes


async def test_what_was_written_before_leaves_the_line_before_it_is_set(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as client:
        client.agrees()
        client.says(b"slow")
        client.orders(Ask.BAUDRATE, b"\0\0\x4b\0")
        client.says(b"fast")
        client.orders(Ask.BAUDRATE, b"\0\0\x25\x80")
        assert await pty.hears(8) == b"slowfast"
        assert await client.told(Ask.BAUDRATE) == b"\0\0\x4b\0"
        assert await client.told(Ask.BAUDRATE) == b"\0\0\x25\x80"


async def test_who_suspends_the_flow_hears_nothing_until_he_resumes_it(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as client:
        client.agrees()
        pty.say(b"before")
        assert await client.reads(6) == b"before"
        client.orders(Ask.SUSPEND)
        await client.asks(Ask.SIGNATURE)
        pty.say(b"meanwhile")
        await asyncio.sleep(0.05)
        await client.asks(Ask.SIGNATURE)
        assert client.data == b""
        client.orders(Ask.RESUME)
        assert await client.reads(9) == b"meanwhile"


async def test_a_purge_overtakes_the_bytes_that_a_device_does_not_take(
    pty: Pty, free_port: int, until: Until
) -> None:
    async with remote(pty, free_port, rfc2217=True) as (port, _), speaking(free_port) as client:
        client.agrees()
        client.says(bytes(50_000))
        await until(lambda: port.status()["queue"])
        assert await client.asks(Ask.PURGE, b"\2") == b"\2"
        assert port.status()["queue"] == 0
        client.says(b"new")
        taken = b""
        while not taken.endswith(b"new"):
            taken += pty.heard()
            await asyncio.sleep(0)
        assert len(taken) < 50_000


async def test_an_ayt_is_answered_and_a_nop_comes_often_enough_to_find_the_dead(
    pty: Pty, free_port: int
) -> None:
    keys = {"rfc2217": True, "liveness": {"detect_within": "3s"}}
    async with remote(pty, free_port, **keys), speaking(free_port) as client:
        client.writer.write(bytes((255, Verb.AYT)))
        assert await client.reads(len(HERE)) == HERE
        began = asyncio.get_running_loop().time()
        for _ in range(2):
            await client.hears(Command(NOP[1]))
        assert asyncio.get_running_loop().time() - began >= 0.75


# The end of a client, and of the line


async def test_a_client_that_dies_leaves_the_line_as_configured(
    pty: Pty, free_port: int, until: Until
) -> None:
    async with remote(pty, free_port, {"flow": "xon-xoff"}, rfc2217=True) as (port, link):
        async with speaking(free_port) as client:
            assert await client.asks(Ask.BAUDRATE, b"\0\0\x4b\0") == b"\0\0\x4b\0"
            assert await client.asks(Ask.CONTROL, b"\1") == b"\1"
            assert await client.asks(Ask.CONTROL, b"\x09") == b"\x09"
            assert port.status()["configured"] == "115200 8N1, flow xon-xoff"
            sock = client.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()
            await until(lambda: not link.status()["peers"])
        await until(lambda: speed(pty.path) == 115200)
        assert flags(pty) == {"IXON", "IXOFF"}
        async with speaking(free_port) as heir:
            assert await heir.asks(Ask.CONTROL, b"\7") == b"\x08"


async def test_what_a_client_set_lasts_over_an_adapter_that_is_pulled_and_comes_back(
    tmp_path: Path, free_port: int, until: Until
) -> None:
    line = Instrument(tmp_path / "ttyUSB0")
    with Lines(line) as lines:
        table = {"mode": "raw", "tty": line.tty, "baudrate": 115200, "format": "8N1"}
        port = raw.Port(raw.Config.model_validate(table))
        link = server(free_port, port, rfc2217=True)
        async with up(port, "open") as life, up(link, "listening"), speaking(free_port) as client:
            await there(link, 1, until)
            assert await client.asks(Ask.BAUDRATE, b"\0\0\x4b\0") == b"\0\0\x4b\0"
            lines.call(line.unplug)
            await until(lambda: life.state == "waiting")
            assert await client.asks(Ask.BAUDRATE, b"\0\0\x25\x80") == b"\0\0\x4b\0"
            assert await client.asks(Ask.CONTROL, b"\7") == b"\x09"
            with another_pty():
                lines.call(line.plug)
            await until(lambda: life.state == "open")
            assert speed(os.path.realpath(line.tty)) == 19200
            assert await client.asks(Ask.CONTROL, b"\7") == b"\x08"
