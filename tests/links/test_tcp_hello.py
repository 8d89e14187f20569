"""kind = "tcp" with connect: what it says by itself, first on each connection and between frames later on."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from buffer_kit import Buffers
from conftest import Pty, Until
from hypothesis import given, settings
from hypothesis import strategies as st
from parts_kit import running
from pydantic import ValidationError
from stream_kit import MEGABYTE, FarEnd, Port, Scale, dialler, up
from virtual import VirtualLoop, in_virtual_time

from gateway.contracts import Traced
from gateway.links._dialler import Dialler
from gateway.links.tcp import Config
from gateway.policy import traffic
from gateway.ports import raw
from gateway.status import PeerStatus
from gateway.wire.framing import ByDelimiter, ByLength, by_silence

SN = {"text": "SN"}
PATIENT = {"detect_within": "1h"}  # the kernel's clock does not jump with ours


class Told(list[tuple[float, bytes]]):
    """What went to the far end: seconds since the first of it, and bytes."""

    began = 0.0

    def offer(self, traced: Traced) -> bool:
        if traced.way == "tx":
            now = asyncio.get_running_loop().time()
            self.began = self.began if self else now
            self.append((round(now - self.began, 3), traced.data))
        return True

    async def until(self, seconds: float) -> None:
        """So long after the first of it."""
        await asyncio.sleep(self.began + seconds - asyncio.get_running_loop().time())


@asynccontextmanager
async def connected(tcp_port: int, port: object, **heartbeat: Any) -> AsyncIterator[tuple[Dialler, Told]]:
    """With "PING" every 30 seconds, and "SN" before that."""
    beats = {"text": "PING", "every": "30s"} | heartbeat
    link = dialler(tcp_port, port, liveness=PATIENT, registration=SN, heartbeat=beats)
    told = Told()
    with link.trace.tap(offer=told.offer):
        async with FarEnd(tcp_port), up(link, "up"):
            yield link, told


# Registration


async def test_each_connection_begins_with_the_registration_and_it_is_never_in_the_buffer(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = dialler(free_port, port, registration={"text": "SN-0042 "})
    port.chunks.push(b"before")
    async with running(link) as life, FarEnd(free_port) as far:
        await until(lambda: far.got == b"SN-0042 before")
        (peer,) = link.status()["peers"]
        assert peer["tx_bytes"] == len(far.got)
        for turn in (1, 2):
            await far.closes()
            await until(lambda: life.deaths == turn)  # noqa: B023
            far.got.clear()
            assert link.status()["buffer"]["records"] == 0
            port.chunks.push(b"meanwhile")
            assert link.status()["buffer"]["records"] == 1
            await far.opens()
            await until(lambda: far.got == b"SN-0042 meanwhile")
        await until(lambda: link.status()["sent"] == 3)


@pytest.mark.parametrize(
    ("registration", "sent"),
    [
        (
            {"text": "{name} {mac} {hostname} {site} é"},
            "pump-house-7 02:00:00:00:00:01 pump-house-7 {site} é",
        ),
        ({"hex": "7b 6e 61 6d 65 7d"}, "{name}"),
    ],
)
async def test_a_text_is_filled_in_and_hex_is_sent_as_it_is(
    registration: dict[str, str], sent: str, free_port: int, until: Until
) -> None:
    link = dialler(free_port, Port(), registration=registration)
    async with FarEnd(free_port) as far, up(link, "up"):
        await until(lambda: far.got == sent.encode())


async def test_both_are_seen_by_whoever_traces_the_link(free_port: int) -> None:
    seen: list[Traced] = []
    link = dialler(free_port, Port(), registration=SN, heartbeat={"text": "{name}", "every": "1s"})
    with link.trace.tap(offer=lambda traced: bool(seen.append(traced)) or True):
        async with FarEnd(free_port), up(link, "up"):
            while len(seen) < 2:
                await asyncio.sleep(0.01)
            assert link.status()["peers"][0]["tx_bytes"] == len("SN" + "pump-house-7")
    assert [(one.way, one.data) for one in seen] == [("tx", b"SN"), ("tx", b"pump-house-7")]
    assert {one.text for one in seen} == {f"127.0.0.1:{free_port}"}


# Heartbeats


@in_virtual_time
async def test_a_heartbeat_comes_after_so_long_without_anything_sent(free_port: int) -> None:
    port = Scale()
    async with connected(free_port, port) as (link, told):
        await told.until(75)
        port.says(b"a;")
        await told.until(100)
        port.says(b"b;")
        await told.until(161)
        assert link.status()["sent"] == 2
    assert told == [
        (0, b"SN"),
        (30, b"PING"),
        (60, b"PING"),
        (75, b"a;"),
        (100, b"b;"),
        (130, b"PING"),
        (160, b"PING"),
    ]


@in_virtual_time
async def test_a_strict_heartbeat_comes_every_period_whatever_else_was_sent(free_port: int) -> None:
    port = Scale()
    async with connected(free_port, port, strict=True) as (_, told):
        for at in (5, 25, 31, 59):
            await told.until(at)
            port.says(b"a;")
        await told.until(61)
    assert told == [
        (0, b"SN"),
        (5, b"a;"),
        (25, b"a;"),
        (30, b"PING"),
        (31, b"a;"),
        (59, b"a;"),
        (60, b"PING"),
    ]


@in_virtual_time
async def test_a_heartbeat_waits_for_the_delimiter_and_stands_right_behind_it(free_port: int) -> None:
    port = Scale()
    async with connected(free_port, port, strict=True) as (_, told):
        for at, data in ((29, b"1"), (40, b"2"), (50, b".5;13"), (60, b".0"), (79, b"7"), (81, b";")):
            await told.until(at)
            port.says(data)
        await told.until(82)
    assert told[3:] == [
        (50, b".5;"),
        (50, b"PING"),
        (50, b"13"),
        (60, b".0"),
        (79, b"7"),
        (81, b";"),
        (81, b"PING"),
    ]


@in_virtual_time
async def test_a_heartbeat_waits_for_the_silence_that_ends_a_frame(free_port: int) -> None:
    port = Scale(by_silence(5.0, 100))
    async with connected(free_port, port, strict=True) as (_, told):
        await told.until(29)
        port.says(b"12.5")
        await told.until(34)
        port.is_silent()
        await told.until(65)
    assert told == [(0, b"SN"), (29, b"12.5"), (34, b"PING"), (60, b"PING")]


@in_virtual_time
async def test_noise_that_no_delimiter_follows_does_not_silence_heartbeats(free_port: int) -> None:
    port = Scale()
    async with connected(free_port, port, strict=True) as (_, told):
        await told.until(29)
        port.says(b"?")
        await told.until(61)
    assert told == [(0, b"SN"), (29, b"?"), (59, b"PING"), (60, b"PING")]


class Deaf:
    """A far end that takes connections, and reads nothing of one until it is told to."""

    def __init__(self, tcp_port: int) -> None:
        self.got = bytearray()
        self._server = socket.create_server(("127.0.0.1", tcp_port))

    def __enter__(self) -> "Deaf":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    async def reads(self, last: bytes) -> bytes:
        """All up to there."""
        with self._server.accept()[0] as sock:
            sock.setblocking(False)
            while not self.got.endswith(last):
                self.got += await asyncio.get_running_loop().sock_recv(sock, 1 << 16)
        return bytes(self.got)


async def until_behind(link: Dialler, port: Port, said: bytes) -> None:
    while not link.status()["buffer"]["dropped"]:
        port.chunks.push(said)
        await asyncio.sleep(0)


@in_virtual_time
async def test_a_heartbeat_waits_until_the_far_end_has_taken_what_was_said_before(free_port: int) -> None:
    port, buffers = Port(), Buffers(first_seq=1, per_link=MEGABYTE)
    link = dialler(free_port, port, buffers, liveness=PATIENT, heartbeat={"text": "PING"})
    with Deaf(free_port) as far:
        async with up(link, "up"):
            await until_behind(link, port, bytes(1 << 16))
            await asyncio.sleep(200)
            got = await far.reads(b"PING")
            assert got.count(b"PING") == 1
            assert link.status()["buffer"]["records"] == 0


@in_virtual_time
async def test_a_heartbeat_that_is_due_among_much_that_waits_stands_between_two_frames(
    free_port: int,
) -> None:
    port, buffers = Scale(), Buffers(first_seq=1, per_link=MEGABYTE)
    beats = {"text": "PING", "strict": True}
    link = dialler(free_port, port, buffers, liveness=PATIENT, heartbeat=beats)
    with Deaf(free_port) as far:
        async with up(link, "up"):
            await until_behind(link, port, b"12.5;" * 10_000)
            await asyncio.sleep(200)
            for _ in range(500):
                port.says(b"12.5;")
            port.says(b"13.0;end")
            before, _, after = (await far.reads(b"end")).partition(b"PING")
            assert before.endswith(b"12.5;13.0;")
            assert after == b"end"


@in_virtual_time
async def test_heartbeats_do_not_heap_up_before_a_far_end_that_reads_nothing(free_port: int) -> None:
    beats = {"text": "P" * 65535 + "!", "every": "1s"}
    link = dialler(free_port, Port(), liveness=PATIENT, heartbeat=beats)

    def peer() -> PeerStatus:
        return link.status()["peers"][0]

    with Deaf(free_port) as far:
        async with up(link, "up"):
            await asyncio.sleep(1000)  # of the 3600 after which it is dead
            heap = peer()["tx_bytes"]
            assert heap < 20 * MEGABYTE  # of 64: what the far end's kernel takes
            reading = asyncio.create_task(far.reads(b"never"))
            while len(far.got) < heap or peer()["unacked_bytes"]:
                await asyncio.sleep(0)  # time stands still: the kernel needs some of its own
            await asyncio.sleep(2)
            assert peer()["tx_bytes"] > heap
            reading.cancel()


class Asked(Port):
    """A port that counts how often somebody wants to know of its frames."""

    asked = 0

    @property
    def unfinished(self) -> int:  # type: ignore[override]
        self.asked += 1
        return 0


@in_virtual_time
async def test_a_new_connection_begins_a_new_period_and_the_old_one_says_nothing_more(
    free_port: int, until: Until
) -> None:
    port = Asked()
    link = dialler(
        free_port, port, liveness=PATIENT, registration=SN, heartbeat={"text": "PING", "strict": True}
    )
    told = Told()
    with link.trace.tap(offer=told.offer):
        async with FarEnd(free_port) as far, up(link, "up"):
            await told.until(20)
            far.clients[0].close()
            await until(lambda: len(told) == 2)
            again = told[1][0]
            await told.until(again + 31)
            assert told == [(0, b"SN"), (again, b"SN"), (round(again + 30, 3), b"PING")]
            assert len(port.frames.taps) == 1
        assert port.frames.taps == ()
        asked = port.asked
        await asyncio.sleep(100)
        assert port.asked == asked


@in_virtual_time
async def test_frames_are_cut_only_for_strict_heartbeats(free_port: int) -> None:
    port = Scale()
    async with connected(free_port, port):
        assert port.frames.taps == ()
    async with connected(free_port, port, strict=True):
        assert len(port.frames.taps) == 1


@in_virtual_time
async def test_with_a_real_line_a_heartbeat_stands_between_its_frames(
    pty: Pty, free_port: int, until: Until
) -> None:
    rule = {"delimiter": {"text": "\r\n"}}
    table = {"mode": "raw", "tty": pty.path, "baudrate": 115200, "format": "8N1", "frame": rule}
    port = raw.Port(raw.Config.model_validate(table))
    link = dialler(
        free_port,
        port,
        liveness=PATIENT,
        registration=SN,
        heartbeat={"text": "PING", "every": "10m", "strict": True},
    )
    async with up(port, "open"), FarEnd(free_port) as far, up(link, "up"):
        await asyncio.sleep(590)
        pty.say(b"12")
        await until(lambda: far.got == b"SN12")
        await asyncio.sleep(20)
        pty.say(b".5 kg\r\n13")
        await until(lambda: far.got == b"SN12.5 kg\r\nPING13")


# Whatever the line says, and whenever

IDLE = 5  # seconds
LENGTH = 3
says = st.lists(st.tuples(st.integers(0, 40), st.text("ab;", min_size=1, max_size=7)), max_size=10)


def is_over(rule: str, stream: bytes, place: int, silence: float) -> bool:
    """Whether a frame is, by the plain words of the rule."""
    match rule:
        case "delimiter":
            return stream[:place].endswith(b";")
        case "length":
            return place % LENGTH == 0
    return silence >= IDLE


async def played(rule: str, strict: bool, said: list[tuple[int, str]]) -> tuple[Told, list[float]]:
    """What was told, and when each byte came from the line."""
    splitters = {
        "delimiter": ByDelimiter(b";", b"", 0, False, 100),
        "length": ByLength(LENGTH),
        "silence": by_silence(IDLE, 100),
    }
    port, arrivals = Scale(splitters[rule]), list[float]()
    with socket.create_server(("127.0.0.1", 0)) as server:
        tcp_port = server.getsockname()[1]
    async with connected(tcp_port, port, strict=strict) as (_, told):
        now = asyncio.get_running_loop().time
        for gap, text in [*said, (40, "")]:
            if gap >= IDLE and rule == "silence":
                await asyncio.sleep(IDLE)
                port.is_silent()
                gap -= IDLE
            await asyncio.sleep(gap)
            if text:
                port.says(text.encode())
            arrivals += [now() - told.began] * len(text)
        await asyncio.sleep(40)
    return told, arrivals


@pytest.mark.parametrize("rule", ["delimiter", "length", "silence"])
@given(strict=st.booleans(), said=says)
@settings(max_examples=50)
def test_no_heartbeat_lies_in_a_frame(rule: str, strict: bool, said: list[tuple[int, str]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        told, arrivals = runner.run(played(rule, strict, said))
    (_, first), *told_later = told
    stream = b"".join(data for _, data in told_later if data != b"PING")
    assert (first, stream.decode()) == (b"SN", "".join(text for _, text in said))
    place = 0
    for at, data in told_later:
        if data != b"PING":
            place += len(data)
        elif place:
            silence = min([*arrivals[place : place + 1], at]) - arrivals[place - 1] + 0.001
            assert silence >= 30 or is_over(rule, stream, place, silence)
    assert told_later[-1][1] == b"PING"


# The config


@pytest.mark.parametrize(
    ("keys", "where", "complaint"),
    [
        ({"listen": ":4001", "registration": SN}, ("registration",), "registration goes with connect"),
        ({"listen": ":4001", "heartbeat": SN}, ("heartbeat",), "heartbeat goes with connect"),
        ({"connect": "a:1", "registration": {}}, ("registration",), "bytes are written"),
        ({"connect": "a:1", "heartbeat": {"every": "5s"}}, ("heartbeat",), "bytes are written"),
        ({"connect": "a:1", "heartbeat": SN | {"every": "499ms"}}, ("heartbeat", "every"), "greater than"),
        ({"connect": "a:1", "registration": SN | {"each": True}}, ("registration", "each"), "not permitted"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_the_right_key(
    keys: dict[str, Any], where: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        Config.model_validate({"kind": "tcp", "port": "scale"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [where]


def configured(**keys: Any) -> Config:
    return Config.model_validate({"kind": "tcp", "port": "scale", "connect": "10.0.0.5:4001"} | keys)


@pytest.mark.parametrize(
    ("every", "detect_within", "enough"),
    [("5s", "20s", True), ("5100ms", "20s", False), ("30s", "2m", True), ("31s", "2m", False)],
)
def test_a_heartbeat_counts_for_liveness_if_four_of_them_go_into_detect_within(
    every: str, detect_within: str, enough: bool
) -> None:
    liveness = {"detect_within": detect_within}
    assert configured(heartbeat=SN | {"every": every}, liveness=liveness).heartbeats is enough


def test_without_a_heartbeat_keep_alive_is_all_that_is_said_at_rest() -> None:
    assert not configured().heartbeats
    assert configured().idle_traffic is None
    assert configured(heartbeat={"text": "PING"}).idle_traffic == traffic.packet(4, 30.0)
