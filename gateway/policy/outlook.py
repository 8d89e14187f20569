"""How fast a counter grows: what says when a buffer will be full, or empty."""

from math import exp

_OVER = 60.0  # seconds


class Rate:
    """Of what is added, smoothed over so many seconds; from the first tick on, over what there was."""

    def __init__(self, over: float = _OVER) -> None:
        self._over = over
        self._new = 0
        self._began: float | None = None
        self._at = 0.0
        self.per_second = 0.0

    def add(self, amount: int) -> None:
        self._new += amount

    def tick(self, now: float) -> None:
        """About each second."""
        if self._began is None:
            self._began = self._at = now
            return
        passed = now - self._at
        if passed <= 0:
            return
        weight = max(1 - exp(-passed / self._over), passed / (now - self._began))
        self.per_second += weight * (self._new / passed - self.per_second)
        if self.per_second < 1e-3:
            self.per_second = 0.0
        self._new, self._at = 0, now
