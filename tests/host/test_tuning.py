"""What the kernel is told about a socket is what it says about it."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.host import tuning
from gateway.policy.liveness import Bounds, profile

TCP = socket.IPPROTO_TCP
RTO_MAX_MS = 44


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connected one and its far end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        yield near, far


Pair = tuple[socket.socket, socket.socket]


@pytest.mark.parametrize("detect_within", [3.0, 5.0, 20.0, 60.0, 300.0, 3600.0])
@pytest.mark.parametrize("connected", [True, False])
def test_the_kernel_has_the_options_of_the_profile(pair: Pair, detect_within: float, connected: bool) -> None:
    expected = profile(Bounds(detect_within))
    with socket.socket() as fresh:
        sock = pair[0] if connected else fresh
        tuning.tune(sock, expected)

        assert tuning.keepalive(sock) == {
            "idle_s": expected.idle_s,
            "interval_s": expected.interval_s,
            "count": expected.probes,
            "user_timeout_ms": expected.user_timeout_ms,
        }
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(TCP, socket.TCP_NODELAY) == 1


def test_the_longest_pause_between_repetitions_is_bounded_where_the_kernel_can(pair: Pair) -> None:
    try:
        before = pair[0].getsockopt(TCP, RTO_MAX_MS)
    except OSError:
        pytest.skip("before Linux 6.15 there is no such option")
    tuning.tune(pair[0], profile(Bounds(20.0)))

    assert (before, pair[0].getsockopt(TCP, RTO_MAX_MS)) == (120_000, 2000)


def test_the_kernel_tells_of_the_way_to_the_peer(pair: Pair) -> None:
    near, far = pair
    near.sendall(b"x" * 100)
    assert len(far.recv(100)) == 100
    until = time.monotonic() + 30
    while tuning.path(near).unacked_bytes and time.monotonic() < until:
        time.sleep(0.001)
    way = tuning.path(near)

    assert 0 < way.rtt_ms < 1000
    assert 100 <= way.rto_ms < 10_000
    assert (way.retransmits, way.unacked_bytes) == (0, 0)


def test_the_kernel_tells_how_long_the_peer_was_silent(pair: Pair) -> None:
    near, far = pair
    until = time.monotonic() + 30
    while tuning.path(near).silent_s < 0.3 and time.monotonic() < until:
        time.sleep(0.01)
    silent = tuning.path(near).silent_s
    far.sendall(b"x")
    assert near.recv(1) == b"x"

    assert 0.3 <= silent < 5
    assert tuning.path(near).silent_s < silent


def test_what_the_peer_has_not_acknowledged_is_counted(pair: Pair) -> None:
    near, _ = pair
    near.setblocking(False)
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += near.send(bytes(65536))

    assert 0 < tuning.path(near).unacked_bytes <= sent


def test_a_socket_can_be_made_to_end_by_a_reset(pair: Pair) -> None:
    near, far = pair
    tuning.reset_on_close(near)
    near.close()

    with pytest.raises(ConnectionResetError):
        far.recv(1)


def test_a_closed_socket_has_no_way_and_needs_no_reset(pair: Pair) -> None:
    near, _ = pair
    near.close()
    tuning.reset_on_close(near)

    with pytest.raises(OSError, match="Bad file descriptor"):
        tuning.path(near)
