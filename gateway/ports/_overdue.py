"""Answers that did not come in time and may come yet.

RTU has no transaction id: a late answer looks like the next one's. So a unit that was silent is closed for
`guard` seconds, and for as long again as noise goes on that may be it, but not more than four times. Others
are asked meanwhile: the unit id keeps their answers apart.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ..policy.silent import Silence
from ._framing import Answer

_PATIENCE = 4  # guards: noise that never ends must not close a unit for ever
_LISTENED = 2  # timeouts: whoever answers so late is told how late, not called silent


class Late(NamedTuple):
    unit: int
    after: float  # seconds from the end of the request


class _Awaited(NamedTuple):
    heard: Answer
    asked_at: float
    patient_until: float  # noise keeps the unit closed no longer
    until: float


class Overdue:
    def __init__(self, guard: float, silence: Silence) -> None:
        self._guard, self._silence = guard, silence
        self._awaited: dict[int, _Awaited] = {}

    def expect(self, unit: int, heard: Answer, asked_at: float, now: float) -> None:
        """It was given until now to answer."""
        listened = max(self._guard, _LISTENED * (now - asked_at))
        self._awaited[unit] = _Awaited(heard, asked_at, now + _PATIENCE * self._guard, now + listened)
        self._silence.close(unit, now + self._guard)

    def asked(self, unit: int) -> None:
        """Anew: what it says from now on is taken for the answer to that."""
        self._awaited.pop(unit, None)

    def feed(self, data: bytes, now: float, stray: bool) -> Iterator[Late]:
        """What is heard of them in `data`; `stray`: nobody else is asked whose answer it may be."""
        for unit, awaited in tuple(self._awaited.items()):
            if awaited.heard.feed(data) is not None:
                del self._awaited[unit]
                self._silence.answered(unit)
                yield Late(unit, now - awaited.asked_at)
            elif now >= awaited.until:
                del self._awaited[unit]
            elif stray and now < awaited.patient_until:
                self._silence.close(unit, now + self._guard)
