"""The part of one link's queue that stands on disk. SQLite; one row is a run of at most 32 KB of frames.

Promises: what `put` or `confirm` was told is on disk when it returns, all of it or nothing. Records come back
in order, each once; what is damaged is left out and counted. A damaged file is set aside, and what is whole
in it goes into a new one, within the same call. Numbers up to `confirmed` are dead wherever they stand.

StoreError says in plain words why the disk will not. `full`: keep this Cold, the same call works again once
there is room (closing would give up the space that deletes need). Otherwise close it, and open again later.

Bounds are the caller's: who makes `size` and a batch be no more than a bound less OVERHEAD before each put
never has more than that bound on the disk. Not for two threads, and not for the event loop: each call may
wait for the disk.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..buffer import Record
from ..errors import StoreError
from .database import Damaged, beside, move, plainly, remove
from .frames import scan
from .runs import Frames, Mark, Runs
from .salvage import rows

T = TypeVar("T")
_ROWS_AT_ONCE = 64  # that older_than looks at
_DAMAGED_KEPT = 3  # files; the last gives way
log = logging.getLogger(__name__)


class _Run(NamedTuple):
    """One row, unpacked."""

    first: int
    last: int
    records: list[Record]


_NONE = _Run(0, -1, [])


class Cold:
    """One file. Every method may raise StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: Runs | None = None
        self.confirmed = 0  # no record up to this number is wanted
        self.records = 0  # how many live ones stand here, the damaged among them
        self._run = _NONE  # what was read last
        self._judged = 0  # numbers up to here have been counted, if damaged
        self.first, self.last = 1, 0  # numbers of what stands here; nothing: last = first - 1
        self.size = 0  # bytes of the file that are in use; what is free in it is used again
        self.damaged = 0  # records found torn or flipped since it was opened
        self.saved = self.lost = 0  # records, of files that were set aside since then

    @classmethod
    def open(cls, path: Path) -> "Cold":
        """Creates the file, or takes up what stands in it, however damaged."""
        cold = cls(path)
        try:
            cold._safely(cold._load)
        except StoreError:
            cold.close()
            raise
        return cold

    @property
    def gone(self) -> int:
        """Records that damage has cost since it was opened."""
        return self.damaged + self.lost

    def put(self, frames: Frames, confirmed: int) -> None:
        """Adds them behind the last and deletes what is confirmed, in one transaction.

        What stands here already is left out, so after an error the same call may be repeated.
        """
        frames = list(frames)
        self._safely(lambda: self._write(frames, confirmed))

    def confirm(self, up_to: int) -> None:
        """Deletes rows of which nothing is wanted any more; a half confirmed row stays."""
        self.put((), up_to)

    def take(self, after: int, most: int, most_bytes: int) -> list[Record]:
        """At most so many records, and bytes of payload (one larger record is still taken), behind `after`.

        They stay here until they are confirmed. Empty: there is no more.
        """
        return self._safely(lambda: self._take(after, most, most_bytes))

    def drop_oldest(self, size: int) -> int:
        """Makes `self.size` less by at least so many bytes, in whole rows. Returns how many records went."""
        return self._safely(lambda: self._now(self._runs.drop_oldest(size, self._mark)))

    def older_than(self, at: float) -> int:
        """Drops records of before `at`, wall time. Returns how many went; ask again while there are any.

        What was kept while the clock was not set has no age: it goes with what is behind it.
        """
        return self._safely(lambda: self._write((), self._expired(at)))

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    def remove(self) -> None:
        """Closes it and deletes the file. Those that were set aside stay."""
        self.close()
        remove(beside(self._path, ".new"))
        remove(self._path)

    def _safely(self, work: Callable[[], T]) -> T:
        """Does it; in a new file, if the old one proves to be damaged."""
        try:
            return work()
        except Damaged:
            self._begin_anew()
        return work()

    @property
    def _runs(self) -> Runs:
        if self._open is None:
            raise StoreError(f"{self._path}: it is closed")
        return self._open

    def _load(self) -> None:
        self.close()
        new = beside(self._path, ".new")
        with plainly(self._path):
            self._path.parent.mkdir(exist_ok=True)
            if new.exists() and not self._path.exists():  # killed while a damaged file was set aside
                move(new, self._path)
        self._open = Runs.of(self._path)
        self._now(self._open.load())

    @property
    def _mark(self) -> Mark:
        return Mark(self.confirmed, self.records)

    def _now(self, mark: Mark) -> int:
        """This stands in the file now. Returns how many records fewer than before."""
        fewer = self.records - mark.records
        self.confirmed, self.records = mark
        first, last = self._runs.ends()
        self.first, self.last = max(first, self.confirmed + 1), max(last, self.confirmed)
        self.size = self._runs.size
        return fewer

    def _write(self, frames: Frames, confirmed: int) -> int:
        confirmed = max(confirmed, self.confirmed)
        behind = max(self.last, confirmed)
        added = [(number, frame) for number, frame in frames if number > behind]
        if not added and confirmed == self.confirmed:
            return 0
        return self._now(self._runs.write(added, self._mark, confirmed))

    def _take(self, after: int, most: int, most_bytes: int) -> list[Record]:
        taken: list[Record] = []
        after = max(after, self.confirmed)
        for run in self._behind(after):
            for record in run.records:
                if record.number <= after:
                    continue
                most_bytes -= len(record.payload)
                if len(taken) == most or (taken and most_bytes < 0):
                    return taken
                taken.append(record)
        return taken

    def _behind(self, after: int) -> Iterator[_Run]:
        """The rows in which there is something behind that number."""
        while after < self.last:
            if not self._run.first <= after + 1 <= self._run.last:
                found = self._runs.behind(after)
                if found is None:
                    return
                self._run = self._unpacked(*found)
            yield self._run
            after = self._run.last

    def _unpacked(self, first: int, last: int, frames: bytes) -> _Run:
        found = {record.number: record for record, _frame in scan(frames)}
        records = [found[number] for number in sorted(found) if first <= number <= last]
        if last > self._judged:
            self._judged = last
            self.damaged += last - first + 1 - len(records)
        return _Run(first, last, records)

    def _expired(self, at: float) -> int:
        """The last number that is older, in the first rows."""
        up_to = self.confirmed
        for run in islice(self._behind(up_to), _ROWS_AT_ONCE):
            for record in run.records:
                if record.clock_set and record.at >= at:
                    return up_to
                if record.clock_set:
                    up_to = max(up_to, record.number)
        return up_to

    def _begin_anew(self) -> None:
        """Sets the damaged file aside and goes on in a new one, with all that is whole in the old."""
        self.close()
        try:
            expected = _salvage(self._path, beside(self._path, ".new"), self._mark)
            aside = _aside(self._path)
            move(self._path, aside)
        except StoreError as error:
            raise StoreError(str(error)) from error  # full or not: there is nothing open to be kept
        self._run = _NONE
        self._load()
        lost = max(0, expected - self.records)
        self.saved, self.lost = self.saved + self.records, self.lost + lost
        what = "%s is damaged: %d records saved, %d lost; kept as %s"
        log.warning(what, self._path, self.records, lost, aside.name)


def _salvage(path: Path, to: Path, known: Mark) -> int:
    """Fills a new file with what is whole in the damaged one. Returns how many live records stood there."""
    remove(to)
    new = Runs.of(to)
    try:
        with plainly(path):
            found = new.adopt(rows(path))
        first, last = new.ends()
        mark = max(known, found or Mark(0, last - first + 1))
        new.write([], Mark(0, int(new.count(0))), mark.confirmed)
        new.checkpoint()
    finally:
        new.close()
    return mark.records


def _aside(path: Path) -> Path:
    names = [beside(path, f".damaged-{number}") for number in range(1, _DAMAGED_KEPT + 1)]
    with plainly(path):
        return next((name for name in names if not name.exists()), names[-1])
