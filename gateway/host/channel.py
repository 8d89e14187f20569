"""A connected socket as paho can use it: paho reads byte by byte, and a partial write loses its packet.

Promises: `send` takes everything at once, and what one turn of the loop sends leaves in one system call;
`recv` is served from one large read; the error that ended the connection is kept, because paho swallows it.
Must not close the socket when paho says so: a last DISCONNECT may still be on its way out.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from time import time
from typing import TypeGuard

from ..errors import LinkDown
from ..status import PeerStatus
from ..values import Endpoint
from . import tls
from .connection import peer_status, reason
from .watch import Watch

Socket = socket.socket
_READ = 16 * 1024  # bytes: the largest TLS record


class Channel:
    """Owns `sock`, and starts its watchdog, `watch`.

    In blocking mode (the websocket handshake) nothing is kept back.
    """

    def __init__(self, sock: socket.socket, watch: Watch) -> None:
        self._sock, self.watch = sock, watch
        self._later = _LATER
        if _has_tls(sock):
            self._later += ssl.SSLWantReadError, ssl.SSLWantWriteError
        self._address = _peer(sock)
        self._since = time()
        self._got, self._out = bytearray(), bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard = 0.0  # loop time
        self._flushing = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.trouble: LinkDown | None = None
        self.rx_bytes = self.tx_bytes = 0

    # what paho calls

    def recv(self, size: int) -> bytes:
        if not self._got:
            self._got += self._read(max(size, _READ))
        data = bytes(self._got[:size])
        del self._got[:size]
        return data

    def send(self, data: bytes | bytearray) -> int:
        if self._sock.gettimeout() != 0:
            self._sock.sendall(data)
            self.tx_bytes += len(data)
        else:
            self._out += data
            self._empty.clear()
            self._flush_soon()
        return len(data)

    def settimeout(self, seconds: float) -> None:
        self._sock.settimeout(seconds)

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        """Paho has done with it; `release()` closes it."""

    # what the session calls

    def attach(self, readable: Callable[[], None], dead: Callable[[LinkDown], None]) -> None:
        """From now on `readable` is called when something has come, and what was sent goes out; `dead` when
        nothing will come any more.
        """
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._loop.add_reader(self._sock, readable)
        self.watch.start(dead)
        self._flush_soon()

    @property
    def pending(self) -> bool:
        """Something is left to read that the loop will not tell of: it has left the socket already."""
        return bool(self._got) or (_has_tls(self._sock) and self._sock.pending() > 0)

    async def drained(self) -> None:
        """Until the kernel has everything that was sent."""
        await self._empty.wait()

    def detach(self) -> None:
        """Nothing is read any more: the connection is over."""
        self.watch.stop()
        if self._loop is not None and self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)

    def release(self) -> None:
        """Closes the socket; what was not sent is gone."""
        self.detach()
        if self._loop is not None and self._sock.fileno() >= 0:
            self._loop.remove_writer(self._sock)
        self._sock.close()

    @property
    def silent(self) -> float:
        """Seconds since something came."""
        return 0.0 if self._loop is None else self._loop.time() - self._heard

    def status(self) -> PeerStatus:
        record = peer_status(self._sock, self.watch, self._address, self._since)
        record["rx_bytes"], record["tx_bytes"] = self.rx_bytes, self.tx_bytes
        record["silent_s"] = round(self.silent, 1)
        return record

    def _read(self, size: int) -> bytes:
        try:
            data = self._sock.recv(size)
        except self._later:
            raise BlockingIOError from None
        except OSError as error:
            self.trouble = self._down(error)
            raise
        self.rx_bytes += len(data)
        if self._loop is not None:
            self._heard = self._loop.time()
        return data

    def _flush_soon(self) -> None:
        if self._loop is not None and self._out and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._loop is None or self._sock.fileno() < 0:
            return
        try:
            sent = self._sock.send(self._out)
            self.tx_bytes += sent
            del self._out[:sent]
        except self._later:
            pass
        except OSError as error:
            self.trouble = self.trouble or self._down(error)
            self._out.clear()  # reading tells of the end, and often says better why
        if self._out:
            self._loop.add_writer(self._sock, self._flush)
        else:
            self._loop.remove_writer(self._sock)
            self._flushing = False
            self._empty.set()

    def _down(self, error: OSError) -> LinkDown:
        of_tls = _has_tls(self._sock) and isinstance(error, ssl.SSLError)
        return tls.down(error) if of_tls else self.watch.down(reason(error))


def _has_tls(sock: Socket) -> TypeGuard[ssl.SSLSocket]:
    """Without asking ssl about a plain one: see _no_openssl."""
    return type(sock) is not Socket and isinstance(sock, ssl.SSLSocket)


def _peer(sock: socket.socket) -> str:
    try:
        return str(Endpoint(*sock.getpeername()[:2]))
    except OSError:  # gone already; the first read says why
        return "?:0"


_LATER: tuple[type[OSError], ...] = (BlockingIOError,)
