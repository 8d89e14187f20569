"""Journals, what they owe by a plain list, and a process that ends in the middle of a write."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from gateway.buffer import Record
from gateway.store.frames import pack, unpack
from gateway.store.journal import Journal

SIZE = 9000  # bytes of a segment: two pages and a bit, so that there are many flips
PAGE = 4096
STREAMS = ["hall/scale", "gate/reader", "x/y"]


def record(number: int, stream: str = STREAMS[0], seq: int = 1, payload: bytes = b"+ 12.3 kg") -> Record:
    return Record(number, stream, seq, 1_700_000_000.25 + number, number % 2 == 0, payload)


def run(first: int, last: int) -> list[Record]:
    return [record(number, seq=number, payload=b"record %d." % number) for number in range(first, last + 1)]


@contextmanager
def opened(path: Path, size: int = SIZE) -> Iterator[Journal]:
    journal = Journal.open(path, size)
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def directory() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name) / "mqtt-hall"


def both(path: Path) -> tuple[Path, Path]:
    return Path(f"{path}.0"), Path(f"{path}.1")


def generation(file: Path) -> int:
    head = unpack(file.read_bytes())
    return head.seq if head else 0


def confirm_each(journal: Journal, up_to: int) -> None:
    for number in range(1, up_to + 1):
        journal.confirm(number)


def pack_size(one: Record) -> int:
    return len(pack(one))


class Crash(BaseException):
    """The process is no more."""


@dataclass
class Disk:
    """Writes until it is to crash: `whole` writes succeed, of the next one only a part is done.

    A whole number: as many borders of pages are reached, which is what the kernel does when SIGKILL comes.
    Otherwise a share of the bytes, which is worse than any kernel.
    """

    whole: int = 1 << 62
    part: int | float = 0.0

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        self.whole -= 1
        if self.whole >= 0:
            return os.pwrite(file, data, offset)
        share = isinstance(self.part, float)
        done = round(len(data) * self.part) if share else -offset % PAGE + int(self.part) * PAGE
        os.pwrite(file, data[:done], offset)
        raise Crash


@dataclass
class Model:
    """What the journal owes: a plain list. Of what was under way in a crash either outcome will do."""

    records: list[Record] = field(default_factory=list)
    confirmed: int = 0
    forgotten: int = 0
    next_number: int = 1
    seqs: dict[str, int] = field(default_factory=dict)
    under_way: Callable[[], None] | None = None
    opened: bool = False

    @property
    def live(self) -> list[Record]:
        return [one for one in self.records if one.number > max(self.confirmed, self.forgotten)]

    def new(self, which: int, size: int) -> Record:
        stream = STREAMS[which]
        payload = (b"%d." % self.next_number * size)[:size]
        return record(self.next_number, stream, self.seqs.get(stream, 0) + 1, payload)

    def took(self, one: Record) -> None:
        self.records.append(one)
        self.seqs[one.stream] = one.seq
        self.next_number = one.number + 1

    def released(self, verb: str, up_to: int) -> None:
        if verb == "confirm":
            self.confirmed = max(self.confirmed, up_to)
        else:
            self.forgotten = max(self.forgotten, up_to)
        self.next_number = max(self.next_number, up_to + 1)

    def owes(self, found: Journal) -> bool:
        damaged = found.recovered.damaged if not self.opened else 0  # torn before there was anything
        return found.recovered == (self.live, self.confirmed, self.next_number, self.seqs, damaged)

    def settle(self, found: Journal) -> None:
        """What came back is one of what may come back; from now on it is what happened."""
        if not self.owes(found) and self.under_way:
            self.under_way()
        assert self.owes(found), (found.recovered, self)
        self.under_way, self.opened = None, True


Step = tuple[str, int, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(0, 2500)),
        st.tuples(st.just("append"), st.integers(0, 2), st.just(700)),
        st.tuples(st.just("confirm"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 12), st.just(0)),
    ),
    min_size=15,
    max_size=80,
)


def play(steps: list[Step], journal: Journal, model: Model) -> None:
    """The steps, until the disk crashes; `model` is what must be found afterwards."""
    for verb, which, size in steps:
        if verb == "append":
            new = model.new(which, size)
            model.under_way = partial(model.took, new)
            if journal.append(new):
                model.took(new)
        else:
            up_to = (model.confirmed if verb == "confirm" else model.forgotten) + which
            model.under_way = partial(model.released, verb, up_to)
            (journal.confirm if verb == "confirm" else journal.forget)(up_to)
            model.released(verb, up_to)
        model.under_way = None


def live(path: Path, disk: Disk, model: Model, steps: list[Step]) -> None:
    """One life of the process: recovers, works, and crashes or not."""
    try:
        journal = Journal.open(path, SIZE, disk.pwrite)
    except Crash:
        return
    try:
        model.settle(journal)
        play(steps, journal, model)
    except Crash:
        pass
    finally:
        journal.close()
