"""We ask, one transaction at a time: the shell around wire (frames) and policy (whose turn, who shares, who
is silent).

Lives as long as one open line: what waits dies with it, so nothing stale survives a reopened tty. Promises:
one outcome per request (`_queue`); before each request the line was silent for `gap`, counted from the last
byte that was read; a write goes out once; after a timeout nothing is asked of that unit for as long as its
answer may still come (`_overdue`).

All of it happens in three callbacks: somebody asks, bytes come, the alarm rings. Each does its work and then
`_go_on`.
"""

import asyncio
from contextlib import suppress
from time import time

from ..contracts import Request, Traced, failed
from ..errors import Garbled, GatewayError, LineDown, NoAnswer, NoRoute
from ..flow import Fan
from ..policy.silent import Silence
from ..wire.echo import Echo
from ..wire.modbus import BROADCASTS, EXCEPTION, check_request
from ._framing import Answer, Framing, Rules, Wire
from ._overdue import Overdue
from ._queue import Queue, Turn
from ._tally import Occupancy, Tally

_WORTH_RESTING = 0.001  # seconds: below that, waking for each byte costs less than the pause
_EARLY = 0.0003  # seconds before the end of an answer: there reading goes on, to see its end at once
_NOISY = 0.005  # seconds: each look at more than an answer can be costs a search through all of it
_SPLIT = 0.15  # seconds by which an answer that has begun in time may end late: adapters and radios cut it


class Bus:
    def __init__(
        self,
        line: Wire,
        framing: Framing,
        rules: Rules,
        tally: Tally,
        occupancy: Occupancy,
        trace: Fan[Traced],
    ) -> None:
        self._line, self._framing, self._rules = line, framing, rules
        self._tally, self._occupancy, self._trace = tally, occupancy, trace
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._silence = Silence(rules.skip_silent)
        self._queue = Queue(rules, self._silence)
        self._overdue = Overdue(rules.late_answer_guard, self._silence)
        self._turn: Turn | None = None  # on the wire now, `_heard` collects its answer
        self._heard: Answer | None = None
        self._echo: Echo | None = None  # of what was sent last, on a line that gives it back
        self._free_at = self._now() + rules.gap  # no request before
        self._began = self._sent_at = self._deadline = 0.0  # of what is on the wire
        self._answer_size = 0  # characters, at most
        self._quiet_at: float | None = None  # when silence ends an answer, or breaks it off
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def queue(self) -> int:
        return self._queue.waiting

    # Somebody asks

    def ask(self, request: Request) -> asyncio.Future[bytes]:
        try:
            self._check(request)
        except GatewayError as error:
            return failed(error)
        if self._turn is None:
            self._line.poll()  # what came unseen must not be taken for this one's answer
        now = self._now()
        answer = self._queue.add(request, now)
        self._go_on(now)
        return answer

    def _check(self, request: Request) -> None:
        check_request(request.pdu)
        if request.unit == 0 and not (self._rules.broadcast and request.pdu[0] in BROADCASTS):
            raise NoRoute("unit 0 is the broadcast address, and broadcast is off or this is no write")

    # Bytes come

    def received(self, data: bytes) -> None:
        """The line's sink."""
        now = self._now()
        if self._trace.taps:
            self._trace.push(Traced(time(), "rx", data, ""))
        if self._echo is not None:
            data = self._echo.strip(data)
        late = list(self._overdue.feed(data, now, stray=self._heard is None))
        for unit, after in late:
            self._tally.came_late(unit, after)
        if self._heard is None:
            self._free_at = max(self._free_at, now + self._rules.gap)
        else:
            self._heard.foreign -= len(late)
            self._collect(self._heard, data, now)
        self._go_on(now)

    def _collect(self, heard: Answer, data: bytes, now: float) -> None:
        if not heard.heard:
            self._deadline = max(self._deadline, now + heard.missing * self._rules.character + _SPLIT)
        pdu = heard.feed(data)
        if pdu is not None:
            self._answered(pdu, now)
        elif heard.broken:
            self._tally.crc += 1
            self._failed("answered with a wrong checksum", now)
        else:
            self._quiet_at = now + self._rules.quiet if heard.ends_by_silence else None
            wait = heard.missing * self._rules.character - _EARLY
            if heard.heard > self._answer_size:
                wait = max(wait, _NOISY)
            if wait > _WORTH_RESTING:
                self._line.rest(wait)

    # The alarm rings

    def _ring(self) -> None:
        self._alarm = None
        if self._heard is None or self._now() >= min(self._deadline, self._quiet_at or self._deadline):
            self._line.poll()  # after a stall the answer may lie there already, or what is none
        now = self._now()
        if self._heard is not None:
            if self._quiet_at is not None and now >= self._quiet_at:
                self._ended_by_silence(self._heard, now)
            elif now >= self._deadline:
                self._timed_out(self._heard, now)
        self._go_on(now)

    def _ended_by_silence(self, heard: Answer, now: float) -> None:
        self._quiet_at = None
        pdu = heard.silence()
        if pdu is not None:
            self._answered(pdu, now)
        elif heard.broken:
            self._timed_out(heard, now)

    def _timed_out(self, heard: Answer, now: float) -> None:
        """The answer, or the rest of it, may still come: what was heard so far may as well be noise."""
        if (pdu := heard.silence()) is not None:  # it ended so late that no silence has told it yet
            self._answered(pdu, now)
            return
        assert self._turn is not None
        unit = self._turn.request.unit
        self._overdue.expect(unit, heard, self._sent_at, now)
        with suppress(LineDown):  # the session ends by that, and so does this bus
            self._line.discard_output()
        if heard.begun:
            self._tally.short += 1
            self._failed("answered with less than a frame", now)
            return
        timeout, noise = self._rules.timeout(unit), heard.heard > 0
        self._tally.timed_out(unit, noise)
        self._silence.kept_silent(unit, now, timeout)
        kind, only = (Garbled, ": only noise came") if noise else (NoAnswer, "")
        self._queue.failed(self._end(now), kind(f"unit {unit} did not answer within {timeout:g} s{only}"))

    # What becomes of the request on the wire

    def _answered(self, pdu: bytes, now: float) -> None:
        turn = self._end(now)
        unit = turn.request.unit
        self._silence.answered(unit)
        self._tally.answered(unit, now - self._sent_at, exception=pdu[0] >= EXCEPTION)
        self._explain("rx", b"", unit, pdu)
        self._queue.answered(turn, pdu, now)

    def _failed(self, why: str, now: float) -> None:
        """A broken answer: a read is asked again at once, as often as `retries` allows."""
        turn = self._end(now)
        if turn.may_repeat and turn.tries <= self._rules.retries:
            self._queue.again(turn)
        else:
            self._queue.failed(turn, Garbled(f"unit {turn.request.unit} {why}"))

    def _end(self, now: float) -> Turn:
        """The exchange is over. Whoever waits is told by the loop, after the next request is out."""
        turn, heard = self._turn, self._heard
        assert turn is not None
        assert heard is not None
        self._tally.foreign += max(0, heard.foreign)
        self._tally.echo += heard.echoed
        self._free_at = now + self._rules.gap
        self._occupancy.seconds += self._free_at - self._began
        self._turn = self._heard = self._quiet_at = None
        return turn

    def _go_on(self, now: float) -> None:
        """Let what has waited too long go, send what may be sent, and set the alarm for what comes next."""
        self._queue.expire(now)
        while self._turn is None and now >= self._free_at and (turn := self._queue.next(now)) is not None:
            self._send(turn, now)
        self._set_alarm(now)

    def _send(self, turn: Turn, now: float) -> None:
        unit, pdu = turn.request.unit, turn.request.pdu
        frame = self._framing.encode(unit, pdu)
        try:
            if not self._line.offer(frame):
                self._line.discard_output()
                raise NoAnswer("the line takes no bytes: check its flow control")
        except GatewayError as error:
            self._queue.failed(turn, error)
            return
        self._explain("tx", frame, unit, pdu)
        self._tally.asked(unit)
        self._overdue.asked(unit)
        self._echo = Echo(frame) if self._rules.echo else None
        self._began = self._now()
        self._sent_at = self._began + self._rules.lead + len(frame) * self._rules.character
        if unit == 0:
            self._free_at = self._sent_at + self._rules.turnaround_delay
            self._occupancy.seconds += self._free_at - self._began
            self._queue.answered(turn, b"", now)
            return
        self._turn, self._heard = turn, self._framing.answer_to(unit, pdu)
        self._answer_size = self._framing.answer_size(pdu)
        answer_takes = self._answer_size * self._rules.character
        self._deadline = self._sent_at + self._rules.timeout(unit) + answer_takes

    def _set_alarm(self, now: float) -> None:
        """One timer: an earlier one is left alone, it rings for nothing and is set again."""
        due = self._due(now)
        if due is None:
            return
        if self._alarm is not None:
            if self._alarm.when() <= due:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(due, self._ring)

    def _due(self, now: float) -> float | None:
        if self._heard is None:
            return self._queue.due(now, self._free_at)
        dues = (self._deadline, self._quiet_at, self._queue.due(now, None))
        return min(due for due in dues if due is not None)

    def _explain(self, way: str, data: bytes, unit: int, pdu: bytes) -> None:
        """For `gatewayctl trace`.

        What the bytes mean. Answers come in pieces, so theirs is a line of its own.
        """
        if self._trace.taps:
            from ..wire.pdus import describe  # loads pymodbus, which nobody else here needs

            text = describe(pdu, answer=way == "rx")
            self._trace.push(Traced(time(), way, data, f"unit {unit}: {text}"))

    def close(self, down: LineDown) -> None:
        """The line is gone: everything that waits learns it at once, each by an error of its own."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._turn is not None:
            self._queue.failed(self._turn, down)
        self._turn = self._heard = None
        self._queue.clear(down)
