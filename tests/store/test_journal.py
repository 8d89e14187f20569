"""The journal against a plain list: crashes at any write, torn writes, damaged files, kill -9."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from errno import EIO, ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import StoreError
from gateway.store.frames import Kept
from gateway.store.journal import Journal

SIZE = 9000  # bytes of a segment: two pages and a bit, so that there are many flips
STREAMS = ["hall/scale", "gate/reader", "x/y"]


def kept(number: int, stream: str = STREAMS[0], seq: int = 1, payload: bytes = b"+ 12.3 kg") -> Kept:
    return Kept(number, stream, seq, 1_700_000_000.25 + number, number % 2 == 0, payload)


class Crash(BaseException):
    """The process is no more."""


@dataclass
class Disk:
    """Writes until it is to crash: `whole` writes succeed, of the next one only a part is done.

    That part is a share of it, or what the kernel does when SIGKILL arrives: up to the border of a page.
    """

    whole: int = 1 << 62
    part: float | None = 0.0

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        self.whole -= 1
        if self.whole < 0:
            part = -offset % 4096 if self.part is None else round(len(data) * self.part)
            os.pwrite(file, data[:part], offset)
            raise Crash
        return os.pwrite(file, data, offset)


@dataclass
class Model:
    """What the journal owes: a plain list. Of what was under way in a crash either outcome will do."""

    records: list[Kept] = field(default_factory=list)
    floors: dict[str, int] = field(default_factory=lambda: {"confirm": 0, "forget": 0})
    next_number: int = 1
    seqs: dict[str, int] = field(default_factory=dict)
    unseen: int = 0
    maybe_record: Kept | None = None
    maybe_floors: dict[str, int] = field(default_factory=dict)

    def new(self, which: int, size: int, skipped: int = 0) -> Kept:
        stream = STREAMS[which]
        seq = self.seqs.get(stream, self.unseen) + 1
        return kept(self.next_number + skipped, stream, seq, bytes(size))

    def took(self, record: Kept) -> None:
        self.records.append(record)
        self.seqs[record.stream] = record.seq
        self.next_number = record.number + 1

    def settle(self, journal: Journal, torn: bool = False) -> None:
        """What came back is one of what may come back; from now on it is what happened."""
        found, maybe = journal.recovered, self.maybe_record
        numbers = {self.next_number}
        if maybe:
            numbers |= {maybe.number, maybe.number + 1}  # what is skipped may be skipped already
            if found.next_number > maybe.number and maybe in found.records:
                self.took(maybe)
        after = self.floors | self.maybe_floors
        fitting = [
            floors
            for floors in (self.floors, after)
            if found.confirmed == floors["confirm"]
            and found.records == [one for one in self.records if one.number > max(floors.values())]
        ]
        assert fitting, (found, self)
        if torn:
            assert found.next_number >= self.next_number
            assert found.damaged <= 1
            assert all(found.seqs.get(stream, found.unseen) >= seq for stream, seq in self.seqs.items())
        else:
            assert found.next_number in numbers
            assert (found.seqs, found.unseen, found.damaged) == (self.seqs, self.unseen, 0)
        self.floors, self.maybe_record, self.maybe_floors = fitting[-1], None, {}
        self.next_number, self.seqs, self.unseen = found.next_number, dict(found.seqs), found.unseen


@contextmanager
def directory() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name) / "mqtt-hall"


@contextmanager
def opened(path: Path, size: int = SIZE) -> Iterator[Journal]:
    journal = Journal.open(path, size)
    try:
        yield journal
    finally:
        journal.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(0, 2500)),
        st.tuples(st.just("append"), st.integers(0, 2), st.just(700)),
        st.tuples(st.just("skip"), st.integers(0, 2), st.integers(1, 5)),
        st.tuples(st.just("confirm"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 12), st.just(0)),
    ),
    min_size=15,
    max_size=80,
)
Step = tuple[str, int, int]


def play(steps: list[Step], journal: Journal, model: Model) -> None:
    """The steps, until the disk crashes; `model` is what must be found afterwards."""
    for verb, which, much in steps:
        if verb in model.floors:
            to = min(model.floors[verb] + which, model.next_number - 1)
            model.maybe_floors = {verb: to}
            (journal.confirm if verb == "confirm" else journal.forget)(to)
            model.floors |= model.maybe_floors
            model.maybe_floors = {}
        else:
            record = model.new(which, much, much if verb == "skip" else 0)
            model.maybe_record = record
            if journal.append(record):
                model.took(record)
            model.maybe_record = None


def live(path: Path, disk: Disk, model: Model, steps: list[Step], torn: bool = False) -> bool:
    """One life of the process: recovers, works; False: it crashed."""
    try:
        journal = Journal.open(path, SIZE, disk.pwrite)
    except Crash:
        return False
    try:
        model.settle(journal, torn)
        play(steps, journal, model)
    except Crash:
        return False
    finally:
        journal.close()
    return True


@settings(max_examples=300)
@given(st.lists(st.tuples(STEPS, st.integers(0, 60), st.sampled_from([0, 1, None])), min_size=1, max_size=5))
def test_a_kill_at_any_moment_loses_nothing_and_skips_no_number(
    lives: list[tuple[list[Step], int, float | None]],
) -> None:
    with directory() as path:
        model = Model()
        for steps, whole, part in lives:
            live(path, Disk(whole, part), model, steps)
        assert live(path, Disk(), model, [])


@settings(max_examples=300)
@given(st.lists(st.tuples(STEPS, st.integers(0, 60), st.floats(0, 1)), min_size=1, max_size=5))
def test_a_torn_write_loses_nothing_and_no_number_goes_back(
    lives: list[tuple[list[Step], int, float]],
) -> None:
    with directory() as path:
        model = Model()
        for steps, whole, part in lives:
            live(path, Disk(whole, part), model, steps, torn=True)
        assert live(path, Disk(), model, [], torn=True)
        assert live(path, Disk(), model, [])


@pytest.mark.parametrize("whole", [0, 1])
def test_an_append_cut_at_the_border_of_a_page_leaves_no_trace(tmp_path: Path, whole: int) -> None:
    for size in range(3780, 3900):  # somewhere here the end mark meets the border
        path, disk = tmp_path / f"link{size}", Disk()
        first = kept(1, payload=bytes(size))
        journal = Journal.open(path, SIZE, disk.pwrite)
        assert journal.append(first)
        disk.whole, disk.part = whole, None
        with suppress(Crash):
            for number in (2, 3):
                journal.append(kept(number))
        assert disk.whole < 0
        journal.close()
        with opened(path) as journal:
            found = journal.recovered
            assert found.damaged == found.unseen == 0
            assert found.records == [first, kept(2), kept(3)][: found.next_number - 1]


def test_a_flip_cut_at_the_border_of_a_page_leaves_no_trace(tmp_path: Path) -> None:
    disk = Disk()
    records = [kept(number, seq=number, payload=bytes(1050)) for number in range(1, 5)]
    journal = Journal.open(tmp_path / "link", SIZE, disk.pwrite)
    assert all(journal.append(record) for record in records)
    disk.whole, disk.part = 0, None
    with pytest.raises(Crash):
        journal.append(kept(10))  # numbers were left out: that begins a segment
    journal.close()
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == (records, 0, 10, {STREAMS[0]: 4}, 0, 0)


def filled(path: Path, steps: list[Step]) -> Model:
    """A journal that has gone through all of this, and was killed."""
    model = Model()
    live(path, Disk(), model, steps)
    return model


def damage(file: Path, how: str, place: float, length: int) -> None:
    content = bytearray(file.read_bytes())
    start = int(place * len(content))
    match how:
        case "truncate":
            del content[start:]
        case "zero":
            content[start : start + length] = bytes(len(content[start : start + length]))
        case _:
            content[start : start + length] = bytes(byte ^ 0x55 for byte in content[start : start + length])
    file.write_bytes(content)


@settings(max_examples=500)
@given(
    STEPS,
    st.sampled_from(["truncate", "zero", "flip"]),
    st.sampled_from("01"),
    st.floats(0, 1),
    st.integers(1, 300),
)
def test_damage_in_one_place_costs_only_what_stood_there_and_no_number_goes_back(
    steps: list[Step], how: str, which: str, place: float, length: int
) -> None:
    with directory() as path:
        model = filled(path, steps)
        damage(Path(f"{path}.{which}"), how, place, length)
        journal = Journal.open(path, SIZE)
        found = journal.recovered
        assert found.records == [record for record in model.records if record in found.records]
        owed = [record for record in model.records if record.number > max(model.floors.values())]
        missing = [record for record in owed if record not in found.records]
        assert found.damaged or not missing
        assert found.confirmed <= model.floors["confirm"]
        assert found.next_number >= model.next_number
        assert all(found.seqs.get(stream, found.unseen) >= seq for stream, seq in model.seqs.items())

        after = kept(found.next_number, seq=10_000)
        room = journal.append(after)
        journal.close()
        with opened(path) as journal:  # counted once, and healed
            assert journal.recovered.damaged == 0
            assert journal.recovered.records == found.records + [after] * room


@settings(max_examples=200)
@given(
    STEPS,
    st.lists(st.tuples(st.sampled_from("01"), st.floats(0, 1), st.integers(1, 100)), min_size=1, max_size=9),
    st.binary(min_size=1, max_size=100),
)
def test_whatever_stands_in_the_files_it_opens_and_invents_nothing(
    steps: list[Step], places: list[tuple[str, float, int]], rubbish: bytes
) -> None:
    with directory() as path:
        model = filled(path, steps)
        for which, place, length in places:
            file = Path(f"{path}.{which}")
            content = bytearray(file.read_bytes())
            start = int(place * len(content))
            content[start : start + length] = (rubbish * length)[:length]
            file.write_bytes(content)
        with opened(path) as journal:
            found = journal.recovered.records
            assert found == [record for record in model.records if record in found]
            assert journal.append(kept(journal.recovered.next_number, seq=9999)) or found


def test_damaged_records_are_counted_and_the_others_come_back(tmp_path: Path) -> None:
    path = tmp_path / "link"
    records = [kept(number, seq=number, payload=b"record %d" % number) for number in range(1, 21)]
    with opened(path, 8192) as journal:
        assert all(journal.append(record) for record in records)
    for file in (Path(f"{path}.0"), Path(f"{path}.1")):
        content = file.read_bytes()
        file.write_bytes(content.replace(b"record 5", b"record 6").replace(b"record 17", b"rec"))
    with opened(path, 8192) as journal:
        assert journal.recovered.damaged == 2
        assert journal.recovered.records == [one for one in records if one.number not in {5, 17}]
        assert journal.recovered.next_number == 21


def test_after_a_restart_everything_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / "link"
    records = [kept(number, seq=number, payload=b"record %d" % number) for number in range(1, 21)]
    with opened(path) as journal:
        assert all(journal.append(record) for record in records)
    with opened(path):
        pass
    for which in "01":
        file = Path(f"{path}.{which}")
        whole = file.read_bytes()
        file.write_bytes(whole[:64] + bytes(len(whole) - 64))
        with opened(path) as journal:
            assert journal.recovered.records == records


def test_however_much_waits_a_record_is_not_copied_again_and_again(tmp_path: Path) -> None:
    written = 0

    def pwrite(file: int, data: bytes, offset: int) -> int:
        nonlocal written
        written += len(data)
        return os.pwrite(file, data, offset)

    journal = Journal.open(tmp_path / "link", SIZE, pwrite)
    written = appended = lag = 0
    for number in range(1, 2000):
        while not journal.append(kept(number, payload=bytes(50))):
            lag += 1
            journal.confirm(lag)
        appended += 100
    journal.close()
    assert written < 3 * appended


def test_after_all_was_confirmed_the_numbers_go_on(tmp_path: Path) -> None:
    with opened(tmp_path / "link") as journal:
        for number in range(1, 101):
            assert journal.append(kept(number, STREAMS[number % 2], number))
            journal.confirm(number)
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == ([], 100, 101, {STREAMS[0]: 100, STREAMS[1]: 99}, 0, 0)


def test_a_full_journal_takes_nothing_until_something_was_confirmed_or_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path / "link") as journal:
        number = 1
        while journal.append(kept(number, seq=number)):
            number += 1
        assert SIZE / 2 < number * 58 < SIZE
        assert not journal.append(kept(number, seq=number))
        journal.confirm(number // 2)
        assert journal.append(kept(number, seq=number))
    with opened(tmp_path / "link") as journal:
        assert [one.number for one in journal.recovered.records] == list(range(number // 2 + 1, number + 1))


def test_a_record_larger_than_a_segment_has_no_room_and_one_that_fills_it_has(tmp_path: Path) -> None:
    with opened(tmp_path / "link") as journal:
        assert not journal.append(kept(1, payload=bytes(SIZE)))
        assert journal.append(kept(1, payload=bytes(SIZE // 2 + 300)))
    with opened(tmp_path / "link") as journal:
        assert [one.number for one in journal.recovered.records] == [1]


def test_numbers_that_were_given_elsewhere_are_left_out_and_are_no_loss(tmp_path: Path) -> None:
    """What stands on disk is ahead of a journal that a restart of the machine has emptied."""
    with opened(tmp_path / "link") as journal:
        journal.confirm(4000)
        journal.forget(5000)
        assert journal.append(kept(5001, seq=900))
        with pytest.raises(ValueError, match="given before"):
            journal.append(kept(5001, seq=901))
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == ([kept(5001, seq=900)], 4000, 5002, {STREAMS[0]: 900}, 0, 0)


def test_both_segments_are_ours_alone_and_allocated_when_it_is_opened(tmp_path: Path) -> None:
    with opened(tmp_path / "link", 65536):
        for file in tmp_path.iterdir():
            assert file.stat().st_mode & 0o777 == 0o600
            assert file.stat().st_size == 65536 <= file.stat().st_blocks * 512
        assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("size", [1000, 100_000])
def test_another_size_keeps_what_is_there(tmp_path: Path, size: int) -> None:
    records = [kept(number, seq=number) for number in range(1, 41)]
    with opened(tmp_path / "link") as journal:
        assert all(journal.append(record) for record in records)
    with opened(tmp_path / "link", size) as journal:
        assert journal.recovered.records == records
        assert journal.append(kept(41)) is (size > SIZE)
        journal.confirm(40)
    with opened(tmp_path / "link", size):
        assert {file.stat().st_size for file in tmp_path.iterdir()} == {size}


def test_a_directory_that_is_not_there_is_told_in_plain_words(
    tmp_path: Path, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    with pytest.raises(StoreError, match="nowhere/link: No such file or directory") as caught:
        Journal.open(tmp_path / "nowhere" / "link", SIZE)
    assert not caught.value.full
    assert descriptors() == before


@pytest.mark.parametrize(("number", "full"), [(ENOSPC, True), (EIO, False)])
def test_a_write_that_fails_is_told_and_can_be_tried_again(tmp_path: Path, number: int, full: bool) -> None:
    trouble = False

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if trouble:
            raise OSError(number, os.strerror(number))
        return os.pwrite(file, data, offset)

    journal = Journal.open(tmp_path / "link", SIZE, pwrite)
    assert journal.append(kept(1))
    trouble = True
    for attempt in (lambda: journal.append(kept(2)), lambda: journal.confirm(1)):
        with pytest.raises(StoreError, match=os.strerror(number)) as caught:
            attempt()
        assert caught.value.full is full
    trouble = False
    assert journal.append(kept(2))
    journal.close()
    with opened(tmp_path / "link") as journal:
        assert [one.number for one in journal.recovered.records] == [1, 2]


def test_a_write_that_is_cut_short_is_no_success(tmp_path: Path) -> None:
    written: list[int] = []

    def pwrite(file: int, data: bytes, offset: int) -> int:
        written.append(len(data))
        return os.pwrite(file, data[:20] if len(written) == 6 else data, offset)

    journal = Journal.open(tmp_path / "link", SIZE, pwrite)
    assert len(written) == 5  # a state at first; both segments: what lives, then the mark
    with pytest.raises(StoreError, match="only a part") as caught:
        journal.append(kept(1))
    assert caught.value.full
    journal.close()


def test_a_full_tmpfs_is_found_when_it_is_opened_not_later() -> None:
    size = 1 << 50
    if (
        "tmpfs /dev/shm tmpfs" not in Path("/proc/mounts").read_text()
        or not shutil.disk_usage("/dev/shm").total
    ):
        pytest.skip("/dev/shm has no bound")
    with TemporaryDirectory(dir="/dev/shm") as name:
        path = Path(name) / "link"
        with opened(path) as journal:
            assert journal.append(kept(1))
        with pytest.raises(StoreError, match="No space left") as caught:
            Journal.open(path, size)
        assert caught.value.full
        with opened(path) as journal:
            assert journal.recovered.records == [kept(1)]


CHILD = """
import os, sys
from pathlib import Path
from gateway.store.frames import Kept
from gateway.store.journal import Journal

journal = Journal.open(Path(sys.argv[1]), 8192)
number = journal.recovered.next_number
while True:
    assert journal.append(Kept(number, "hall/scale", number, 0.0, True, b"%d " % number * (number % 20)))
    os.write(1, b"%d\\n" % number)
    if number % 7 == 0:
        journal.confirm(number - 10)
    number += 1
"""


def test_kill_9_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    path, taken = tmp_path / "link", set[int]()
    for kill in range(8):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)
        with child, child.stdout or open(os.devnull) as numbers:
            taken |= {int(numbers.readline()) for _ in range(50 + 331 * kill)}
            child.kill()
            taken |= {int(line) for line in numbers}
        assert child.returncode == -signal.SIGKILL
        with opened(path, 8192) as journal:
            found = journal.recovered
        assert found.damaged <= 1  # a write that was cut
        assert found.next_number > max(taken) <= found.seqs["hall/scale"]
        assert max(taken) - 18 < found.confirmed
        assert taken <= {one.number for one in found.records} | set(range(1, found.confirmed + 1))
        assert all(one.payload == b"%d " % one.number * (one.number % 20) for one in found.records)
        assert found.records == sorted(found.records)
