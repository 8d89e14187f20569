"""A tcp link on a real TCP port: its clients, and the lines that it leads to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from buffer_kit import Buffers
from conftest import Until
from parts_kit import Instrument, Wires, running

from gateway.contracts import Frame, Part
from gateway.demo.line import Lines
from gateway.errors import LineDown
from gateway.flow import Fan
from gateway.links._dialler import Dialler
from gateway.links.tcp import Config, Server
from gateway.ports import raw
from gateway.status import Life
from gateway.wire.framing import ByDelimiter, Splitter

MEGABYTE = 1 << 20
PIECE = 4096  # bytes that one writer hands to the line at a time


class Port:
    """A raw port without a line."""

    unfinished = 0
    rate = 11520.0

    def __init__(self) -> None:
        self.chunks: Fan[bytes] = Fan()
        self.frames: Fan[Frame] = Fan()
        self.told = bytearray()
        self.taken_at_once = self.dropped = 0  # bytes
        self.away = False

    def offer(self, data: bytes, /) -> bool:
        if not self.away:
            self.told += data
            self.taken_at_once += len(data)
        return not self.away

    async def send(self, data: bytes, /) -> None:
        if self.away:
            self.dropped += len(data)
            raise LineDown("no such device /dev/ttyUSB1")
        self.told += data


class Scale(Port):
    """A port without a line that knows of frames; they end with ";" if nothing else is said."""

    def __init__(self, splitter: Splitter | None = None) -> None:
        super().__init__()
        self.splitter = splitter or ByDelimiter(b";", b"", 0, False, 100)

    def says(self, data: bytes) -> None:
        self.chunks.push(data)
        pieces = [*self.splitter.feed(data, 0.0)]
        self.unfinished = self.splitter.unfinished
        for piece in pieces:
            self.frames.push(Frame(*piece))

    def is_silent(self) -> None:
        piece, self.unfinished = self.splitter.flush(), 0
        if piece is not None:
            self.frames.push(Frame(*piece))


def scale(line: Instrument) -> raw.Port:
    table = {"mode": "raw", "tty": line.tty, "baudrate": 115200, "format": "8N1"}
    return raw.Port(raw.Config.model_validate(table))


@asynccontextmanager
async def up(part: Part, state: str) -> AsyncIterator[Life]:
    async with running(part) as life:
        while life.state != state:
            await asyncio.sleep(0.001)
        yield life


@asynccontextmanager
async def on_a_line(line: Instrument, lines: Lines) -> AsyncIterator[raw.Port]:
    """A port that is open, and the line knows it."""
    port = scale(line)
    async with up(port, "open"):
        while not line.opened:
            await asyncio.sleep(0.001)
        yield port


def server(tcp_port: int, port: object, **keys: Any) -> Server:
    table = {"kind": "tcp", "listen": f"127.0.0.1:{tcp_port}", "port": "scale"} | keys
    link = Config.model_validate(table).build("console", Wires(scale=port))
    assert isinstance(link, Server)
    return link


def dialler(tcp_port: int, port: object, buffers: Buffers | None = None, **keys: Any) -> Dialler:
    table = {"kind": "tcp", "connect": f"127.0.0.1:{tcp_port}", "port": "scale"} | keys
    link = Config.model_validate(table).build("console", Wires(buffers, scale=port))
    assert isinstance(link, Dialler)
    return link


@asynccontextmanager
async def client(
    tcp_port: int, slow: bool = False
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A slow one has little room: what it does not read stays with the gateway."""
    sock = socket.socket()
    sock.setblocking(False)
    if slow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", tcp_port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096 if slow else 65536)
    try:
        yield reader, writer
    finally:
        writer.close()


class FarEnd:
    """A TCP server that can be taken away and brought back."""

    def __init__(self, tcp_port: int) -> None:
        self.got = bytearray()
        self.clients: list[asyncio.StreamWriter] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._tcp_port = tcp_port
        self._server: asyncio.Server | None = None

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer)
        self._serving.add(asyncio.create_task(self._read(reader, writer)))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.got += data
        writer.close()

    async def opens(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._tcp_port)

    async def closes(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.clients:
            writer.close()
        self.clients.clear()
        await asyncio.gather(*self._serving)
        self._serving.clear()
        self._server = None

    async def __aenter__(self) -> "FarEnd":
        await self.opens()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self.closes()


async def exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(30):
        return await reader.readexactly(count)


async def there(link: Server, count: int, until: Until) -> None:
    """So many clients are connected and tap the line."""
    await until(lambda: len(link.status()["peers"]) == count)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
