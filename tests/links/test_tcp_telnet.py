"""kind = "tcp" with telnet or readers, and what goes with what."""

import asyncio
import time
from typing import Any

import pytest
from conftest import Pty, Until
from pydantic import ValidationError
from stream_kit import client, exactly, there
from telnet_kit import remote, speaking

from gateway.links.tcp import Config
from gateway.wire.rfc2217 import Ask
from gateway.wire.telnet import HERE


async def test_0xff_is_a_byte_both_ways_and_rfc_2217_is_refused(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, telnet=True), client(free_port) as (reader, writer):
        assert await exactly(reader, 12) == b"\xff\xfb\x00\xff\xfb\x03\xff\xfd\x00\xff\xfd\x03"
        writer.write(b"\xff\xfb\x2c\xff\xfd\x01")
        assert await exactly(reader, 6) == b"\xff\xfe\x2c\xff\xfc\x01"
        writer.write(b"\xff\xfa\x2c\x01\x00\x00\x25\x80\xff\xf0a\xff\xffb\r\0c")
        assert await pty.hears(5) == b"a\xffb\rc"
        pty.say(b"1\xff2")
        assert await exactly(reader, 4) == b"1\xff\xff2"


async def test_whoever_asks_are_you_there_is_told_so(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, telnet=True), speaking(free_port) as one:
        one.writer.write(b"\xff\xf6")
        assert await one.reads(len(HERE)) == HERE


async def test_a_break_takes_its_place_among_the_bytes(pty: Pty, free_port: int) -> None:
    async with remote(pty, free_port, telnet=True), speaking(free_port) as one:
        began = time.monotonic()
        one.writer.write(b"before\xff\xf3behind")
        assert await pty.hears(6) == b"before"
        assert await pty.hears(6) == b"behind"
        assert time.monotonic() - began > 0.1


async def test_several_may_write_where_nobody_sets_the_line(pty: Pty, free_port: int, until: Until) -> None:
    async with (
        remote(pty, free_port, telnet=True, max_clients=2) as (_, link),
        speaking(free_port) as one,
        speaking(free_port) as two,
    ):
        await there(link, 2, until)
        one.says(b"1")
        assert await pty.hears(1) == b"1"
        two.says(b"2")
        assert await pty.hears(1) == b"2"


async def test_megabytes_pass_unharmed_both_ways_at_once(pty: Pty, free_port: int) -> None:
    said = bytes(range(256)) * 2048

    async def device() -> bytes:
        got = bytearray()
        while len(got) < len(said):
            got += await pty.hears(min(4096, len(said) - len(got)))
        return bytes(got)

    async with remote(pty, free_port, rfc2217=True), speaking(free_port) as one:
        one.agrees()
        await one.asks(Ask.SIGNATURE)
        one.says(said)
        for at in range(0, 65536, 1024):
            pty.say(said[at : at + 1024])
            await asyncio.sleep(0)
            if at % 2048 == 0:
                assert await one.reads(1024 if at == 0 else 2048)
        assert await device() == said


async def test_who_may_only_look_on_sees_the_line_and_is_not_heard(
    pty: Pty, free_port: int, until: Until
) -> None:
    async with remote(pty, free_port, readers=2) as (_, link), client(free_port) as (_, writer):
        await there(link, 1, until)
        async with client(free_port) as (reader, unheard):
            await there(link, 2, until)
            assert link.status()["readers"] == 1
            unheard.write(b"not me" * 100_000)
            await unheard.drain()
            writer.write(b"me")
            assert await pty.hears(2) == b"me"
            pty.say(b"12.5 kg")
            assert await exactly(reader, 7) == b"12.5 kg"
            assert pty.heard() == b""


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "telnet when dialling": ({"connect": "10.0.0.5:4001", "telnet": True}, "telnet goes with listen"),
    "rfc2217 when dialling": ({"connect": "10.0.0.5:4001", "rfc2217": True}, "rfc2217 goes with listen"),
    "readers when dialling": ({"connect": "10.0.0.5:4001", "readers": 1}, "readers goes with listen"),
    "both": ({"telnet": True, "rfc2217": True}, "write one of the two"),
    "several who set the line": ({"rfc2217": True, "max_clients": 2}, "one client sets the line"),
    "a tap": ({"rfc2217": True, "tap": True}, "rfc2217 does not go with tap"),
    "never idle": ({"telnet": True, "idle_timeout": "5m"}, "never idle"),
}


@pytest.mark.parametrize(("keys", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_keys_that_do_not_go_together_are_told(keys: dict[str, Any], says: str) -> None:
    table = {"kind": "tcp", "port": "scale"} | ({} if "connect" in keys else {"listen": ":4001"}) | keys
    with pytest.raises(ValidationError, match=says):
        Config.model_validate(table)


def test_what_nops_cost_is_told() -> None:
    table = {"kind": "tcp", "port": "scale", "listen": ":4001", "rfc2217": True}
    nops = Config.model_validate(table | {"liveness": {"detect_within": "60s"}}).idle_traffic
    assert nops is not None
    assert (nops.name, nops.every) == ("NOPs", 15.0)
