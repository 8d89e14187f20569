"""A daemon as the control socket sees it, without one: its record, its reloads, its traces, its buffers and
the devices on its lines are set by the test. And the other end: a client that speaks lines.
"""

import asyncio
import json
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from gateway import control
from gateway.contracts import Request, Settings, Traced, failed
from gateway.control import Event, Kept, Reloaded
from gateway.demo.registers import Registers
from gateway.errors import GatewayError, LineDown, NoAnswer
from gateway.flow import Fan
from gateway.status import Record

RECORDS = Path(__file__).parent / "data" / "status"


def record(name: str) -> Record:
    """One of the sample records: "all_fine", "broker_refused", ..."""
    return cast("Record", json.loads((RECORDS / f"{name}.json").read_text()))


OWN = Settings(9600, "8E1")


@dataclass
class Line:
    """A line on which we ask, and what answers on it with which settings. Nothing takes any time."""

    slaves: dict[int, Registers] = field(default_factory=dict)
    settings: Settings = OWN
    others: dict[Settings, dict[int, Registers]] = field(default_factory=dict)
    failures: dict[int, GatewayError] = field(default_factory=dict)  # by unit id
    asked: list[Request] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    stuck: bool = False  # nothing is answered any more

    def ask(self, request: Request, /) -> Future[bytes]:
        self.asked.append(request)
        if request.unit in self.failures:
            return failed(self.failures[request.unit])
        if request.unit not in self.slaves and request.unit:
            return failed(NoAnswer(f"unit {request.unit} did not answer within 1 s"))
        answer: Future[bytes] = asyncio.get_running_loop().create_future()
        if not self.stuck:
            answer.set_result(self.slaves[request.unit].answer(request.pdu) if request.unit else b"")
        return answer

    @contextmanager
    def unnoticed(self) -> Iterator[None]:
        self.events.append("unnoticed")
        yield
        self.events.append("noticed")

    @asynccontextmanager
    async def elsewhere(self, settings: Settings, /) -> AsyncIterator["Line"]:
        if settings not in self.others:
            raise LineDown(f"/dev/ttyUSB0 does not accept {settings}")
        self.events.append(f"+{settings}")
        try:
            yield Line(self.others[settings], settings, asked=self.asked, stuck=self.stuck)
        finally:
            self.events.append(f"-{settings}")


class Daemon:
    """Stands in for gatewayd behind the control socket."""

    def __init__(self, name: str = "all_fine") -> None:
        self.record = record(name)
        self.reloaded = Reloaded([], [], [])
        self.reloads = 0
        self.kept: dict[str, Kept] = {}
        self.lines: dict[str, Line] = {}
        self.paused: dict[str, float] = {}
        self.said: list[Event] = []
        self.fans: dict[str, Fan[Traced]] = {"meters": Fan(), "scale": Fan(), "cloud": Fan()}

    def status(self) -> Record:
        return self.record

    def events(self) -> list[Event]:
        return self.said

    async def reload(self) -> Reloaded:
        self.reloads += 1
        return self.reloaded

    def trace(self, name: str, /) -> Fan[Traced]:
        if name not in self.fans:
            raise control.no_such("port or link", name, self.fans)
        return self.fans[name]

    def buffers(self) -> Mapping[str, Kept]:
        return self.kept

    def line(self, port: str, /) -> Line:
        if port not in self.lines:
            raise control.no_such("port", port, self.lines)
        return self.lines[port]

    @asynccontextmanager
    async def lent(self, port: str, /) -> AsyncIterator[Line]:
        line = self.line(port)
        line.events.append("lent")
        try:
            yield line
        finally:
            line.events.append("given back")

    async def pause(self, port: str, seconds: float, /) -> None:
        self.paused[port] = seconds

    def resume(self, port: str, /) -> None:
        if port not in self.paused:
            raise GatewayError(f"{port} is not paused")
        del self.paused[port]


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
