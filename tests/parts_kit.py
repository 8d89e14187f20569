"""A part under supervision on the real loop, with what a link is wired to; nothing may be logged as a bug."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from time import time
from typing import Any

from buffer_kit import Buffers

from gateway.buffer import Buffer
from gateway.contracts import Counted, Frame, Part, Sampled, Stream, Transactor
from gateway.demo.line import Line, Wire
from gateway.flow import Fan
from gateway.policy.backoff import Backoff
from gateway.ports import raw
from gateway.settings import Identity
from gateway.status import Life
from gateway.supervise import supervise

AT_ONCE = 0.005  # seconds at most until the next try


@asynccontextmanager
async def running(part: Part) -> AsyncIterator[Life]:
    """Until the end of the block. Nothing in it may log an error: that would be a bug of ours."""
    life = Life("the part", "waiting", asyncio.get_running_loop().time, time)
    with no_errors():
        session = asyncio.create_task(supervise(part, life, Backoff(AT_ONCE, AT_ONCE, 0.0, Random(1))))
        try:
            yield life
        finally:
            session.cancel()
            with suppress(asyncio.CancelledError):
                await session


@contextmanager
def no_errors() -> Iterator[None]:
    """Fails when anything was logged as an error meanwhile, a failed callback of asyncio among it."""
    said: list[str] = []
    listener = logging.Handler(logging.ERROR)
    listener.emit = lambda record: said.append(listener.format(record))  # type: ignore[method-assign]
    logging.getLogger().addHandler(listener)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(listener)
    assert said == []


@contextmanager
def another_pty() -> Iterator[None]:
    """Somebody else takes the name that has just become free, so that the next one has another."""
    ends = os.openpty()
    try:
        yield
    finally:
        for end in ends:
            os.close(end)


class Instrument(Line):
    """A line that remembers what it was told, and can be made to stop listening."""

    def __init__(self, link: Path | None = None) -> None:
        super().__init__(Wire(baudrate=0), link)
        self.told = bytearray()
        self.deaf = False

    @property
    def listening(self) -> bool:
        return self.opened and not self.deaf

    def heard(self, data: bytes, now: float) -> None:
        self.told += data


async def held(line: Instrument, port: raw.Port) -> None:
    """Until nothing is read from the line any more, though it has more to say."""
    before = -1
    async with asyncio.timeout(30):
        while not line.choked or port.status()["rx_bytes"] != before:
            before = port.status()["rx_bytes"]
            await asyncio.sleep(0.02)


class Wires:
    """The Wiring: ports by name, and a buffer for each link."""

    def __init__(self, buffers: Buffers | None = None, **ports: Any) -> None:
        self.identity = Identity("pump-house-7", "pump-house-7", "02:00:00:00:00:01")
        self._ports = ports
        self._buffers = buffers or Buffers(first_seq=1)

    def stream(self, port: str, /) -> Stream:
        found: Stream = self._ports[port]
        return found

    def transactor(self, port: str, /) -> Transactor:
        found: Transactor = self._ports[port]
        return found

    def counted(self, port: str, /) -> Counted:
        found: Counted = self._ports[port]
        return found

    def uptime(self) -> float:
        return 70_000.9

    def device(self, name: str, /) -> Sampled:
        raise KeyError(name)

    def buffer(self, link: str, fans: Mapping[str, Fan[Frame] | Fan[bytes]], /) -> Buffer:
        buffer = self._buffers.of(link)
        buffer.fill_from(fans)
        return buffer
