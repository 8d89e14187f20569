"""One link's file as the event loop sees it: each call is done in the thread of all disks.

Promises: what the file held last is known without asking it (`seen`); the bytes that it had written to the
disk are counted. It is created by the first `put` and removed by `remove`: while nothing has to be kept,
nothing is there. After a StoreError that is not `full` it is closed, and `open` tries again.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from ..buffer import Record
from ..errors import StoreError
from .frames import pack
from .worker import Worker, written

T = TypeVar("T")
BATCH = 256 * 1024  # bytes of records that one `put` should have at most
# Bytes on disk beside `size` and the records of a batch; nearly all is the WAL. Measured: 526 KB at most. To
# delete more than 64 MB at once takes more: 1/160 of that.
OVERHEAD = 576 * 1024
_LEFT_FREE = 0.1  # of the disk
_READ_AHEAD = 1000, 64 * 1024  # records, and bytes of their payload


class File(Protocol):
    """`store.cold`: blocking calls, each of which may raise StoreError."""

    last: int
    size: int
    damaged: int
    lost: int

    @property
    def confirmed(self) -> int: ...
    @property
    def records(self) -> int: ...
    def put(self, frames: Sequence[tuple[int, bytes]], confirmed: int, /) -> None: ...
    def confirm(self, up_to: int, /) -> None: ...
    def take(self, after: int, most: int, most_bytes: int, /) -> Sequence[Record]: ...
    def drop_oldest(self, size: int, /) -> int: ...
    def older_than(self, at: float, /) -> int: ...
    def close(self) -> None: ...
    def remove(self) -> None: ...


class Seen(NamedTuple):
    """What the file held when it was asked last."""

    confirmed: int = 0
    last: int = 0  # number of the last record that ever stood in it
    records: int = 0
    size: int = 0  # bytes on the disk
    gone: int = 0  # records found damaged or lost since it was opened
    room: int = 0  # bytes of the disk that may still be used; negative: too many are


class Disk:
    """`seen` stays as it was while the file is closed."""

    def __init__(self, path: Path, opener: Callable[[Path], File], worker: Worker) -> None:
        self.path = path
        self.seen = Seen()
        self.oldest: float | None = None  # wall time of the first record; None: nothing stands here
        self._opener, self._worker = opener, worker
        self._file: File | None = None
        self._ahead: deque[Record] = deque()  # fetched and not asked for yet,
        self._ahead_of = 0  # behind this number
        self._written: int | None = 0
        self._day = _today()

    @property
    def is_open(self) -> bool:
        return self._file is not None

    @property
    def written_today(self) -> int | None:
        """Bytes, since midnight UTC; None where the kernel does not count."""
        return self._written if self._day == _today() else 0

    async def survey(self) -> bool:
        """Is there a file? And how much room is there for one?"""
        there, room = await self._worker.do(self._survey)
        self.seen = self.seen._replace(room=room)
        return there

    async def open(self) -> None:
        """Creates the file, or takes up what stands in it."""
        self._ahead.clear()
        await self._worker.do(self._open)
        await self.look()

    async def put(self, records: Sequence[Record], confirmed: int) -> None:
        """All of them, behind the last, in one transaction, and forgets what is confirmed."""
        await self._do(lambda file: file.put([(one.number, pack(one)) for one in records], confirmed))

    async def take(self, after: int, most: int) -> Sequence[Record]:
        """Much more is fetched than is asked for, for the next time: each hop over the thread costs."""
        if not self._ahead or after != self._ahead_of:
            self._ahead = deque(await self._do(lambda file: file.take(after, *_READ_AHEAD)))
        taken = [self._ahead.popleft() for _ in range(min(most, len(self._ahead)))]
        self._ahead_of = taken[-1].number if taken else after
        return taken

    async def confirm(self, up_to: int) -> None:
        await self._do(lambda file: file.confirm(up_to))

    async def drop_oldest(self, size: int) -> int:
        """Makes room for so many bytes. Returns how many records went."""
        self._ahead.clear()
        return await self._do(lambda file: file.drop_oldest(size))

    async def older_than(self, at: float) -> int:
        """Drops records of before that wall time. Returns how many went; ask until there are none."""
        self._ahead.clear()
        return await self._do(lambda file: file.older_than(at))

    async def look(self) -> None:
        """How old is the first record?"""
        found = await self._do(lambda file: file.take(0, 1, 1))
        self.oldest = found[0].at if found else None

    async def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            await self._worker.do(file.close)

    async def remove(self) -> None:
        """Nothing in it is wanted any more."""
        if self._file is not None:
            file, self._file = self._file, None
            self.seen, self.oldest = Seen(room=self.seen.room), None
            await self._worker.do(file.remove)

    def _survey(self) -> tuple[bool, int]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            there = self.path.exists()
        except OSError as error:
            raise StoreError(f"{self.path.parent}: {error.strerror or error}") from error
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise StoreError(f"{self.path.parent}: permission denied")
        return there, _room(self.path.parent)

    def _open(self) -> None:
        with self._counting():
            self._file = self._opener(self.path)

    async def _do(self, work: Callable[[File], T]) -> T:
        value, self.seen = await self._worker.do(lambda: self._in_file(work))
        return value

    def _in_file(self, work: Callable[[File], T]) -> tuple[T, Seen]:
        file = self._file
        if file is None:
            raise StoreError(f"{self.path}: it is closed")
        try:
            with self._counting():
                value = work(file)
            room = _room(self.path.parent)
        except StoreError as error:
            if not error.full:
                self._file = None
                with suppress(StoreError):
                    file.close()
            raise
        return value, Seen(file.confirmed, file.last, file.records, file.size, file.damaged + file.lost, room)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        before = written()
        try:
            yield
        finally:
            after, today = written(), _today()
            if self._day != today:
                self._day, self._written = today, 0
            if before is None or after is None or self._written is None:
                self._written = None
            else:
                self._written += after - before


def _room(folder: Path) -> int:
    """Bytes of that disk that may be used before too little of it is free."""
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}") from error
    return (disk.f_bavail - int(disk.f_blocks * _LEFT_FREE)) * disk.f_frsize


def _today() -> date:
    return datetime.now(UTC).date()
