"""TLS of one connection, between plain bytes and those on the wire. The socket is somebody else's.

Promises: nothing here waits but `shake_hands`, and keys are computed with in a thread. When that returns, the
far end has taken our certificate, or had a second to say that it does not: TLS 1.3 tells only after the
handshake, and what was written before that would be acknowledged by TCP, and read by nobody.
"""

import asyncio
import socket
import ssl
from contextlib import suppress

from ..errors import LinkDown
from . import tls
from .threads import in_thread

_READ = 64 * 1024  # bytes
_VERDICT = 1.0  # seconds
_FAR_END = "the far end"


class Tunnel:
    """`host` is whom the certificate must name; None is our end of a connection that came to us."""

    def __init__(self, context: tls.Context, host: str | None) -> None:
        self._wire_in, self._wire_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._wire_in, self._wire_out, host is None, host)
        self._came_to_us = host is None
        self.over: LinkDown | None = None  # nothing more will come out of it,
        self._broken = False  # and not because the far end has closed it
        self.early = b""  # what came with the handshake, for whoever reads

    async def shake_hands(self, sock: socket.socket) -> None:
        """LinkDown when that fails. The wire is `sock`, which does not block and is left open."""
        try:
            while not await in_thread(self._step, "TLS handshake"):
                await self._exchange(sock)
            await self._tell(sock)
            if not self._came_to_us and self._ssl.version() == "TLSv1.3":
                with suppress(TimeoutError):
                    async with asyncio.timeout(_VERDICT):
                        await self._exchange(sock)
            self.early = self.open(b"")
        except OSError as error:
            with suppress(OSError):
                sock.send(self._wire_out.read())  # why
            raise self._down(error) from None
        if self.over is not None and self._broken:
            raise self.over

    def _step(self) -> bool:
        """One step of the handshake; True after the last."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    async def _exchange(self, sock: socket.socket) -> None:
        await self._tell(sock)
        data = await asyncio.get_running_loop().sock_recv(sock, _READ)
        if not data:
            raise ConnectionAbortedError
        self._wire_in.write(data)

    async def _tell(self, sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, self._wire_out.read())

    def seal(self, data: bytes) -> bytes:
        """For the wire. LinkDown when it is broken."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._ssl.write(left) :]
        except OSError as error:
            raise self._down(error) from None
        return self._wire_out.read()

    def open(self, data: bytes) -> bytes:
        """What it holds for us, possibly nothing; `over` is set when it is the last."""
        self._wire_in.write(data)
        got = bytearray()
        try:
            while chunk := self._ssl.read(_READ):
                got += chunk
            self.over = LinkDown("closed by the peer")
        except ssl.SSLWantReadError:
            pass
        except OSError as error:
            self.over, self._broken = self._down(error), True
        return bytes(got)

    def answer(self) -> bytes:
        """What TLS itself has to say on the wire, possibly nothing."""
        return self._wire_out.read()

    def goodbye(self) -> bytes:
        """For the wire: nothing more will come, and nobody has cut it off."""
        with suppress(OSError):  # it wants to wait for theirs
            self._ssl.unwrap()
        return self._wire_out.read()

    def _down(self, error: OSError) -> LinkDown:
        return tls.turned_away(error) if self._came_to_us else tls.down(error, _FAR_END)
