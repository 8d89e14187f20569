"""Where the records of one buffer stand: in memory, in a journal that survives us, and on disk.

    append -> memory + journal -> read -> confirm
                  | when the far end has been away for a while, or there is much
                disk

Promises: by `durability`, a record is in the journal or on disk before it can be read. It leaves memory and
journal only when it was confirmed, dropped by rule, or is on disk for good; for a moment it stands twice,
which its number makes harmless. A journal or disk that fails costs durability and nothing else: records stay
in memory within their bounds, `trouble` says why, and every two seconds it is tried again.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TypeVar

from ..buffer import IN_MEMORY, SMALL, Buffer, Durability, Record, Rules, Start
from ..errors import StoreError
from ..flow import WhenFull
from ..policy.episodes import Ration
from .clock import Clock
from .disk import BATCH, OVERHEAD, Disk
from .trail import Trail

T = TypeVar("T")
_JOURNAL = 256 * 1024  # bytes, twice
_SPILL = 96 * 1024  # bytes in memory: less than the journal takes
_GROUP = 100  # records of one commit where nothing may be lost, or what came in so many
_COMMIT_AFTER = 0.5  # seconds
_RETRY = 2.0  # seconds
_SURVEY = 10.0  # seconds between two looks at a disk on which nothing stands
_WORTH_REMOVING = 4 * 1024 * 1024  # bytes of an empty file that will be needed again soon
_LINES = 4  # of the log, a minute, of a disk that works now and then not
log = logging.getLogger(__name__)


class Keeper:
    """The Backing of one buffer. Made by `begin`. `wake` asks for a `tend` soon; one comes each second."""

    buffer: Buffer

    def __init__(
        self, name: str, rules: Rules, disk: Disk, journal: Path, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._name, self.rules, self.disk, self._clock, self._wake = name, rules, disk, clock, wake
        self._trail = Trail(journal, self._troubled)
        self.moving = 0
        self.capacity, self.overhead = IN_MEMORY, 0
        self._lines = Ration(_LINES, 60.0)
        self._troubles: dict[str, str] = {}  # of "journal", "disk" and the "place" where it would be
        self._retry_at = self._survey_at = 0.0
        self._filling_since = self._progress = self._used = clock.now()
        self._known = 0  # records on a disk that is away
        self._gone = 0  # records of the file that is open that were found damaged, and counted

    async def begin(self, seqs: Mapping[str, int]) -> Buffer:
        """The buffer, with what an earlier process left. `seqs`: the last ones that it may have given."""
        left = self._trail.open(self._journal_size)
        await self._trying(self._find())
        seen = self.disk.seen
        confirmed, last = max(left.confirmed, seen.confirmed), max(left.next_number - 1, seen.last)
        exact = not left.damaged and left.next_number > seen.last  # else it did not see all that went to disk
        start = Start(
            next_number=last + 1,
            confirmed=confirmed,
            seqs={**seqs, **left.seqs} if exact else seqs,
            first_seq=self._clock.first_seq,
            dropped=left.damaged,
            records=[record for record in left.records if record.number > max(confirmed, seen.last)],
        )
        self.buffer = Buffer(self._name, self.rules, self, start, self._clock.is_set)
        self._trail.follow(self.buffer, self._journal_size)
        self._measure()
        if self.buffer.records:
            log.info("%s: kept from before: %d records", self._name, self.buffer.records)
        return self.buffer

    def obey(self, rules: Rules) -> None:
        """The config has changed."""
        before, self.rules = self._journal_size, rules
        self.buffer.rules = rules
        if before != self._journal_size:
            self._trail.renew(self._journal_size)
        self._measure()
        self._wake()

    # What the Buffer asks

    @property
    def disk_records(self) -> int:
        return self.disk.seen.records if self.disk.is_open else 0

    @property
    def disk_last(self) -> int:
        return self.disk.seen.last if self.disk.is_open else 0

    @property
    def disk_size(self) -> int:
        return self.disk.seen.size if self.disk.is_open else 0

    @property
    def oldest(self) -> float | None:
        return self.disk.oldest

    @property
    def safe(self) -> float:
        if self.rules.durability is Durability.MEMORY or self._without_disk:
            return inf
        if self.rules.durability is Durability.POWER:
            return self.disk_last
        return inf if "journal" in self._troubles else max(self._trail.last, self.disk_last)

    @property
    def _without_disk(self) -> bool:
        return not {"disk", "place"}.isdisjoint(self._troubles)

    @property
    def trouble(self) -> str:
        return "; ".join(self._troubles.values())

    def appended(self) -> None:
        if self.buffer.held_records == 1:
            self._filling_since = self._clock.now()
        self._trail.appended()
        if self._much:
            self._wake()

    def confirmed(self) -> None:
        self._progress = self._clock.now()
        self._trail.released()

    async def take(self, after: int, most: int) -> Sequence[Record]:
        return await self._trying(self.disk.take(after, most)) or ()

    # What is due

    async def tend(self) -> None:
        """One look at everything."""
        if self._troubles and self._clock.now() >= self._retry_at:
            await self._repair()
        await self._trying(self._look())
        self._measure()
        self.buffer.tick(self._clock.now())

    async def make_room(self, size: int) -> None:
        """The oldest go, so many bytes of them: all buffers together have too much."""
        if self.disk_records:
            await self._trying(self._drop(size))
        else:
            self.buffer.drop_held(size)

    async def close(self) -> None:
        """The end in good order: what is in memory goes to disk."""
        if self.rules.durability is not Durability.MEMORY:
            await self._trying(self._spill())
        self._trail.close(keep=bool(self.buffer.held_records))
        if self.disk_records:
            await self._trying(self.disk.confirm(self.buffer.confirmed))
        await self._trying(self.disk.close() if self.disk_records else self.disk.remove())

    @property
    def _journal_size(self) -> int:
        """Bytes; half of it is for records. 0: none is wanted."""
        if self.rules.durability is Durability.MEMORY:
            return 0
        return _JOURNAL if self.rules.size >= SMALL else self.rules.size * 2 + _JOURNAL // 4

    @property
    def _much(self) -> bool:
        """There is more in memory than should wait for the next look."""
        match self.rules.durability:
            case Durability.CRASH:
                return self.rules.size >= SMALL and (self._trail.full or self.buffer.held_size > _SPILL)
            case Durability.POWER:
                return self._trail.full or self.buffer.held_records >= _GROUP
        return False

    @property
    def _due(self) -> bool:
        if not self.buffer.held_records or "place" in self._troubles:
            return False
        if "disk" in self._troubles and self._clock.now() < self._retry_at:
            return False
        match self.rules.durability:
            case Durability.CRASH if self.rules.size >= SMALL:
                since = max(self._filling_since, self._progress)
                return self._much or self._clock.now() - since >= self.rules.spill_after
            case Durability.POWER:
                return self._much or self._clock.now() - self._filling_since >= _COMMIT_AFTER
        return False

    async def _look(self) -> None:
        await self._expire()
        if self._due:
            await self._spill()
        await self._tidy()

    async def _repair(self) -> None:
        if self._trail.repair(self._journal_size):
            self._troubles.pop("journal", None)
        was_open = self.disk.is_open
        if await self._trying(self._find()):
            if self.disk.is_open and not was_open:
                self._found()
            elif not self.buffer.held_records:  # else it is proved by their going there
                self._troubles.pop("disk", None)

    async def _find(self) -> bool:
        """Takes up what stands on the disk, if anything does. False: it cannot be known."""
        if self.disk.is_open:
            return True
        there = await self._survey()
        if there:
            await self.disk.open()
            self._troubles.pop("disk", None)
        return there is not None

    async def _survey(self) -> bool | None:
        """Is there a file? None: where it would be is not to be had. It also tells how much room there is."""
        self._survey_at = self._clock.now() + _SURVEY
        try:
            there = await self.disk.survey()
        except StoreError as error:
            self._troubled("place", error)
            return None
        self._troubles.pop("place", None)
        return there

    def _found(self) -> None:
        """The disk is back, or there for the first time: what was read meanwhile came from memory."""
        self.buffer.dropped_elsewhere(max(0, self._known - self.disk_records), "has gone from the disk")
        self._known = self._gone = 0
        if self.disk_records:
            self.buffer.rewind(self.disk.seen.confirmed, self.disk_last + 1)
            self._trail.renew(self._journal_size)

    async def _spill(self) -> None:
        """Moves what is in memory to the disk."""
        if not self.disk.is_open:
            await self.disk.open()
            self._found()
        end = self.buffer.next_number
        while self.buffer.first_held < end:
            if records := self._batch():
                await self._move(records)
                self.buffer.release(records[-1].number)
            else:
                self.buffer.release(end - 1)
            self._trail.released()
        self.buffer.readable()

    async def _move(self, records: Sequence[Record]) -> None:
        """In one transaction."""
        size = sum(record.size for record in records)
        if size > (ours := self._ours) and self.rules.when_full is WhenFull.DROP_OLDEST:
            await self._drop(size - ours)
        if size > self._room:
            raise StoreError(
                f"{self.disk.path.parent}: the disk is full but for what is left free", full=True
            )
        self.moving = records[-1].number
        try:
            await self.disk.put(records, self.buffer.confirmed)
        finally:
            self.moving = 0
        self._troubles.pop("disk", None)
        self._filling_since = self._used = self._clock.now()

    def _batch(self) -> list[Record]:
        """The first that are in memory and have not arrived."""
        size = 0
        batch: list[Record] = []
        for record in self.buffer.held():
            if self.buffer.arrived(record):
                continue
            size += record.size
            if batch and size > BATCH:
                break
            batch.append(record)
        return batch

    async def _expire(self) -> None:
        before = self._clock.today() - self.rules.age
        if self.disk_records:
            while self.disk.oldest is not None and self.disk.oldest < before:
                gone = await self.disk.older_than(before)
                self.buffer.dropped_elsewhere(gone, f"is older than {self.rules.age:g} s")
                await self.disk.look()
                if not gone:
                    break
        else:
            self.buffer.expire(before)

    async def _tidy(self) -> None:
        """What was confirmed leaves the disk; a file in which nothing lives goes."""
        if not self.disk.is_open:
            if self.rules.durability is not Durability.MEMORY and self._clock.now() >= self._survey_at:
                await self._survey()
            return
        self.buffer.dropped_elsewhere(max(0, self.disk.seen.gone - self._gone), "was damaged on the disk")
        self._gone = self.disk.seen.gone
        if self.disk_records:
            self._used = self._clock.now()
            await self.disk.confirm(self.buffer.confirmed)
            await self.disk.look()
            return
        large = self.disk_size > _WORTH_REMOVING or self.rules.durability is not Durability.POWER
        if large and self._clock.now() - self._used >= self.rules.spill_after:
            await self.disk.remove()

    async def _drop(self, size: int) -> None:
        dropped = await self.disk.drop_oldest(size)
        self.buffer.dropped_elsewhere(dropped)

    # Bounds and trouble

    @property
    def _ours(self) -> int:
        """Bytes that may still go to the disk by our own bound."""
        if self.rules.size < SMALL:  # in which no WAL fits: once, at a stop
            return self.rules.size * 5 // 4 - self.disk_size
        return self.rules.size - self.disk_size - OVERHEAD

    @property
    def _room(self) -> int:
        """Those that may by what must be left free of it, too: for which nothing of ours is dropped."""
        beside = 0 if self.rules.size < SMALL else OVERHEAD
        return min(self._ours, self.disk.seen.room - beside)

    def _measure(self) -> None:
        """How much there is room for, in memory and on disk together."""
        self.overhead = 0
        if self.rules.durability is Durability.MEMORY or self.rules.size < SMALL:
            self.capacity = min(self.rules.size, IN_MEMORY)
        elif self._without_disk:
            self.capacity = min(self.rules.size, self.disk_size + IN_MEMORY)
        else:
            self.capacity = min(self.rules.size, self.disk_size + max(IN_MEMORY, self.disk.seen.room))
            self.overhead = OVERHEAD
        self.buffer.look()

    async def _trying(self, work: Awaitable[T]) -> T | None:
        """None when the disk cannot."""
        try:
            return await work
        except StoreError as error:
            if self.disk.seen.records and not self.disk.is_open:
                self._known = self.disk.seen.records
            self._troubled("disk", error)
            return None

    def _troubled(self, what: str, error: StoreError) -> None:
        if what not in self._troubles and self._lines.allows(self._clock.now()):
            log.error("%s: %s; records stay in memory until it works again", self._name, error)
        self._troubles[what] = str(error)
        self._retry_at = self._clock.now() + _RETRY
