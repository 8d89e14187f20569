"""What a connection costs by the month while nobody has anything to say: bytes of IP, both ways together.

Two things cross it then: what its own protocol says to hear from the far end (a Heartbeat), and the kernel's
keep-alive wherever nothing came for its idle time. Counted are IPv4 and TCP with timestamps (RFC 7323, which
Linux has on); not counted are connecting, repetitions after loss, and what lies below IP. IPv6 adds 20 bytes
a packet.
"""

from math import ceil
from typing import NamedTuple

MONTH = 30 * 86400.0  # seconds
_PACKET = 52  # IPv4 20, TCP 20, timestamps 12; an acknowledgement is no more than that
_PROBE = 2 * _PACKET  # a keep-alive and its answer
_PING = 2  # PINGREQ, and PINGRESP as well (MQTT 5.0, 3.12 and 3.13)
_RECORD = 22  # TLS 1.3 around each of them: header 5, content type 1, tag 16 (RFC 8446, 5.2)
_READ = 12 + 11  # MBAP header, and the PDU that asks for one register or answers with it
_FRAME_UP, _FRAME_DOWN = 6, 2  # websocket headers, ours with a mask (RFC 6455, 5.2)


class Heartbeat(NamedTuple):
    """What a link says by itself when nothing else was said for `every` seconds."""

    name: str  # "pings"
    every: float
    octets: int  # of one, its answer and all packets included
    key: tuple[str, ...]  # what decides `every`, from the link's table


class Upkeep(NamedTuple):
    """What a silent month costs."""

    octets: int
    causes: tuple[str, ...]  # "pings", "keep-alive"


def ping(every: float, *, tls: bool, websocket: bool) -> Heartbeat:
    """MQTT: PINGREQ up, PINGRESP down, and the acknowledgement of that."""
    octets = 3 * _PACKET + 2 * _PING + 2 * _RECORD * tls + (_FRAME_UP + _FRAME_DOWN) * websocket
    return Heartbeat("pings", every, octets, ("liveness", "detect_within"))


def read(every: float, *, tls: bool = False) -> Heartbeat:
    """Modbus TCP: one register is asked for, the answer, and the acknowledgement of that."""
    octets = 3 * _PACKET + _READ + 2 * _RECORD * tls
    return Heartbeat("reads", every, octets, ("liveness", "detect_within"))


def nop(every: float, *, tls: bool = False) -> Heartbeat:
    """Telnet: IAC NOP, and the acknowledgement of that."""
    return Heartbeat("NOPs", every, 2 + _RECORD * tls + 2 * _PACKET, ("liveness", "detect_within"))


def packet(size: int, every: float, *, tls: bool = False) -> Heartbeat:
    """`size` bytes that the far end's kernel acknowledges."""
    return Heartbeat("heartbeats", every, size + _RECORD * tls + 2 * _PACKET, ("heartbeat", "every"))


def upkeep(idle: float, heartbeat: Heartbeat | None = None) -> Upkeep:
    """`idle` is TCP_KEEPIDLE: seconds without a sign of the far end until the kernel asks for one."""
    if heartbeat is None:
        return Upkeep(round(MONTH / idle * _PROBE), ("keep-alive",))
    probes = ceil(heartbeat.every / idle) - 1  # between two heartbeats; the answer to each starts idle anew
    octets = round(MONTH / heartbeat.every * (heartbeat.octets + probes * _PROBE))
    return Upkeep(octets, (heartbeat.name, "keep-alive") if probes else (heartbeat.name,))
