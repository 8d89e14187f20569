"""What a link that connects says by itself: who calls (registration) and that it is still there (heartbeat).

Promises: a heartbeat stands between two frames of the line, and nothing of this is ever in the buffer.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated, Protocol

from pydantic import Field

from ..contracts import Frame, Stream
from ..policy import traffic
from ..policy.heartbeat import Schedule
from ..policy.liveness import profile
from ..settings import Identity, Liveness
from ..values import Duration, Octets


class Heartbeat(Octets):
    """Sent after `every` without anything sent; with `strict` every period, whatever else was sent."""

    every: Annotated[Duration, Field(ge=0.5)] = 30.0
    strict: bool = False

    def tells_in_time(self, liveness: Liveness) -> bool:
        """It comes often enough to find a dead far end within what `liveness` says."""
        return self.every <= profile(liveness.bounds()).heartbeat

    def traffic(self, *, tls: bool, prefix: int = 0) -> traffic.Heartbeat:
        """What it costs; `prefix` bytes stand in front of each."""
        return traffic.packet(prefix + len(self.octets), self.every, tls=tls)


def filled(octets: Octets, identity: Identity) -> bytes:
    """With {name}, {hostname} and {mac} in a text; hex is sent as it is."""
    return octets.octets if octets.text is None else identity.fill(octets.text).encode()


class Telling(Protocol):
    """Of one connection: what the port says, and our own words, on their way out."""

    @property
    def waits(self) -> bool:
        """Something of the port's has not been told."""

    @property
    def room(self) -> int:
        """Bytes that may be told now."""

    def tell(self, data: bytes, /) -> None:
        """What the port says."""

    def word(self, data: bytes, /) -> None:
        """Of our own."""


class Heart:
    """Of one connection: what `port` says goes through `tell`, and `word` goes out between its frames.

    `frames`: what goes through is one frame each time.
    """

    def __init__(
        self, rule: Heartbeat, word: bytes, delivery: Telling, port: Stream, *, frames: bool = False
    ) -> None:
        self._word, self._strict, self._frames = word, rule.strict, frames
        self._delivery, self._port = delivery, port
        self._loop = asyncio.get_running_loop()
        self._schedule = Schedule(rule.every, rule.strict, self._loop.time())
        self._alarm: asyncio.TimerHandle | None = None

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Only `strict` needs to know of frames: otherwise so long a silence has ended any."""
        with self._port.frames.tap(offer=self._frame_ended) if self._strict else nullcontext():
            self._look()
            try:
                yield
            finally:
                if self._alarm is not None:
                    self._alarm.cancel()

    @property
    def due(self) -> bool:
        """It may stand in what is told next, if the port has cut that already."""
        return self._schedule.due(self._loop.time())

    def tell(self, data: bytes) -> None:
        """What the line said."""
        now = self._loop.time()
        last = not self._delivery.waits
        place = self._schedule.place(len(data), self._unfinished, now) if last else None
        if place is None:
            self._delivery.tell(data)
        else:
            if place:
                self._delivery.tell(data[:place])
            self._delivery.word(self._word)
            if data[place:]:
                self._delivery.tell(data[place:])
            self._schedule.beaten(now)
        self._schedule.said(now)
        self._look()

    @property
    def _unfinished(self) -> int:
        """Bytes of a frame that went out in part."""
        return 0 if self._frames else self._port.unfinished

    def _frame_ended(self, frame: Frame) -> bool:
        self._look()
        return True

    def _ring(self) -> None:
        self._alarm = None
        self._look()

    def _look(self) -> None:
        if self._delivery.waits:
            return  # `tell` looks again
        now = self._loop.time()
        if self._schedule.place(0, self._unfinished, now) is not None:
            if self._delivery.room > 0:  # a peer that reads nothing gets no heap of them
                self._delivery.word(self._word)
            self._schedule.beaten(now)
        if self._alarm is None:
            self._alarm = self._loop.call_at(self._schedule.next(now), self._ring)
