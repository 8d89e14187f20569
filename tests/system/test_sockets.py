"""Every TCP socket of the daemon, dialled or accepted, as the kernel has it and as the status tells it."""

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from peers_kit import Broker
from system_kit import Daemon, eventually, modbus_port, modbus_server, mqtt, raw_port, table

from gateway.demo.gatewayd import free_port

PROFILES = [  # detect_within, and what follows from it: keep-alive, and TCP_RTO_MAX_MS
    ("5s", {"idle_s": 1, "interval_s": 1, "count": 3, "user_timeout_ms": 5_000}, 1_000),
    ("20s", {"idle_s": 6, "interval_s": 2, "count": 6, "user_timeout_ms": 20_000}, 2_000),
    ("60s", {"idle_s": 18, "interval_s": 6, "count": 6, "user_timeout_ms": 60_000}, 6_000),
]
_PIDFD_GETFD = 438  # the same on every architecture
_TCP_RTO_MAX_MS = 44  # Linux 6.15


@contextmanager
def connections(pid: int) -> Iterator[list[socket.socket]]:
    """Of another process: the very sockets, not copies."""
    with ExitStack() as stack:
        process = os.pidfd_open(pid)
        stack.callback(os.close, process)
        found = []
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):  # closed a moment ago
                if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                    found.append(stack.enter_context(_taken(process, int(number))))
        yield [each for each in found if each.family == socket.AF_INET and _connected(each)]


def _taken(process: int, number: int) -> socket.socket:
    fd = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, number, 0)
    match ctypes.get_errno() if fd < 0 else 0:
        case 0:
            return socket.socket(fileno=fd)
        case errno.EBADF:
            raise FileNotFoundError
        case error:
            pytest.skip(f"the sockets of a child cannot be had: {os.strerror(error)}")


def _connected(sock: socket.socket) -> bool:
    return not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def as_the_kernel_has_it(sock: socket.socket) -> dict[str, int]:
    tcp = socket.IPPROTO_TCP
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(tcp, socket.TCP_NODELAY)
    return {
        "idle_s": sock.getsockopt(tcp, socket.TCP_KEEPIDLE),
        "interval_s": sock.getsockopt(tcp, socket.TCP_KEEPINTVL),
        "count": sock.getsockopt(tcp, socket.TCP_KEEPCNT),
        "user_timeout_ms": sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT),
    }


def rto_max(sock: socket.socket) -> int | None:
    """None: this kernel has no such option."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS)
    except OSError:
        return None


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize(("detect_within", "keepalive", "rto_max_ms"), PROFILES)
def test_every_connection_is_tuned_from_detect_within_and_the_status_says_how(
    detect_within: str, keepalive: dict[str, int], rto_max_ms: int
) -> None:
    with Broker() as broker, socket.create_server(("127.0.0.1", 0)) as far:
        ports = free_port(), free_port()
        config = (
            table("defaults.links", liveness={"detect_within": detect_within})
            + modbus_port("meters", "/dev/no-such-meters")
            + raw_port("scale", "/dev/no-such-scale")
            + modbus_server("scada", ports[0], port="meters")
            + table("links.console", kind="tcp", listen=f"127.0.0.1:{ports[1]}", port="scale")
            + table("links.far", kind="tcp", connect=f"127.0.0.1:{far.getsockname()[1]}", port="scale")
            + mqtt("cloud", broker.port)
        )
        with Daemon(config) as daemon, ExitStack() as stack:
            for port in ports:
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            names = ("scada", "console", "far", "cloud")
            links = eventually(lambda: each_with_a_peer(daemon, names))
            assert [link["peers"][0]["keepalive"] for link in links] == [keepalive] * 4
            assert [link["detect_within_s"] for link in links] == [float(detect_within[:-1])] * 4
            sockets = stack.enter_context(connections(daemon.pid))
            by_peer = {f"{sock.getpeername()[0]}:{sock.getpeername()[1]}": sock for sock in sockets}
            assert sorted(by_peer) == sorted(link["peers"][0]["address"] for link in links)
            for sock in sockets:
                assert as_the_kernel_has_it(sock) == keepalive
                assert rto_max(sock) in (rto_max_ms, None)


def each_with_a_peer(daemon: Daemon, names: tuple[str, ...]) -> list[dict[str, Any]] | None:
    links = [daemon.status()["links"][name] for name in names]
    return links if all(link["peers"] for link in links) else None
