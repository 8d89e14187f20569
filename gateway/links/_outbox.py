"""Which records go to the broker next, which again, and which never: order per stream, one window for all.

A refused record is tried again, and what is behind it in its stream waits: it must not be overtaken. Other
streams go on. After the last try it is set aside, and the next ones of that stream have one try each, until
one is taken. A refused record that was overtaken by what was under way already is set aside at once.

Pure: records, answers and clock readings in. Must not know of topics and packets.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from ..buffer import Record

WAITS = (1.0, 5.0)  # seconds before the second try of a refused record, and before the third, the last


class Answer(Enum):
    TAKEN = auto()
    REFUSED = auto()
    IMPOSSIBLE = auto()  # refused, and never to be taken


class Fate(Enum):
    """Of a record that was read."""

    HERE = auto()
    UNDER_WAY = auto()
    BACK = auto()  # refused
    DELIVERED = auto()
    ASIDE = auto()


_OPEN = (Fate.HERE, Fate.UNDER_WAY, Fate.BACK)


@dataclass(slots=True, eq=False)
class Parcel:
    """A record that was read, until its turn to be confirmed has come."""

    record: Record
    fate: Fate = Fate.HERE


@dataclass(slots=True)
class _Trial:
    """Of the oldest record of a stream, which was refused `times` times."""

    since: float
    again: float  # when it may be tried again
    times: int = 1


class Outbox:
    """Of one session. It holds at most `window` records: what may arrive twice after a broken connection.

    `refused` outlives it: the streams of which a record was set aside and none was taken since.
    """

    def __init__(self, window: int, refused: set[str]) -> None:
        self._window, self._refused = window, refused
        self._parcels: deque[Parcel] = deque()
        self._ready: deque[Parcel] = deque()  # those that may go at once
        self._trials: dict[str, _Trial] = {}

    @property
    def room(self) -> int:
        return self._window - len(self._parcels)

    def add(self, record: Record, aside: bool = False) -> None:
        """The next one of the buffer; `aside`: never to be sent."""
        parcel = Parcel(record, Fate.ASIDE if aside else Fate.HERE)
        self._parcels.append(parcel)
        if not aside and record.stream not in self._trials:
            self._ready.append(parcel)

    def due(self) -> float:
        """When something may be sent; inf: not before there is an answer or another record."""
        if self._ready:
            return -inf
        rested = (trial.again for stream, trial in self._trials.items() if self._rests(stream))
        return min(rested, default=inf)

    def next(self, now: float) -> Parcel | None:
        """What to send now."""
        parcel = self._tried_again(now) or (self._ready.popleft() if self._ready else None)
        if parcel is not None:
            parcel.fate = Fate.UNDER_WAY
        return parcel

    def answered(self, parcel: Parcel, answer: Answer, now: float) -> int:
        """In the order in which they were sent. Returns how many are to be set aside because of it."""
        stream = parcel.record.stream
        if answer is Answer.TAKEN:
            parcel.fate = Fate.DELIVERED
            self._refused.discard(stream)
            lost = self._back(stream, parcel.record.number) if self._trials else []
        elif answer is Answer.REFUSED and self._again(parcel, now):
            parcel.fate, lost = Fate.BACK, []
        else:
            lost = [parcel]
        for one in lost:
            one.fate = Fate.ASIDE
        if stream in self._trials and (answer is Answer.TAKEN or not self._hopes(stream)):
            self._release(stream)
        return len(lost)

    def tried_since(self, parcel: Parcel) -> float | None:
        """When it was refused first, if it is on its last try."""
        trial = self._trials.get(parcel.record.stream)
        last = trial and trial.times == len(WAITS) and parcel is next(self._open(parcel.record.stream))
        return trial.since if trial and last else None

    def leave(self) -> Iterator[Parcel]:
        """Those whose turn has come to be confirmed, delivered or to be set aside; each of them once."""
        while self._parcels and self._parcels[0].fate not in _OPEN:
            yield self._parcels.popleft()

    def _tried_again(self, now: float) -> Parcel | None:
        for stream, trial in self._trials.items():
            if trial.again <= now and self._rests(stream):
                return next(self._open(stream))
        return None

    def _again(self, parcel: Parcel, now: float) -> bool:
        """It was refused. Is it to have another try?"""
        stream = parcel.record.stream
        if stream in self._refused:
            return False
        trial = self._trials.get(stream)
        if trial is None:
            self._trials[stream] = _Trial(now, now + WAITS[0])
            self._ready = deque(other for other in self._ready if other.record.stream != stream)
        elif parcel is next(self._open(stream)):
            if trial.times == len(WAITS):
                self._refused.add(stream)
                return False
            trial.again, trial.times = now + WAITS[trial.times], trial.times + 1
        return True

    def _hopes(self, stream: str) -> bool:
        """One of it is to be tried again, alone."""
        return stream not in self._refused and bool(self._back(stream))

    def _release(self, stream: str) -> None:
        """All that waited may go, before those of others."""
        del self._trials[stream]
        waiting = [parcel for parcel in self._open(stream) if parcel.fate is not Fate.UNDER_WAY]
        self._ready.extendleft(reversed(waiting))

    def _back(self, stream: str, before: float = inf) -> list[Parcel]:
        """Those that were refused, of the records before that number."""
        return [one for one in self._open(stream) if one.fate is Fate.BACK and one.record.number < before]

    def _open(self, stream: str) -> Iterator[Parcel]:
        return (one for one in self._parcels if one.record.stream == stream and one.fate in _OPEN)

    def _rests(self, stream: str) -> bool:
        return not any(parcel.fate is Fate.UNDER_WAY for parcel in self._open(stream))
