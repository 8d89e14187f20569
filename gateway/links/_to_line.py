"""What far ends of a raw link say, on its way to the line: at once where that is possible, in its order, and
dropped and counted by the port where nobody can take it because the line is away: never kept for later.
"""

from asyncio import Event
from collections import deque
from contextlib import suppress
from typing import Never

from ..contracts import Stream
from ..errors import LineDown
from ..host.connection import Connection

_BEHIND = 64 * 1024  # bytes that wait for a line that is slower


async def to_line(connection: Connection, port: Stream) -> Never:
    """All that comes on one connection; the far end waits while the line is slower."""
    connection.sink = port.offer
    while True:
        data = await connection.read()  # what the line did not take at once
        with suppress(LineDown):
            await port.send(data)


class ToLine:
    """Datagrams on their way to the line, in their order. What there is no room for is lost and counted."""

    def __init__(self, port: Stream) -> None:
        self._port = port
        self._waiting: deque[bytes] = deque()
        self._size = self.dropped = 0
        self._more = Event()

    def put(self, data: bytes) -> None:
        if self._size + len(data) > _BEHIND:
            self.dropped += 1
        elif data and (self._waiting or not self._port.offer(data)):
            self._waiting.append(data)
            self._size += len(data)
            self._more.set()

    async def write(self) -> Never:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                with suppress(LineDown):
                    await self._port.send(self._waiting[0])
                self._size -= len(self._waiting.popleft())
