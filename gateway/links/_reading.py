"""In which order the records of a buffer go up: the oldest first, or what is new before what has waited.

`done` must be told of each record, in the order in which they were given.
"""

from collections.abc import Sequence
from typing import Protocol

from ..buffer import Buffer, Record


class Reader(Protocol):
    """Of one session."""

    async def next(self, most: int, /) -> Sequence[Record]:
        """At least one. LinkDown when the session must begin anew."""

    def waited(self, record: Record, /) -> bool:
        """It was there when the session began."""

    def done(self, numbers: Sequence[int], /) -> None:
        """These, at least one, are of no concern any more."""


class OldestFirst:
    """Strict order. What is new waits behind what has waited."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer, self._read = buffer, 0
        self._there = buffer.next_number - 1

    async def next(self, most: int, /) -> Sequence[Record]:
        records = await self._buffer.read(self._read, most)
        self._read = records[-1].number
        return records

    def waited(self, record: Record, /) -> bool:
        return record.number <= self._there

    def done(self, numbers: Sequence[int], /) -> None:
        self._buffer.confirm(numbers[-1])


class NewestFirst:
    """What comes goes up at once; what has waited follows in its own order, whenever nothing new is there."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._there = self._new = buffer.next_number - 1  # positions: of the session's begin, of what is new,
        self._old = self._settled = 0  # of what has waited, and up to which of that is done
        self._more = True  # of what has waited, perhaps

    async def next(self, most: int, /) -> Sequence[Record]:
        if self._more and self._old == 0 and (records := await self._waiting(1)):
            return records  # at position 0: a session begins
        records = await self._buffer.read(self._new, most, wait=False) if self._new else ()
        if not records and self._more and (records := await self._waiting(most)):
            return records
        records = records or await self._buffer.read(self._new, most)
        self._new = records[-1].number
        return records

    async def _waiting(self, most: int) -> Sequence[Record]:
        found = await self._buffer.read(self._old, most, wait=False)
        records = [record for record in found if record.number <= self._there]
        if records:
            self._old = records[-1].number
        else:
            self._more = False
            self._settle()
        return records

    def waited(self, record: Record, /) -> bool:
        return record.number <= self._there

    def done(self, numbers: Sequence[int], /) -> None:
        for number in numbers:
            if number > self._there:
                self._buffer.deliver(number)
            else:
                self._settled = number
        self._settle()

    def _settle(self) -> None:
        """Once all that has waited is done, so is what was dropped or had arrived among it."""
        over = not self._more and self._settled == self._old
        self._buffer.confirm(self._there if over else self._settled)
