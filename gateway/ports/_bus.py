"""We ask, one transaction at a time: the shell around wire (frames) and policy (whose turn).

Lives as long as one open line: what waits dies with it, so nothing stale survives a reopened tty. Promises:
one outcome per request; before each request the line was silent for `gap`, counted from the last byte that
was read; a request that nobody wants any more, or that waited longer than `request_timeout`, never reaches
the wire; a write goes out once.

After a timeout the line stays closed until it was quiet for `late_answer_guard` (on a line that is never
quiet, four times that), because RTU has no transaction id: the answer that comes late would be taken for the
next one's.

All of it happens in three callbacks: somebody asks, bytes come, the alarm rings. Each does its work and then
`_go_on`.
"""

import asyncio
from collections import deque
from contextlib import suppress
from time import time

from ..contracts import Request, Traced
from ..errors import Busy, GatewayError, LineDown, NoAnswer, NoRoute, TooLate
from ..flow import Fan
from ..policy.fairness import Turns
from ..wire.modbus import BROADCASTS, EXCEPTION, check_request, reads
from ._framing import Answer, Framing, Rules, Wire
from ._tally import Occupancy, Tally

_BUS_QUEUE = 1024  # requests that may wait on one line
_WORTH_RESTING = 0.001  # seconds: below that, waking for each byte costs less than the pause
_EARLY = 0.0003  # seconds before the end of an answer: there reading goes on, to see its end at once
_PATIENCE = 4  # guards: on a line that is never quiet the others must get their turn all the same


class Job:
    """One request that waits or is on the wire."""

    __slots__ = ("answer", "expires", "request", "tries")

    def __init__(self, request: Request, answer: asyncio.Future[bytes], expires: float) -> None:
        self.request, self.answer, self.expires, self.tries = request, answer, expires, 0

    def settle(self, outcome: bytes | GatewayError) -> None:
        """The asker may have left meanwhile."""
        if self.answer.done():
            return
        if isinstance(outcome, bytes):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)


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
        self._turns: Turns[Job] = Turns(rules.queue, _BUS_QUEUE)
        self._waiting: deque[Job] = deque()  # in the order in which they expire
        self._again: Job | None = None  # its answer was broken: the next on the wire
        self._job: Job | None = None  # on the wire now, `_heard` collects its answer
        self._heard: Answer | None = None
        self._overdue: tuple[int, Answer] | None = None  # a unit whose answer may still come
        self._patient_until = 0.0  # noise keeps the line closed for that answer no longer than this
        self._free_at = self._now() + rules.gap  # no request before
        self._began = self._sent_at = self._deadline = 0.0  # of what is on the wire
        self._quiet_at: float | None = None  # when silence ends an answer, or breaks it off
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def queue(self) -> int:
        return self._turns.waiting

    # Somebody asks

    def ask(self, request: Request) -> asyncio.Future[bytes]:
        answer: asyncio.Future[bytes] = self._loop.create_future()
        now = self._now()
        job = Job(request, answer, now + self._rules.request_timeout)
        try:
            self._check(request)
            if not self._turns.push(job, request.rank, *request.asker):
                raise Busy("too many requests wait for this line")
        except GatewayError as error:
            job.settle(error)
            return answer
        self._waiting.append(job)
        if self._job is None:
            self._line.poll()  # what came unseen must not be taken for this one's answer
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
        if self._heard is None:
            self._stray(data, now)
        else:
            self._collect(self._heard, data, now)
        self._go_on(now)

    def _collect(self, heard: Answer, data: bytes, now: float) -> None:
        pdu = heard.feed(data)
        if pdu is not None:
            self._answered(pdu, now)
        elif heard.broken:
            self._tally.crc += 1
            self._failed("answered with a wrong checksum", now, self._rules.gap)
        else:
            self._quiet_at = now + self._rules.quiet if heard.ends_by_silence else None
            if (wait := heard.missing * self._rules.character - _EARLY) > _WORTH_RESTING:
                self._line.rest(wait)

    def _stray(self, data: bytes, now: float) -> None:
        """Nobody is asked: noise, or the answer to a request that has timed out."""
        self._free_at = max(self._free_at, now + self._rules.gap)
        if self._overdue is None:
            return
        unit, heard = self._overdue
        if heard.feed(data) is None:
            if now < self._patient_until:
                self._free_at = now + self._rules.late_answer_guard
        else:
            self._tally.late += 1
            self._tally.unit(unit).late += 1
            self._overdue = None
            self._free_at = now + self._rules.gap

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
        assert self._job is not None
        unit, guard = self._job.request.unit, self._rules.late_answer_guard
        self._overdue, self._patient_until = (unit, heard), now + _PATIENCE * guard
        with suppress(LineDown):  # the session ends by that, and so does this bus
            self._line.discard_output()
        if heard.heard:
            self._tally.short += 1
            self._failed("answered with less than a frame", now, guard)
            return
        known = self._tally.unit(unit)
        known.timeouts += 1
        known.timeouts_in_a_row += 1
        self._tally.timeout += 1
        self._end(
            NoAnswer(f"unit {unit} did not answer within {self._rules.response_timeout:g} s"), now, guard
        )

    # What becomes of the request on the wire

    def _answered(self, pdu: bytes, now: float) -> None:
        assert self._job is not None
        known = self._tally.unit(self._job.request.unit)
        known.answers += 1
        known.timeouts_in_a_row = 0
        known.latencies.append(now - self._sent_at)
        self._explain("rx", b"", self._job.request.unit, pdu)
        self._tally.rx_frames += 1
        self._tally.exceptions += pdu[0] >= EXCEPTION
        self._end(pdu, now, self._rules.gap)

    def _failed(self, why: str, now: float, closed_for: float) -> None:
        """A broken answer: a read is asked again at once, as often as `retries` allows."""
        job = self._job
        assert job is not None
        again = job.tries <= self._rules.retries and reads(job.request.pdu)
        self._again = job if again else None
        self._end(None if again else NoAnswer(f"unit {job.request.unit} {why}"), now, closed_for)

    def _end(self, outcome: bytes | GatewayError | None, now: float, closed_for: float) -> None:
        """The exchange is over.

        None: it will be tried again. Whoever waits is told by the loop, after the next request is out.
        """
        job, heard = self._job, self._heard
        assert job is not None
        assert heard is not None
        self._tally.foreign += heard.foreign
        self._tally.echo += heard.echoed
        self._occupancy.seconds += now + closed_for - self._began
        self._job = self._heard = self._quiet_at = None
        self._free_at = now + closed_for
        if outcome is not None:
            job.settle(outcome)

    def _go_on(self, now: float) -> None:
        """Let what has waited too long go, send what may be sent, and set the alarm for what comes next."""
        while self._waiting and (self._waiting[0].answer.done() or self._waiting[0].tries):
            self._waiting.popleft()
        while self._waiting and self._waiting[0].expires <= now:
            job = self._waiting.popleft()
            if not job.tries:
                job.settle(TooLate(f"waited {self._rules.request_timeout:g} s for the line"))
        if self._job is None and now >= self._free_at:
            self._send_next(now)
        self._set_alarm()

    def _send_next(self, now: float) -> None:
        self._overdue = None
        job, self._again = self._again, None
        while job is None or job.answer.done():
            job = self._turns.pop()
            if job is None:
                return
        try:
            self._send(job, now)
        except LineDown as down:
            job.settle(down)

    def _send(self, job: Job, now: float) -> None:
        unit, pdu = job.request.unit, job.request.pdu
        frame = self._framing.encode(unit, pdu)
        job.tries += 1
        if not self._line.offer(frame):
            self._line.discard_output()
            job.settle(NoAnswer("the line takes no bytes: check its flow control"))
            return
        self._explain("tx", frame, unit, pdu)
        self._tally.tx_frames += 1
        self._tally.unit(unit).requests += 1
        self._began = self._now()
        self._sent_at = self._began + len(frame) * self._rules.character
        if unit == 0:
            self._free_at = self._sent_at + self._rules.turnaround_delay
            self._occupancy.seconds += self._free_at - self._began
            job.settle(b"")
            return
        self._job, self._heard = job, self._framing.answer_to(unit, pdu)
        answer_takes = self._framing.answer_size(pdu) * self._rules.character
        self._deadline = self._sent_at + self._rules.response_timeout + answer_takes

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
        expiry = self._waiting[0].expires if self._waiting else None
        if self._heard is not None:
            dues = (self._deadline, self._quiet_at, expiry)
        elif self._again is not None or self._turns.waiting:
            dues = (self._free_at, None, expiry)
        else:
            return None
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
        for job in (self._job, self._again, *self._turns.clear()):
            if job is not None:
                job.settle(LineDown(str(down)))
        self._job = self._heard = self._again = None
