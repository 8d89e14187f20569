"""A daemon as the control socket sees it, without one: its record, its reloads, its traces and its buffers
are set by the test. And the other end: a client that speaks lines.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from gateway import control
from gateway.contracts import Traced
from gateway.control import Kept, Reloaded
from gateway.flow import Fan
from gateway.status import Record

RECORDS = Path(__file__).parent / "data" / "status"


def record(name: str) -> Record:
    """One of the sample records: "all_fine", "broker_refused", ..."""
    return cast("Record", json.loads((RECORDS / f"{name}.json").read_text()))


class Daemon:
    """Stands in for gatewayd behind the control socket."""

    def __init__(self, name: str = "all_fine") -> None:
        self.record = record(name)
        self.reloaded = Reloaded([], [], [])
        self.reloads = 0
        self.kept: dict[str, Kept] = {}
        self.fans: dict[str, Fan[Traced]] = {"meters": Fan(), "scale": Fan(), "cloud": Fan()}

    def status(self) -> Record:
        return self.record

    async def reload(self) -> Reloaded:
        self.reloads += 1
        return self.reloaded

    def trace(self, name: str, /) -> Fan[Traced]:
        if name not in self.fans:
            raise control.no_such("port or link", name, self.fans)
        return self.fans[name]

    def buffers(self) -> Mapping[str, Kept]:
        return self.kept


class Client:
    """Sends lines and reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def hang_up_sending(self) -> None:
        self._writer.write_eof()

    async def answer(self) -> Any:
        """The next line; None when the daemon has closed."""
        line = await self._reader.readline()
        return json.loads(line) if line else None

    async def ask(self, **request: object) -> Any:
        self.send(json.dumps(request).encode() + b"\n")
        return await self.answer()


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def until(condition: Callable[[], object]) -> None:
    """Waits for a function to become true."""
    while not condition():
        await asyncio.sleep(0.001)
