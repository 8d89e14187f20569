"""What the kernel is told about a TCP socket, and what it tells about it.

Every upstream socket, dialled or accepted, gets the options of one `policy.liveness.Profile`. They are read
back with getsockopt for the status, because what was asked for is not what a technician needs to know.
"""

import fcntl
import socket
import struct
from contextlib import suppress
from typing import NamedTuple

from ..policy.liveness import Profile, Reading
from ..status import Keepalive

_TCP_RTO_MAX_MS = 44  # include/uapi/linux/tcp.h, Linux 6.15
_SIOCOUTQ = 0x5411  # bytes written but not acknowledged; the manual page says "unsent"


def tune(sock: socket.socket, settings: Profile) -> None:
    """Before connect(), so that the user timeout bounds the handshake too, or right after accept()."""
    tcp = socket.IPPROTO_TCP
    sock.setsockopt(tcp, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(tcp, socket.TCP_KEEPIDLE, settings.idle_s)
    sock.setsockopt(tcp, socket.TCP_KEEPINTVL, settings.interval_s)
    sock.setsockopt(tcp, socket.TCP_KEEPCNT, settings.probes)
    sock.setsockopt(tcp, socket.TCP_USER_TIMEOUT, settings.user_timeout_ms)
    with suppress(OSError):  # older kernels: the link works, it is only slower to recover
        sock.setsockopt(tcp, _TCP_RTO_MAX_MS, settings.rto_max_ms)


def probe_soon(sock: socket.socket) -> None:
    """The first keep-alive probe within a second, not after the idle time. `tune` undoes it."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)


def reset_on_close(sock: socket.socket) -> None:
    """Closing it will send RST: the peer learns at once, and no FIN is retried for minutes to a dead one."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def keepalive(sock: socket.socket) -> Keepalive:
    """As the kernel has it. Seconds and milliseconds as the names say."""
    tcp = socket.IPPROTO_TCP
    return {
        "idle_s": sock.getsockopt(tcp, socket.TCP_KEEPIDLE),
        "interval_s": sock.getsockopt(tcp, socket.TCP_KEEPINTVL),
        "count": sock.getsockopt(tcp, socket.TCP_KEEPCNT),
        "user_timeout_ms": sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT),
    }


class Path(NamedTuple):
    """The kernel's view of the way to the peer, for people."""

    rtt_ms: float
    rto_ms: float
    retransmits: int
    unacked_bytes: int
    silent_s: float  # since the last byte of data came
    idle_s: float  # since the last byte of data came or went


_INFO_SIZE = 256  # bytes of struct tcp_info; older kernels give fewer
_PATH = struct.Struct("=2xB5xI32xI4xI12xI")  # retransmits; rto, last data sent and received, rtt
_READING = struct.Struct("=2x3B3xI12xI92xQQ4xII4xI36xI")  # as far as tcpi_delivered (Linux 4.18)


def path(sock: socket.socket) -> Path:
    """Raises OSError when the socket is closed."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    retransmits, rto_us, sent_ms, received_ms, rtt_us = _PATH.unpack_from(info.ljust(_PATH.size, b"\0"))
    return Path(
        rtt_ms=round(rtt_us / 1000, 3),
        rto_ms=round(rto_us / 1000, 3),
        retransmits=retransmits,
        unacked_bytes=unacked(sock),
        silent_s=round(received_ms / 1000, 1),
        idle_s=min(sent_ms, received_ms) / 1000,
    )


def unacked(sock: socket.socket) -> int:
    """Bytes written that the peer's kernel has not confirmed. Also after the connection has died."""
    (queue,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)))
    return int(queue)


def reading(sock: socket.socket) -> Reading | None:
    """For a Pulse. None where this kernel does not count all of it; OSError when the socket is closed."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    if len(info) < _READING.size:
        return None
    (
        retransmits,
        probes,
        backoff,
        rto,
        in_flight,
        acked,
        received,
        segments,
        unsent,
        with_data,
        delivered,
    ) = _READING.unpack_from(info)
    return Reading(
        acked=acked,
        delivered=delivered,
        answers=segments - with_data,
        received=received,
        in_flight=in_flight,
        unsent=unsent,
        rto=rto / 1e6,
        retrying=bool(retransmits or probes or backoff),
    )
