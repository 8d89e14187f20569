"""How much of a buffer has arrived, by the number of bytes that the far end's TCP has acknowledged.

A connection carries more than what the buffer holds: registration, heartbeats, and what TLS adds. So each
write is entered with how long the connection's stream is after it, and how much of it was the buffer's. Where
that is all of it an acknowledgement counts to the byte, in the middle of a record too; where it is not (TLS),
only a whole write does.
"""

from collections import deque
from typing import NamedTuple


class Place(NamedTuple):
    """In record `seq` of `stream`, behind so many bytes of it, where there is more of it to tell."""

    stream: str
    seq: int
    octets: int


class _Record(NamedTuple):
    number: int  # position in the buffer
    stream: str
    seq: int
    begin: int  # in bytes of the buffer that this connection is told; what was told before lies in front of 0
    end: int


class _Write(NamedTuple):
    begin: int  # in the connection's stream
    end: int
    told: int  # bytes of the buffer before it
    more: int  # and in it

    def arrived(self, count: int, once: bool) -> int:
        """Bytes of the buffer up to this write, when the first `count` of the stream have arrived."""
        size, into = self.end - self.begin, count - self.begin
        if into <= 0 or size == 0:
            return self.told
        if size == self.more:
            return self.told + min(into, size)
        return self.told + (self.more if into >= size or once else 0)


class Ledger:
    """Of one connection, which has carried `count` bytes before.

    `by_frames`: nothing of a frame has arrived before all of it has, so what is told again begins with one.
    `once`: nothing must be told again, so what has begun to arrive has arrived.
    """

    def __init__(self, count: int, *, by_frames: bool = False, once: bool = False) -> None:
        self._count, self._by_frames, self._once = count, by_frames, once
        self._told = self._announced = 0  # bytes of the buffer
        self._arrived = self._done = 0  # of them; with `by_frames` the second is behind the first
        self._writes: deque[_Write] = deque()
        self._records: deque[_Record] = deque()
        self._ends: deque[int] = deque()  # of frames, in bytes of the buffer

    def record(self, number: int, stream: str, seq: int, size: int, skip: int = 0) -> int:
        """Is told next, but for its first `skip` bytes. Returns where it begins, for `frame_ends`."""
        begin = self._announced - skip
        self._announced = begin + size
        self._records.append(_Record(number, stream, seq, begin, self._announced))
        return begin

    def frame_ends(self, at: int) -> None:
        """So many bytes into what is told; each at most once, in their order."""
        if at > 0 and (not self._ends or at > self._ends[-1]):
            self._ends.append(at)

    def wrote(self, count: int, told: int) -> None:
        """The connection's stream is `count` bytes long now; in what is new are `told` of the buffer's."""
        write = _Write(self._count, count, self._told, told)
        if not told and self._writes and not self._writes[-1].more:  # or heartbeats alone would heap up
            write = write._replace(begin=self._writes.pop().begin)
        self._writes.append(write)
        self._count, self._told = count, self._told + told

    def settle(self, count: int) -> list[int]:
        """The first `count` bytes of the stream have arrived. Returns the numbers of what is done by that."""
        while self._writes:
            write = self._writes[0]
            self._arrived = write.arrived(count, self._once)
            if count < write.end or self._arrived < write.told + write.more:
                break
            self._writes.popleft()
        if not self._by_frames:
            self._done = self._arrived
        while self._ends and self._ends[0] <= self._arrived:
            self._done = self._ends.popleft()
        done = []
        while self._records and self._records[0].end <= self._done:
            done.append(self._records.popleft().number)
        return done

    @property
    def open(self) -> bool:
        """Something is told, or about to be, that has not arrived."""
        return bool(self._records)

    @property
    def place(self) -> Place | None:
        """Where to go on with another connection, if that is in the middle of a record."""
        if not self._records or (octets := self._done - self._records[0].begin) <= 0:
            return None
        return Place(self._records[0].stream, self._records[0].seq, octets)
