"""Over UDP a client that gets no answer asks again: what is such a repeat, and what is it answered?

To read again does no harm. But what was written must not be written twice because its answer was lost: so
such answers are kept for a while, and given again. Only the transaction id tells a repeat from the same wish
once more, so there are none of a client that does not count its ids.
"""

from typing import NamedTuple

_FOR = 10.0  # seconds: three tries of a patient client
_PAUSE = 0.2  # seconds after it in which it is not given again: servers who answer one another fall silent
_MOST = 16  # answers kept


class _Kept(NamedTuple):
    request: object
    answer: bytes
    until: float
    given: float  # when it was last


class Repeats:
    """Of one client. `number` is the transaction id of a request, which is equal to its repeats."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}  # by number, the oldest first
        self._last: tuple[int, object] = (-1, None)
        self._counts = True  # no number has stood for two different requests

    def answer(self, number: int, request: object, now: float) -> bytes | None:
        """What goes back, possibly nothing, when this is a repeat; None when it is to be done."""
        before, self._last = self._last, (number, request)
        kept = self._kept.get(number)
        if kept is not None and now >= kept.until:
            kept = None
        if (before[0] == number and before[1] != request) or (kept is not None and kept.request != request):
            self._counts = False
        if kept is None or not self._counts:
            return None
        if now < kept.given + _PAUSE:
            return b""
        self._kept[number] = kept._replace(given=now)
        return kept.answer

    def keep(self, number: int, request: object, answer: bytes, now: float) -> None:
        """It was done, and answered."""
        self._kept.pop(number, None)
        self._kept[number] = _Kept(request, answer, now + _FOR, now)
        if len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
