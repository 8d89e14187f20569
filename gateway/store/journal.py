"""What a link keeps while all is well: it survives kill -9 and a restart, and writes to no disk.

Two preallocated segments in the run directory (tmpfs), one of them in use. A segment is a log of frames: a
head, then records and marks as they come, each by one small pwrite in the event loop. When it is full, what
lives goes into the other one, and the head last: a segment whose head is whole is complete.

One rule makes a recovery: all that stands here only ever grows, and no number is given twice. So whatever is
undamaged is true, wherever it stands: take the highest of each, and every record above the floor.

It never waits for a device, and does not survive a power cut: that is the business of what stands on disk.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import NamedTuple

from ..buffer import Record
from ..errors import StoreError
from .frames import Found, pack, scan, unpack

Pwrite = Callable[[int, bytes, int], int]

_ROOM = 2048  # bytes at least for marks, however much lives


class Recovered(NamedTuple):
    """What stood in the journal when it was opened."""

    records: list[Record]  # neither confirmed nor forgotten, in order
    confirmed: int  # everything up to this number has arrived
    next_number: int
    seqs: dict[str, int]  # the last one given, per stream; more may have been given if there is damage
    damaged: int  # records known to be lost; at least 1 if any may be


@dataclass
class _State:
    """What is known beside the records themselves. All of it only ever grows."""

    confirmed: int = 0
    forgotten: int = 0
    next_number: int = 1
    seqs: dict[str, int] = field(default_factory=dict)

    @property
    def floor(self) -> int:
        """The records up to this number are dead."""
        return max(self.confirmed, self.forgotten)

    def merge(self, other: "_State") -> None:
        self.confirmed = max(self.confirmed, other.confirmed)
        self.forgotten = max(self.forgotten, other.forgotten)
        self.next_number = max(self.next_number, other.next_number, self.floor + 1)
        for stream, seq in other.seqs.items():
            self.seqs[stream] = max(self.seqs.get(stream, 0), seq)

    def learn(self, frame: Record) -> None:
        """What any frame says; those with number 0 are ours, records have numbers from 1."""
        match frame:
            case Record(number=0, stream="head"):
                self.merge(_State(**json.loads(frame.payload)))
            case Record(number=0, stream="confirmed"):
                self.merge(_State(confirmed=frame.seq))
            case Record(number=0, stream="forgotten"):
                self.merge(_State(forgotten=frame.seq))
            case _:
                self.merge(_State(next_number=frame.number + 1, seqs={frame.stream: frame.seq}))


class Journal:
    """The journal of one link. Made by `open`; one owner, no lock."""

    def __init__(self, path: Path, size: int, pwrite: Pwrite) -> None:
        self._path, self._size, self._pwrite = path, max(size, 2 * _ROOM), pwrite
        self._names = _names(path)
        self._files: list[int] = []
        self._now = self._generation = self._end = 0  # the segment in use, its generation, where it goes on
        self._state = _State()
        self._live: deque[tuple[int, bytes]] = deque()  # numbers and frames, ascending
        self._live_bytes = 0
        self.recovered = Recovered([], 0, 1, {}, 0)

    @classmethod
    def open(cls, path: Path, size: int, pwrite: Pwrite = os.pwrite) -> "Journal":
        """Creates or recovers PATH.0 and PATH.1, each of `size` bytes, or more if more lives there.

        StoreError: the directory is full, read-only, not there.
        """
        journal = cls(path, size, pwrite)
        with ExitStack() as undo:
            undo.callback(journal.close)
            try:
                for name in journal._names:
                    journal._files.append(os.open(name, os.O_RDWR | os.O_CREAT, 0o600))
                journal._recover()
            except OSError as error:
                raise journal._plain(error) from error
            undo.pop_all()
        return journal

    def append(self, record: Record) -> bool:
        """False: no room until more is confirmed or forgotten. StoreError: it is not written.

        Its number must be the next one: behind the last record, and behind what was confirmed or forgotten.
        """
        number, frame, state = record.number, pack(record), self._state
        if number != state.next_number:
            raise ValueError(f"number {number} is given where {state.next_number} comes next")
        if self._live_bytes + len(frame) > self._size // 2:  # or all of it would be copied again and again
            return False
        self._put(frame)
        self._keep(number, frame)
        state.next_number = number + 1
        state.seqs[record.stream] = record.seq
        return True

    def confirm(self, up_to: int) -> None:
        """Everything up to this number has arrived. One small write: call it once for many."""
        if up_to > self._state.confirmed:
            self._mark("confirmed", up_to)

    def forget(self, up_to: int) -> None:
        """Everything up to this number is kept elsewhere for good, or was dropped; it may lie ahead."""
        if up_to > self._state.forgotten:
            self._mark("forgotten", up_to)

    def know(self, seqs: Mapping[str, int]) -> None:
        """These were given before, by whoever kept the records until now."""
        self._state.merge(_State(seqs=dict(seqs)))
        self._begin(1 - self._now)

    def close(self) -> None:
        """The files stay."""
        for file in self._files:
            os.close(file)

    def remove(self) -> None:
        """Closes and deletes the files: the one in use last, since the other alone would tell old tales."""
        self.close()
        try:
            self._names[1 - self._now].unlink(missing_ok=True)
            self._names[self._now].unlink(missing_ok=True)
        except OSError as error:
            raise self._plain(error) from error

    def _mark(self, floor: str, up_to: int) -> None:
        mark = Record(0, floor, up_to, 0.0, False, b"")
        self._put(pack(mark))
        self._state.learn(mark)
        while self._live and self._live[0][0] <= up_to:
            self._live_bytes -= len(self._live.popleft()[1])

    def _keep(self, number: int, frame: bytes) -> None:
        self._live.append((number, frame))
        self._live_bytes += len(frame)

    def _put(self, frame: bytes) -> None:
        if self._end + len(frame) > self._size:
            self._begin(1 - self._now)
        self._write(self._now, frame, self._end)
        self._end += len(frame)

    def _begin(self, segment: int) -> None:
        """Goes on in this segment. Until its head is whole, the other one is the newest that is complete."""
        generation, state = self._generation + 1, json.dumps(asdict(self._state)).encode()
        head = pack(Record(0, "head", generation, 0.0, False, state))
        live = b"".join(frame for _, frame in self._live)
        end = len(head) + len(live)
        size = max(self._size, end + _ROOM)  # larger if it was before, or with thousands of streams
        # Zeros behind it: the payload of an old frame that is cut might look like frames.
        self._write(segment, live.ljust(size - len(head), b"\0"), len(head))
        self._write(segment, head, 0)
        self._now, self._generation, self._end, self._size = segment, generation, end, size

    def _write(self, segment: int, data: bytes, offset: int) -> None:
        try:
            written = self._pwrite(self._files[segment], data, offset)
        except OSError as error:
            raise self._plain(error) from error
        if written < len(data):
            raise StoreError(f"the journal {self._path}: only a part could be written", full=True)

    def _recover(self) -> None:
        """What is found goes into the older segment; the newer one holds all of it, too, until then."""
        contents = [os.pread(file, os.fstat(file).st_size, 0) for file in self._files]
        heads = [unpack(content) for content in contents]  # nothing else ever stands at the beginning
        generations = [head.seq if head else 0 for head in heads]
        whole = any(heads) and len(contents[0]) == len(contents[1])
        self._learn(contents, whole)
        for file in self._files:
            os.posix_fallocate(file, 0, self._size)  # now: a full tmpfs can be no surprise later
        self._generation = max(generations)
        self._begin(generations.index(min(generations)))
        for file in self._files:
            os.ftruncate(file, self._size)

    def _learn(self, contents: list[bytes], whole: bool) -> None:
        found: dict[int, Found] = {}
        for content in contents:
            for one in scan(content):
                self._state.learn(one.record)
                found[one.record.number] = one
        state = self._state
        live = [found[number] for number in sorted(found) if number > state.floor]
        for record, frame in live:
            self._keep(record.number, frame)
        missing = state.next_number - state.floor - 1 - len(live)
        used = any(content.strip(b"\0") for content in contents)
        damaged = max(missing, int(used and not whole))
        records = [one.record for one in live]
        self.recovered = Recovered(records, state.confirmed, state.next_number, dict(state.seqs), damaged)

    def _plain(self, error: OSError) -> StoreError:
        full = error.errno in {ENOSPC, EDQUOT}
        return StoreError(f"the journal {self._path}: {error.strerror or error}", full=full)


def exists(path: Path) -> bool:
    """Somebody has left one here."""
    return any(name.exists() for name in _names(path))


def _names(path: Path) -> tuple[Path, Path]:
    return Path(f"{path}.0"), Path(f"{path}.1")
