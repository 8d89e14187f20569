"""Far ends on the loopback without anything of ours, and a listener with its peers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Never

import pytest

from gateway.errors import LinkDown
from gateway.flow import Fan
from gateway.host import net
from gateway.host.connection import Connection
from gateway.host.listener import Listener, Places
from gateway.policy.liveness import Bounds
from gateway.values import Endpoint

Peer = Callable[[Connection], Awaitable[object]]
BOUNDS, EIGHT = Bounds(20.0), Places(8)
HERE = "127.0.0.1"


class Foreign:
    """The far end of a connection, without anything of ours."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self._loop = sock, asyncio.get_running_loop()

    @property
    def address(self) -> str:
        return str(Endpoint(*self.sock.getsockname()[:2]))

    async def say(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def hears(self, count: int) -> bytes:
        got = bytearray()
        while len(got) < count:
            chunk = await self._loop.sock_recv(self.sock, count - len(got))
            assert chunk, "the connection is over"
            got += chunk
        return bytes(got)

    async def end(self) -> str:
        """How the connection ends, once everything was read: "closed" or "reset"."""
        try:
            async with asyncio.timeout(30):
                while await self._loop.sock_recv(self.sock, 65536):
                    pass
        except ConnectionResetError:
            return "reset"
        return "closed"


@asynccontextmanager
async def calls(port: int, host: str = HERE) -> AsyncIterator[Foreign]:
    """Somebody who connects to us."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        yield Foreign(sock)


@asynccontextmanager
async def listening(
    port: int, peer: Peer, *, places: Places = EIGHT, host: str = HERE
) -> AsyncIterator[Listener]:
    async with net.listen(Endpoint(host, port), BOUNDS, places, Fan()) as listener:
        serving = asyncio.create_task(listener.serve(peer))
        try:
            yield listener
        finally:
            serving.cancel()
            await asyncio.wait([serving])
        assert serving.cancelled()
        assert not listener.peers


async def silent(connection: Connection) -> Never:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def failure(opening: AbstractAsyncContextManager[object]) -> str:
    with pytest.raises(LinkDown) as caught:
        async with opening:
            pass
    return str(caught.value)
