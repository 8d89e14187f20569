"""What a bus has counted lately, and what that means.

Lately is at least a minute and ten requests, so that on a line that is polled every five minutes there
is something to judge by, and a fault that was cured is not told for ever. A new session begins anew: its
settings may be what was wrong.
"""

from collections import deque
from typing import NamedTuple

from ..policy.diagnosis import Line, Unit, diagnosis
from ._tally import Tally

LOOK_EVERY = 60.0  # seconds: a silent unit is asked every ten
_AT_LEAST = 10  # requests between two marks


class _Counts(NamedTuple):
    requests: int = 0
    answers: int = 0
    late: int = 0


class _Mark(NamedTuple):
    line: Line
    units: dict[int, _Counts]

    @property
    def requests(self) -> int:
        return sum(unit.requests for unit in self.units.values())


class Recent:
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._marks = deque((self._mark(),), maxlen=2)

    def look(self) -> None:
        """Every LOOK_EVERY seconds."""
        mark = self._mark()
        if mark.requests - self._marks[-1].requests >= _AT_LEAST:
            self._marks.append(mark)

    def diagnosis(self) -> str:
        """In a sentence; "" when all is well, or nothing can be said."""
        then, now = self._marks[0], self._mark()
        line = {kind: count - getattr(then.line, kind) for kind, count in vars(now.line).items()}
        units = {
            number: self._unit(number, now.units[number], then.units.get(number, _Counts()))
            for number in now.units
        }
        return diagnosis(Line(**line), units)

    def _unit(self, number: int, now: _Counts, then: _Counts) -> Unit:
        requests, answers, late = (new - old for new, old in zip(now, then, strict=True))
        ever = now.answers + now.late > 0
        after = self._tally.unit(number).late_after
        return Unit(requests=requests, answers=answers, late=late, late_after=after, ever=ever)

    def _mark(self) -> _Mark:
        tally = self._tally
        return _Mark(
            Line(crc=tally.crc, short=tally.short, foreign=tally.foreign, echo=tally.echo),
            {
                number: _Counts(unit.requests, unit.answers, unit.late)
                for number, unit in tally.units.items()
                if number  # a broadcast has no answer
            },
        )
