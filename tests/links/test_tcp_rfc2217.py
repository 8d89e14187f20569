"""kind = "tcp" with rfc2217: pyserial's own client has a pty as if it were in its own machine."""

import asyncio
import socket
from typing import Any

import pytest
import serial
from conftest import Pty, Until
from stream_kit import client, server, there, up
from telnet_kit import flags, remote, speaking, speed, with_pyserial

from gateway.wire.rfc2217 import Ask

pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")  # pyserial's own

SETTINGS: dict[str, tuple[dict[str, Any], str, int, set[str]]] = {
    "9600 8N1": ({"baudrate": 9600}, "9600 8N1", 9600, set()),
    "2400 7E2": (
        {"baudrate": 2400, "bytesize": 7, "parity": "E", "stopbits": 2},
        "2400 7E2",
        2400,
        {"CSTOPB"},
    ),
    "250000 8O1": ({"baudrate": 250000, "parity": "O"}, "250000 8O1", 250000, set()),
    "12345 5N1.5": (
        {"baudrate": 12345, "bytesize": 5, "stopbits": 1.5},
        "12345 5N1.5",
        12345,
        {"CSTOPB"},
    ),
    "300 6M1": ({"baudrate": 300, "bytesize": 6, "parity": "M"}, "300 6M1", 300, set()),
    "50 8S1": ({"baudrate": 50, "parity": "S"}, "50 8S1", 50, set()),
    "4000000 8N2": ({"baudrate": 4000000, "stopbits": 2}, "4000000 8N2", 4000000, {"CSTOPB"}),
    "RTS/CTS": ({"baudrate": 9600, "rtscts": True}, "9600 8N1", 9600, {"CRTSCTS"}),
    "XON/XOFF": ({"baudrate": 9600, "xonxoff": True}, "9600 8N1", 9600, {"IXON", "IXOFF"}),
}


@pytest.mark.parametrize(("asked", "line", "baudrate", "on"), SETTINGS.values(), ids=SETTINGS.keys())
async def test_a_client_opens_the_line_with_its_own_settings_and_leaves_it_as_it_was(
    asked: dict[str, Any], line: str, baudrate: int, on: set[str], pty: Pty, free_port: int, until: Until
) -> None:
    async with remote(pty, free_port, rfc2217=True) as (port, link):

        def use(_: serial.Serial) -> None:
            assert port.status()["line"] == line
            assert port.status()["configured"] == "115200 8N1, flow none"
            assert (speed(pty.path), flags(pty)) == (baudrate, on)

        await with_pyserial(free_port, use, **asked)
        await until(lambda: not link.status()["peers"])
        await until(lambda: (speed(pty.path), flags(pty)) == (115200, set()))
        assert port.status()["line"] == "115200 8N1"
        assert "configured" not in port.status()


async def test_settings_change_while_the_line_is_open(pty: Pty, free_port: int) -> None:
    def use(line: serial.Serial) -> None:
        line.baudrate = 19200
        assert speed(pty.path) == 19200
        line.bytesize, line.parity, line.stopbits = 7, "O", 2
        assert port.status()["line"] == "19200 7O2"
        assert flags(pty) == {"CSTOPB"}
        line.rtscts = True
        assert flags(pty) == {"CSTOPB", "CRTSCTS"}
        line.rtscts = False
        line.xonxoff = True
        assert flags(pty) == {"CSTOPB", "IXON", "IXOFF"}

    async with remote(pty, free_port, rfc2217=True) as (port, _):
        await with_pyserial(free_port, use)


async def test_bytes_of_all_values_go_both_ways(pty: Pty, free_port: int) -> None:
    every = bytes(range(256)) * 8

    def use(line: serial.Serial) -> bytes:
        line.write(every)
        return bytes(line.read(len(every)))

    async with remote(pty, free_port, rfc2217=True):
        talk = asyncio.create_task(with_pyserial(free_port, use))
        assert await pty.hears(len(every)) == every
        pty.say(every)
        assert await talk == every


async def test_break_modem_lines_and_purge_are_served_and_what_a_pty_has_not_got_is_off(
    pty: Pty, free_port: int
) -> None:
    def use(line: serial.Serial) -> None:
        line.break_condition = True
        line.break_condition = False
        line.send_break(0.01)
        line.rts = line.dtr = False
        line.rts = line.dtr = True
        assert (line.cts, line.dsr, line.ri, line.cd) == (False,) * 4
        line.reset_input_buffer()
        line.reset_output_buffer()
        line.write(b"still there")

    async with remote(pty, free_port, rfc2217=True):
        talk = asyncio.create_task(with_pyserial(free_port, use))
        assert await pty.hears(11) == b"still there"
        await talk


async def test_a_read_that_brings_nothing_ends_by_its_timeout(pty: Pty, free_port: int) -> None:
    def use(line: serial.Serial) -> None:
        line.timeout = 0.05
        assert line.read(1) == b""

    async with remote(pty, free_port, rfc2217=True):
        await with_pyserial(free_port, use)


@pytest.mark.parametrize("baudrate", [1, 4_000_001, 0xFFFFFFFF])
async def test_a_rate_that_the_line_cannot_have_is_refused_and_changes_nothing(
    baudrate: int, pty: Pty, free_port: int
) -> None:
    async with remote(pty, free_port, rfc2217=True) as (port, _):
        with pytest.raises(ValueError, match="rejected"):
            await with_pyserial(free_port, lambda line: None, baudrate=baudrate)
        assert speed(pty.path) == 115200
        assert port.status()["line"] == "115200 8N1"


async def test_one_client_writes_and_those_who_may_read_see_what_the_line_says(
    pty: Pty, free_port: int, until: Until
) -> None:
    async with (
        remote(pty, free_port, rfc2217=True, readers=1) as (port, link),
        speaking(free_port) as writer,
    ):
        await there(link, 1, until)
        async with speaking(free_port) as reader:
            await there(link, 2, until)
            assert link.status()["readers"] == 1
            for one in (writer, reader):
                one.agrees()
            assert await writer.asks(Ask.BAUDRATE, (9600).to_bytes(4, "big")) == b"\0\0\x25\x80"
            assert await reader.asks(Ask.BAUDRATE, (300).to_bytes(4, "big")) == b"\0\0\x25\x80"
            assert await reader.asks(Ask.PARITY, b"\3") == b"\1"
            assert await reader.asks(Ask.CONTROL, b"\5") == b"\6"
            assert await reader.asks(Ask.CONTROL, b"\3") == b"\1"
            reader.says(b"not me")
            reader.writer.write(b"\xff\xf3")
            assert await reader.asks(Ask.PURGE, b"\3") == b"\3"
            writer.says(b"me")
            assert await pty.hears(2) == b"me"
            pty.say(b"12.5 kg")
            assert await writer.reads(7) == await reader.reads(7) == b"12.5 kg"
            async with speaking(free_port) as third:
                with pytest.raises(AssertionError, match="closed"):
                    await third.hears_more()
            assert port.status()["line"] == "9600 8N1"
            assert pty.heard() == b""


async def test_the_place_of_a_writer_is_for_the_next_who_comes(
    pty: Pty, free_port: int, until: Until
) -> None:
    async with remote(pty, free_port, readers=1) as (_, link), speaking(free_port) as writer:
        await there(link, 1, until)
        async with speaking(free_port) as reader:
            await there(link, 2, until)
            writer.writer.close()
            await until(lambda: len(link.status()["peers"]) == 1)
            assert link.status()["readers"] == 1
            async with speaking(free_port) as heir:
                await there(link, 2, until)
                reader.writer.write(b"no")
                heir.writer.write(b"yes")
                assert await pty.hears(3) == b"yes"
                assert pty.heard() == b""


async def test_two_links_of_one_line_have_one_client_who_sets_it(
    pty: Pty, free_port: int, until: Until
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        other_port = free.getsockname()[1]
    async with remote(pty, free_port, rfc2217=True) as (port, link):
        other = server(other_port, port, rfc2217=True)
        async with up(other, "listening"), client(other_port) as (heir, _):
            assert await heir.read(1)
            async with client(free_port) as (late, _):
                assert await late.read() == b""
            await until(lambda: not link.status()["peers"])
        async with speaking(free_port) as second:
            assert await second.asks(Ask.DATASIZE, b"\7") == b"\7"
