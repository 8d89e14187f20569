"""The watchdog on real sockets of the loopback. Deaths on cut wires are in tests/system/test_deaths.py."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from gateway.errors import LinkDown
from gateway.host import tuning, watch
from gateway.host.watch import Watch
from gateway.policy.liveness import Bounds, kernel_only, profile

Pair = tuple[socket.socket, socket.socket]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A connected socket of ours and its far end."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near:
        near.connect(server.getsockname())
        far, _ = server.accept()
        with far:
            near.setblocking(False)
            yield near, far


def death(sock: socket.socket, bounds: Bounds) -> "asyncio.Future[LinkDown]":
    """Of the connection, watched from now on."""
    dead: asyncio.Future[LinkDown] = asyncio.get_running_loop().create_future()
    Watch(sock, bounds).start(dead.set_result)
    return dead


def fill(sock: socket.socket) -> int:
    """Sends until nothing more is taken; how many bytes were."""
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += sock.send(bytes(65536))
    return sent


def drain(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


async def test_a_peer_that_does_not_read_is_given_up_with_what_it_did_not_take(pair: Pair) -> None:
    near, far = pair
    dead = death(near, Bounds(3.0))
    sent = fill(near)

    down = await dead

    assert str(down).startswith("the peer does not read: it took nothing for 2.")
    assert down.unacked
    assert 0 < down.unacked < sent
    near.close()
    with pytest.raises(ConnectionResetError):
        drain(far)


async def test_a_peer_that_says_nothing_is_given_up_where_data_is_expected(pair: Pair) -> None:
    down = await death(pair[0], Bounds(20.0, expect_data_within=1.0))

    assert str(down).startswith("nothing came for 1.")
    assert str(down).endswith("(expect_data_within)")
    assert down.unacked == 0


async def test_a_living_peer_shows_it_when_it_is_asked(pair: Pair) -> None:
    near, _ = pair
    bounds = Bounds(60.0)
    tuning.tune(near, profile(bounds))
    watched = Watch(near, bounds)
    watched.start(lambda down: None)
    before = tuning.keepalive(near)

    assert await watched.proves(2.0)

    assert watched.proof_age is not None
    assert watched.proof_age < 1
    assert tuning.keepalive(near) == before
    watched.stop()


@pytest.mark.parametrize(
    "over",
    [lambda near, watched: watched.stop(), lambda near, watched: near.close()],
    ids=["stopped", "socket closed"],
)
async def test_nothing_is_told_after_it_is_over(
    pair: Pair, over: Callable[[socket.socket, Watch], None]
) -> None:
    near, _ = pair
    told: list[LinkDown] = []
    watched = Watch(near, Bounds(3.0, expect_data_within=0.2))
    watched.start(told.append)
    over(near, watched)
    await asyncio.sleep(0.5)
    assert told == []


async def test_the_sockets_of_an_address_are_found_as_long_as_they_are_watched(pair: Pair) -> None:
    near, _ = pair
    told: list[LinkDown] = []
    watched = Watch(near, Bounds(20.0))
    watched.start(told.append)

    assert list(watch.at({"127.0.0.1"})) == [watched]
    assert list(watch.at({"192.0.2.1"})) == []

    watched.die("our address 127.0.0.1 is gone")
    assert [str(down) for down in told] == ["our address 127.0.0.1 is gone"]
    assert told[0].detected_after is not None
    assert list(watch.at({"127.0.0.1"})) == []


class OnASlowPath(socket.socket):
    """Its retransmission timer is where a satellite brings it, as soon as that is said."""

    slow = False

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        given = super().getsockopt(level, option, size) if size else super().getsockopt(level, option)
        if self.slow and (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO):
            assert isinstance(given, bytes)
            return given[:8] + struct.pack("=I", 900_000) + given[12:]  # tcpi_rto
        return given


async def test_on_a_path_that_is_too_slow_the_kernel_waits_as_long_as_we_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, OnASlowPath() as near:
        near.connect(server.getsockname())
        watched = Watch(near, Bounds(3.0))
        watched.start(lambda down: None)
        near.slow = True
        while watched.detect_within == 3.0:
            await asyncio.sleep(0.01)
        assert watched.detect_within == pytest.approx(6.3)
        assert tuning.keepalive(near)["user_timeout_ms"] == 6300
        assert "127.0.0.1: detect_within = 3 s is too short for this path: it takes 6.3 s" in caplog.text

        near.slow = False
        while watched.detect_within != 3.0:
            await asyncio.sleep(0.01)
        assert tuning.keepalive(near)["user_timeout_ms"] == 3000
        watched.stop()


class OfAnOlderKernel(socket.socket):
    """Its struct tcp_info ends where it did until Linux 4.18."""

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if option == socket.TCP_INFO:
            return super().getsockopt(level, option, 192)
        return super().getsockopt(level, option, size) if size else super().getsockopt(level, option)


async def test_where_the_kernel_counts_too_little_its_own_timers_are_tightened() -> None:
    bounds = Bounds(20.0)
    with socket.create_server(("127.0.0.1", 0)) as server, OfAnOlderKernel() as near:
        near.connect(server.getsockname())
        watched = Watch(near, bounds)

        watched.start(lambda down: None)

        assert watched.blind
        assert watched.proof_age is None
        assert tuning.keepalive(near)["user_timeout_ms"] == kernel_only(bounds).user_timeout_ms
        assert await watched.proves(0.1), "nobody can tell: it keeps its place"
        assert tuning.path(near).silent_s >= 0
        assert list(watch.at({"127.0.0.1"})) == [watched], "that its address is gone counts for it, too"
        watched.stop()
