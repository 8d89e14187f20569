"""A raw port on a pty, and an instrument at its far end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conftest import Pty, Until
from parts_kit import running

from gateway.contracts import Frame
from gateway.demo.line import Line, Lines
from gateway.flow import Tap
from gateway.ports.raw import Config, Port
from gateway.status import Life

PIECE = 4096  # bytes that one writer hands over at a time
CRLF = {"text": "\r\n"}


def config(tty: str, **keys: Any) -> Config:
    return Config.model_validate({"mode": "raw", "tty": tty, "baudrate": 115200, "format": "8N1"} | keys)


@asynccontextmanager
async def opened(pty: Pty, **keys: Any) -> AsyncIterator[Port]:
    """A port on this line, open."""
    port = Port(config(pty.path, **keys))
    async with running(port) as life:
        while life.state != "open":
            await asyncio.sleep(0.001)
        yield port


async def taken(tap: Tap[bytes], count: int) -> bytes:
    got = b""
    while len(got) < count:
        got += b"".join(await tap.take())
    return got


async def frames(tap: Tap[Frame], count: int) -> list[bytes]:
    got: list[bytes] = []
    while len(got) < count:
        got += [frame.data for frame in await tap.take()]
    return got


async def says(life: Life, lines: Lines, line: Line, data: bytes, until: Until) -> None:
    """Once the port is open and the line has noticed."""
    await until(lambda: life.state == "open" and line.opened)
    lines.call(lambda: line.say(data, 0.0))
