"""The tables of one link's file: rows, each a run of frames whose numbers follow one another, and one Mark.

Knows nothing of time, bounds or who reads. Live is what has a number above `mark.confirmed`: rows of which
nothing lives are deleted, in the transaction of whatever says so; one that lives half stays whole.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from ..buffer import Record
from .database import Damaged, Database
from .frames import pack, scan, unpack

Frames = Iterable[tuple[int, bytes]]  # numbers, ascending, and what `pack` made of their records

_ROW = 32 * 1024  # bytes: a target; a larger frame has its own row
_ROWS_AT_ONCE = 64  # in one transaction of `adopt`
_HIGHEST = 2**63 - 1  # number that SQLite can keep
_TABLES = (
    "CREATE TABLE mark (id integer primary key, frame blob)",
    "CREATE TABLE runs (first integer primary key, last integer, frames blob)",
)
_MARK = "select cast(coalesce(frame, '') as blob) from mark"
_TELL = "insert or replace into mark values (1, ?)"
_COUNT = "select total(max(last - max(first, ? + 1) + 1, 0)) from runs"
_ENDS = """select coalesce((select first from runs order by first limit 1), 1),
    coalesce((select last from runs order by first desc limit 1), 0)"""
_GONE = """select total(min(last, :now) - max(first, :before + 1) + 1) from runs
    where first <= :now and last > :before"""
_DELETE = "delete from runs where first <= :now and last <= :now"
_INSERT = "insert into runs values (?, ?, ?)"
_BEHIND = """select first, last, cast(coalesce(frames, '') as blob) from runs
    where last > :after and first >= coalesce((select max(first) from runs where first <= :after + 1), 0)
    order by first limit 1"""
_OLDEST = "select first, last from runs order by first limit 1"
_DROP = "delete from runs where first = ?"
_STANDS = "select last >= :number from runs where first <= :number order by first desc limit 1"


class Mark(NamedTuple):
    """Written in the transaction of the records that it speaks of. Of two, the greater is the later."""

    confirmed: int = 0  # no record up to here is wanted
    records: int = 0  # how many stand behind it

    def frame(self) -> bytes:
        """Packed like a record of no stream: found, and proved, in a damaged file like one."""
        return pack(Record(self.confirmed, "", self.records, 0.0, False, b""))

    @classmethod
    def of(cls, record: Record | None) -> Self | None:
        """What `frame` made a record of; None, if that is anything else."""
        return cls(record.number, record.seq) if record and not record.stream else None


class Runs(Database):
    """An open file with these tables."""

    @classmethod
    def of(cls, path: Path) -> Self:
        return cls.open(path, _TABLES)

    def load(self) -> Mark:
        """What was told last; Damaged, if the rows say something else."""
        told = self.sql(_MARK)
        mark = Mark.of(unpack(told[0][0])) if told else Mark()
        if mark is None or self.count(mark.confirmed) != mark.records:
            raise Damaged(f"{self.path}: it is damaged")
        return mark

    def count(self, above: int) -> float:
        """How many records have a number above that one."""
        ((records,),) = self.sql(_COUNT, (above,))
        return float(records)

    def write(self, frames: list[tuple[int, bytes]], before: Mark, confirmed: int) -> Mark:
        """One transaction: adds the frames, all behind the last, and deletes what is dead now."""
        done = {"before": before.confirmed, "now": confirmed}
        with self.transaction():
            ((gone,),) = self.sql(_GONE, done)
            self.sql(_DELETE, done)
            self._insert(frames)
            mark = Mark(confirmed, before.records + len(frames) - int(gone))
            self.sql(_TELL, (mark.frame(),))
        return mark

    def drop_oldest(self, size: int, mark: Mark) -> Mark:
        """One transaction: deletes rows until that makes `self.size` so many bytes less, or none is left."""
        enough = self.size - size
        with self.transaction():
            while self.size > enough and (oldest := self.sql(_OLDEST)):
                ((first, last),) = oldest
                self.sql(_DROP, (first,))
                mark = Mark(last, mark.records - (last - max(first, mark.confirmed + 1) + 1))
            self.sql(_TELL, (mark.frame(),))
        return mark

    def ends(self) -> tuple[int, int]:
        """First number of the first row and last of the last; 1 and 0 without any."""
        ((first, last),) = self.sql(_ENDS)
        return first, last

    def behind(self, after: int) -> tuple[int, int, bytes] | None:
        """The first row in which there is something behind that number: first, last, frames."""
        found = self.sql(_BEHIND, {"after": after})
        return found[0] if found else None

    def adopt(self, rows: Iterator[bytes]) -> Mark | None:
        """Takes every whole frame in what was salvaged, the first of each number.

        Returns the latest Mark among them; None: there is none.
        """
        marks: list[Mark] = []
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            frames: dict[int, bytes] = {}
            for record, frame in (one for row in batch for one in scan(row)):
                if record.number > _HIGHEST:
                    continue
                if mark := Mark.of(record):
                    marks.append(mark)
                elif not self._stands(record.number):
                    frames.setdefault(record.number, frame)
            with self.transaction():
                self._insert(sorted(frames.items()))
        return max(marks, default=None)

    def _stands(self, number: int) -> bool:
        found = self.sql(_STANDS, {"number": number})
        return bool(found and found[0][0])

    def _insert(self, frames: Frames) -> None:
        for run in _cut(frames):
            self.sql(_INSERT, run)


def _cut(frames: Frames) -> Iterator[tuple[int, int, bytes]]:
    """Rows: first number, last number, the frames of all between."""
    run: list[bytes] = []
    first = last = size = 0
    for number, frame in frames:
        if run and (number != last + 1 or size + len(frame) > _ROW):
            yield first, last, b"".join(run)
            run, size = [], 0
        if not run:
            first = number
        run.append(frame)
        last, size = number, size + len(frame)
    if run:
        yield first, last, b"".join(run)
