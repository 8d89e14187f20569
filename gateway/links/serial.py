"""kind = "serial": two raw ports joined, as by a null-modem cable, with baudrate and format of each its own.

Bytes of each go to the other in the callback that read them. The slower line stops the reading of the faster
one, whoever else listens there: nothing is lost between two open lines. What one says while the other is away
is dropped and counted, never kept: a cable keeps nothing.
"""

import asyncio
from collections.abc import Iterator
from time import time
from typing import Annotated, ClassVar, Literal, Never

from pydantic import Field

from ..contracts import Part, Stream, Traced
from ..errors import LineDown
from ..flow import Fan, Tap
from ..scope import Scope
from ..settings import LinkConfig, Need, Wiring
from ..status import Life, PartStatus, WayStatus
from ..values import Fault, Names

_MOST = 64 * 1024  # bytes that may wait for the other line before this one is not read any more
_PIECE = 4096  # bytes: what is counted as dropped when the line is lost in the middle of it, at most


class Config(LinkConfig):
    """[links.NAME] with kind = "serial"."""

    wants: ClassVar[type] = Stream
    kind: Literal["serial"]
    ports: Annotated[Names, Field(description='two raw ports, such as ["printer", "computer"]')]

    def faults(self) -> Iterator[Fault]:
        if len(set(self.ports)) != 2 or len(self.ports) != 2:
            yield Fault(("ports",), "a cable has two ends: name two different ports")

    @property
    def connections(self) -> bool:
        return False

    def needs(self) -> Iterator[Need]:
        for place, port in enumerate(self.ports):
            yield Need(("ports", place), port, Stream)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        return Cable(self, wiring)


class Cable:
    """One session is as long as the link is configured: lines come and go within it, and it says so.

    So what waits for one line outlives the other, as it would in a cable with a box in the middle.
    """

    def __init__(self, config: Config, wiring: Wiring) -> None:
        self.config = config
        self.trace: Fan[Traced] = Fan()
        self._lines = {name: wiring.stream(name) for name in config.ports}
        self._ways = {
            name: _Way(line, f"{name} to {to}", other, self.trace)
            for name, line in self._lines.items()
            for to, other in self._lines.items()
            if to != name
        }

    async def session(self, life: Life, /) -> Never:
        async with Scope() as scope:
            for way in self._ways.values():
                scope.start(way.carry())
            await self._tell(life)
        raise AssertionError("a scope ends by an error")

    async def _tell(self, life: Life) -> Never:
        """Which line is away. The log has that from the port."""
        turned = asyncio.Event()

        def hear(news: bytes) -> bool:
            turned.set()
            return True

        one, other = self._lines.values()
        with one.presence.tap(offer=hear), other.presence.tap(offer=hear):
            while True:
                turned.clear()
                away = "; ".join(f"{name}: {line.away}" for name, line in self._lines.items() if line.away)
                if away and life.up_since is not None:
                    life.died(LineDown(away))
                if away:
                    life.label("waiting", away)
                elif life.up_since is None:
                    life.up()
                await turned.wait()

    def status(self) -> PartStatus:
        return {
            "kind": self.config.kind,
            "ports": list(self.config.ports),
            "endpoint": " - ".join(self.config.ports),
            "detect_within_s": None,
            "ways": {name: way.status() for name, way in self._ways.items()},
        }


class _Way:
    """What one line says to the other."""

    def __init__(self, line: Stream, words: str, other: Stream, trace: Fan[Traced]) -> None:
        self._line, self._words, self._other, self._trace = line, words, other, trace
        self._waiting = bytearray()
        self._come = asyncio.Event()
        self._passed = self._dropped = 0  # bytes

    async def carry(self) -> Never:
        """What did not go on at once."""
        with self._line.chunks.tap(offer=lambda chunk: self._take(chunk, tap)) as tap:
            try:
                while True:
                    await self._go_on(tap)
            finally:
                self._drop_all()

    async def _go_on(self, tap: Tap[bytes]) -> None:
        self._come.clear()
        await self._come.wait()
        while self._waiting:
            await self._pass_on()
            if len(self._waiting) <= _MOST // 2:
                tap.hold(False)

    def _take(self, chunk: bytes, tap: Tap[bytes]) -> bool:
        """In the callback that read it."""
        if self._trace.taps:
            self._trace.push(Traced(time(), "rx", chunk, self._words))
        if self._other.away:
            self._dropped += len(chunk)
        elif not self._waiting and self._other.offer(chunk):
            self._passed += len(chunk)
        else:
            self._waiting += chunk
            self._come.set()
            if len(self._waiting) >= _MOST:
                tap.hold(True)
        return True

    async def _pass_on(self) -> None:
        """A piece; or nothing of all that waits, when the line is lost."""
        piece = bytes(self._waiting[:_PIECE])
        try:
            await self._other.send(piece)
        except LineDown:
            self._drop_all()
        else:
            self._passed += len(piece)
            del self._waiting[: len(piece)]

    def _drop_all(self) -> None:
        self._dropped += len(self._waiting)
        self._waiting.clear()

    def status(self) -> WayStatus:
        return {
            "bytes": self._passed,
            "dropped_bytes": self._dropped,
            "waiting_bytes": len(self._waiting),
        }
