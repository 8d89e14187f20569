"""A far end that counts bytes: what its kernel has received is known to the byte, whenever it is cut off."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from time import sleep
from typing import Any

from conftest import Until
from parts_kit import running
from stream_kit import Scale, dialler

MOST = 11520  # bytes under way: a second of the line
OURS = 0x80  # bytes of registration and heartbeat have this bit, those of the line have not

_BYTES_RECEIVED = struct.Struct("=128xQ")  # in struct tcp_info
_ALL = 1 << 20
_VISITS = 25
_QUIET = 0.003  # seconds: what the kernels of both ends still have to tell each other is told


class Visit:
    """One connection of the gateway. With TLS, what is in whole TLS records."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._sock, self.got, self._raw = sock, bytearray(), 0
        self._wire_in, self._wire_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls and tls.wrap_bio(self._wire_in, self._wire_out, server_side=True)

    @property
    def line(self) -> bytes:
        """What is not registration or heartbeat."""
        return bytes(byte for byte in self.got if byte < OURS)

    async def hears(self, most: int) -> bool:
        """Some of it, if there is any just now. False when the gateway has left."""
        await asyncio.sleep(0)
        with suppress(BlockingIOError):
            data = self._sock.recv(most)
            self._take(data)
            return bool(data)
        return True

    def _take(self, data: bytes) -> None:
        self._raw += len(data)
        if self._tls is None:
            self.got += data
            return
        self._wire_in.write(data)
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            while True:
                self.got += self._tls.read(_ALL)
        if answer := self._wire_out.read():
            self._sock.send(answer)

    def ends(self, *, reset: bool) -> None:
        """At once, in the middle of whatever is going on. What its kernel has received is taken note of
        first, and not read: that would make room for more. The gateway, which shares our thread, stands
        still.
        """
        waiting = b""
        sleep(_QUIET)
        while len(waiting) + self._raw < self._received:
            waiting = self._sock.recv(_ALL, socket.MSG_PEEK)
            sleep(_QUIET)
        self._take(waiting)
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    @property
    def _received(self) -> int:
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return int(_BYTES_RECEIVED.unpack_from(info)[0])


class Sink:
    """Listens on a port of this host. `little`: its kernel takes only a few thousand bytes at a time."""

    def __init__(self, tcp_port: int, *, little: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if little:
            self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self._server.bind(("127.0.0.1", tcp_port))
        self._server.listen()
        self._server.setblocking(False)
        self._tls = tls

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @asynccontextmanager
    async def visit(self) -> AsyncIterator[Visit]:
        sock, _ = await asyncio.get_running_loop().sock_accept(self._server)
        sock.setblocking(False)
        with sock:
            yield Visit(sock, self._tls)


async def a_while(visit: Visit, random: Random) -> None:
    """Reads for a while, more or less eagerly, and stops anywhere."""
    for _ in range(random.randrange(40)):
        await visit.hears(random.choice((1, 10, 100, 1000, 5000)))
        if random.random() < 0.05:
            await asyncio.sleep(random.choice((0.001, 0.01, 0.05)))


class Line:
    """What it says is known in advance, and said in chunks of any size."""

    def __init__(self, port: Scale, random: Random, words: bytes) -> None:
        self._port, self._random, self.words = port, random, words
        self.over = False

    async def speaks(self) -> None:
        place = 0
        while place < len(self.words):
            size = self._random.choice((1, 3, 30, 300, 3000))
            self._port.says(self.words[place : place + size])
            place += size
            await asyncio.sleep(self._random.choice((0, 0, 0, 0, 0.001)))
        self.over = True


class Story:
    """A link whose connections are cut off one after the other, and what of the line's words each brought."""

    def __init__(self, tcp_port: int, seed: int, words: bytes | None = None, **keys: Any) -> None:
        self.random, port = Random(seed), Scale()
        self.words = words or bytes(self.random.choices(range(OURS), k=150_000))
        self.line = Line(port, self.random, self.words)
        self.link = dialler(tcp_port, port, **keys)
        self.parts: list[bytes] = []
        self.unknown: list[int] = []  # bytes that were not acknowledged when it ended

    async def unfolds(self, sink: Sink, until: Until) -> None:
        async with running(self.link) as life:
            speaking = asyncio.create_task(self.line.speaks())
            for number in range(_VISITS):
                async with sink.visit() as visit:
                    while not self.link.status()["peers"]:
                        await visit.hears(_ALL)
                    await a_while(visit, self.random)
                    visit.ends(reset=self.random.random() < 0.7)
                await until(lambda: life.deaths > number)  # noqa: B023
                death = life.status()["last_death"]
                self._note(visit, death and death["unacked_bytes"])
            async with sink.visit() as visit:
                while not self.line.over or self._busy:
                    await visit.hears(5000)
                visit.ends(reset=True)
                self._note(visit, 0)
            await speaking

    @property
    def _busy(self) -> bool:
        record = self.link.status()
        return bool(record["buffer"]["records"] or any(peer["unacked_bytes"] for peer in record["peers"]))

    def _note(self, visit: Visit, unacked: int | None) -> None:
        self.parts.append(visit.line)
        self.unknown.append(MOST if unacked is None else unacked)
