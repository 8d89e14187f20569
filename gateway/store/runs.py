"""The tables of one link's file: rows, each a run of frames whose numbers follow one another, and one Meta.

Knows nothing of time, bounds or who reads. Live is what has a number above `meta.confirmed`: rows of which
nothing lives are deleted, in the transaction of whatever says so; one that lives half stays whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Self

from .database import Damaged, Database
from .frames import scan, unpack
from .meta import Meta, meta_of

Frames = Iterable[tuple[int, bytes]]  # numbers, ascending, and what `pack` made of their records

_ROW = 32 * 1024  # bytes: a target; a larger frame has its own row
_LONGEST = 1000  # records: more than that of the smallest go into no row
_ROWS_AT_ONCE = 64  # in one transaction of `adopt`
_TABLES = (
    "CREATE TABLE meta (id integer primary key, frame blob)",
    "CREATE TABLE runs (first integer primary key, last integer, frames blob)",
)
_META = "select cast(frame as blob) from meta"
_TELL = "insert or replace into meta values (1, ?)"
_COUNT = """select total(max(last - max(first, ? + 1) + 1, 0)), total(coalesce(
    typeof(last) <> 'integer' or last < first or last - first > ? or next <= last, 0))
    from (select first, last, lead(first) over (order by first) as next from runs)"""
_ENDS = """select coalesce((select first from runs order by first limit 1), 0),
    coalesce((select last from runs order by first desc limit 1), 0)"""
_GONE = """select total(min(last, :now) - max(first, :before + 1) + 1) from runs
    where first <= :now and last > :before"""
_DELETE = "delete from runs where first <= :now and last <= :now"
_BEHIND = """select first, last, cast(frames as blob) from runs where last > :after and first >=
    coalesce((select max(first) from runs where first <= :after + 1), 0) order by first limit 1"""
_OLDEST = """select last from (select last, sum(length(frames)) over (order by first) as size from runs)
    where size >= ? limit 1"""
_STANDS = "select last >= :number from runs where first <= :number order by first desc limit 1"


class Runs(Database):
    """An open file with these tables."""

    @classmethod
    def of(cls, path: Path) -> Self:
        return cls.open(path, _TABLES)

    def load(self) -> Meta:
        """What was told last, with the records counted anew."""
        stored = self.sql(_META)
        meta = meta_of(unpack(stored[0][0] or b"")) if stored else Meta()
        if meta is None:
            raise Damaged(f"{self.path}: it is damaged")
        records = self.count(meta.confirmed)
        if records and not stored:
            raise Damaged(f"{self.path}: it is damaged")
        return replace(meta, records=records)

    def count(self, above: int) -> int:
        """How many records have a number above that one; Damaged, if rows cannot be as they are."""
        ((records, insane),) = self.sql(_COUNT, (above, _LONGEST))
        if insane:
            raise Damaged(f"{self.path}: it is damaged")
        return int(records)

    def write(self, frames: list[tuple[int, bytes]], before: Meta, meta: Meta) -> Meta:
        """One transaction: adds the frames, all behind the last; deletes what is dead now; tells `meta`."""
        done = {"before": before.confirmed, "now": meta.confirmed}
        with self.transaction():
            ((gone,),) = self.sql(_GONE, done)
            self.sql(_DELETE, done)
            self._insert(frames)
            meta = replace(meta, records=before.records + len(frames) - int(gone))
            self.sql(_TELL, (meta.frame(),))
        return meta

    def ends(self) -> tuple[int, int]:
        """First number of the first row and last of the last; 0 and 0 without any."""
        ((first, last),) = self.sql(_ENDS)
        return first, last

    def behind(self, after: int) -> tuple[int, int, bytes] | None:
        """The first row in which there is something behind that number: first, last, frames."""
        found = self.sql(_BEHIND, {"after": after})
        return found[0] if found else None

    def oldest(self, size: int) -> int | None:
        """The last number of the oldest rows that have so many bytes together; None: all have less."""
        found = self.sql(_OLDEST, (size,))
        return found[0][0] if found else None

    def adopt(self, rows: Iterator[bytes]) -> Meta | None:
        """Takes every whole frame in what was salvaged, the first of each number.

        Returns the last Meta among them, brought forward to what the records say; None: there is none.
        """
        metas: list[Meta] = []
        seqs: dict[str, int] = {}
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            frames: dict[int, bytes] = {}
            for record, frame in (one for row in batch for one in scan(row)):
                if meta := meta_of(record):
                    metas.append(meta)
                elif not self._stands(record.number):
                    frames[record.number] = frame
                    seqs[record.stream] = max(record.seq, seqs.get(record.stream, 0))
            with self.transaction():
                self._insert(sorted(frames.items()))
        last = max(metas, key=lambda meta: (meta.next_number, meta.confirmed), default=None)
        return last and last.at_least(Meta(next_number=self.ends()[1] + 1, seqs=seqs))

    def _stands(self, number: int) -> bool:
        found = self.sql(_STANDS, {"number": number})
        return bool(found and found[0][0])

    def _insert(self, frames: Frames) -> None:
        for run in _cut(frames):
            self.sql("insert into runs values (?, ?, ?)", run)


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
