"""One TCP connection: what came is read or taken in a sink, what goes waits for the peer, and why it ended is
kept.

`host.net` makes them; nobody else does.
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
from ..errors import LinkDown, PeerError
from ..flow import Fan
from ..settings import Endpoint
from ..status import PeerStatus, timestamp
from . import tuning

_HIGH_WATER = 64 * 1024  # bytes, each way, before the other side is made to wait
_received = memoryview(
    bytearray(_HIGH_WATER)
)  # by one connection after the other; taken out in the same callback
_numbers = count(1)


class Connection(asyncio.BufferedProtocol):
    """One TCP peer. `number` is unique in this process; `requests` is counted by the link.

    `sink`, when set, takes received bytes in the transport's own callback or declines them; what it declines
    waits for `read()`. It is asked only while nothing waits, so the order holds.
    """

    def __init__(self, trace: Fan[Traced]) -> None:
        self.number = next(_numbers)
        self.address = ""
        self.sink: Callable[[bytes], bool] | None = None
        self.rx_bytes = self.tx_bytes = self.requests = 0
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._since = time()
        self._got = bytearray()
        self._down: LinkDown | None = None
        self._wake: asyncio.Future[None] | None = None
        self.behind = False  # the peer has not taken what was written: write no more before `drain()`
        self._caught_up = asyncio.Event()

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    async def read(self) -> bytes:
        """What has come, at least one byte. LinkDown when the connection is over and all was read."""
        while not self._got:
            if self._down is not None:
                raise self._down
            self._wake = self._loop.create_future()
            await self._wake
        if len(self._got) >= _HIGH_WATER:
            self._transport.resume_reading()
        data, self._got = bytes(self._got), bytearray()
        return data

    def write(self, data: bytes) -> None:
        """To the peer, as long as there is one."""
        if self._down is not None:
            return
        if self._trace.taps:
            self._trace.push(Traced(time(), "tx", data, self.address))
        self.tx_bytes += len(data)
        self._transport.write(data)

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

    @property
    def traced(self) -> bool:
        """Somebody looks on: worth a `note`."""
        return bool(self._trace.taps)

    def note(self, way: str, text: str) -> None:
        """What the bytes that went this way mean."""
        self._trace.push(Traced(time(), way, b"", text))

    def close(self) -> None:
        """What was written still goes out."""
        self._transport.close()

    def abort(self) -> None:
        tuning.reset_on_close(self._transport.get_extra_info("socket"))
        self._transport.abort()

    def status(self) -> PeerStatus:
        sock: socket.socket = self._transport.get_extra_info("socket")
        record = peer_status(sock, self.address, self._since)
        record["rx_bytes"], record["tx_bytes"] = self.rx_bytes, self.tx_bytes
        record["requests"] = self.requests
        return record

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_HIGH_WATER)
        self.address = address_of(transport.get_extra_info("peername"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return _received

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(_received[:nbytes])
        self.rx_bytes += nbytes
        if self._trace.taps:
            self._trace.push(Traced(time(), "rx", data, self.address))
        try:
            if self.sink is not None and not self._got and self.sink(data):
                return
        except PeerError as error:
            self._end(error)
            self.abort()
            return
        self._got += data
        if len(self._got) >= _HIGH_WATER:
            self._transport.pause_reading()
        self._wake_reader()

    def pause_writing(self) -> None:
        self.behind = True

    def resume_writing(self) -> None:
        self.behind = False
        self._caught_up.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(LinkDown(reason(error) if error is not None else "closed by the peer"))

    def _end(self, down: LinkDown) -> None:
        if self._down is None:
            self._down = down
        self.resume_writing()
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def peer_status(sock: socket.socket, address: str, since: float) -> PeerStatus:
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
