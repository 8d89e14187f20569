"""UDP: datagrams that come in are handed over on the loop, each with where it came from; what goes out goes
at once or not at all.

    async with datagrams.bound(endpoint, within, trace) as socket:        # hears everybody
        await socket.serve(received)                                      # received(data, origin)
    async with datagrams.connected(endpoint, within, trace) as socket:    # hears and tells one far end only

Promises: an answer leaves from the address that was asked, also where the host has several. A flood holds up
nobody else: a few datagrams are taken at a time, with a rest after them, and what the kernel has no room for
meanwhile is lost, as UDP may. No task for a datagram. LinkDown out of `serve` when the socket is of no use
any more; the far end of a bound or a patient one is never the reason.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from time import time
from typing import Any, NamedTuple, Never

from ..contracts import Traced
from ..errors import LinkDown
from ..flow import Fan
from ..status import PeerStatus, timestamp
from ..values import Endpoint
from .connection import address_of, reason
from .net import lookup, to_bind

_AT_ONCE = 16  # datagrams: less than a millisecond of work
_REST = 0.001  # seconds after so many
_LATELY = 60.0  # seconds
_LARGEST = 65536  # bytes; no datagram is longer
_IP_PKTINFO = 8  # include/uapi/linux/in.h
_ROOM = socket.CMSG_SPACE(20)  # bytes: one struct in6_pktinfo, or the shorter in_pktinfo

Ancillary = tuple[tuple[int, int, bytes], ...]


class Origin(NamedTuple):
    """Where a datagram came from, and at which address of ours it came in."""

    peer: Any  # as the kernel writes it: equal for equal senders
    here: Ancillary = ()

    @property
    def address(self) -> str:
        return address_of(self.peer)


Received = Callable[[bytes, Origin], None]


class Datagrams:
    """A UDP socket that does not block, which it does not own.

    A `patient` one goes on when the host of its far end says that nothing listens there, and only remembers
    that in `refused`, until something comes from there or so long after it that there is no telling.
    """

    def __init__(self, sock: socket.socket, trace: Fan[Traced], *, patient: bool = False) -> None:
        self._sock, self._trace, self._patient = sock, trace, patient
        self._refused_at: float | None = None  # loop time
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[Never] = self._loop.create_future()
        self._resting: asyncio.TimerHandle | None = None

    async def serve(self, received: Received) -> Never:
        """Calls it with each datagram. What it raises comes out here."""
        self._listen(received)
        try:
            await self._over
        finally:
            self._deafen()
        raise AssertionError("it ends by an error")

    def _listen(self, received: Received) -> None:
        self._loop.add_reader(self._sock.fileno(), self._readable, received)

    def _deafen(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        if self._resting is not None:
            self._resting.cancel()

    def _readable(self, received: Received) -> None:
        try:
            for _ in range(_AT_ONCE):
                data, ancillary, _, peer = self._sock.recvmsg(_LARGEST, _ROOM)
                origin = Origin(peer, _back(ancillary))
                self._refused_at = None
                if self._trace.taps:
                    self._trace.push(Traced(time(), "rx", data, origin.address))
                received(data, origin)
            self._deafen()
            self._resting = self._loop.call_later(_REST, self._listen, received)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(error)
        except Exception as error:
            self._end(error)

    @property
    def refused(self) -> bool:
        """Nothing listens there, as far as we know."""
        return self._refused_at is not None and self._loop.time() - self._refused_at < _LATELY

    def _failed(self, error: OSError) -> None:
        if self._patient and isinstance(error, ConnectionRefusedError):
            self._refused_at = self._loop.time()
        else:
            self._end(LinkDown(reason(error)))

    def send(self, data: bytes, to: Origin | None = None) -> bool:
        """Back to where something came from; a connected socket knows where to. False: it is lost, because
        the kernel has no room or no way.
        """
        try:
            if to is None:
                self._send(data)
            else:
                self._sock.sendmsg((data,), to.here, 0, to.peer)
        except BlockingIOError:
            return False
        except OSError as error:
            if to is None:
                self._failed(error)
            return False
        if self._trace.taps:
            address = to.address if to is not None else address_of(self._sock.getpeername())
            self._trace.push(Traced(time(), "tx", data, address))
        return True

    def _send(self, data: bytes) -> None:
        """The kernel tells here what became of an earlier one, and does not send this one then."""
        try:
            self._sock.send(data)
        except ConnectionRefusedError as error:
            if not self._patient:
                raise
            self._failed(error)
            self._sock.send(data)

    @property
    def traced(self) -> bool:
        """Somebody looks on: worth a `note`."""
        return bool(self._trace.taps)

    def note(self, way: str, text: str) -> None:
        """What the datagram that went this way means."""
        self._trace.push(Traced(time(), way, b"", text))

    def _end(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)
            self._over.exception()  # asyncio need not complain if nobody waits for it any more


def _back(ancillary: Iterable[tuple[int, int, bytes]]) -> Ancillary:
    """What makes the kernel send from the address that was asked, by whatever interface leads there."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return ((level, kind, data[:16] + bytes(4)),)  # struct in6_pktinfo: address, interface
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return ((level, kind, bytes(4) + data[4:8] + bytes(4)),)  # in_pktinfo: interface, ours, header's
    return ()


@asynccontextmanager
async def bound(endpoint: Endpoint, within: float, trace: Fan[Traced]) -> AsyncIterator[Datagrams]:
    """Hears everybody. LinkDown when the address cannot be had; its name is looked up `within` seconds."""
    family, address = await to_bind(endpoint, within)
    try:
        sock = _bound(family, address, both=not endpoint.host)
    except OSError as error:
        raise LinkDown(f"cannot listen on {endpoint}: {reason(error)}") from error
    with sock:
        yield Datagrams(sock, trace)


def _bound(family: int, address: Any, *, both: bool) -> socket.socket:
    """`both`: to an IPv6 socket those who speak IPv4 may speak as well."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


@asynccontextmanager
async def connected(
    endpoint: Endpoint, within: float, trace: Fan[Traced], *, patient: bool = False
) -> AsyncIterator[Datagrams]:
    """Hears and tells the first address of `endpoint` to which there is a way. LinkDown when there is none;
    whether anybody is there shows only when his host says that nothing listens: then `serve` ends, if it is
    not `patient`.
    """
    with await _connected(endpoint, within) as sock:
        yield Datagrams(sock, trace, patient=patient)


async def _connected(endpoint: Endpoint, within: float) -> socket.socket:
    down = LinkDown(f"{endpoint}: the name has no address")
    for family, address in await lookup(endpoint, within):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(address)
        except OSError as error:
            sock.close()
            down = LinkDown(f"{endpoint}: {reason(error)}")
        else:
            return sock
    raise down


def peer_status(
    address: str, since: float, rx_bytes: int, tx_bytes: int, silent: float, requests: int = 0
) -> PeerStatus:
    """Of one source of datagrams; `since`: wall time, `silent`: seconds."""
    return {
        "address": address,
        "since": timestamp(since),
        "rx_bytes": rx_bytes,
        "tx_bytes": tx_bytes,
        "requests": requests,
        "silent_s": round(silent, 1),
        "proof_age_s": None,
        "detect_within_s": None,
        "rtt_ms": None,
        "rto_ms": None,
        "retransmits": None,
        "unacked_bytes": None,
        "keepalive": None,
    }
