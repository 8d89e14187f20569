"""Who of a link's clients may write: the first `max_clients`; those who come behind them look on.

A seat that becomes free is for the next who comes: nobody who looks on finds himself writing all at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

from ..host.connection import Connection


class Seats:
    """Of one link; outlives its sessions."""

    def __init__(self) -> None:
        self._writers = self.readers = 0

    @contextmanager
    def taken(self, writers: int) -> Iterator[bool]:
        """While a client is there. True: he may write, being one of that many at most."""
        writes = self._writers < writers
        if writes:
            self._writers += 1
        else:
            self.readers += 1
        try:
            yield writes
        finally:
            if writes:
                self._writers -= 1
            else:
                self.readers -= 1


async def unheard(connection: Connection) -> Never:
    """What he who looks on sends is thrown away."""
    connection.sink = lambda data: True
    while True:
        await connection.read()
