"""One TCP connection: what came is read or taken in a sink, what goes waits for the peer, and why it ended is
kept.

`host.net` makes them; nobody else does. It works on the socket itself: asyncio's transports would cost a
tenth more CPU on eight busy ports.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import time

from ..contracts import Traced
from ..errors import LinkDown
from ..flow import Fan
from ..status import PeerStatus, timestamp
from ..values import Endpoint
from . import tuning
from .tunnel import Tunnel
from .watch import Watch

_HIGH_WATER = 64 * 1024  # bytes, each way, before the other side is made to wait
_LOW_WATER = _HIGH_WATER // 4  # bytes still to go when a peer has caught up
numbers = count(1)  # of connections, and of sources of datagrams


class Connection:
    """One TCP peer. `number` is unique in this process; `requests` is counted by the link.

    Owns `sock`, which is connected and does not block. `sink`, when set, takes received bytes in the reader's
    own callback or declines them; what it declines waits for `read()`. It is asked only while nothing waits,
    so the order holds. With a `tunnel`, whose handshake is done, the wire has TLS.
    """

    def __init__(
        self, sock: socket.socket, watch: Watch, trace: Fan[Traced], tunnel: Tunnel | None = None
    ) -> None:
        self.number = next(numbers)
        self.sink: Callable[[bytes], bool] | None = None
        self.rx_bytes = self.tx_bytes = self.requests = 0
        self.given = 0  # bytes for the wire, since the handshake: with TLS more than what was written
        self.taken = 0  # of them by the kernel
        self.behind = False  # the peer has not taken what was written: write no more before `drain()`
        self.watch = watch
        self._sock, self._fd = sock, sock.fileno()
        try:
            self.address = address_of(sock.getpeername())
        except OSError:  # gone already; the first read says why
            self.address = "?:0"
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._since = time()
        self._got, self._out = bytearray(), bytearray()
        self._tunnel = tunnel
        self._acked: int | None = None  # once it is over
        self._down: Exception | None = None
        self._wake: asyncio.Future[None] | None = None
        self._caught_up = asyncio.Event()
        self._closing = False
        self._loop.add_reader(self._fd, self._readable)
        watch.start(self.end)
        if tunnel is not None:
            self._came(tunnel.early, tunnel)

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    # Reading

    async def read(self) -> bytes:
        """What has come, at least one byte. LinkDown when the connection is over and all was read."""
        while not self._got:
            if self._down is not None:
                raise self._down
            self._wake = self._loop.create_future()
            await self._wake
        if len(self._got) >= _HIGH_WATER and self._down is None:
            self._loop.add_reader(self._fd, self._readable)
        data, self._got = bytes(self._got), bytearray()
        return data

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_HIGH_WATER)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(self.watch.down(reason(error)))
            return
        if not data:
            self._end(LinkDown("closed by the peer"))
        elif self._tunnel is None:
            self._received(data)
        else:
            self._came(self._tunnel.open(data), self._tunnel)

    def _came(self, data: bytes, tunnel: Tunnel) -> None:
        if data:
            self._received(data)
        if answer := tunnel.answer():
            self._put(answer)
        if tunnel.over is not None:
            self._end(tunnel.over)

    def _received(self, data: bytes) -> None:
        self.rx_bytes += len(data)
        if self._trace.taps:
            self._trace.push(Traced(time(), "rx", data, self.address))
        if self.sink is None or self._got or not self._sunk(data, self.sink):
            self._keep(data)

    def _sunk(self, data: bytes, sink: Callable[[bytes], bool]) -> bool:
        """An error of the sink ends this connection, as if whoever serves it had raised it."""
        try:
            return sink(data)
        except Exception as error:
            self.end(error)
            return True

    def _keep(self, data: bytes) -> None:
        self._got += data
        if len(self._got) >= _HIGH_WATER:
            self._loop.remove_reader(self._fd)
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # Writing

    def write(self, data: bytes) -> None:
        """To the peer, as long as there is one."""
        if self._down is not None:
            return
        if self._trace.taps:
            self._trace.push(Traced(time(), "tx", data, self.address))
        self.tx_bytes += len(data)
        try:
            self._put(data if self._tunnel is None else self._tunnel.seal(data))
        except LinkDown as down:
            self.end(down)

    def _put(self, data: bytes) -> None:
        """On the wire."""
        self.given += len(data)
        sent = 0 if self._out else self._send(data)
        if sent < len(data) and self._down is None:
            if not self._out:
                self._loop.add_writer(self._fd, self._writable)
            self._out += data[sent:]
            self.behind = len(self._out) > _HIGH_WATER

    def offer(self, data: bytes) -> bool:
        """Written now, or False while the peer is behind."""
        if self.behind:
            return False
        self.write(data)
        return True

    async def drain(self) -> None:
        """Until the peer has caught up."""
        while self.behind:
            self._caught_up.clear()
            await self._caught_up.wait()
        if self._down is not None:
            raise self._down

    def _send(self, data: bytes | bytearray) -> int:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._end(self.watch.down(reason(error)))
            self._out.clear()
            return 0
        self.taken += sent
        return sent

    def _writable(self) -> None:
        del self._out[: self._send(self._out)]
        if self.behind and len(self._out) <= _LOW_WATER:
            self.behind = False
            self._caught_up.set()
        if not self._out:
            self._loop.remove_writer(self._fd)
            if self._closing:
                self._sock.close()

    @property
    def over(self) -> bool:
        return self._down is not None

    @property
    def acked(self) -> int:
        """How many of the `given` bytes the peer's TCP has acknowledged; also when it is over."""
        if self._acked is None:
            return self.taken - tuning.unacked(self._sock)
        return self._acked

    # Looking on

    @property
    def traced(self) -> bool:
        """Somebody looks on: worth a `note`."""
        return bool(self._trace.taps)

    def note(self, way: str, text: str) -> None:
        """What the bytes that went this way mean."""
        self._trace.push(Traced(time(), way, b"", text))

    @property
    def idle(self) -> float:
        """Seconds since a byte came or went."""
        with suppress(OSError):
            return tuning.path(self._sock).idle_s
        return 0.0

    def status(self) -> PeerStatus:
        record = peer_status(self._sock, self.watch, self.address, self._since)
        record["rx_bytes"], record["tx_bytes"] = self.rx_bytes, self.tx_bytes
        record["requests"] = self.requests
        return record

    # The end

    def close(self, why: Exception | None = None) -> None:
        """What was written still goes out; `read` and `drain` raise `why`."""
        if self._down is None and self._tunnel is not None:
            self._put(self._tunnel.goodbye())
        self._end(why or LinkDown("closed"))
        self._closing = True
        if not self._out:
            self._sock.close()

    def abort(self) -> None:
        """The peer learns at once, and what was written and has not left is gone."""
        if self._sock.fileno() < 0:
            return  # it is over, and its descriptor may be somebody else's by now
        tuning.reset_on_close(self._sock)
        self._loop.remove_writer(self._fd)
        self._end(LinkDown("closed"))
        self._out.clear()
        self.close()

    def end(self, why: Exception) -> None:
        """At once; `read` and `drain` raise `why`."""
        self._end(why)
        self.abort()

    def _end(self, why: Exception) -> None:
        """Nothing is read any more."""
        if self._down is not None:
            return
        self._acked = self.acked
        self._down = why
        self.watch.stop()
        self._loop.remove_reader(self._fd)
        self.behind = False
        self._caught_up.set()
        self._wake_reader()


def peer_status(sock: socket.socket, watch: Watch, address: str, since: float) -> PeerStatus:
    """What the kernel knows of one connection.

    The counters are the caller's to fill in. `since`: wall time.
    """
    record: PeerStatus = {
        "address": address,
        "since": timestamp(since),
        "rx_bytes": 0,
        "tx_bytes": 0,
        "requests": 0,
        "silent_s": 0.0,
        "proof_age_s": None if watch.proof_age is None else round(watch.proof_age, 1),
        "detect_within_s": round(watch.detect_within, 1),
        "rtt_ms": None,
        "rto_ms": None,
        "retransmits": None,
        "unacked_bytes": None,
        "keepalive": {"idle_s": 0, "interval_s": 0, "count": 0, "user_timeout_ms": 0},
    }
    with suppress(OSError):  # it was closed a moment ago
        record["keepalive"] = tuning.keepalive(sock)
        way = tuning.path(sock)
        record["silent_s"] = way.silent_s
        record["rtt_ms"], record["rto_ms"] = way.rtt_ms, way.rto_ms
        record["retransmits"], record["unacked_bytes"] = way.retransmits, way.unacked_bytes
    return record


def address_of(peername: object) -> str:
    if not isinstance(peername, tuple) or len(peername) < 2:  # already gone
        return "?:0"
    return str(Endpoint(str(peername[0]).removeprefix("::ffff:"), peername[1]))


_WORDS = {
    errno.EADDRINUSE: "another program uses this address",
    errno.EADDRNOTAVAIL: "this host has no such address",
    errno.EACCES: "permission denied: ports below 1024 need CAP_NET_BIND_SERVICE",
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    errno.ECONNRESET: "connection reset by the peer",
    errno.EPIPE: "connection closed by the peer",
    errno.ETIMEDOUT: "no acknowledgement from the peer",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
}


def reason(error: Exception) -> str:
    """One plain sentence a technician can act on."""
    if isinstance(error, OSError) and error.errno:
        return _WORDS.get(error.errno) or os.strerror(error.errno).lower()
    return str(error)
