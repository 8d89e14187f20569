"""Which reads one transaction answers, and which an earlier answer still does. Jobs are tokens here.

Reads share a transaction when they wait at the same time, are of different connections, and one of them asks
for all that the others want. Never across a request that may change the unit: such a one parts those that
came before it from those that come after, and while it waits or runs nothing of its unit is shared.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

J = TypeVar("J", bound=Hashable)
ALL_UNITS = 0  # a broadcast
_KEPT = 64  # answers per unit and function


class Read(NamedTuple):
    """`many` registers or bits from `start` on, by function `code` of `unit`."""

    unit: int
    code: int
    start: int
    many: int

    def covers(self, other: "Read") -> bool:
        """All that `other` asks for is in it; they are of one unit and code."""
        return self.start <= other.start and other.start + other.many <= self.start + self.many


Place = tuple[int, int, int]  # unit, code, and how many changes had been asked of the unit before


class Sharing(Generic[J]):
    """What waits for one line. `wanted` tells whether anybody still wants a job's answer."""

    def __init__(self, wanted: Callable[[J], bool]) -> None:
        self._wanted = wanted
        self._reads: dict[J, tuple[Place, Read, Hashable]] = {}
        self._waiting: dict[Place, dict[Read, dict[J, Hashable]]] = {}
        self._asked: Counter[int] = Counter()  # changes, of each unit
        self._open: Counter[int] = Counter()  # those of them that wait or run

    def wait(self, job: J, read: Read, connection: Hashable) -> None:
        place = (read.unit, read.code, self._asked[read.unit] + self._asked[ALL_UNITS])
        self._reads[job] = place, read, connection
        self._waiting.setdefault(place, {}).setdefault(read, {})[job] = connection

    def leave(self, job: J) -> None:
        """It has had its outcome, or nobody wants it any more."""
        place, read, _ = self._reads.pop(job)
        spans = self._waiting[place]
        del spans[read][job]
        if not spans[read]:
            del spans[read]
        if not spans:
            del self._waiting[place]

    def change_asked(self, unit: int) -> None:
        self._asked[unit] += 1
        self._open[unit] += 1

    def change_over(self, unit: int) -> None:
        """It has had its outcome, or nobody wants it any more."""
        self._open[unit] -= 1
        if not self._open[unit]:
            del self._open[unit]

    def unchanging(self, unit: int) -> bool:
        """Nothing that may change this unit waits or runs."""
        return not self._open or (unit not in self._open and ALL_UNITS not in self._open)

    def together(self, job: J) -> list[J]:
        """The jobs that one transaction answers when it is the turn of `job`; at most one of each connection.

        First the one that asks for most: its request is the one to send.
        """
        place, read, connection = self._reads[job]
        if not self.unchanging(read.unit):
            return [job]
        spans = self._waiting[place]
        first, most, group = job, read, {connection: job}
        for span, jobs in spans.items():
            if span.many > most.many and span.covers(read):
                for asked_by, other in self._live(jobs):
                    if asked_by != connection:
                        first, most, group = other, span, {connection: job, asked_by: other}
                        break
        for span, jobs in spans.items():
            if most.covers(span):
                for asked_by, other in self._live(jobs):
                    group.setdefault(asked_by, other)
        return [first, *(other for other in group.values() if other is not first)]

    def _live(self, jobs: dict[J, Hashable]) -> Iterator[tuple[Hashable, J]]:
        return ((connection, job) for job, connection in jobs.items() if self._wanted(job))


class Answers:
    """What reads were answered in the last `keep` seconds; 0: nothing is kept."""

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._kept: dict[tuple[int, int], OrderedDict[Read, tuple[float, bytes]]] = {}

    def put(self, read: Read, answer: bytes, now: float) -> None:
        if self._keep:
            kept = self._kept.setdefault((read.unit, read.code), OrderedDict())
            kept.pop(read, None)
            kept[read] = now, answer
            if len(kept) > _KEPT:
                kept.popitem(last=False)

    def find(self, read: Read, now: float) -> tuple[Read, bytes] | None:
        """The newest answer to a read that covers this one, with that read."""
        for span, (at, answer) in reversed(self._kept.get((read.unit, read.code), {}).items()):
            if now - at >= self._keep:
                break
            if span.covers(read):
                return span, answer
        return None

    def forget(self, unit: int) -> None:
        for place in tuple(self._kept):
            if unit in (place[0], ALL_UNITS):
                del self._kept[place]
