"""The mirror of `_bus`: the master of this line asks, and whoever stands for a unit answers through us.

Lives as long as one open line. Promises: only units that somebody stands for are answered, and broadcasts
never; before an answer the line was silent for `gap`; nothing is sent later than `answer_within` after the
request, nor once the master has begun to speak again, because it would take that for the answer to its next
question. What nobody waits for any more is withdrawn.

All of it happens in three callbacks: bytes come, an answer comes, the alarm rings. Each does its work and
then `_go_on`.
"""

import asyncio
from asyncio import Future
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import time
from typing import Protocol

from ..contracts import Asker, Rank, Request, Traced, Transactor, failed
from ..errors import GatewayError, LineDown, NoAnswer, NoRoute
from ..flow import Fan
from ..wire.echo import Echo
from ..wire.modbus import BROADCASTS, EXCEPTION, WRITES, check_request, exception
from ..wire.rtu_line import Counts
from ..wire.rtu_requests import Asked
from ._framing import Wire
from ._tally import Occupancy, Tally

_NOBODY_THERE = (NoRoute.modbus, NoAnswer.modbus)  # 0A, 0B: a real device would say nothing instead


class Ear(Protocol):
    """Finds the master's requests in what a line brings (`wire.rtu_line.Ear`, `wire.ascii_line.Ear`)."""

    def feed(self, data: bytes, /) -> Iterable[Asked]: ...
    def silence(self) -> Asked | None: ...
    def answer(self, unit: int, pdu: bytes, /) -> bytes: ...
    @property
    def unfinished(self) -> bool:
        """A silence would make a difference."""

    @property
    def begun(self) -> bool:
        """Somebody speaks: what came is more than noise may be."""


class Hearing(Protocol):
    """What a server port hears by: `wire.rtu_line` or `wire.ascii_line`."""

    def listening_for(self, ours: Container[int], counts: Counts, /) -> Ear: ...


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On which we answer. Seconds."""

    character: float
    gap: float
    lead: float = 0.0  # between an answer that is offered to the line and its first byte
    quiet: float  # of silence, after which what is unfinished stays so
    answer_within: float
    says_why: bool  # by an exception when nobody can be reached; else by silence, like an absent device
    echo: bool  # the line gives back what we send
    held_back: bool  # by flow control, perhaps until nobody wants it any more


@dataclass(kw_only=True, eq=False, slots=True)
class _Exchange:
    """A request of the master, and the answer that we owe."""

    asked: Asked
    heard_at: float
    deadline: float
    answer: Future[bytes]
    pdu: bytes = b""  # once it is there: it waits for the line to be silent
    failed: bool = False  # and only says why there is none


class Station:
    """`targets` say who stands for which unit; it is looked at for each request."""

    def __init__(
        self,
        line: Wire,
        ear: Ear,
        terms: Terms,
        targets: Mapping[int, Transactor],
        tally: Tally,
        occupancy: Occupancy,
        trace: Fan[Traced],
    ) -> None:
        self._line, self._ear, self._terms, self._targets = line, ear, terms, targets
        self._tally, self._occupancy, self._trace = tally, occupancy, trace
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._asker = Asker("line", id(self))
        self._owed: _Exchange | None = None
        self._heard_at = self._now()  # the last byte
        self._echo: Echo | None = None  # of what was sent last
        self._alarm: asyncio.TimerHandle | None = None
        self._set_alarm()  # for the first silence

    @property
    def queue(self) -> int:
        return int(self._owed is not None)

    # Bytes come

    def received(self, data: bytes) -> None:
        """The line's sink."""
        now = self._heard_at = self._now()
        if self._trace.taps:
            self._trace.push(Traced(time(), "rx", data, ""))
        self._occupancy.seconds += len(data) * self._terms.character
        if self._echo is not None:
            data = self._echo.strip(data)
        self._hear([*self._ear.feed(data)])
        self._go_on(now)

    def _hear(self, requests: Sequence[Asked]) -> None:
        """Only the last of them can still be waited for, and not if the master goes on speaking."""
        if requests or self._ear.begun:
            self._withdraw()
        for asked in requests:
            left_alone = asked.unit != 0 and asked.unit not in self._targets
            self._explain("rx", b"", asked, asked.pdu, ", left alone" if left_alone else "")
            if asked.unit == 0:
                self._pass_on(asked.pdu)
        if requests and not self._ear.begun and requests[-1].unit in self._targets:
            self._ask(requests[-1])

    def _withdraw(self) -> None:
        """The master has given up, be it that the answer is there already."""
        if self._terms.held_back:
            with suppress(LineDown):  # the session ends by that
                self._line.discard_output()
        exchange, self._owed = self._owed, None
        if exchange is not None:
            exchange.answer.cancel()
            self._tally.late += 1
            self._tally.unit(exchange.asked.unit).late += 1
            self._missed(exchange.asked.unit)

    def _ask(self, asked: Asked) -> None:
        self._tally.rx_frames += 1
        self._tally.unit(asked.unit).requests += 1
        answer = self._asked_of(self._targets[asked.unit], asked)
        exchange = self._owed = _Exchange(
            asked=asked,
            heard_at=self._heard_at,
            deadline=self._heard_at + self._terms.answer_within,
            answer=answer,
        )
        answer.add_done_callback(partial(self._answered, exchange))

    def _asked_of(self, target: Transactor, asked: Asked) -> Future[bytes]:
        try:
            check_request(asked.pdu)
        except GatewayError as error:
            return failed(error)
        rank = Rank.WRITE if asked.pdu[0] in WRITES else Rank.READ
        return target.ask(Request(asked.unit, asked.pdu, self._asker, rank))

    def _pass_on(self, pdu: bytes) -> None:
        """A broadcast, to each who stands for any units. Nobody is told what becomes of it."""
        if pdu[0] not in BROADCASTS:
            return
        for target in {id(target): target for target in self._targets.values()}.values():
            answer = self._asked_of(target, Asked(0, pdu))
            answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
            self._loop.call_later(self._terms.answer_within, answer.cancel)

    # An answer comes

    def _answered(self, exchange: _Exchange, answer: Future[bytes]) -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if exchange is not self._owed:
            return  # it was there, and the master spoke before we were told
        match error:
            case None:
                exchange.pdu = answer.result()
            case GatewayError():
                self._excuse(exchange, error)
            case bug:
                raise bug
        self._go_on(self._now())

    def _excuse(self, exchange: _Exchange, error: GatewayError) -> None:
        """There is no answer; the master may hear why."""
        if error.modbus in _NOBODY_THERE:
            self._tally.timeout += 1
            self._missed(exchange.asked.unit)
            if not self._terms.says_why:
                self._owed = None
                return
            exchange.failed = True
        exchange.pdu = exception(exchange.asked.pdu[0], error.modbus)

    def _missed(self, unit: int) -> None:
        known = self._tally.unit(unit)
        known.timeouts += 1
        known.timeouts_in_a_row += 1

    # The alarm rings

    def _ring(self) -> None:
        self._alarm = None
        self._line.poll()  # after a stall, what ends a silence may lie there already
        now = self._now()
        if self._ear.unfinished and now >= self._heard_at + self._terms.quiet:
            asked = self._ear.silence()
            self._hear([] if asked is None else [asked])
        if self._owed is not None and now >= self._owed.deadline:
            self._time_is_up(self._owed, now)
        self._go_on(now)

    def _time_is_up(self, exchange: _Exchange, now: float) -> None:
        """This is the last moment to say anything."""
        exchange.answer.cancel()
        self._excuse(exchange, NoAnswer("no answer in time"))
        self._send_in_silence(now)
        self._owed = None

    # What is sent

    def _go_on(self, now: float) -> None:
        self._send_in_silence(now)
        self._set_alarm()

    def _send_in_silence(self, now: float) -> None:
        if self._may_send(now):
            self._line.poll()  # the master may have begun to speak, and nobody has read it yet
            exchange = self._owed
            if exchange is not None and self._may_send(now):
                self._owed = None
                self._send(exchange, now)

    def _may_send(self, now: float) -> bool:
        ready = self._owed is not None and self._owed.pdu and not self._ear.unfinished
        return bool(ready) and now >= self._heard_at + self._terms.gap

    def _send(self, exchange: _Exchange, now: float) -> None:
        asked, pdu = exchange.asked, exchange.pdu
        frame = self._ear.answer(asked.unit, pdu)
        try:
            if not self._line.offer(frame):
                self._line.discard_output()  # nothing waits: it is in time, or not at all
                self._missed(asked.unit)
                return
        except LineDown:
            return  # the session ends by that
        takes = self._terms.lead + len(frame) * self._terms.character
        self._occupancy.seconds += takes + self._terms.gap
        self._echo = Echo(frame) if self._terms.echo else None
        self._tally.tx_frames += 1
        self._tally.exceptions += bool(pdu[0] & EXCEPTION)
        self._explain("tx", frame, asked, pdu)
        if not exchange.failed:
            known = self._tally.unit(asked.unit)
            known.answers += 1
            known.timeouts_in_a_row = 0
            known.latencies.append(now + takes - exchange.heard_at)

    def _set_alarm(self) -> None:
        """One timer: an earlier one is left alone, it rings for nothing and is set again."""
        due = self._due()
        if due is None:
            return
        if self._alarm is not None:
            if self._alarm.when() <= due:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(due, self._ring)

    def _due(self) -> float | None:
        dues = []
        if self._ear.unfinished:
            dues.append(self._heard_at + self._terms.quiet)
        if self._owed is not None:
            ready = self._owed.pdu and not self._ear.unfinished
            dues.append(self._heard_at + self._terms.gap if ready else self._owed.deadline)
        return min(dues, default=None)

    def _explain(self, way: str, data: bytes, asked: Asked, pdu: bytes, remark: str = "") -> None:
        """For `gatewayctl trace`.

        What the bytes mean. Of requests, which come in pieces, on a line behind.
        """
        if self._trace.taps:
            from ..wire.pdus import describe  # loads pymodbus, which nobody else here needs

            text = describe(pdu, answer=way == "tx")
            self._trace.push(Traced(time(), way, data, f"unit {asked.unit}: {text}{remark}"))

    def close(self) -> None:
        """The line is gone."""
        if self._alarm is not None:
            self._alarm.cancel()
        exchange, self._owed = self._owed, None
        if exchange is not None:
            exchange.answer.cancel()
