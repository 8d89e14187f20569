"""Who waits for a line, who goes next, and who gets what its answer holds: the shell around
`policy.fairness`, `policy.sharing` and `policy.silent`.

Promises: one outcome per request; what nobody wants any more, or has waited longer than `request_timeout`,
is never the next; a request that may change something is the next at most once.
"""

import asyncio
from collections import Counter, deque

from ..contracts import Asker, Request
from ..errors import Busy, GatewayError, LineDown, NoAnswer, TooLate
from ..policy.fairness import Turns
from ..policy.sharing import Answers, Read, Sharing
from ..policy.silent import Silence
from ..wire.excerpt import excerpt, extent
from ..wire.modbus import EXCEPTION, reads
from ._framing import Rules

_EXCEPTIONS = bytes((EXCEPTION,))
_MOST = 1024  # requests that may wait for one line
_REFUSED_AFTER = 0.1  # seconds: a client that asks a silent unit again and again must cost nothing


class Job:
    """One request that waits for its outcome."""

    __slots__ = ("answer", "changes", "expires", "read", "request", "tries")

    def __init__(self, request: Request, answer: asyncio.Future[bytes], expires: float) -> None:
        self.request, self.answer, self.expires = request, answer, expires
        self.changes = not reads(request.pdu)  # or may, for all that we know
        span = extent(request.pdu)
        self.read = None if span is None else Read(request.unit, request.pdu[0], *span)
        self.tries = 0  # on the wire, by itself or together with others

    @property
    def wanted(self) -> bool:
        return not self.answer.done()

    def settle(self, outcome: bytes | GatewayError) -> None:
        """The asker may have left meanwhile."""
        if self.answer.done():
            return
        if isinstance(outcome, bytes):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)


class Turn:
    """What goes over the wire next: the first job's request, whose answer holds what all of them want."""

    __slots__ = ("jobs", "request")

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs, self.request = jobs, jobs[0].request
        for job in jobs:
            job.tries += 1

    @property
    def may_repeat(self) -> bool:
        """Asking again does no harm, and somebody still wants to know."""
        return not self.jobs[0].changes and any(job.wanted for job in self.jobs)

    @property
    def tries(self) -> int:
        return max(job.tries for job in self.jobs)


class Queue:
    def __init__(self, rules: Rules, silence: Silence) -> None:
        self._rules, self._silence = rules, silence
        self._loop = asyncio.get_running_loop()
        self._turns: Turns[Job] = Turns(rules.queue, _MOST)
        self._first: list[Job] = []  # whose answer was broken: before all others
        self._expiring: deque[Job] = deque()  # in the order in which they do
        self._refused: deque[tuple[float, Job]] = deque()  # by when they are told
        self._refusing: Counter[Asker] = Counter()
        self._sharing: Sharing[Job] = Sharing(lambda job: job.wanted)
        self._answers = Answers(rules.cache)

    @property
    def waiting(self) -> int:
        return self._turns.waiting + len(self._first)

    def add(self, request: Request, now: float) -> asyncio.Future[bytes]:
        """The request was checked."""
        job = Job(request, self._loop.create_future(), now + self._rules.request_timeout)
        if job.read is not None and self._answered_from_memory(job, job.read, now):
            return job.answer
        if not job.changes and self._silence.refuses(request.unit, now):
            self._refuse_soon(job, now)
        elif self._push(job):
            self._expiring.append(job)
            if job.changes:
                self._sharing.change_asked(request.unit)
                self._answers.forget(request.unit)
            elif job.read is not None:
                self._sharing.wait(job, job.read, request.asker)
        else:
            job.settle(Busy("too many requests wait for this line"))
        return job.answer

    def _push(self, job: Job) -> bool:
        if self._turns.full:  # perhaps of those who have left
            for gone in [waiting for waiting in self._turns if not waiting.wanted]:
                self._turns.remove(gone, *gone.request.asker)
                self._over(gone)
        return self._turns.push(job, job.request.rank, *job.request.asker)

    def _answered_from_memory(self, job: Job, read: Read, now: float) -> bool:
        found = self._answers.find(read, now) if self._sharing.unchanging(read.unit) else None
        if found is not None:
            job.settle(_cut_out(read, *found))
        return found is not None

    def _refuse_soon(self, job: Job, now: float) -> None:
        if self._refusing[job.request.asker] >= self._rules.queue:
            job.settle(Busy("too many requests wait for this line"))
            return
        self._refusing[job.request.asker] += 1
        self._refused.append((now + _REFUSED_AFTER, job))

    # Who goes next

    def next(self, now: float) -> Turn | None:
        """None when nobody waits, or none of those may go yet: see `due`."""
        while (job := self._pop(now)) is not None:
            if not job.wanted:
                self._over(job)
            elif job.expires <= now and not job.tries:
                self._end(job, self._too_late())
            elif not job.changes and self._silence.refuses(job.request.unit, now):
                self._end(job, _silent(job.request.unit))
            else:
                return Turn(self._together(job))
        return None

    def _pop(self, now: float) -> Job | None:
        """Who waits to be asked again is before all others, and before the writes of his connection in any
        case.
        """

        def may_go(job: Job) -> bool:
            return not job.wanted or now >= self._silence.opens(job.request.unit, job.changes)

        for at, job in enumerate(self._first):
            if may_go(job):
                return self._first.pop(at)
        if not self._first:
            return self._turns.pop(may_go)
        owed = {job.request.asker for job in self._first}
        return self._turns.pop(lambda job: may_go(job) and not (job.changes and job.request.asker in owed))

    def _together(self, job: Job) -> list[Job]:
        """With those who need no turn of their own now."""
        if job.read is None or not self._rules.coalesce:
            return [job]
        jobs = self._sharing.together(job)
        for other in jobs:
            if other in self._first:
                self._first.remove(other)
            elif other is not job:
                self._turns.remove(other, *other.request.asker)
        return jobs

    # What becomes of it

    def answered(self, turn: Turn, pdu: bytes, now: float) -> None:
        """Who wanted less than was asked gets his part, but of an exception none."""
        read, good = turn.jobs[0].read, pdu[:1] < _EXCEPTIONS
        if read is not None and good:
            self._answers.put(read, pdu, now)
        for job in turn.jobs:
            if job.read == read:
                self._end(job, pdu)
            elif good and job.read is not None and read is not None:
                self._end(job, _cut_out(job.read, read, pdu))
            else:
                self._alone(job)

    def failed(self, turn: Turn, error: GatewayError) -> None:
        """For good, but those who wanted less may still get that by themselves."""
        self._answers.forget(turn.request.unit)
        for job in turn.jobs:
            if job.read == turn.jobs[0].read:
                self._end(job, type(error)(str(error)))
            else:
                self._alone(job)

    def again(self, turn: Turn) -> None:
        """As soon as the unit may be asked: its answer was broken."""
        self._first += turn.jobs

    def _alone(self, job: Job) -> None:
        job.tries = 0
        self._expiring.appendleft(job)
        self._first.append(job)

    def _end(self, job: Job, outcome: bytes | GatewayError) -> None:
        job.settle(outcome)
        self._over(job)

    def _over(self, job: Job) -> None:
        unit = job.request.unit
        if job.changes:
            self._sharing.change_over(unit)
            self._answers.forget(unit)
        elif job.read is not None:
            self._sharing.leave(job)

    def _too_late(self) -> GatewayError:
        return TooLate(f"waited {self._rules.request_timeout:g} s for the line")

    # The clock

    def expire(self, now: float) -> None:
        """Tells those whose time has come."""
        while self._expiring and (self._expiring[0].expires <= now or not self._expiring[0].wanted):
            job = self._expiring.popleft()
            if not job.tries:
                job.settle(self._too_late())
        while self._refused and self._refused[0][0] <= now:
            _, job = self._refused.popleft()
            self._refusing[job.request.asker] -= 1
            if not self._refusing[job.request.asker]:
                del self._refusing[job.request.asker]
            job.settle(_silent(job.request.unit))

    def due(self, now: float, free_at: float | None) -> float | None:
        """When there is something to do again.

        `free_at`: from when on the line is free, None: not by itself.
        """
        dues = [self._expiring[0].expires] if self._expiring else []
        if self._refused:
            dues.append(self._refused[0][0])
        if free_at is not None and self.waiting:
            opening = free_at if free_at > now else self._silence.next_opening(now)
            if opening is not None:
                dues.append(opening)
        return min(dues, default=None)

    def clear(self, down: LineDown) -> None:
        """Everything that waits learns it at once, each by an error of its own."""
        refused = (job for _, job in self._refused)
        for job in (*self._first, *self._turns.clear(), *refused):
            job.settle(LineDown(str(down)))


def _silent(unit: int) -> NoAnswer:
    return NoAnswer(f"unit {unit} is silent: not asked again yet")


def _cut_out(wanted: Read, read: Read, pdu: bytes) -> bytes:
    return pdu if wanted == read else excerpt(pdu, wanted.start - read.start, wanted.many)
