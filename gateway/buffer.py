"""What a link keeps while its far end is away: ordered, bounded, numbered per stream. No I/O.

Promises: `append` is synchronous, never waits, never fails; what there is no room for goes by `when_full` and
is counted. `seq` is given at append, so that whatever is dropped afterwards shows as a gap. A record can be
read once it stands where `durability` wants it, so that no number that was seen outside is ever given again.
There is one reader, and each of its sessions begins at position 0. A Buffer outlives sessions and reloads.

Here are order, bounds and numbers. Where records stand beside memory is the business of a Backing.
"""

import logging
from asyncio import Event
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from itertools import islice
from time import monotonic, time
from typing import NamedTuple, Protocol

from .contracts import Frame
from .errors import LinkDown
from .flow import Fan, Tap, WhenFull
from .policy.arrivals import Arrivals
from .policy.episodes import Ration
from .policy.outlook import Rate
from .status import BufferStatus

IN_MEMORY = 8 * 1024 * 1024  # bytes of one buffer
SMALL = 1024 * 1024  # bytes: a smaller buffer stays in its journal, and goes to disk only at a stop
_OVERHEAD = 41  # bytes that a record costs beside its stream and payload, wherever it stands
_SLACK = 256 * 1024  # bytes beyond the bound, until a line that is to wait has really stopped
_ROOM = 0.9  # of the bound: a buffer with less in it is not full any more
_FULL = "there is no room for"
log = logging.getLogger(__name__)


class Durability(StrEnum):
    """What the records of a buffer survive."""

    MEMORY = "memory"  # nothing but the far end's absence
    CRASH = "crash"  # the end of this process however it came, and a restart of the machine in good order
    POWER = "power"  # pulling the plug, but for the last second


class Rules(NamedTuple):
    size: int  # bytes, on disk
    age: float  # seconds
    when_full: WhenFull  # BLOCK: whoever fills it waits
    durability: Durability
    spill_after: float  # seconds


class Record(NamedTuple):
    number: int  # position in this buffer, from 1, never given twice: what `confirm` names
    stream: str  # "port/scale", "device/main-meter"; at most 255 bytes of UTF-8
    seq: int  # counts up per stream; a gap is a loss
    at: float  # wall time at which it was taken from the line, seconds since the epoch
    clock_set: bool  # that wall time can be trusted
    payload: bytes

    @property
    def size(self) -> int:
        return len(self.payload) + len(self.stream) + _OVERHEAD


class Backing(Protocol):
    """Where the records of one buffer stand beside memory (`store.keeper`)."""

    moving: int  # the disk is being given the records up to this number
    capacity: int  # bytes that there is room for, in memory and on disk together,
    overhead: int  # and how many of them are not for records

    @property
    def disk_records(self) -> int: ...
    @property
    def disk_last(self) -> int:
        """Records up to this number are on disk, if anywhere, and not in memory any more."""

    @property
    def disk_size(self) -> int:
        """Bytes."""

    @property
    def safe(self) -> float:
        """Records up to this number may be read."""

    @property
    def oldest(self) -> float | None:
        """Wall time of the oldest record on disk."""

    @property
    def trouble(self) -> str:
        """Why records are in memory alone that should not be."""

    def appended(self) -> None: ...
    def confirmed(self) -> None: ...
    async def take(self, after: int, most: int) -> Sequence[Record]:
        """Records on disk behind that number; none, if there are no more."""


class Start(NamedTuple):
    """What an earlier process left behind."""

    next_number: int
    confirmed: int
    seqs: Mapping[str, int]  # the last that may have been given
    first_seq: int  # of streams that are not among them
    dropped: int = 0
    records: Sequence[Record] = ()  # in memory


class Buffer:
    """One link's queue. `clock_set` says whether wall time can be trusted."""

    def __init__(
        self, name: str, rules: Rules, backing: Backing, start: Start, clock_set: Callable[[], bool]
    ) -> None:
        self.name, self.rules = name, rules
        self._backing, self._clock_set = backing, clock_set
        self.next_number, self.confirmed, self.dropped = start.next_number, start.confirmed, start.dropped
        self.seqs, self._first_seq = dict(start.seqs), start.first_seq
        self._held: deque[Record] = deque(start.records)
        self.held_size = sum(record.size for record in start.records)  # bytes in memory
        self._taps: list[Tap[Frame] | Tap[bytes]] = []
        self._arrivals, self._more = Arrivals(), Event()
        self._blocking = self._rewound = False
        self._lines = Ration(6, 60.0)  # of the log, while it is full now and then not
        self._dropping: set[str] = set()  # why: each is said once, until it is over
        self._bytes, self._records, self._confirmed = Rate(), Rate(over=10.0), Rate(over=10.0)
        self.aside: Callable[[Record], None] | None = None  # where records go that nobody takes
        self.offer: Callable[[Record], bool] | None = None  # takes one in its writer's callback, or declines

    # Filling

    def fill_from(self, fans: Mapping[str, Fan[Frame] | Fan[bytes]]) -> None:
        """From now on filled by these streams and no others: they append in their writer's own callback."""
        for tap in self._taps:
            tap.close()
        self._taps = [fan.tap(offer=partial(self.append, stream)) for stream, fan in fans.items()]
        self._hold(self._blocking)

    @property
    def is_fed(self) -> bool:
        return bool(self._taps)

    def append(self, stream: str, item: Frame | bytes) -> bool:
        """Bytes are taken as of now. Always True: usable as a tap's `offer`."""
        frame = item if isinstance(item, Frame) else Frame(time(), item)
        seq = self.seqs[stream] = self.seqs.get(stream, self._first_seq - 1) + 1
        self.keep(Record(0, stream, seq, frame.at, self._clock_set(), frame.data))
        return True

    def keep(self, record: Record) -> None:
        """A record with a seq already; its number is given here."""
        size = record.size
        self._make_room(size)
        if self._over(size):
            self._drop(1)
            return
        record = record._replace(number=self.next_number)
        self._held.append(record)
        self.next_number += 1
        self.held_size += size
        self._records.add(1)
        self._bytes.add(size)
        self._backing.appended()
        self.look()
        if self.offer is None or record.number > self._backing.safe or not self.offer(record):
            self._more.set()

    # Reading

    async def read(self, after: int, most: int, *, wait: bool = True) -> Sequence[Record]:
        """Up to `most` records behind position `after`; waits for the first. Reading takes nothing away.

        LinkDown when older ones have come to light: the session must begin anew, at position 0.
        """
        if after == 0:
            self._rewound = False
        while not self._rewound:
            self._more.clear()
            found = await self.browse(after, most)
            if found or not wait:
                return found
            await self._more.wait()
        raise LinkDown("older records were found on the disk: they go first", at_once=True)

    async def browse(self, after: int, most: int) -> Sequence[Record]:
        """What can be read behind that position, by somebody who only looks on."""
        after = max(after, self.confirmed)
        while self._backing.disk_records and after < self._backing.disk_last:
            last = self._backing.disk_last
            found = await self._backing.take(after, most)
            if new := [record for record in found if record.number not in self._arrivals]:
                return new
            after = found[-1].number if found else last
        return list(islice(self._readable(after), most))

    def _readable(self, after: int) -> Iterator[Record]:
        safe = self._backing.safe
        for record in self.held(after):
            if record.number > safe:
                return
            if record.number not in self._arrivals:
                yield record

    def held(self, after: int = 0) -> Iterator[Record]:
        """What is in memory behind that number."""
        if not self._held or self._held[-1].number <= after:
            return iter(())
        start = max(0, min(after + 1 - self._held[0].number, len(self._held) - 1))
        while start > 0 and self._held[start - 1].number > after:  # numbers are missing before it
            start -= 1
        return islice(self._held, start, None)

    def confirm(self, up_to: int) -> None:
        """Everything up to this position has arrived for good."""
        if not self._rewound:
            self._confirm(up_to)

    def _confirm(self, up_to: int) -> None:
        reached = self._arrivals.settle(max(up_to, self.confirmed))
        if reached > self.confirmed:
            gone = self.confirmed if self._backing.disk_records else self.first_held - 1
            self._confirmed.add(max(0, up_to - max(gone, self.confirmed)))
            self.confirmed = reached
            self._dropping &= {_FULL}
            self.release(reached)
            self._backing.confirmed()

    def deliver(self, number: int) -> None:
        """This one has arrived before others that came before it. Of that nothing outlives the process."""
        if number > self.confirmed and not self._rewound:
            self._confirmed.add(1)
            self._arrivals.add(number)

    def arrived(self, record: Record) -> bool:
        return record.number <= self.confirmed or record.number in self._arrivals

    def set_aside(self, record: Record) -> None:
        """Nobody takes this one: it must not hold up the others. Confirmed it must be as any other."""
        if self.aside is not None:
            self.aside(record)

    def clear(self) -> int:
        """Forgets everything. Returns how many records that were."""
        records = self.records
        self._confirm(self.next_number - 1)  # whether or not a session has begun anew after a rewind
        return records

    # For the Backing

    def release(self, up_to: int) -> None:
        """Those in memory up to this number need not be there any more."""
        while self._held and self._held[0].number <= up_to:
            self.held_size -= self._held.popleft().size
        self.look()

    def look(self) -> None:
        """What stands elsewhere, or how much may, has changed."""
        size, room = self.size, self._room
        if _FULL in self._dropping and size < room * _ROOM:
            self._dropping.discard(_FULL)
            self._tell(logging.INFO, f"has room again; dropped until now: {self.dropped}")
        part = _ROOM if self._blocking else 1.0
        full = size >= room * part or self.held_size >= (IN_MEMORY - _SLACK) * part
        blocking = full and self.rules.when_full is WhenFull.BLOCK
        if blocking is not self._blocking:
            self._hold(blocking)

    def readable(self) -> None:
        """More may be read than before."""
        self._more.set()

    def rewind(self, confirmed: int, next_number: int) -> None:
        """Older records have come to light: those in memory go behind them."""
        self._rewound = True
        left = [record for record in self._held if not self.arrived(record)]
        self._held = deque(record._replace(number=number) for number, record in enumerate(left, next_number))
        self.held_size = sum(record.size for record in left)
        self._arrivals.forget()
        self.confirmed, self.next_number = confirmed, next_number + len(self._held)
        self._more.set()

    def expire(self, before: float) -> None:
        """Drops what was taken from the line before that wall time.

        What was kept while the clock was not set has no age: it goes with what is behind it.
        """
        up_to = 0
        for record in self._held:
            if record.clock_set and record.at >= before:
                break
            if record.clock_set:
                up_to = record.number
        if up_to > self._backing.moving:
            self._drop_up_to(up_to, f"is older than {self.rules.age:g} s")

    def dropped_elsewhere(self, records: int, why: str = _FULL) -> None:
        """`why` as in "drops what is too old"."""
        if records:
            self._drop(records, why)

    # Bounds

    @property
    def records(self) -> int:
        """That have not arrived."""
        return len(self._held) - self._arrivals.count(self.first_held) + self._backing.disk_records

    @property
    def size(self) -> int:
        return self.held_size + (self._backing.disk_size if self._backing.disk_records else 0)

    @property
    def held_records(self) -> int:
        return len(self._held)

    @property
    def first_held(self) -> int:
        """Number of the first record in memory, or of the next one."""
        return self._held[0].number if self._held else self.next_number

    @property
    def _room(self) -> int:
        """Bytes of records."""
        return self._backing.capacity - self._backing.overhead

    def drop_held(self, size: int) -> None:
        """The oldest in memory, of so many bytes."""
        wanted = self.held_size - size
        while self._held and self.held_size > wanted and self._held[0].number > self._backing.moving:
            self._drop_up_to(self._held[0].number)

    def _make_room(self, size: int) -> None:
        """On disk the Backing does that."""
        if self.rules.when_full is WhenFull.DROP_OLDEST:
            while self._held and self._over(size) and self._held[0].number > self._backing.moving:
                self._drop_up_to(self._held[0].number)

    def _over(self, size: int) -> bool:
        if self.held_size + size > IN_MEMORY:
            return True
        room = self._room - self.size - size
        match self.rules.when_full:
            case WhenFull.DROP_OLDEST:
                return room < 0 and not self._backing.disk_records
            case WhenFull.DROP_NEWEST:
                return room < 0
            case WhenFull.BLOCK:
                return room < -_SLACK

    def _drop_up_to(self, number: int, why: str = _FULL) -> None:
        before = len(self._held)
        while self._held and self._held[0].number <= number:
            self.held_size -= self._held.popleft().size
        self._drop(before - len(self._held), why)
        self._backing.confirmed()

    def _drop(self, records: int, why: str = _FULL) -> None:
        self.dropped += records
        if why not in self._dropping:
            self._dropping.add(why)
            self._tell(logging.WARNING, f"drops what {why}" + f" ({self.rules.when_full})" * (why == _FULL))

    def _tell(self, level: int, what: str) -> None:
        if self._lines.allows(monotonic()):
            log.log(level, "%s: its buffer %s", self.name, what)

    def _hold(self, blocking: bool) -> None:
        if blocking and not self._blocking:
            self._tell(logging.WARNING, "is full: whatever fills it has to wait")
        self._blocking = blocking
        for tap in self._taps:
            tap.hold(blocking)

    # What is seen from outside

    def tick(self, now: float) -> None:
        """Each second, for the rates in the status."""
        for rate in (self._bytes, self._records, self._confirmed):
            rate.tick(now)

    def status(self, wall: float) -> BufferStatus:
        held = self._held[0].at if self._held else None
        oldest = self._backing.oldest if self._backing.disk_records else held
        filling, draining = self._bytes.per_second, self._confirmed.per_second - self._records.per_second
        return {
            "records": self.records,
            "bytes": self.size,
            "oldest_age_s": None if oldest is None else round(max(0.0, wall - oldest), 1),
            "age_s": self.rules.age,
            "dropped": self.dropped,
            "capacity_bytes": self._backing.capacity,
            "fills_in_s": round(max(0, self._room - self.size) / filling) if filling else None,
            "drain_eta_s": round(self.records / draining) if draining > 0 and self.records else None,
            "durability": self.rules.durability,
            "trouble": self._backing.trouble or None,
        }
