"""kind = "tcp" as the boxes on the rail do it: packet, idle_timeout, on_connect."""

import asyncio
import socket
import struct
from typing import Any

import pytest
from buffer_kit import Buffers
from conftest import Until
from parts_kit import running
from pydantic import ValidationError
from sink_kit import Sink
from stream_kit import MEGABYTE, FarEnd, Port, Scale, client, dialler, exactly, server, there, up

from gateway.contracts import Traced
from gateway.links._dialler import Dialler
from gateway.links._meanwhile import MOST
from gateway.links.tcp import Config, Server
from gateway.wire.framing import ByDelimiter

_DATA_SEGMENTS = struct.Struct("=152xI")  # in struct tcp_info: those with data that came in


def segments(sock: Any) -> int:
    """In how many the peer of this socket has written."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int(_DATA_SEGMENTS.unpack_from(info)[0])


class Writes(list[bytes]):
    """What a link wrote, write by write."""

    def __init__(self, link: Server | Dialler) -> None:
        super().__init__()
        link.trace.tap(offer=self._seen)

    def _seen(self, traced: Traced) -> bool:
        if traced.way == "tx":
            self.append(traced.data)
        return True


# packet


async def test_with_packet_each_frame_is_a_segment_however_its_bytes_came(
    free_port: int, until: Until
) -> None:
    port = Scale()
    link = server(free_port, port, packet=True)
    async with up(link, "listening"), client(free_port) as (reader, writer):
        await there(link, 1, until)
        for chunk in (b"12", b".5;13.0;1", b"4;"):
            port.says(chunk)
        assert await exactly(reader, 13) == b"12.5;13.0;14;"
        assert segments(writer.get_extra_info("socket")) == 3


async def test_what_a_client_sends_goes_to_the_line_as_it_comes_also_with_packet(
    free_port: int, until: Until
) -> None:
    port = Scale()
    link = server(free_port, port, packet=True)
    async with up(link, "listening"), client(free_port) as (_, writer):
        writer.write(b"no frame")
        await until(lambda: port.told == b"no frame")


async def test_with_packet_a_link_that_dials_writes_frames_one_by_one_also_those_that_waited(
    free_port: int, until: Until
) -> None:
    port = Scale()
    link = dialler(free_port, port, packet=True)
    writes = Writes(link)
    port.says(b"1;2")
    port.says(b"2;333;4")
    async with running(link), FarEnd(free_port) as far:
        await until(lambda: far.got == b"1;22;333;")
        port.says(b"444;5;")
        await until(lambda: far.got == b"1;22;333;4444;5;")
        (peer,) = far.clients
        assert segments(peer.get_extra_info("socket")) == 5
    assert writes == [b"1;", b"22;", b"333;", b"4444;", b"5;"]


async def test_a_frame_that_is_longer_than_what_may_be_under_way_stays_whole(
    free_port: int, until: Until
) -> None:
    port = Scale(ByDelimiter(b";", b"", 0, False, 100_000))
    link = dialler(free_port, port, packet=True)
    writes = Writes(link)
    long = b"x" * 50_000 + b";"
    async with FarEnd(free_port) as far, up(link, "up"):
        for frame in (b"1;", long, b"2;", long, long):
            port.says(frame)
        await until(lambda: len(far.got) == 3 * len(long) + 4)
        await until(lambda: link.status()["confirmed"] == 5)
    assert writes == [b"1;", long, b"2;", long, long]


async def test_a_frame_of_which_a_part_did_not_arrive_goes_out_again_as_a_whole(
    free_port: int, until: Until
) -> None:
    port = Scale(ByDelimiter(b";", b"", 0, False, 10_000_000))
    link = dialler(free_port, port, packet=True)
    long = bytes(1_000_000) + b";"
    with Sink(free_port, little=True) as sink:
        async with up(link, "up") as life:
            port.says(long)
            async with sink.visit() as first:
                while len(first.got) < 100:
                    await first.hears(100)
                first.ends(reset=True)
            await until(lambda: life.deaths == 1)
            async with sink.visit() as second:
                while len(second.got) < len(long):
                    await second.hears(MEGABYTE)
            assert second.got == long


async def test_a_heartbeat_never_cuts_a_packet(free_port: int, until: Until) -> None:
    port = Scale()
    beat = {"text": "PING", "every": "500ms", "strict": True}
    link = dialler(free_port, port, packet=True, heartbeat=beat)
    writes = Writes(link)
    async with FarEnd(free_port) as far, up(link, "up"):
        while b"PING" not in far.got[20:]:
            port.says(b"1")
            await asyncio.sleep(0.001)
            port.says(b"2;3")
            await asyncio.sleep(0.001)
            port.says(b"4;")
    assert set(writes) == {b"12;", b"34;", b"PING"}


# idle_timeout


async def test_a_client_that_says_nothing_and_is_told_nothing_is_sent_away_in_order(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = server(free_port, port, idle_timeout="1s")
    async with up(link, "listening"), client(free_port) as (reader, writer):
        now = asyncio.get_running_loop().time
        await there(link, 1, until)
        writer.write(b"hello")
        await asyncio.sleep(0.7)
        port.chunks.push(b"last words")
        began = now()
        async with asyncio.timeout(30):
            assert await reader.read() == b"last words"  # and then the end, not a reset
        assert now() - began > 0.95
        await until(lambda: not link.status()["peers"])


async def test_one_that_says_something_now_and_then_stays(free_port: int, until: Until) -> None:
    port = Port()
    link = server(free_port, port, idle_timeout="1s")
    async with up(link, "listening"), client(free_port) as (reader, writer):
        for number in range(6):
            writer.write(b"!")
            await until(lambda: port.told == b"!" * (number + 1))  # noqa: B023
            await asyncio.sleep(0.3)
        port.chunks.push(b"still here")
        assert await exactly(reader, 10) == b"still here"


async def test_a_connection_of_ours_that_is_idle_is_closed_and_made_anew(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = dialler(free_port, port, idle_timeout="1s")
    async with FarEnd(free_port) as far, up(link, "up") as life:
        await until(lambda: life.deaths == 1)
        death = life.status()["last_death"]
        assert death is not None
        assert death["reason"] == "no byte either way for 1 s (idle_timeout)"
        port.chunks.push(b"again")
        await until(lambda: far.got == b"again")


# on_connect


async def test_what_the_line_said_while_nobody_was_there_is_forgotten_or_goes_to_the_first_who_comes(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = server(free_port, port, on_connect="keep", max_clients=2)
    async with up(link, "listening"):
        port.chunks.push(b"one ")
        port.chunks.push(b"two ")
        async with client(free_port) as (first, _):
            assert await exactly(first, 8) == b"one two "
            async with client(free_port) as (second, _):
                await there(link, 2, until)
                port.chunks.push(b"three")
                assert await exactly(first, 5) == await exactly(second, 5) == b"three"
        await until(lambda: not link.status()["peers"])
        port.chunks.push(b"four")
        async with client(free_port) as (third, _):
            assert await exactly(third, 4) == b"four"


async def test_of_what_the_line_said_meanwhile_the_newest_64_kb_are_kept(free_port: int) -> None:
    port = Port()
    link = server(free_port, port, on_connect="keep")
    async with up(link, "listening"):
        for number in range(100):
            port.chunks.push(bytes([number]) * 1024)
        async with client(free_port) as (reader, _):
            got = await exactly(reader, MOST)
            port.chunks.push(b"end")
            assert await exactly(reader, 3) == b"end"
    assert got == b"".join(bytes([number]) * 1024 for number in range(36, 100))


async def test_what_was_kept_goes_out_frame_by_frame_with_packet(free_port: int, until: Until) -> None:
    port = Scale()
    link = server(free_port, port, on_connect="keep", packet=True)
    async with up(link, "listening"):
        port.says(b"1;2;3")
        async with client(free_port) as (reader, writer):
            assert await exactly(reader, 4) == b"1;2;"
            assert segments(writer.get_extra_info("socket")) == 2


async def test_a_reload_keeps_what_was_kept_unless_it_says_otherwise(free_port: int) -> None:
    port = Port()
    link = server(free_port, port, on_connect="keep")
    async with up(link, "listening"):
        port.chunks.push(b"before")
    assert not port.chunks.taps
    async with up(link, "listening"), client(free_port) as (reader, _):
        assert await exactly(reader, 6) == b"before"
    async with up(link, "listening"):
        port.chunks.push(b"secret")
    link.config = link.config.model_copy(update={"on_connect": "clear"})
    async with up(link, "listening"), client(free_port) as (reader, writer):
        writer.write(b"?")
        while port.told != b"?":
            await asyncio.sleep(0.001)
        port.chunks.push(b"new")
        assert await exactly(reader, 3) == b"new"


# The config


@pytest.mark.parametrize(
    ("keys", "where", "complaint"),
    [
        ({"connect": "a:1", "on_connect": "keep"}, "on_connect", "on_connect goes with listen"),
        ({"listen": ":1", "tap": True, "packet": True}, "packet", "does not go with tap"),
        ({"connect": "a:1", "idle_timeout": "1m", "heartbeat": {"text": "P"}}, "idle_timeout", "heartbeat"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_the_right_key(
    keys: dict[str, Any], where: str, complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        Config.model_validate({"kind": "tcp", "port": "scale"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [(where,)]


def test_what_changes_what_a_record_of_the_buffer_is_builds_the_link_anew() -> None:
    table = {"kind": "tcp", "port": "scale", "connect": "10.0.0.5:4001"}
    shapes = {Config.model_validate(table | {"packet": packet}).shape for packet in (False, True)}
    assert len(shapes) == 2


def test_frames_are_cut_for_links_with_packet_only() -> None:
    port = Scale()
    dialler(1, port, Buffers(), packet=False)
    assert (len(port.chunks.taps), len(port.frames.taps)) == (1, 0)
    dialler(1, port, Buffers(), packet=True)
    assert len(port.frames.taps) == 1
