"""What a link keeps while all is well: it survives kill -9 and a restart, and writes to no disk.

Two preallocated segments in the run directory (tmpfs), one of them in use. A record is one small pwrite in
the event loop, 2-3 us: no thread, no fsync. When a segment is full, the state and the records that still live
are copied into the other one, its mark last.

Recovery rests on one rule: all that stands here only ever grows (numbers, seqs, what is confirmed), and no
number is given twice. So whatever is undamaged is true, wherever it stands: take the highest of each, and
every frame above what is confirmed. A frame left over from an earlier use is a copy, or long confirmed.

It does not survive a power cut: that is the business of what stands on disk.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from errno import EDQUOT, ENOSPC
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from ..errors import StoreError
from .frames import SMALLEST, Kept, pack, scan, unpack

# A segment: two marks, written in turn so that one is always whole | state | frames | end | old bytes
_MARK = Struct("<4sQQQ")  # magic, generation, confirmed, forgotten; a CRC-32 follows
_MARK_MAGIC = b"\xf5SJ1"
_SLOTS = (0, 32)
_BODY = 64
_PAGE = 4096  # or a multiple of it
_END = Struct("<4sQI")  # magic, next number, CRC-32 begun with the generation: proof that no frame is missing
_END_MAGIC = b"\xf5SE1"
_STATE = 0  # the number of the frame that holds the state; records begin at 1

Runs = list[list[int]]  # numbers, [from, to], ascending
Pwrite = Callable[[int, bytes, int], int]


class Recovered(NamedTuple):
    """What stood in the journal when it was opened."""

    records: list[Kept]  # neither confirmed nor forgotten, in order
    confirmed: int  # everything up to this number has arrived
    next_number: int
    seqs: dict[str, int]  # the last one given, per stream; more than that after damage, never less
    unseen: int  # a stream that is not among them may have given so many; 0 but for damage
    damaged: int  # records known to be lost; one at the very end may stand for several


@dataclass
class _State:
    """What a segment begins with; its marks and its frames say what has come since."""

    confirmed: int = 0
    forgotten: int = 0
    next_number: int = 1
    seqs: dict[str, int] = field(default_factory=dict)
    unseen: int = 0  # as in Recovered
    missing: Runs = field(default_factory=list)  # numbers that were left out, or lost before

    @property
    def floor(self) -> int:
        """The records up to here are gone for good."""
        return max(self.confirmed, self.forgotten)

    def frame(self, generation: int) -> bytes:
        return pack(Kept(_STATE, "", generation, 0.0, False, json.dumps(vars(self)).encode()))


class _Segment(NamedTuple):
    """What is undamaged in one of the two files."""

    generation: int  # by its marks; 0: neither is
    begun: int  # by its state, if that is higher: of a flip that was not finished; 0: nothing is there
    confirmed: int
    forgotten: int
    state: _State | None
    records: dict[int, Kept]
    ends: list[int]


class Journal:
    """The journal of one link. Made by `open`; one owner, no lock."""

    def __init__(self, path: Path, files: tuple[int, int], size: int, pwrite: Pwrite) -> None:
        self._path, self._files, self._size, self._pwrite = path, files, size, pwrite
        self._now = self._generation = self._marks = 0  # the segment in use, its generation, marks written
        self._state = _State()
        self._places: deque[tuple[int, int]] = deque()  # what lives: number, offset + shift
        self._end = _BODY  # offset of the end mark
        self._shift = 0  # grows with each flip, so that a flip need not touch the places
        self.recovered = Recovered([], 0, 1, {}, 0, 0)

    @classmethod
    def open(cls, path: Path, size: int, pwrite: Pwrite = os.pwrite) -> "Journal":
        """Creates or recovers PATH.0 and PATH.1, each of `size` bytes, or of what the records in them need.

        StoreError: the directory is full, read-only, not there.
        """
        with ExitStack() as undo:
            try:
                files = _opened(f"{path}.0", undo), _opened(f"{path}.1", undo)
                journal = cls(path, files, size, pwrite)
                journal._recover()
            except OSError as error:
                raise _plain(path, error) from error
            undo.pop_all()
            return journal

    def append(self, record: Kept) -> bool:
        """False: no room until more is confirmed or forgotten; never, if larger than a segment.

        Numbers may be left out. StoreError: it is not written.
        """
        number, frame, expected = record.number, pack(record), self._state.next_number
        if number < expected:
            raise ValueError(f"number {number} was given before")
        full = self._end + len(frame) + 2 * _END.size > self._size
        if (full or number > expected) and not self._flip(number, len(frame)):
            return False
        data = _closed(self._end, frame, number + 1, self._generation)
        self._put(data)
        self._places.append((number, self._end + self._shift))
        self._end += len(data) - _END.size
        self._state.next_number = number + 1
        self._state.seqs[record.stream] = record.seq
        return True

    def confirm(self, up_to: int) -> None:
        """Everything up to this number has arrived. One small write: call it once for many."""
        if up_to > self._state.confirmed:
            self._release(replace(self._state, confirmed=up_to))

    def forget(self, up_to: int) -> None:
        """Everything up to this number is kept elsewhere for good, or was dropped."""
        if up_to > self._state.forgotten:
            self._release(replace(self._state, forgotten=up_to))

    def close(self) -> None:
        """The files stay."""
        for file in self._files:
            os.close(file)

    def _put(self, data: bytes) -> None:
        """SIGKILL can cut a write at the border of a page: the old end mark stands until the last step."""
        if self._end % _PAGE + len(data) > _PAGE:
            self._write(self._now, data[_END.size :], self._end + _END.size)
            data = data[: _END.size]
        self._write(self._now, data, self._end)

    def _release(self, state: _State) -> None:
        self._mark(self._now, self._generation, state)
        self._state, floor = state, state.floor
        while self._places and self._places[0][0] <= floor:
            self._places.popleft()

    def _flip(self, number: int, room: int) -> bool:
        """Goes on in the other segment, where `number` comes next, if that makes room enough."""
        old = self._state
        start = self._places[0][1] - self._shift if self._places else self._end
        live = self._end - start
        if live > self._size // 2:  # or nearly everything would be copied again and again
            return False
        left_out = _holes(old.next_number - 1, [], number)
        missing = [run for run in old.missing + left_out if run[1] > old.floor]
        state = replace(old, next_number=number, missing=missing)
        head = state.frame(self._generation + 1)
        begin = _BODY + len(head)
        if begin + live + room + 3 * _END.size > self._size:
            return False
        try:
            self._begin(state, head + os.pread(self._files[self._now], live, start))
        except OSError as error:
            raise _plain(self._path, error) from error
        self._shift += start - begin
        return True

    def _recover(self) -> None:
        """What is found goes into both segments, first into the one that it does not stand in."""
        contents = [os.pread(file, os.fstat(file).st_size, 0) for file in self._files]
        segments = [_segment(content) for content in contents]
        self._now = max(0, 1, key=lambda at: segments[at].generation)
        self._generation = max(segment.begun for segment in segments)
        newest, other = segments[self._now], segments[1 - self._now]
        state, self.recovered = _merge(newest, other, max(self._size, *map(len, contents)))
        place = _BODY + len(state.frame(0))
        live = b""
        for record in self.recovered.records:
            self._places.append((record.number, place + len(live)))
            live += pack(record)
        self._size = max(self._size, place + len(live) + 2 * _END.size)
        if not self._generation:  # so that a file which has nothing is always a damaged one
            self._write(self._now, state.frame(1), _BODY)
        for _ in self._files:
            target = self._files[1 - self._now]
            os.posix_fallocate(target, 0, self._size)  # now: a full tmpfs can be no surprise later
            os.ftruncate(target, self._size)
            self._begin(state, state.frame(self._generation + 1) + live, wipe=True)

    def _begin(self, state: _State, body: bytes, wipe: bool = False) -> None:
        """The other segment becomes the one in use: by its mark, which comes last."""
        other, generation = 1 - self._now, self._generation + 1
        data = _closed(_BODY, body, state.next_number, generation)
        self._write(other, data.ljust(self._size - _BODY, b"\0") if wipe else data, _BODY)
        self._mark(other, generation, state)
        self._now, self._generation, self._state = other, generation, state
        self._end = _BODY + len(data) - _END.size

    def _mark(self, at: int, generation: int, state: _State) -> None:
        self._marks += 1
        mark = _MARK.pack(_MARK_MAGIC, generation, state.confirmed, state.forgotten)
        self._write(at, mark + crc32(mark).to_bytes(4, "little"), _SLOTS[self._marks % 2])

    def _write(self, at: int, data: bytes, offset: int) -> None:
        try:
            written = self._pwrite(self._files[at], data, offset)
        except OSError as error:
            raise _plain(self._path, error) from error
        if written != len(data):
            raise StoreError(f"the journal {self._path} takes only a part", full=True)


def _opened(path: str, undo: ExitStack) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    undo.callback(os.close, file)
    return file


def _plain(path: Path, error: OSError) -> StoreError:
    full = error.errno in {ENOSPC, EDQUOT}
    return StoreError(f"the journal {path}: {error.strerror or error}", full=full)


def _closed(place: int, data: bytes, number: int, generation: int) -> bytes:
    """The data for this place and the end mark, which never lies across the border of two pages."""
    left = -(place + len(data)) % _PAGE
    return data + bytes(left if left < _END.size else 0) + _end(number, generation)


def _end(number: int, generation: int) -> bytes:
    """What stands behind the last frame: `number` comes next. Worthless in the next use of the segment."""
    return _END.pack(_END_MAGIC, number, crc32(number.to_bytes(8, "little"), generation))


def _segment(data: bytes) -> _Segment:
    marks = [mark for slot in _SLOTS if (mark := _mark_in(data[slot : slot + _MARK.size + 4]))]
    generation, confirmed, forgotten = (max(column) for column in zip((0, 0, 0), *marks, strict=True))
    first = unpack(data, _BODY)
    state, begun = None, generation
    if first and first.number == _STATE:
        state, begun = _State(**json.loads(first.payload)), max(generation, first.seq)
    records = {record.number: record for record, _ in scan(data[_BODY:]) if record.number != _STATE}
    return _Segment(generation, begun, confirmed, forgotten, state, records, list(_ends(data, begun)))


def _mark_in(data: bytes) -> tuple[int, int, int] | None:
    if data[:4] != _MARK_MAGIC or data[-4:] != crc32(data[:-4]).to_bytes(4, "little"):
        return None
    _, generation, confirmed, forgotten = _MARK.unpack(data[:-4])
    return generation, confirmed, forgotten


def _ends(data: bytes, generation: int) -> Iterator[int]:
    place = data.find(_END_MAGIC)
    while 0 <= place <= len(data) - _END.size:
        _, number, _ = _END.unpack_from(data, place)
        if data[place : place + _END.size] == _end(number, generation):
            yield number
        place = data.find(_END_MAGIC, place + 1)


def _merge(newest: _Segment, other: _Segment, size: int) -> tuple[_State, Recovered]:
    """The highest of each. `size` bytes bound how many frames a damaged end can have held."""
    states = [segment.state for segment in (other, newest) if segment.state]
    records = other.records | newest.records
    if not (newest.generation or records or any(state != _State() for state in states)):
        return _State(), Recovered([], 0, 1, {}, 0, 0)
    confirmed = max(newest.confirmed, other.confirmed, *(state.confirmed for state in states))
    forgotten = max(newest.forgotten, other.forgotten, *(state.forgotten for state in states))
    latest = max(states, key=_next_number, default=_State(next_number=min(records, default=1)))
    last = max([latest.next_number - 1, *records])
    most = last + 1 + size // SMALLEST
    proven = [number for number in _proofs(newest, other) if last < number <= most]
    end = min(proven, default=most)  # a crash in the middle of an append leaves the next one, too
    unseen = end - latest.next_number - sum(number >= latest.next_number for number in records)
    floor = max(confirmed, forgotten) if states else max(confirmed, forgotten, latest.next_number - 1)
    live = [number for number in sorted(records) if number > floor]
    there = [[number, number] for number in live]
    lost = _holes(floor, there + latest.missing, end if proven else max(last, floor) + 2)
    next_number = max(end, floor + 1)
    seqs = _seqs(states, records.values(), unseen)
    unseen += max((state.unseen for state in states), default=0)
    state = _State(confirmed, forgotten, next_number, seqs, unseen, _holes(floor, there, next_number))
    damaged = sum(high - low + 1 for low, high in lost)
    kept = [records[number] for number in live]
    return state, Recovered(kept, confirmed, next_number, dict(seqs), unseen, damaged)


def _proofs(newest: _Segment, other: _Segment) -> list[int]:
    """The numbers that came next, said by what would not be there if something had come since."""
    proofs = newest.ends if other.begun else []  # what has nothing may have been the newer one
    if other.begun > newest.generation:
        proofs = proofs + other.ends
        if other.generation and other.state:  # a flip that was not finished: nothing came behind its state
            proofs = [*proofs, other.state.next_number]
    return proofs


def _next_number(state: _State) -> int:
    return state.next_number


def _seqs(states: list[_State], records: Iterable[Kept], unseen: int) -> dict[str, int]:
    """The last ones given, were every frame that cannot be read one of that stream."""
    given = [pair for state in states for pair in state.seqs.items()]
    given += [(record.stream, record.seq) for record in records]
    return {stream: seq + unseen for stream, seq in sorted(given)}  # of equal streams the highest stays


def _holes(floor: int, there: Runs, end: int) -> Runs:
    """What is missing between `floor` and `end`, both exclusive."""
    holes: Runs = []
    for low, high in [*sorted(there), [end, end]]:
        if low > floor + 1:
            holes.append([floor + 1, low - 1])
        floor = max(floor, high)
    return holes
