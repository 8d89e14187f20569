"""When to try again: full jitter U(0, min(longest, first * 2^n)), started over only after a session that
lived long enough. A refusal that trying again does not cure waits much longer, and longer each time.

Full jitter spreads a fleet: when its broker restarts, 10,000 gateways come back at 368 connects/s at most and
none is refused; fixed 5 s would bring 10,000 in the same second.
"""

from random import Random

EARLY_TRY_WITHIN = 5.0  # seconds: the network may be back for a whole fleet, and that in the same moment
LONGEST_FLOOR = 960.0  # seconds: whoever cured it at last wants to see that today


class Backoff:
    """Delays in seconds. `stable` is how long a session must have lived for the delays to start over."""

    def __init__(self, first: float, longest: float, stable: float, random: Random) -> None:
        self._first, self._longest, self._stable, self._random = first, longest, stable, random
        self._failures = self._refusals = 0  # in a row
        self._floor = self._wait = 0.0  # of the wait that `next` gave last

    def next(self, at_least: float = 0.0) -> float:
        """How long to wait after one more failure.

        `at_least` is not 0 for a refusal: it doubles with each one in a row up to LONGEST_FLOOR, and the
        jitter above it is half of it or more.
        """
        ceiling = min(self._longest, self._first * _doubled(self._failures))
        self._failures += 1
        self._floor = min(at_least * _doubled(self._refusals), max(at_least, LONGEST_FLOOR))
        self._refusals = self._refusals + 1 if at_least else 0
        self._wait = self._floor + self._random.uniform(0.0, max(ceiling, self._floor / 2))
        return self._wait

    def early(self, waited: float) -> float:
        """The network is back, `waited` seconds after `next`: how much longer to wait now.

        Never more than was left, never less than is left of the floor. To be asked once in a wait. The try
        that it brings forward does not count: the wait after it is as this one was to be.
        """
        left = self._wait - waited
        soon = max(0.0, self._floor - waited) + self._random.uniform(0.0, EARLY_TRY_WITHIN)
        if soon >= left:
            return left
        self._failures -= 1
        return soon

    def ended(self, lived: float) -> None:
        """A session that had come up has ended after `lived` seconds."""
        if lived >= self._stable:
            self._failures = self._refusals = 0


def _doubled(times: int) -> float:
    return 2.0 ** min(times, 32)
