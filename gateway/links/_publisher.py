"""What goes up on one MQTT connection: all of it through one window, the records of the buffer in order.

Promises: a record is confirmed when the broker has acknowledged it and all before it, or set aside in the
same turn when the broker will not have it, and holds up no other stream for long. A refusal is said once.
Must not decide what is sent next or again: that is the Outbox.
"""

import asyncio
import logging
from asyncio import Event, Future
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from time import time
from typing import NamedTuple, Never

from ..buffer import Buffer, Record
from ..contracts import Traced
from ..errors import LinkDown
from ..flow import Fan
from ..policy.pace import Pace
from ..scope import Scope
from ..status import Life
from ._outbox import Answer, Fate, Outbox, Parcel
from ._paho import Session
from ._reading import Reader
from ._terms import NOT_AUTHORIZED, QUOTA_EXCEEDED, TOO_LARGE, Ack, Memory, Publication, down
from ._topics import Topics

_WINDOW = 100  # publications on their way, and records that may arrive twice after a broken connection
_BATCH = 16  # of them in one turn of the loop: half a millisecond
_TOLD_EVERY = 60.0  # seconds between two lines of the log about one topic
log = logging.getLogger(__name__)


class Refusals:
    """The topics that the broker does not take at present, as the status and the log have it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._reasons: dict[str, str] = {}
        self._told: dict[str, float] = {}  # loop time

    def add(self, topic: str, reason: str, *, tell: bool = True) -> None:
        self._reasons[topic] = reason
        self._life.label("up", reason)
        now = asyncio.get_running_loop().time()
        if tell and now - self._told.get(topic, -inf) >= _TOLD_EVERY:
            log.warning("%s: %s", self._life.name, reason)
        if tell:
            self._told[topic] = now

    def over(self, topic: str) -> None:
        if self._reasons.pop(topic, None):
            self._life.label("up", next(iter(self._reasons.values()), ""))


class _Flight(NamedTuple):
    """A publication that has left and was not dealt with; `parcel` if it is one of the buffer."""

    topic: str  # or what is told in its place
    parcel: Parcel | None
    ack: Future[Ack]
    left: float  # loop time


class Publisher:
    """Of one open connection.

    `replay_rate`: records a second, of those that had waited when it began.
    """

    def __init__(
        self,
        *,
        life: Life,
        mqtt: Session,
        topics: Topics,
        buffer: Buffer,
        memory: Memory,
        reader: Reader,
        replay_rate: int | None,
        trace: Fan[Traced],
    ) -> None:
        self._mqtt, self._topics, self._trace = mqtt, topics, trace
        self._buffer, self._reader = buffer, reader
        self._counts, self._suspects = memory.counts, memory.suspects
        self._now = asyncio.get_running_loop().time
        self._pace = None if replay_rate is None else Pace(replay_rate, self._now())
        self._outbox = Outbox(_WINDOW, memory.refused)
        self._flights: deque[_Flight] = deque()
        self._taken = -inf  # loop time at which the broker last took anything
        self._turned = Event()  # a record to send, an answer, a place in the window
        self.refusals = Refusals(life)

    async def publish(self, what: Publication, told: str = "") -> Future[Ack]:
        """Of what does not stand in the buffer. Trouble with it is `told` of its topic, or of this."""
        await self._place()
        return self._send(what, told=told)

    async def records(self) -> Never:
        async with Scope() as scope:
            scope.start(self._read())
            await self._write()
        raise AssertionError("a scope ends by an error")

    async def confirm(self) -> Never:
        while True:
            await self._until(lambda: bool(self._flights))
            await self._flights[0].ack
            self._settle()

    def blamed(self, down: LinkDown) -> LinkDown | None:
        """The broker ended this session. If it did so because of a record, that in words."""
        with suppress(LinkDown):
            self._settle()
        under_way = [flight.parcel.record if flight.parcel else None for flight in self._flights]
        since = self._now() - self._flights[0].left if self._flights else inf
        return self._suspects.blamed(down, under_way, since)

    async def _read(self) -> Never:
        most = _BATCH if self._pace is None else 1  # what is new shall not wait for a whole batch
        while True:
            await self._until(lambda: self._outbox.room > 0)
            for record in await self._reader.next(min(most, self._outbox.room)):
                if self._pace and self._reader.waited(record):
                    await asyncio.sleep(self._pace.wait(self._now()))
                self._add(record)

    def _add(self, record: Record) -> None:
        condemned = self._suspects.condemned(record)
        self._outbox.add(record, aside=bool(condemned))
        if condemned:
            self._counts["refused"] += 1
            self.refusals.add(self._topics.of(record).topic, condemned)
            self._settle()
        self._turned.set()

    async def _write(self) -> Never:
        while True:
            for _ in range(_BATCH):
                await self._sendable()
                await self._place()
                if parcel := self._outbox.next(self._now()):
                    self._counts["sent"] += 1
                    self._send(self._topics.of(parcel.record), parcel)
            await asyncio.sleep(0)  # a serial line is waiting, too

    async def _sendable(self) -> None:
        while (wait := self._outbox.due() - self._now()) > 0:
            self._turned.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait == inf else wait):
                    await self._turned.wait()

    async def _place(self) -> None:
        if not self._mqtt.limits.qos:
            await self._mqtt.drained()  # nothing will be acknowledged: this alone holds us back
        await self._until(lambda: len(self._flights) < self._window)

    @property
    def _window(self) -> int:
        return 1 if self._suspects.one_by_one else min(_WINDOW, self._mqtt.limits.in_flight)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._turned.clear()
            await self._turned.wait()

    def _send(self, what: Publication, parcel: Parcel | None = None, told: str = "") -> Future[Ack]:
        if self._trace.taps:
            self._trace.push(Traced(time(), "tx", what.payload, f"publish {what.topic}"))
        ack = self._mqtt.publish(what)
        self._flights.append(_Flight(told or what.topic, parcel, ack, self._now()))
        self._turned.set()
        return ack

    def _settle(self) -> None:
        """Deals with the answers that have come, in the order of the flights, as brokers give them."""
        try:
            while self._flights and _has_come(self._flights[0].ack):
                flight = self._flights.popleft()
                self._judge(flight, flight.ack.result())
        finally:
            self._let_go(list(self._outbox.leave()))
            self._turned.set()

    def _let_go(self, parcels: Sequence[Parcel]) -> None:
        self._suspects.one_by_one = max(0, self._suspects.one_by_one - len(parcels))
        for parcel in parcels:
            if parcel.fate is Fate.ASIDE:
                self._buffer.set_aside(parcel.record)
        if parcels:
            self._reader.done([parcel.record.number for parcel in parcels])

    def _judge(self, flight: _Flight, ack: Ack) -> None:
        topic, aside = flight.topic, 0
        if ack.code == QUOTA_EXCEEDED:
            raise LinkDown(f"broker refused {topic}: {ack.words}")
        if ack.code == NOT_AUTHORIZED and flight.parcel is not None:
            self._beware(flight.parcel, ack)
        if flight.parcel is not None:
            aside = self._outbox.answered(flight.parcel, _answer(ack), self._now())
            self._counts["refused"] += aside
            self._counts["confirmed"] += not ack.refused
        if ack.refused:
            again = flight.parcel is not None and not aside
            then = "; tried again" if again else "; set aside" if aside else ""
            self.refusals.add(topic, f"broker refused {topic}: {ack.words}{then}", tell=not again)
        elif aside:
            self.refusals.add(topic, f"broker refused {aside} of {topic}; set aside")
        if not ack.refused:
            self.refusals.over(topic)
            self._taken = self._now()

    def _beware(self, parcel: Parcel, ack: Ack) -> None:
        """Where nobody else gets through nobody is held up, and it may be that the broker has forgotten who
        we are: then everything is kept.
        """
        since = self._outbox.tried_since(parcel)
        if since is not None and self._taken < since:
            raise down("broker refused everything", ack.code, ack.words)


def _has_come(ack: Future[Ack]) -> bool:
    return ack.done() and not ack.cancelled()


def _answer(ack: Ack) -> Answer:
    if ack.code == TOO_LARGE:
        return Answer.IMPOSSIBLE
    return Answer.REFUSED if ack.refused else Answer.TAKEN
