"""Whose turn it is on a bus. Jobs are tokens here; nothing is known of what they do.

Each connection's jobs stay in their order. Among connections the rank of their first job decides (a lower
number is served first, with a quota so that none starves), then hosts take turns, then the connections of a
host.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
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

    def push(self, job: J, rank: int, host: str, connection: int) -> bool:
        """False when this connection, or all together, have as much waiting as they may."""
        line = self._lines.get((host, connection))
        if self.waiting >= self._total or (line is not None and len(line) >= self._per_connection):
            return False
        if line is None:
            line = self._lines[host, connection] = deque()
            self._ranks[rank].setdefault(host, OrderedDict())[connection] = line
        line.append((rank, job))
        self.waiting += 1
        return True

    def pop(self) -> J | None:
        """The next job; its connection and its host go to the end of their queues."""
        if not self.waiting:
            return None
        hosts = self._ranks[self._next_rank()]
        host, connections = hosts.popitem(last=False)
        connection, line = connections.popitem(last=False)
        _, job = line.popleft()
        self.waiting -= 1
        if connections:
            hosts[host] = connections
        if line:
            self._ranks[line[0][0]].setdefault(host, OrderedDict())[connection] = line
        else:
            del self._lines[host, connection]
        return job

    def clear(self) -> Iterator[J]:
        """Everything that waits, in the order of its turns."""
        while (job := self.pop()) is not None:
            yield job

    def _next_rank(self) -> int:
        ready = [rank for rank in range(_RANKS) if self._ranks[rank]]
        chosen = next((rank for rank in reversed(ready) if self._passed_over[rank] >= _QUOTA), ready[0])
        for rank in ready:
            self._passed_over[rank] = 0 if rank == chosen else self._passed_over[rank] + 1
        return chosen
