"""What has arrived out of its turn: runs of numbers, of which there are few however many the numbers are."""


class Arrivals:
    """Numbers from 1 on; those up to a floor need no entry any more."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, int]] = []  # first and last, ascending

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self._runs)

    def count(self, begin: int) -> int:
        """How many there are from that number on."""
        return sum(max(0, last - max(first, begin) + 1) for first, last in self._runs)

    def add(self, number: int) -> None:
        """Behind all that were added before, or one of them."""
        if number in self:
            return
        if self._runs and self._runs[-1][1] == number - 1:
            self._runs[-1] = self._runs[-1][0], number
        else:
            self._runs.append((number, number))

    def settle(self, floor: int) -> int:
        """Everything up to `floor` has arrived, too. Returns how far that makes it without a gap."""
        while self._runs and self._runs[0][0] <= floor + 1:
            floor = max(floor, self._runs.pop(0)[1])
        return floor

    def forget(self) -> None:
        self._runs.clear()
