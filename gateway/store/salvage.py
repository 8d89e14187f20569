"""What stands in a damaged SQLite file, read without SQLite: the bytes of its rows, for a codec to search.

Promises: no byte of the file can make it raise or run for ever; each page is read once; memory is that of one
row. What a sum has to prove is proved by whoever searches the bytes: rows that were deleted come up too, and
rows that are torn. Reads page by page and not by mmap, where a bad sector would be a SIGBUS.

Source: "Database File Format", sqlite.org/fileformat2.html, 1.5 to 1.6 (pages) and 4.1 (WAL).
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = 1024  # bytes; the header that says so may be what is damaged
_OVERFLOW = PAGE - 4  # the number of the next page, and these bytes of a row
_MOST, _LEAST = PAGE - 35, (PAGE - 12) * 32 // 255 - 23  # bytes of a row that stand in the leaf itself
_LEAF = 0x0D
_WAL_HEADER, _FRAME_HEADER = 32, 24


def rows(path: Path) -> Iterator[bytes]:
    """Every row of the file and its WAL, whole where possible; then what no leaf leads to any more."""
    wal = path.with_name(f"{path.name}-wal")
    with path.open("rb", buffering=0) as main, (wal if wal.exists() else path).open("rb", buffering=0) as log:
        pages = _Pages(main.fileno(), log.fileno())
        for number in range(2, pages.count + 1):
            for row in _rows(pages.read(number)):
                yield row.start + b"".join(pages.chain(row.overflow, row.rest))
        for number in range(2, pages.count + 1):
            yield b"".join(pages.chain(number, pages.count * PAGE))


class _Row(NamedTuple):
    start: bytes
    overflow: int  # the page on which it goes on, 0 for none
    rest: int  # bytes that stand there


def _rows(page: bytes) -> Iterator[_Row]:
    """The rows of one leaf; none, if the page is anything else."""
    if len(page) < PAGE or page[0] != _LEAF:
        return
    (count,) = struct.unpack_from(">H", page, 3)
    for (cell,) in struct.iter_unpack(">H", page[8 : min(8 + 2 * count, PAGE)]):
        size, at = _varint(page, cell)
        _key, at = _varint(page, at)
        inside = size
        if size > _MOST:
            inside = _LEAST + (size - _LEAST) % _OVERFLOW
            inside = inside if inside <= _MOST else _LEAST
        end = at + inside
        yield _Row(page[at:end], int.from_bytes(page[end : end + 4]) if size > inside else 0, size - inside)


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends."""
    value = 0
    for byte in page[at : at + 9]:
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at


class _Pages:
    """The file as it would be after a checkpoint: pages of the WAL stand before those of the file."""

    def __init__(self, main: int, wal: int) -> None:
        self._main = main
        self._wal = wal
        self._newer = dict(self._frames())
        self.count = max([os.fstat(main).st_size // PAGE, *self._newer])
        self._used = bytearray(self.count + 1)

    def _frames(self) -> Iterator[tuple[int, int]]:
        """Page numbers, and where each begins in the WAL. Frames of an earlier round have another salt."""
        header = _pread(self._wal, _WAL_HEADER, 0)
        if header[:3] != b"\x37\x7f\x06":
            return
        sizes = os.fstat(self._main).st_size, os.fstat(self._wal).st_size
        for at in range(_WAL_HEADER, sizes[1] - _FRAME_HEADER - PAGE + 1, _FRAME_HEADER + PAGE):
            frame = _pread(self._wal, _FRAME_HEADER, at)
            number = int.from_bytes(frame[:4])
            if frame[8:16] == header[16:24] and 0 < number <= sum(sizes) // PAGE:
                yield number, at + _FRAME_HEADER

    def read(self, number: int) -> bytes:
        if (at := self._newer.get(number)) is not None:
            return _pread(self._wal, PAGE, at)
        return _pread(self._main, PAGE, (number - 1) * PAGE)

    def chain(self, number: int, size: int) -> Iterator[bytes]:
        """The next `size` bytes of a row, from page to page; a page that was in another row ends it."""
        while 1 < number <= self.count and size > 0 and not self._used[number]:
            self._used[number] = True
            page = self.read(number)
            yield page[4 : 4 + size]
            size -= _OVERFLOW
            number = int.from_bytes(page[:4])


def _pread(fd: int, size: int, at: int) -> bytes:
    """Nothing, where the disk cannot read."""
    try:
        return os.pread(fd, size, at)
    except OSError:
        return b""
