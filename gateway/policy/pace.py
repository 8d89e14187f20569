"""At most so many a second, evenly."""

_MADE_UP = 0.1  # seconds of being late; more is lost, so that a pause is not followed by a flood


class Pace:
    """`rate` per second, from `now` on, on the caller's clock."""

    def __init__(self, rate: float, now: float) -> None:
        self._each, self._last = 1 / rate, now

    def wait(self, now: float) -> float:
        """Seconds until the next one may go, which then counts as gone."""
        self._last = max(self._last + self._each, now - _MADE_UP)
        return max(0.0, self._last - now)
