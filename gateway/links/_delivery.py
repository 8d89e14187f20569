"""What one connection is told of a link's buffer, and how much of that has arrived.

Promises: a record is confirmed when the peer's TCP has acknowledged all of it, not before. No more than
`most` bytes are under way: what waits in the kernel may be lost, what waits in the buffer is not. Bytes are
told in their order, from where the connection before this one left off.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Literal

from ..buffer import Buffer, Record
from ..host.connection import Connection
from ..policy.ledger import Ledger, Place
from ._frames import Ends

Resend = Literal["unacked", "none", "all"]
_BATCH = 64  # records
_LOOK = 0.05  # seconds until an acknowledgement that was held back (0.04) is here
_LOOK_SOON = 0.002  # where somebody waits for it
_SLOWEST = 0.5  # seconds between two looks when nothing comes
_GOODBYE = 0.5  # seconds


class Delivery:
    """`connection` is new, and `begin` says where to go on in a record that the last one told in part.

    With `frames`, what has to be told again begins with a frame of the port. Without `again` nothing is, and
    what was under way is lost. With `whole`, each record is told in one piece. Counts "sent" and "confirmed"
    records.
    """

    def __init__(
        self,
        connection: Connection,
        buffer: Buffer,
        most: int,
        counts: Counter[str],
        begin: Place | None,
        frames: Ends | None,
        again: bool,
        whole: bool = False,
    ) -> None:
        self._connection, self._buffer, self._most, self._counts = connection, buffer, most, counts
        self._begin, self._frames, self._again = begin, frames, again
        self._whole = whole
        self._ledger = Ledger(connection.given, by_frames=frames is not None, once=not again)
        self._acked = connection.acked  # when we last looked
        self._read = 0  # position in the buffer
        self._last: tuple[Record, int] | None = None  # that was read; where it begins in the ledger
        self._untold = memoryview(b"")  # of what was read
        self._unsent = 0  # records
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pause = _LOOK
        self._news: asyncio.Future[None] | None = None

    # Telling

    @property
    def waits(self) -> bool:
        """Something in the buffer has not been told."""
        return bool(self._untold) or self._read < self._buffer.next_number - 1

    @property
    def room(self) -> int:
        """Bytes that may be told now."""
        if (room := self._most - self.under_way) <= 0:
            self._see()
            room = self._most - self.under_way
        return room

    def at_once(self, record: Record) -> bytes:
        """All of it, if nothing is in its way; else b"". For the callback that brought it."""
        next_one = record.number == self._read + 1 and not self._untold
        if next_one and not self._connection.over and len(record.payload) <= self.room:
            return self._take(record)
        return b""

    async def more(self) -> bytes:
        """The next bytes to tell, as many as there is room for; of what stays whole, one record."""
        while not self._untold:
            records = await self._buffer.read(self._read, 1 if self._whole else _BATCH)
            new = (record for record in records if record.number > self._read)
            self._untold = memoryview(b"".join([self._take(record) for record in new]))
        while not (size := self._fitting):
            await self._connection.drain()  # or learn that it is over
            await self._acknowledgement()
        piece, self._untold = bytes(self._untold[:size]), self._untold[size:]
        return piece

    @property
    def _fitting(self) -> int:
        """How many bytes of what is untold may be told now. What is whole and too long goes alone."""
        room, size = self.room, len(self._untold)
        if not self._whole:
            return max(0, min(room, size))
        return size if size <= room or not self.under_way else 0

    @property
    def owed(self) -> bool:
        """Something has not been told, or not been acknowledged."""
        return self.waits or self._connection.given > self._connection.acked

    @property
    def under_way(self) -> int:
        """Bytes that the peer's TCP has not acknowledged, as of our last look."""
        return self._connection.given - self._acked

    def _take(self, record: Record) -> bytes:
        skip = 0
        if self._begin is not None:
            if (record.stream, record.seq) == self._begin[:2]:
                skip = self._begin.octets
            self._begin = None
        self._find_frame_end()
        begin = self._ledger.record(record.number, record.stream, record.seq, len(record.payload), skip)
        self._last = record, begin
        self._read = record.number
        self._unsent += 1
        self._find_frame_end()
        return record.payload[skip:]

    def _find_frame_end(self) -> None:
        """In the last record: silence may have ended it meanwhile."""
        if self._frames is not None and self._last is not None:
            record, begin = self._last
            if octets := self._frames.of(record):
                self._ledger.frame_ends(begin + octets)

    def tell(self, data: bytes) -> None:
        """Bytes of the buffer, as they were given out."""
        if self._connection.over:
            return
        self._connection.write(data)
        self._ledger.wrote(self._connection.given, len(data))
        if not self._untold:
            self._counts["sent"] += self._unsent
            self._unsent = 0
        if not self._again:
            self._see()
        self._look_later()

    def word(self, data: bytes) -> None:
        """Bytes of our own."""
        self._connection.write(data)
        self._ledger.wrote(self._connection.given, 0)

    # What has arrived

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._pause, self._look)

    def _look(self) -> None:
        self._timer = None
        self._pause = _LOOK if self._see() else min(2 * self._pause, _SLOWEST)
        if self._ledger.open or self._news is not None:
            self._look_later()

    def _see(self) -> bool:
        """Is there anything new?"""
        before, self._acked = self._acked, self._connection.acked
        self._find_frame_end()
        if done := self._ledger.settle(self._acked if self._again else self._connection.taken):
            self._buffer.confirm(done[-1])
            self._counts["confirmed"] += len(done)
        if self._news is not None and (self._acked > before or self._connection.over):
            if not self._news.done():
                self._news.set_result(None)
            self._news = None
        return self._acked > before

    async def _acknowledgement(self) -> None:
        """Until one comes, or the connection is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pause = _LOOK_SOON
        self._news = self._loop.create_future()
        self._look_later()
        await self._news

    # The end

    async def farewell(self) -> None:
        """A moment for the acknowledgements of what is under way: who ends in peace tells nothing twice."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                while not self._connection.over and self._connection.given > self._acked:
                    await self._acknowledgement()

    def end(self) -> Place | None:
        """Where the next connection goes on, if that is in the middle of a record."""
        self._see()
        if self._timer is not None:
            self._timer.cancel()
        return self._ledger.place if self._read else self._begin
