"""What a link keeps while its far end is away: ordered, bounded, numbered per stream. In memory, no I/O.

Promises: `append` is synchronous, never waits, never fails; when a bound is reached the oldest record goes
and is counted. `seq` is given at append, so that whatever is dropped afterwards shows as a gap. There is one
reader. A Buffer outlives its link's sessions and reloads: Buffers owns it by the link's name.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from time import time
from typing import NamedTuple

from .contracts import Frame
from .flow import Fan, Tap
from .status import BufferStatus

PER_LINK = 8 * 1024 * 1024  # bytes
ALL_LINKS = 32 * 1024 * 1024
_OVERHEAD = 200  # bytes of memory that a record costs beside its payload


class Record(NamedTuple):
    number: int  # position in this buffer, from 1: what `confirm` names
    stream: str  # "port/scale", "device/main-meter"
    seq: int  # counts up per stream; a gap is a loss
    at: float  # wall time at which it was taken from the line, seconds since the epoch
    payload: bytes

    @property
    def size(self) -> int:
        return len(self.payload) + _OVERHEAD


class Buffer:
    """One link's queue. `first_seq` is where each stream's numbers begin; `grown` is told of every append."""

    def __init__(self, limit: int, first_seq: int, grown: Callable[[], None]) -> None:
        self._limit, self._first_seq, self._grown = limit, first_seq, grown
        self._records: deque[Record] = deque()
        self._seq: dict[str, int] = {}
        self._taps: list[Tap[Frame] | Tap[bytes]] = []
        self._last = 0
        self.size = self.dropped = 0
        self._more = asyncio.Event()

    def append(self, stream: str, item: Frame | bytes) -> bool:
        """Bytes are taken as of now. Always True: usable as a tap's `offer`."""
        frame = item if isinstance(item, Frame) else Frame(time(), item)
        self._last += 1
        seq = self._seq[stream] = self._seq.get(stream, self._first_seq - 1) + 1
        record = Record(self._last, stream, seq, frame.at, frame.data)
        self._records.append(record)
        self.size += record.size
        while self.size > self._limit:
            self.drop_oldest()
        self._grown()
        self._more.set()
        return True

    def drop_oldest(self) -> None:
        self.size -= self._records.popleft().size
        self.dropped += 1

    async def read(self, after: int, most: int) -> list[Record]:
        """Up to `most` records behind position `after`; waits for the first. Reading takes nothing away."""
        while not self._records or self._records[-1].number <= after:
            self._more.clear()
            await self._more.wait()
        start = max(0, after + 1 - self._records[0].number)
        return list(islice(self._records, start, start + most))

    def confirm(self, up_to: int) -> None:
        """Everything up to this position has arrived for good."""
        while self._records and self._records[0].number <= up_to:
            self.size -= self._records.popleft().size

    def fill_from(self, fans: Mapping[str, Fan[Frame] | Fan[bytes]]) -> None:
        """From now on filled by these streams and no others: they append in their writer's own callback."""
        for tap in self._taps:
            tap.close()
        self._taps = [fan.tap(offer=partial(self.append, stream)) for stream, fan in fans.items()]

    def status(self, wall: float) -> BufferStatus:
        oldest = wall - self._records[0].at if self._records else None
        return {
            "records": len(self._records),
            "bytes": self.size,
            "oldest_age_s": None if oldest is None else round(max(0.0, oldest), 1),
            "dropped": self.dropped,
            "capacity_bytes": self._limit,
            "durability": "memory",
        }


class Buffers:
    """All of them, by link name, within one bound: when it is passed, the largest loses its oldest.

    Nothing is kept on disk, so a restart leaves a gap; `first_seq` makes the numbers jump forward, never
    back.
    """

    def __init__(self, first_seq: int, per_link: int = PER_LINK, all_links: int = ALL_LINKS) -> None:
        self._first_seq, self._per_link, self._all_links = first_seq, per_link, all_links
        self._buffers: dict[str, Buffer] = {}

    def of(self, link: str) -> Buffer:
        if link not in self._buffers:
            self._buffers[link] = Buffer(self._per_link, self._first_seq, self._trim)
        return self._buffers[link]

    def forget(self, link: str) -> None:
        """The link has left the config."""
        if buffer := self._buffers.pop(link, None):
            buffer.fill_from({})

    def _trim(self) -> None:
        while sum(buffer.size for buffer in self._buffers.values()) > self._all_links:
            max(self._buffers.values(), key=lambda buffer: buffer.size).drop_oldest()
