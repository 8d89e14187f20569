"""What time it is: a clock that never jumps, for what is due, and the wall's, for what is too old."""

from collections.abc import Callable


class Clock:
    """`now` never jumps, `wall` may. `is_set` says whether the wall's can be trusted."""

    def __init__(
        self, now: Callable[[], float], wall: Callable[[], float], is_set: Callable[[], bool], first_seq: int
    ) -> None:
        self.now, self.is_set = now, is_set
        self.first_seq = first_seq  # where the numbers of a stream begin that nobody knows
        self._wall, self._between = wall, wall() - now()

    def today(self) -> float:
        """Wall time; after a jump the earlier one of the old time and the new, so that nothing ages by it."""
        return min(self._wall(), self.now() + self._between)
