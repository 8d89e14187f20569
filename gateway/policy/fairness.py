"""Whose turn it is on a bus. Jobs are tokens here; nothing is known of what they do.

Each connection's jobs stay in their order. Among connections the rank of their first job decides (a lower
number is served first, with a quota so that none starves), then hosts take turns, then the connections of a
host. A connection whose first job may not go yet is passed over, and keeps its place.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

J = TypeVar("J")
_RANKS = 3
_QUOTA = 8  # after so many turns of other ranks a waiting rank gets one

Line = deque[tuple[int, J]]


class Turns(Generic[J]):
    """At most `per_connection` jobs wait for each connection, `total` for all."""

    def __init__(self, per_connection: int, total: int) -> None:
        self._per_connection, self._total = per_connection, total
        self._lines: dict[tuple[str, int], Line[J]] = {}
        self._ranks: list[OrderedDict[str, OrderedDict[int, Line[J]]]] = [
            OrderedDict() for _ in range(_RANKS)
        ]
        self._passed_over = [0] * _RANKS
        self.waiting = 0

    def __iter__(self) -> Iterator[J]:
        """Everything that waits, in no order."""
        return (job for line in self._lines.values() for _, job in line)

    @property
    def full(self) -> bool:
        return self.waiting >= self._total

    def push(self, job: J, rank: int, host: str, connection: int) -> bool:
        """False when this connection, or all together, have as much waiting as they may."""
        line = self._lines.get((host, connection))
        if self.full or (line is not None and len(line) >= self._per_connection):
            return False
        if line is None:
            line = self._lines[host, connection] = deque()
            self._ranks[rank].setdefault(host, OrderedDict())[connection] = line
        line.append((rank, job))
        self.waiting += 1
        return True

    def pop(self, may_go: Callable[[J], bool] = lambda job: True) -> J | None:
        """The next job that may go; its connection and its host go to the end of their queues."""
        for rank in self._order():
            for host, connections in self._ranks[rank].items():
                for connection, line in connections.items():
                    if may_go(line[0][1]):
                        return self._take(rank, host, connection)
        return None

    def remove(self, job: J, host: str, connection: int) -> None:
        """It needs no turn of its own. Its connection keeps its place, if it has more of that rank."""
        line = self._lines[host, connection]
        rank = line[0][0]
        line.remove(next(entry for entry in line if entry[1] is job))
        self.waiting -= 1
        if not line or line[0][0] != rank:
            connections = self._ranks[rank][host]
            del connections[connection]
            if not connections:
                del self._ranks[rank][host]
            self._queue(line, host, connection)

    def clear(self) -> Iterator[J]:
        """Everything that waits, in the order of its turns."""
        while (job := self.pop()) is not None:
            yield job

    def _order(self) -> list[int]:
        """The ranks in which somebody waits, first the one whose turn it is."""
        ready = [rank for rank in range(_RANKS) if self._ranks[rank]]
        starved = next((rank for rank in reversed(ready) if self._passed_over[rank] >= _QUOTA), None)
        return ready if starved is None else [starved, *(rank for rank in ready if rank != starved)]

    def _take(self, rank: int, host: str, connection: int) -> J:
        for other in range(_RANKS):
            if other != rank and self._ranks[other]:
                self._passed_over[other] += 1
            else:
                self._passed_over[other] = 0
        hosts = self._ranks[rank]
        connections = hosts.pop(host)
        line = connections.pop(connection)
        _, job = line.popleft()
        self.waiting -= 1
        if connections:
            hosts[host] = connections
        self._queue(line, host, connection)
        return job

    def _queue(self, line: Line[J], host: str, connection: int) -> None:
        """At the end of those who wait, if it has anything to wait for."""
        if line:
            self._ranks[line[0][0]].setdefault(host, OrderedDict())[connection] = line
        else:
            del self._lines[host, connection]
