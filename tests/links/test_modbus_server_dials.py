"""kind = "modbus-server" with connect: we dial, and the far end asks through that connection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import Until
from parts_kit import Wires, running
from pydantic import ValidationError
from scada_kit import READ, Answer, Line, Scada, adu, echo, holds, meters, opened, read
from stream_kit import FarEnd, up
from virtual import in_virtual_time

from gateway.contracts import Rank, Traced
from gateway.links.modbus_server import Config, Dialler

SN = {"text": "SN"}
PATIENT = {"detect_within": "1h"}  # the kernel's clock does not jump with ours
ZERO = adu(1, 1, b"\x03\x02\x00\x00")  # the answer to READ


def dialler(tcp_port: int, line: object, **keys: Any) -> Dialler:
    table = {"kind": "modbus-server", "connect": f"127.0.0.1:{tcp_port}", "port": "meters"} | keys
    link = Config.model_validate(table).build("cloud-poll", Wires(meters=line))
    assert isinstance(link, Dialler)
    return link


class Remote:
    """A server in the cloud that is dialled, and then asks."""

    def __init__(self) -> None:
        self._calls: list[Scada] = []

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._calls.append(Scada(reader, writer))

    async def call(self) -> Scada:
        """The next one that comes in. Virtual time stands still meanwhile."""
        async with asyncio.timeout(30):
            while not self._calls:
                await asyncio.sleep(0)
        return self._calls.pop(0)

    @asynccontextmanager
    async def listening(self, tcp_port: int) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._called, "127.0.0.1", tcp_port)
        try:
            yield
        finally:
            server.close()


@asynccontextmanager
async def called(tcp_port: int, line: object, **keys: Any) -> AsyncIterator[tuple[Dialler, Scada]]:
    """The far end of a link that is up."""
    remote, link = Remote(), dialler(tcp_port, line, **keys)
    async with remote.listening(tcp_port), up(link, "up"):
        scada = await remote.call()
        try:
            yield link, scada
        finally:
            scada.writer.close()


# Requests and their answers


async def test_the_far_end_asks_through_the_connection_that_we_made(free_port: int) -> None:
    with meters(1, 2) as (_, port):
        async with opened(port), called(free_port, port) as (_, scada):
            assert await scada.ask(2, read(5, 3)) == holds(2, 5, 3)
            assert await scada.ask(1, b"\x06\x00\x07\x12\x34") == b"\x06\x00\x07\x12\x34"
            assert await scada.ask(1, read(7), tid=9) == b"\x03\x02\x12\x34"
            assert await scada.ask(77, read(7))  # an exception, but an answer


async def test_requests_may_be_piled_up_there_too(free_port: int, until: Until) -> None:
    line = Line()
    async with called(free_port, line) as (_, scada):
        scada.send(adu(1, 1, read(1)) + adu(2, 1, read(2)))
        await until(lambda: len(line.owed) == 2)
        for place in (1, 0):
            line.owed[place].set_result(echo(line.asked[place]))
        assert [await scada.answer(), await scada.answer()] == [
            Answer(2, 1, b"\x03\x02\x00\x02"),
            Answer(1, 1, b"\x03\x02\x00\x01"),
        ]
    assert {request.asker.host for request in line.asked} == {"127.0.0.1"}
    assert {request.rank for request in line.asked} == {Rank.READ}


async def test_when_the_connection_ends_its_requests_are_withdrawn_and_the_next_one_begins_anew(
    free_port: int, until: Until
) -> None:
    line, remote = Line(), Remote()
    link = dialler(free_port, line, registration=SN)
    async with remote.listening(free_port), running(link) as life:
        one = await remote.call()
        one.send(adu(1, 1, READ) + adu(2, 1, READ)[:5])
        await until(lambda: line.owed)
        one.writer.close()
        await until(lambda: life.deaths == 1)
        assert line.owed[0].cancelled()
        two = await remote.call()
        two.send(adu(3, 1, READ))
        await until(lambda: len(line.owed) == 2)
        line.owed[1].set_result(echo(line.asked[1]))
        assert await two.exactly(2) == b"SN"
        assert await two.answer() == Answer(3, 1, b"\x03\x02\x00\x00")
        two.writer.close()


async def test_what_is_not_modbus_ends_the_connection_and_the_link_dials_again(
    free_port: int, until: Until
) -> None:
    remote, link = Remote(), dialler(free_port, Line(echo))
    async with remote.listening(free_port), running(link) as life:
        one = await remote.call()
        one.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await one.rest() == b""
        two = await remote.call()
        assert await two.ask(1, READ) == b"\x03\x02\x00\x00"
        death = life.status()["last_death"]
        assert death is not None
        assert "this is not Modbus TCP" in death["reason"]
        for scada in (one, two):
            scada.writer.close()


async def test_the_second_far_end_is_dialled_when_the_first_cannot_be_had_and_left_when_it_is_back(
    free_port: int, until: Until
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        second = server.getsockname()[1]
    ends = [f"127.0.0.1:{free_port}", f"127.0.0.1:{second}"]
    rules = {"first": "10ms", "max": "10ms", "prefer_after": "200ms"}
    link = dialler(free_port, Line(echo), connect=ends, reconnect=rules)
    async with FarEnd(second), up(link, "up") as life:
        assert link.status()["endpoint"] == ends[1]
        async with FarEnd(free_port):
            await until(lambda: link.status()["endpoint"] == ends[0] and life.state == "up")


async def test_the_status_shows_the_far_end(free_port: int) -> None:
    async with called(free_port, Line(echo)) as (link, scada):
        await scada.ask(1, READ)
        record = link.status()
    (peer,) = record["peers"]
    assert (record["kind"], record["direction"], record["ports"]) == ("modbus-server", "connect", ["meters"])
    assert record["endpoint"] == peer["address"] == f"127.0.0.1:{free_port}"
    assert (peer["requests"], peer["rx_bytes"], peer["tx_bytes"]) == (1, 12, 11)
    assert peer["keepalive"]["user_timeout_ms"] == 20_000
    assert link.status()["peers"] == []


# What we say by ourselves


@pytest.mark.parametrize(
    ("registration", "sent"),
    [
        ({"text": "{mac} {name} {hostname} {else}"}, b"02:00:00:00:00:01 pump-house-7 pump-house-7 {else}"),
        ({"hex": "02 7b 6d 61 63 7d"}, b"\x02{mac}"),
    ],
)
async def test_the_registration_is_the_first_that_the_far_end_hears_and_comes_once(
    registration: dict[str, Any], sent: bytes, free_port: int
) -> None:
    async with called(free_port, Line(echo), registration=registration) as (_, scada):
        assert await scada.exactly(len(sent)) == sent
        for tid in (1, 2):
            scada.send(adu(tid, 1, READ))
            assert await scada.answer() == Answer(tid, 1, b"\x03\x02\x00\x00")


async def test_with_each_the_registration_stands_in_front_of_every_packet(free_port: int) -> None:
    registration = {"text": "{mac}:", "each": True}
    async with called(free_port, Line(echo), registration=registration) as (_, scada):
        for tid in (1, 2):
            scada.send(adu(tid, 1, READ))
            assert await scada.exactly(18) == b"02:00:00:00:00:01:"
            assert await scada.answer() == Answer(tid, 1, b"\x03\x02\x00\x00")


class Told(list[tuple[float, bytes]]):
    """What went to the far end: seconds since the link began to dial, and bytes."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    def offer(self, traced: Traced) -> bool:
        if traced.way == "tx" and traced.data:
            self.append((round(asyncio.get_running_loop().time() - self._began, 1), traced.data))
        return True

    async def until(self, seconds: float) -> None:
        await asyncio.sleep(self._began + seconds - asyncio.get_running_loop().time())


@asynccontextmanager
async def beating(tcp_port: int, line: Line, **keys: Any) -> AsyncIterator[tuple[Told, Scada]]:
    """With "PING" every 30 seconds."""
    beats = {"text": "PING", "every": "30s"} | keys.pop("heartbeat", {})
    remote, link = Remote(), dialler(tcp_port, line, liveness=PATIENT, heartbeat=beats, **keys)
    told = Told()
    async with remote.listening(tcp_port):
        with link.trace.tap(offer=told.offer):
            async with up(link, "up"):
                scada = await remote.call()
                yield told, scada
                scada.writer.close()


async def asks(scada: Scada, line: Line, told: Told, at: float) -> None:
    """At that second; its request is on the line then."""
    await told.until(at)
    before = len(line.asked)
    scada.send(adu(1, 1, READ))
    while len(line.asked) == before:
        await asyncio.sleep(0)  # time stands still


@in_virtual_time
async def test_a_heartbeat_comes_after_so_long_without_an_answer(free_port: int) -> None:
    line = Line(echo)
    async with beating(free_port, line) as (told, scada):
        await asks(scada, line, told, 75)
        await asks(scada, line, told, 100)
        await told.until(161)
    assert told == [(30, b"PING"), (60, b"PING"), (75, ZERO), (100, ZERO), (130, b"PING"), (160, b"PING")]


@in_virtual_time
async def test_a_strict_heartbeat_comes_at_its_beat_whatever_else_was_sent(free_port: int) -> None:
    line = Line(echo)
    async with beating(free_port, line, heartbeat={"strict": True}) as (told, scada):
        for at in (29, 31, 59):
            await asks(scada, line, told, at)
        await told.until(61)
    assert told == [(29, ZERO), (30, b"PING"), (31, ZERO), (59, ZERO), (60, b"PING")]


@in_virtual_time
async def test_a_heartbeat_is_a_packet_too_and_the_connection_does_not_begin_with_each(
    free_port: int,
) -> None:
    line = Line(echo)
    async with beating(free_port, line, registration=SN | {"each": True}) as (told, scada):
        await asks(scada, line, told, 10)
        await told.until(41)
    assert told == [(10, b"SN" + ZERO), (40, b"SNPING")]


@in_virtual_time
async def test_a_request_that_waits_for_its_line_does_not_hold_up_heartbeats(free_port: int) -> None:
    line = Line()
    async with beating(free_port, line) as (told, scada):
        await asks(scada, line, told, 20)
        await told.until(50)
        line.owed[0].set_result(echo(line.asked[0]))
        await told.until(81)
    assert told == [(30, b"PING"), (50, ZERO), (80, b"PING")]


async def test_a_far_end_that_reads_nothing_gets_no_heap_of_heartbeats(free_port: int, until: Until) -> None:
    answer = b"\x03\xfa" + bytes(250)
    word = {"text": "x" * 20_000, "every": "500ms", "strict": True}
    link = dialler(free_port, Line(lambda request: answer), heartbeat=word)
    with socket.create_server(("127.0.0.1", free_port)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with up(link, "up"):
            far = server.accept()[0]
            far.setblocking(False)
            with far:
                flood = b"".join(adu(n, 1, read(0, 125)) for n in range(20_000))
                sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(far, flood))
                before, still = -1, asyncio.get_running_loop().time()
                while asyncio.get_running_loop().time() - still < 1.2:  # two beats and more
                    if (now := link.status()["peers"][0]["tx_bytes"]) != before:
                        before, still = now, asyncio.get_running_loop().time()
                    await asyncio.sleep(0.02)
                sending.cancel()
    assert before > 64 * 1024


# What they say by themselves


@pytest.mark.parametrize("size", [1, 3, 5, 7, 1000])
async def test_their_heartbeats_are_dropped_wherever_they_stand_between_requests(
    size: int, free_port: int
) -> None:
    words: list[dict[str, Any]] = [{"text": "PONG"}, {"text": "PONG, are you there?"}, {"hex": "00"}]
    long, short = b"PONG, are you there?", b"PONG"
    stream = short + adu(1, 1, READ) + short * 3 + b"\0" + adu(2, 1, READ) + long + adu(3, 1, READ) + short
    async with called(free_port, Line(echo), ignore=words) as (link, scada):
        for start in range(0, len(stream), size):
            scada.send(stream[start : start + size])
            await asyncio.sleep(0)
        assert [(await scada.answer()).tid for _ in range(3)] == [1, 2, 3]
        assert await scada.ask(1, READ, tid=4) == b"\x03\x02\x00\x00"
        assert link.status()["peers"][0]["requests"] == 4


async def test_words_that_were_not_named_are_not_ignored(free_port: int) -> None:
    async with called(free_port, Line(echo), ignore=[{"text": "PONG"}]) as (_, scada):
        scada.send(b"PING!!")
        assert await scada.rest() == b""


# The config

BASE = {"kind": "modbus-server", "port": "meters"}


@pytest.mark.parametrize(
    ("keys", "where", "complaint"),
    [
        ({}, (), "who dials"),
        ({"connect": "a:1", "listen": ":502"}, ("connect",), "not both"),
        ({"listen": ":502", "registration": SN}, ("registration",), "goes with connect"),
        ({"listen": ":502", "heartbeat": SN}, ("heartbeat",), "goes with connect"),
        ({"listen": ":502", "ignore": [SN]}, ("ignore",), "goes with connect"),
        ({"connect": "a:1", "max_clients": 4}, ("max_clients",), "goes with listen"),
        ({"connect": "a:1", "registration": {"text": ""}}, ("registration",), "one byte"),
        ({"connect": "a:1", "ignore": [{"hex": "0"}]}, ("ignore", 0, "hex"), "pairs of hexadecimal"),
        ({"connect": "a:1", "heartbeat": SN | {"each": True}}, ("heartbeat", "each"), "not permitted"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_the_right_key(
    keys: dict[str, Any], where: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        Config.model_validate(BASE | keys)
    assert [error["loc"] for error in refused.value.errors()] == [where]


def test_only_a_frequent_heartbeat_tells_in_time_that_the_far_end_is_dead() -> None:
    def table(every: str) -> Config:
        heartbeat = {"text": "PING", "every": every}
        return Config.model_validate(BASE | {"connect": "a:1", "heartbeat": heartbeat})

    assert (table("5s").heartbeats, table("30s").heartbeats) == (True, False)


def test_what_stands_in_front_of_a_heartbeat_costs_too() -> None:
    def octets(**registration: Any) -> int:
        keys = {"connect": "a:1", "heartbeat": {"text": "PING"}, "registration": SN | registration}
        costs = Config.model_validate(BASE | keys).idle_traffic
        assert costs is not None
        return costs.octets

    assert octets(each=True) == octets() + 2
