"""Of events that come in bursts, which are worth a line in the log.

The first of each, or so many a minute.
"""

from collections import deque

_OTHERS = ""


class Episodes:
    """An episode of `who` is over when nothing has happened for `quiet` seconds.

    `most` of them are told apart at a time, so that neither memory nor log grows with whoever makes up new
    names: all further ones share one episode.
    """

    def __init__(self, quiet: float, most: int) -> None:
        self._quiet, self._most = quiet, most
        self._last: dict[str, float] = {}  # when something happened, the latest at the end

    def begins(self, who: str, now: float) -> bool:
        """Something has happened.

        True when that is the first of an episode.
        """
        while self._last and now - next(iter(self._last.values())) >= self._quiet:
            del self._last[next(iter(self._last))]
        if who not in self._last and len(self._last) >= self._most:
            who = _OTHERS
        begins = self._last.pop(who, None) is None
        self._last[who] = now
        return begins


class Ration:
    """At most so many in any span of that many seconds: for what goes back and forth."""

    def __init__(self, most: int, span: float) -> None:
        self._span = span
        self._given: deque[float] = deque(maxlen=most)

    def allows(self, now: float) -> bool:
        """One more, which counts then."""
        if len(self._given) == self._given.maxlen and now - self._given[0] < self._span:
            return False
        self._given.append(now)
        return True
