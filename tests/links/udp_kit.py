"""A modbus-server link over UDP on the loopback, and clients with a socket of their own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from parts_kit import Wires, running

from gateway.links.modbus_server import Config, UdpServer

HERE = "127.0.0.1"


class Caller:
    """A client that never waits where time may stand still: what it gets, it has asked for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.address = f"{HERE}:{sock.getsockname()[1]}"

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self._sock.send(datagram)

    async def hears(self) -> bytes:
        """The next datagram."""
        async with asyncio.timeout(30):
            return await asyncio.get_running_loop().sock_recv(self._sock, 65536)

    async def asks(self, datagram: bytes) -> bytes:
        self.send(datagram)
        return await self.hears()

    def heard(self) -> list[bytes]:
        """What has come by now."""
        got = []
        while True:
            try:
                got.append(self._sock.recv(65536))
            except BlockingIOError:
                return got


@contextmanager
def caller(port: int, host: str = HERE) -> Iterator[Caller]:
    """From an address and a port of its own; `host` is its own, too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((host, 0))
        sock.connect((HERE, port))
        yield Caller(sock)


def link(port: int, wires: Wires, **keys: Any) -> UdpServer:
    table = {"kind": "modbus-server", "listen": f"{HERE}:{port}", "transport": "udp", "port": "meters"}
    built = Config.model_validate(table | keys).build("scada", wires)
    assert isinstance(built, UdpServer)
    return built


@asynccontextmanager
async def server(port: int, wires: Wires, **keys: Any) -> AsyncIterator[UdpServer]:
    built = link(port, wires, **keys)
    async with running(built) as life:
        while life.state != "listening":
            await asyncio.sleep(0.001)
        yield built


async def until_heard(server: UdpServer, requests: int) -> None:
    """So many requests have come; time may stand still meanwhile."""
    async with asyncio.timeout(30):
        while sum(peer["requests"] for peer in server.status()["peers"]) < requests:
            await asyncio.sleep(0)


async def taken(server: UdpServer, key: str, count: int) -> None:
    """So many datagrams have been counted as `key`; time may stand still meanwhile."""
    async with asyncio.timeout(30):
        while server.status()["datagrams"][key] < count:  # type: ignore[literal-required]
            await asyncio.sleep(0)
