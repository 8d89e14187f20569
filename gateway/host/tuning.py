"""What the kernel is told about a TCP socket, and what it tells about it.

Every upstream socket, dialled or accepted, gets the options of one `policy.liveness.Profile`. They are read
back with getsockopt for the status, because what was asked for is not what a technician needs to know.
"""

import fcntl
import socket
import struct
from contextlib import suppress
from typing import NamedTuple

from ..policy.liveness import Profile
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
    """The kernel's view of the way to the peer (struct tcp_info, tcp(7))."""

    rtt_ms: float
    rto_ms: float
    retransmits: int
    unacked_bytes: int
    silent_s: float  # since the last byte of data came


def path(sock: socket.socket) -> Path:
    """Raises OSError when the socket is closed."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (retransmits,) = struct.unpack_from("2xB", info)
    rto_us, rtt_us = struct.unpack_from("I", info, 8)[0], struct.unpack_from("I", info, 8 + 15 * 4)[0]
    silent_ms = struct.unpack_from("I", info, 8 + 11 * 4)[0]  # tcpi_last_data_recv
    (queue,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)))
    return Path(
        rtt_ms=round(rtt_us / 1000, 3),
        rto_ms=round(rto_us / 1000, 3),
        retransmits=retransmits,
        unacked_bytes=queue,
        silent_s=round(silent_ms / 1000, 1),
    )
