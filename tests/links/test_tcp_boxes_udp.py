"""kind = "tcp" with transport = "udp": frames in datagrams, both ways."""

import asyncio
import socket
from typing import Any

import pytest
from conftest import Until
from parts_kit import Wires
from pydantic import ValidationError
from stream_kit import Port, Scale, up
from udp_kit import HERE, caller
from virtual import in_virtual_time

from gateway.links._udp import UdpDialler, UdpServer
from gateway.links.tcp import Config
from gateway.wire.framing import ByDelimiter


def configured(**keys: Any) -> Config:
    return Config.model_validate({"kind": "tcp", "port": "scale", "transport": "udp"} | keys)


def listening(udp_port: int, port: object, **keys: Any) -> UdpServer:
    link = configured(listen=f"{HERE}:{udp_port}", **keys).build("field", Wires(scale=port))
    assert isinstance(link, UdpServer)
    return link


def connecting(udp_port: int, port: object, **keys: Any) -> UdpDialler:
    link = configured(connect=f"{HERE}:{udp_port}", **keys).build("field", Wires(scale=port))
    assert isinstance(link, UdpDialler)
    return link


class FarEnd:
    """A UDP socket that nobody has connected."""

    def __init__(self, udp_port: int = 0) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((HERE, udp_port))
        self._sock.setblocking(False)
        self.port: int = self._sock.getsockname()[1]
        self.peer: Any = None

    def __enter__(self) -> "FarEnd":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    async def hears(self) -> bytes:
        async with asyncio.timeout(30):
            data, self.peer = await asyncio.get_running_loop().sock_recvfrom(self._sock, 65536)
        return data

    def says(self, data: bytes) -> None:
        self._sock.sendto(data, self.peer)


# listen


async def test_each_frame_is_a_datagram_to_whoever_sent_one(free_port: int, until: Until) -> None:
    port = Scale()
    link = listening(free_port, port, max_clients=2)
    async with up(link, "listening"):
        port.says(b"nobody;")
        with caller(free_port) as one, caller(free_port) as two:
            one.send(b"hello ")
            two.send(b"there")
            await until(lambda: len(link.status()["peers"]) == 2)
            assert port.told in (b"hello there", b"therehello ")
            for chunk in (b"12", b".5;13.0;1", b"4;"):
                port.says(chunk)
            for caller_ in (one, two):
                assert [await caller_.hears() for _ in range(3)] == [b"12.5;", b"13.0;", b"14;"]
            peers = {peer["address"]: peer for peer in link.status()["peers"]}
            assert set(peers) == {one.address, two.address}
            peer = peers[one.address]
            assert (peer["rx_bytes"], peer["tx_bytes"], peer["requests"]) == (6, 13, 1)
            assert (peer["proof_age_s"], peer["keepalive"]) == (None, None)


async def test_an_empty_datagram_only_says_where_to_answer(free_port: int, until: Until) -> None:
    port = Scale()
    link = listening(free_port, port)
    async with up(link, "listening"):
        with caller(free_port) as one:
            one.send(b"")
            await until(lambda: link.status()["peers"])
            port.says(b"1;")
            assert await one.hears() == b"1;"
    assert port.told == b""


async def test_with_one_place_the_last_who_sent_something_is_told(free_port: int, until: Until) -> None:
    port = Scale()
    link = listening(free_port, port)
    async with up(link, "listening"):
        with caller(free_port) as one, caller(free_port) as two:
            one.send(b"1")
            await until(lambda: port.told == b"1")
            two.send(b"2")
            await until(lambda: port.told == b"12")
            port.says(b"a;")
            assert await two.hears() == b"a;"
            assert one.heard() == []


async def test_without_drop_idle_who_is_there_keeps_his_place_and_others_write_nothing(
    free_port: int, until: Until
) -> None:
    port = Scale()
    link = listening(free_port, port, when_full_clients="refuse")
    async with up(link, "listening"):
        with caller(free_port) as one, caller(free_port) as two:
            one.send(b"1")
            await until(lambda: port.told == b"1")
            two.send(b"2")
            await until(lambda: link.status()["refused"] == 1)
            one.send(b"3")
            await until(lambda: port.told == b"13")


async def test_who_is_not_allowed_writes_nothing_and_hears_nothing(free_port: int, until: Until) -> None:
    port = Scale()
    link = listening(free_port, port, allow=["127.0.0.2"], max_clients=2)
    async with up(link, "listening"):
        with caller(free_port) as stranger, caller(free_port, "127.0.0.2") as friend:
            stranger.send(b"bad")
            await until(lambda: link.status()["not_allowed"] == 1)
            friend.send(b"good")
            await until(lambda: port.told == b"good")
            port.says(b"1;")
            assert await friend.hears() == b"1;"
            assert stranger.heard() == []


@pytest.mark.parametrize(("keys", "lately"), [({}, 60), ({"idle_timeout": "5s"}, 5)])
@in_virtual_time
async def test_who_was_silent_for_long_is_told_nothing_until_he_says_something(
    keys: dict[str, str], lately: float, free_port: int
) -> None:
    port = Scale()
    link = listening(free_port, port, **keys)
    async with up(link, "listening"):
        with caller(free_port) as one:
            one.send(b"1")
            while port.told != b"1":
                await asyncio.sleep(0)
            await asyncio.sleep(lately - 0.5)
            port.says(b"a;")
            assert await one.hears() == b"a;"
            await asyncio.sleep(0.6)
            port.says(b"b;")
            assert link.status()["peers"] == []
            one.send(b"2")
            while port.told != b"12":
                await asyncio.sleep(0)
            port.says(b"c;")
            assert await one.hears() == b"c;"


class Slow(Port):
    """It takes one at a time, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Semaphore(0)

    def offer(self, data: bytes, /) -> bool:
        return False

    async def send(self, data: bytes, /) -> None:
        await self.gate.acquire()
        await super().send(data)


async def test_datagrams_wait_for_a_slow_line_in_their_order_and_64_kb_of_them_at_most(
    free_port: int, until: Until
) -> None:
    port = Slow()
    link = listening(free_port, port)
    async with up(link, "listening"):
        with caller(free_port) as one:
            for number in range(70):
                one.send(bytes([number]) * 1024)
                await until(lambda: sum(peer["requests"] for peer in link.status()["peers"]) > number)  # noqa: B023
            assert link.status()["datagrams"]["dropped"] == 6
            for _ in range(64):
                port.gate.release()
            await until(lambda: len(port.told) == 64 * 1024)
            assert port.told == b"".join(bytes([number]) * 1024 for number in range(64))
            port.away = True
            one.send(b"lost")
            port.gate.release()
            await until(lambda: port.dropped == 4)
            port.away = False
            one.send(b"found")
            port.gate.release()
            await until(lambda: port.told.endswith(b"found"))


async def test_a_frame_that_is_too_long_for_a_datagram_is_told_in_two(free_port: int, until: Until) -> None:
    port = Scale(ByDelimiter(b";", b"", 0, False, 100_000))
    link = listening(free_port, port)
    async with up(link, "listening"):
        with caller(free_port) as one:
            one.send(b"1")
            await until(lambda: port.told == b"1")
            port.says(bytes(70_000) + b";")
            assert [len(await one.hears()), len(await one.hears())] == [65507, 70_001 - 65507]


async def test_nothing_listens_on_the_line_when_the_link_has_ended(free_port: int) -> None:
    port = Scale()
    async with up(listening(free_port, port), "listening"):
        assert len(port.frames.taps) == 1
    assert port.frames.taps == ()


# connect


async def test_a_link_that_connects_tells_frames_and_writes_what_comes_back(until: Until) -> None:
    port = Scale()
    with FarEnd() as far:
        link = connecting(far.port, port, registration={"text": "SN-0042"})
        async with up(link, "up"):
            assert await far.hears() == b"SN-0042"
            port.says(b"12.5;13.0;1")
            assert [await far.hears(), await far.hears()] == [b"12.5;", b"13.0;"]
            far.says(b"tare")
            await until(lambda: port.told == b"tare")
            status = link.status()
            (peer,) = status["peers"]
            assert status["endpoint"] == f"udp {peer['address']}" == f"udp {HERE}:{far.port}"
            assert (peer["rx_bytes"], peer["tx_bytes"]) == (4, 17)


async def test_others_than_the_far_end_are_not_heard(until: Until) -> None:
    port = Scale()
    with FarEnd() as far:
        link = connecting(far.port, port, registration={"text": "hello"})
        async with up(link, "up"):
            await far.hears()
            with FarEnd() as stranger:
                stranger.peer = far.peer
                stranger.says(b"bad")
                far.says(b"good")
                await until(lambda: port.told == b"good")


async def test_that_nothing_listens_there_is_told_and_each_frame_is_tried_so_none_is_missed_later(
    until: Until,
) -> None:
    port = Scale()
    with FarEnd() as far:
        link = connecting(far.port, port)
        async with up(link, "up") as life:
            port.says(b"1;")
            assert await far.hears() == b"1;"
            assert "reason" not in link.status()
            udp_port = far.port
            far.__exit__()
            port.says(b"2;")
            await until(lambda: "reason" in link.status())
            assert "nothing listens on" in link.status()["reason"]
            port.says(b"3;")
            port.says(b"4;")
            with FarEnd(udp_port) as back:
                port.says(b"5;")
                assert await back.hears() == b"5;"
                back.says(b"ok")
                await until(lambda: port.told == b"ok")
                assert "reason" not in link.status()
            assert (life.state, life.deaths) == ("up", 0)


@in_virtual_time
async def test_heartbeats_are_datagrams_of_their_own_when_nothing_was_said() -> None:
    port = Scale()
    with FarEnd() as far:
        link = connecting(far.port, port, heartbeat={"text": "PING", "every": "30s"})
        async with up(link, "up"):
            await asyncio.sleep(29)
            port.says(b"1;")
            assert await far.hears() == b"1;"
            await asyncio.sleep(31)
            assert await far.hears() == b"PING"


# The config


@pytest.mark.parametrize(
    ("keys", "where", "complaint"),
    [
        ({"listen": ":1", "tls": {}}, "tls", "goes with transport"),
        ({"listen": ":1", "packet": True}, "packet", "goes with transport"),
        ({"listen": ":1", "tap": True}, "tap", "goes with transport"),
        ({"listen": ":1", "heartbeat": {"text": "P"}}, "heartbeat", "goes with connect"),
        ({"connect": "a:1", "buffer": {}}, "buffer", "goes with transport"),
        ({"connect": "a:1", "allow": ["10.0.0.0/8"]}, "allow", "goes with listen"),
        ({"connect": ["a:1", "b:1"]}, "connect", "one far end"),
        ({"connect": "a:1", "idle_timeout": "5s"}, "idle_timeout", "goes with listen"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_the_right_key(
    keys: dict[str, Any], where: str, complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        configured(**keys)
    assert (where,) in [error["loc"] for error in refused.value.errors()]


def test_a_link_over_udp_keeps_nothing_and_has_an_address_of_its_own() -> None:
    link = configured(connect="10.0.0.5:4001")
    assert (link.keeps, link.udp) == (None, True)
    assert link.shape != link.model_copy(update={"transport": "tcp"}).shape
