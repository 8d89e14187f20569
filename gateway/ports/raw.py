"""mode = "raw": bytes and frames from one read of the line. Frames are cut only while somebody wants them.

Chunks go out in the reader's own callback, before anything else happens: a byte that came is on its way in
less than 0.1 ms. A link that must not lose anything and is behind stops the reading, and so lets the line's
flow control work.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from time import time
from typing import Annotated, ClassVar, Literal, Never

from pydantic import Field

from ..contracts import Frame, Part, Stream, Traced
from ..errors import LineDown
from ..flow import Brake, Fan
from ..host.tty import Line
from ..scope import Scope
from ..settings import PortConfig, Publish, Wiring
from ..status import Life, PartStatus
from ..values import Duration, Fault, Model, Octets, Size
from ..wire.framing import ByDelimiter, ByLength, Piece, Splitter, by_silence
from ..wire.points import Gives
from ._asking import Ask, Asking
from ._line import opened
from ._tally import Tally
from ._tuning import Tuning
from ._values import Rules, ValueRule, Values, publishing

_IDLE_GAP = 0.02  # seconds
_AT_ONCE = 4096  # bytes: more from one writer would lock the others out of a slow line for minutes

_BYTES = Field(description='bytes are { text = "..." } or { hex = "02 03" }')


class FrameRule(Model):
    """What ends a frame: silence (the default), a delimiter, or its length."""

    idle_gap: Annotated[Duration, Field(gt=0)] | None = None
    delimiter: Annotated[Octets | None, _BYTES] = None
    length: Annotated[int, Field(ge=1)] | None = None
    start: Annotated[Octets | None, _BYTES] = None
    trailing: Annotated[int, Field(ge=0, le=255)] = 0
    strip: bool = False
    max: Annotated[Size, Field(ge=1, le=1024 * 1024)] = 4096

    def faults(self) -> Iterator[Fault]:
        rules = [key for key in ("idle_gap", "delimiter", "length") if getattr(self, key) is not None]
        for key in rules[1:]:
            yield Fault((key,), f"a frame has one end: {rules[0]} or {key}, not both")
        if self.delimiter is None:
            for key in ("start", "trailing", "strip"):
                if getattr(self, key):
                    yield Fault((key,), f"{key} goes with delimiter")
        if self.length is not None and self.length > self.max:
            yield Fault(("length",), f"longer than max, which is {self.max} bytes")


class Config(PortConfig):
    """[ports.NAME] with mode = "raw"."""

    offers: ClassVar[Mapping[str, type]] = {"": Stream}
    mode: Literal["raw"]
    frame: FrameRule = FrameRule()
    ask: Annotated[
        Ask | None, Field(description='{ text = "SI\\r\\n", every = "1s", timeout = "500ms" }')
    ] = None
    values: dict[str, ValueRule] = Field(default_factory=dict)
    publish: Annotated[Publish | None, Field(description='{ every = "10s", on_change = true }')] = None

    def faults(self) -> Iterator[Fault]:
        yield from super().faults()
        if self.publish is not None and not self.values:
            yield Fault(("publish",), "publish is about values: this port has none")
        gap = self.splitter().idle
        if self.ask is not None and gap is not None and self.ask.timeout <= gap:
            yield Fault(("ask", "timeout"), f"an answer ends by {gap:g} s of silence: that is over before")

    @property
    def shape(self) -> object:
        return super().shape, bool(self.values)

    @property
    def picks(self) -> Mapping[str, Gives]:
        return {name: value.pick.gives for name, value in self.values.items()}

    @property
    def rules(self) -> Rules:
        return Rules(
            picks={name: value.pick for name, value in self.values.items()},
            publishing=publishing(self.publish, self.values),
            longest=inf if self.frame.length is not None else self.frame.max,
            marked=self.frame.start is not None,
        )

    def splitter(self, passed: int = 0) -> Splitter:
        """For a line of which so many bytes have gone by."""
        rule = self.frame
        if rule.delimiter is not None:
            start = rule.start.octets if rule.start is not None else b""
            return ByDelimiter(rule.delimiter.octets, start, rule.trailing, rule.strip, rule.max, passed)
        if rule.length is not None:
            return ByLength(rule.length, passed=passed)
        return by_silence(rule.idle_gap or _IDLE_GAP, rule.max, passed)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        return Port(self)


class Port:
    """A Stream, Tunable, and Measuring."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.trace: Fan[Traced] = Fan()
        self._brake = Brake()
        self.chunks: Fan[bytes] = Fan(self._brake)
        self.frames: Fan[Frame] = Fan(self._brake)
        self.presence: Fan[bytes] = Fan()
        self._tally, self.tuning = Tally(), Tuning(config)
        self.values = Values(self._brake)
        self._asking = Asking(self.frames, self._brake, self._tally, self.values, self._astray)
        self._line: Line | None = None
        self.away = "the port is not open yet"
        self._splitter: Splitter | None = None  # none before the first chunk that somebody wants cut
        self._last_chunk = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    async def session(self, life: Life, /) -> Never:
        try:
            async with opened(self.tuning.applied(self.config), self._tally) as line:
                line.sink = self._received
                self._line = line
                self.tuning.opened(self.config, line)
                self.away = ""
                life.up(state="open")
                self.presence.push(b"online")
                async with self._instrument(life.name):
                    while True:
                        await self._brake.pulled()
                        line.pause()
                        await self._brake.released()
                        line.resume()
        except LineDown as down:
            self.away = str(down)
            if self._line is not None:
                self.values.lost(self.away)
            raise
        finally:
            self._line = None
            self.tuning.closed()
            self.away = self.away or "the port was closed"
            self.presence.push(b"offline")
            self._cut()
            self._splitter = None
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    @asynccontextmanager
    async def _instrument(self, name: str) -> AsyncIterator[None]:
        """What is asked of it, and picked from what it says, while the line is open."""
        config = self.config
        async with AsyncExitStack() as work:
            if config.values:
                work.enter_context(self.values.picking(self.frames, config.rules))
            scope = await work.enter_async_context(Scope())
            if config.ask is not None:
                wire = len(config.ask.octets) / self.rate
                scope.start(self._asking.serve(name, config.ask, wire, self._write))
            yield

    def _astray(self) -> bool:
        return self.tuning.breaking or self.tuning.applied(self.config) != self.config

    @property
    def unfinished(self) -> int:
        return self._splitter.unfinished if self._splitter is not None else 0

    @property
    def rate(self) -> float:
        return self.tuning.applied(self.config).baudrate / 10  # bits with start and stop

    def offer(self, data: bytes, /) -> bool:
        if self._line is None or len(data) > _AT_ONCE:
            return False
        try:
            taken = self._line.offer(data)
        except LineDown:
            return False
        if taken:
            self._asking.client_wrote()
        if taken and self.trace.taps:
            self.trace.push(Traced(time(), "tx", data, ""))
        return taken

    async def send(self, data: bytes, /) -> None:
        start = 0
        try:
            with self._asking.client():
                for start in range(0, len(data), _AT_ONCE):
                    await self._write(data[start : start + _AT_ONCE])
        except LineDown:
            self._tally.dropped_bytes += len(data) - start
            raise

    async def _write(self, piece: bytes) -> None:
        if self._line is None:
            raise LineDown(self.away)
        await self._line.write(piece)
        if self.trace.taps:
            self.trace.push(Traced(time(), "tx", piece, ""))

    def _received(self, chunk: bytes) -> None:
        """In the reader's callback."""
        self.chunks.push(chunk)
        if self.trace.taps:
            self.trace.push(Traced(time(), "rx", chunk, ""))
        if self.frames.taps:
            self._split(chunk)
        else:
            self._splitter = None  # whoever taps them next comes in the middle of something

    def _split(self, chunk: bytes) -> None:
        if self._splitter is None:
            assert self._line is not None
            self._splitter = self.config.splitter(self._line.rx_bytes - len(chunk))
        self._push(self._splitter.feed(chunk, time()))
        self._last_chunk = asyncio.get_running_loop().time()
        if self._splitter.idle is not None and self._alarm is None:
            self._set_alarm(self._last_chunk + self._splitter.idle)

    def _ring(self) -> None:
        """The idle gap is over, or bytes came since the alarm was set: then it is set again."""
        self._alarm = None
        if self._splitter is None or self._splitter.idle is None:
            return  # nobody wants frames any more
        end = self._last_chunk + self._splitter.idle
        if asyncio.get_running_loop().time() >= end:
            self._cut()
        else:
            self._set_alarm(end)

    def _set_alarm(self, at: float) -> None:
        self._alarm = asyncio.get_running_loop().call_at(at, self._ring)

    def _cut(self) -> None:
        if self._splitter is not None and (rest := self._splitter.flush()) is not None:
            self._push((rest,))

    def _push(self, pieces: Iterable[Piece]) -> None:
        for at, data in pieces:
            self._tally.rx_frames += 1
            self.frames.push(Frame(at, data))

    def status(self) -> PartStatus:
        record = self._tally.status(self.tuning.applied(self.config))
        return {
            **record,
            **self.tuning.status(),
            **(self.values.status() if self.config.values else {}),
            "reason": self._asking.reason or record["reason"],
            "role": None,
            "queue": self._line.waiting if self._line is not None else 0,
            "busy_pct": None,
            "dropped_bytes": self._tally.dropped_bytes,
        }
