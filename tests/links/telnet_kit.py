"""A port on a pty behind a link that speaks telnet, and clients of it.

Pyserial's own, and one byte by byte.
"""

import array
import asyncio
import fcntl
import os
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import serial
from conftest import Pty
from stream_kit import client, server, up

from gateway.links.tcp import Server
from gateway.ports import raw
from gateway.wire.rfc2217 import Ask
from gateway.wire.telnet import Event, Option, Suboption, Telnet, Verb, escaped, suboption

R = TypeVar("R")
_TCGETS2 = 0x802C542A
WAIT = 30.0  # seconds for anything to come


@asynccontextmanager
async def remote(
    pty: Pty, tcp_port: int, port_keys: dict[str, Any] | None = None, **keys: Any
) -> AsyncIterator[tuple[raw.Port, Server]]:
    """115200 8N1 and listening."""
    table = {"mode": "raw", "tty": pty.path, "baudrate": 115200, "format": "8N1"} | (port_keys or {})
    port = raw.Port(raw.Config.model_validate(table))
    link = server(tcp_port, port, **keys)
    async with up(port, "open"), up(link, "listening"):
        yield port, link


async def with_pyserial(tcp_port: int, use: Callable[[serial.Serial], R], **settings: Any) -> R:
    """In a thread: `use(line)`, and closed."""

    def run() -> R:
        url = f"rfc2217://127.0.0.1:{tcp_port}"
        with serial.serial_for_url(url, **{"timeout": WAIT} | settings) as line:
            return use(line)

    return await asyncio.to_thread(run)


def speed(tty: str) -> int:
    """Of the line, as its driver has it."""
    fd, record = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), array.array("I", bytes(44))
    try:
        fcntl.ioctl(fd, _TCGETS2, record)
    finally:
        os.close(fd)
    return record[10]


def flags(pty: Pty) -> set[str]:
    """Of the line: which of CSTOPB, CRTSCTS, IXON, IXOFF are on."""
    fd = pty.open()
    try:
        iflag, _, cflag, *_ = termios.tcgetattr(fd)
    finally:
        os.close(fd)
    known = {"CSTOPB": cflag, "CRTSCTS": cflag, "IXON": iflag, "IXOFF": iflag}
    return {name for name, bits in known.items() if bits & getattr(termios, name)}


class Client:
    """Speaks telnet byte by byte; nothing is asked of anybody that a test does not ask."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._telnet = Telnet(com_port=True)
        self.answers: list[Event] = []  # all but data
        self.data = bytearray()

    def agrees(self) -> None:
        """To BINARY both ways, and RFC 2217."""
        for verb, option in (
            (Verb.WILL, Option.BINARY),
            (Verb.DO, Option.BINARY),
            (Verb.WILL, Option.COM_PORT),
        ):
            self.writer.write(bytes((0xFF, verb, option)))

    def says(self, data: bytes) -> None:
        self.writer.write(escaped(data))

    def orders(self, ask: Ask, value: bytes = b"") -> None:
        self.writer.write(suboption(Option.COM_PORT, bytes((ask,)) + value))

    async def asks(self, ask: Ask, value: bytes = b"") -> bytes:
        """The value of the answer."""
        self.orders(ask, value)
        return await self.told(ask)

    async def told(self, ask: Ask) -> bytes:
        """The value of the next suboption of this kind; what came before it is forgotten."""
        while True:
            while self.answers:
                match self.answers.pop(0):
                    case Suboption(Option.COM_PORT, data) if data[0] == ask + 100:
                        return data[1:]
            await self.hears_more()

    async def hears(self, event: Event) -> None:
        while event not in self.answers:
            await self.hears_more()
        self.answers.remove(event)

    async def reads(self, count: int) -> bytes:
        while len(self.data) < count:
            await self.hears_more()
        data = bytes(self.data[:count])
        del self.data[:count]
        return data

    async def hears_more(self) -> None:
        async with asyncio.timeout(WAIT):
            piece = await self._reader.read(65536)
        assert piece, "the gateway has closed the connection"
        for event in self._telnet.feed(piece):
            if isinstance(event, bytes):
                self.data += event
            else:
                self.answers.append(event)


@asynccontextmanager
async def speaking(tcp_port: int, slow: bool = False) -> AsyncIterator[Client]:
    async with client(tcp_port, slow) as (reader, writer):
        yield Client(reader, writer)
