"""Records on disk: a model of random calls and crashes, and every way in which a disk lets one down."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway
from gateway.errors import StoreError
from gateway.store.cold import Cold
from gateway.store.frames import Kept, pack
from gateway.store.meta import Meta

STREAM = "port/scale"
RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # for what is a model and syncs a lot


def kept(number: int, size: int = 200, at: float | None = None, clock_set: bool = True) -> Kept:
    payload = (b"%08d " % number * (size // 9 + 1))[:size]
    return Kept(number, STREAM, number, float(number) if at is None else at, clock_set, payload)


def frames(first: int, last: int, size: int = 200) -> list[tuple[int, bytes]]:
    return [(number, pack(kept(number, size))) for number in range(first, last + 1)]


def fill(cold: Cold, first: int, last: int, size: int = 200) -> None:
    """In transactions of 100, as a spill does it."""
    for start in range(first, last + 1, 100):
        end = min(start + 99, last)
        cold.put(frames(start, end, size), Meta(next_number=end + 1, seqs={STREAM: end}))


def everything(cold: Cold, after: int = 0) -> list[Kept]:
    found: list[Kept] = []
    while more := cold.take(found[-1].number if found else after, 100, 1 << 20):
        found += more
    return found


def numbers(cold: Cold) -> list[int]:
    return [record.number for record in everything(cold)]


def is_true(found: list[Kept]) -> bool:
    """In order, each once, nothing that was never put."""
    order = [record.number for record in found]
    return order == sorted(set(order)) and all(
        record == kept(record.number, len(record.payload)) for record in found
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.buffer"


@pytest.fixture
def opened(path: Path) -> Iterator[Cold]:
    cold = Cold.open(path)
    yield cold
    cold.close()


# ------------------------------------------------------------------------------------------------ the queue


def test_what_was_put_comes_back_in_order_and_is_still_there_after_a_restart(path: Path) -> None:
    cold = Cold.open(path)
    fill(cold, 1, 1000)
    assert everything(cold) == [kept(number) for number in range(1, 1001)]
    cold.close()
    cold = Cold.open(path)
    assert numbers(cold) == list(range(1, 1001))
    assert (cold.records, cold.first, cold.last) == (1000, 1, 1000)
    assert cold.meta == Meta(next_number=1001, seqs={STREAM: 1000}, records=1000)
    cold.close()


def test_a_new_file_is_empty_and_for_its_owner_only(opened: Cold, path: Path) -> None:
    assert (opened.records, opened.first, opened.last, opened.take(0, 10, 1000)) == (0, 1, 0, [])
    opened.put(frames(1, 1), Meta())
    for name in (path, path.with_name(f"{path.name}-wal")):
        assert S_IMODE(name.stat().st_mode) == 0o600


def test_take_keeps_to_its_bounds_but_never_gives_nothing(opened: Cold) -> None:
    opened.put(frames(1, 300), Meta())
    assert [record.number for record in opened.take(140, 3, 1 << 20)] == [141, 142, 143]
    assert len(opened.take(0, 100, 1000)) == 5
    assert len(opened.take(0, 100, 10)) == 1
    opened.put([(301, pack(kept(301, 60_000)))], Meta())
    assert [len(record.payload) for record in opened.take(300, 9, 1000)] == [60_000]
    assert opened.take(301, 9, 1000) == []


def test_what_is_confirmed_is_gone_though_half_of_its_row_stays(opened: Cold, path: Path) -> None:
    opened.put(frames(1, 300), Meta())
    opened.confirm(150)
    assert (opened.records, opened.first, opened.last) == (150, 151, 300)
    assert numbers(opened) == list(range(151, 301))
    before = opened.size
    opened.put(frames(301, 301), replace(opened.meta, confirmed=290))  # in one transaction
    assert (opened.records, opened.first, opened.last) == (11, 291, 301)
    assert opened.size < before
    opened.confirm(301)
    assert (opened.records, opened.first, opened.last, numbers(opened)) == (0, 302, 301, [])
    opened.confirm(5)  # late: nothing goes back
    assert opened.meta.confirmed == 301


def test_the_same_put_twice_stands_there_once(opened: Cold) -> None:
    opened.put(frames(1, 50), Meta())
    opened.put(frames(1, 60), Meta())
    assert (opened.records, numbers(opened)) == (60, list(range(1, 61)))


def test_the_oldest_make_room_in_whole_rows(opened: Cold) -> None:
    fill(opened, 1, 2000)
    before = opened.size
    gone = opened.drop_oldest(100_000)
    assert before - opened.size >= 95_000
    assert (opened.records, numbers(opened)) == (2000 - gone, list(range(gone + 1, 2001)))
    assert opened.drop_oldest(1 << 30) == 2000 - gone
    assert opened.records == 0


def test_what_is_too_old_goes_to_the_record(opened: Cold) -> None:
    fill(opened, 1, 2000)
    assert opened.older_than(151.0) == 150
    assert numbers(opened) == list(range(151, 2001))
    assert opened.older_than(151.0) == 0
    while opened.older_than(1900.0):
        pass
    assert (opened.first, opened.records) == (1900, 101)


def test_what_was_kept_before_the_clock_was_set_has_no_age(opened: Cold) -> None:
    unset = [(number, pack(kept(number, at=5.0, clock_set=False))) for number in (1, 2, 4)]
    opened.put([*unset[:2], (3, pack(kept(3, at=100.0))), unset[2]], Meta())
    assert opened.older_than(50.0) == 0
    assert opened.older_than(101.0) == 3
    assert numbers(opened) == [4]


def test_reserved_numbers_are_not_given_again_unless_the_stop_was_clean(path: Path) -> None:
    cold = Cold.open(path)
    cold.reserve_seqs({STREAM: 10, "port/b": 0}, ahead=1000)
    cold.put(frames(1, 1), Meta(next_number=2, seqs={STREAM: 11}))
    assert cold.meta.seqs == {STREAM: 1010, "port/b": 1000}
    cold.close()
    cold = Cold.open(path)
    assert cold.meta.seqs == {STREAM: 1010, "port/b": 1000}
    cold.close(replace(cold.meta, seqs={STREAM: 12}))
    cold = Cold.open(path)
    assert cold.meta.seqs == {STREAM: 12, "port/b": 1000}
    cold.close()


def test_a_drained_file_gives_its_space_back(opened: Cold, path: Path) -> None:
    opened.put(frames(1, 200, size=30_000), Meta())
    opened.shrink()
    assert numbers(opened) == list(range(1, 201))
    opened.confirm(200)
    assert opened.size < 10_000 < 4 << 20 < path.stat().st_size
    opened.shrink()
    assert path.stat().st_size < 10_000
    opened.put(frames(201, 210), Meta())
    assert numbers(opened) == list(range(201, 211))


CALLS = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 300), st.integers(0, 400)),
    st.tuples(st.just("put"), st.integers(1, 3), st.integers(0, 60_000)),
    st.tuples(st.just("skip"), st.integers(1, 5), st.just(0)),
    st.tuples(
        st.sampled_from(["take", "confirm", "drop", "expire"]), st.integers(0, 400), st.integers(1, 200)
    ),
    st.tuples(st.sampled_from(["reopen", "crash"]), st.just(0), st.just(0)),
)


class Model:
    """The plain list, and the file that has to say the same."""

    def __init__(self, place: Path) -> None:
        self.path, self.crashes = place / "q0", 0
        self.cold = Cold.open(self.path)
        self.records: list[Kept] = []
        self.next, self.confirmed = 1, 0

    def call(self, what: str, a: int, b: int) -> None:
        getattr(self, what)(a, b)
        live = [record.number for record in self.records]
        assert self.cold.records == len(live)
        assert self.cold.meta.confirmed == self.confirmed
        if live:
            assert self.cold.last == live[-1]
            assert self.confirmed < self.cold.first <= live[0]

    def put(self, count: int, size: int) -> None:
        new = [kept(self.next + i, size) for i in range(count)]
        self.next += count
        self.records += new
        self.cold.put([(one.number, pack(one)) for one in new], Meta(next_number=self.next))

    def skip(self, count: int, _: int) -> None:
        self.next += count

    def take(self, ahead: int, most: int) -> None:
        after = self.confirmed + ahead
        expected = [one for one in self.records if one.number > after][:most]
        assert self.cold.take(after, most, 1 << 30) == expected

    def confirm(self, ahead: int, _: int) -> None:
        self.gone_to(min(self.confirmed + ahead, self.next - 1))
        self.cold.confirm(self.confirmed)

    def drop(self, size: int, _: int) -> None:
        before = len(self.records)
        gone = self.cold.drop_oldest(size * 100)
        self.gone_to(self.cold.meta.confirmed)
        assert before - len(self.records) == gone

    def expire(self, ahead: int, _: int) -> None:
        at = self.confirmed + ahead
        before = len(self.records)
        gone = self.cold.older_than(float(at))
        old = [one.number for one in self.records if one.at < at]
        assert gone == len(old) or gone > 0  # at most 64 rows in one go
        self.gone_to(old[gone - 1] if gone else self.confirmed)
        assert before - len(self.records) == gone

    def gone_to(self, number: int) -> None:
        self.confirmed = max(self.confirmed, number)
        self.records = [one for one in self.records if one.number > self.confirmed]

    def reopen(self, _: int, __: int) -> None:
        self.cold.close()
        self.cold = Cold.open(self.path)

    def crash(self, _: int, __: int) -> None:
        """What stands on the disk at this moment is what the next process finds."""
        self.crashes += 1
        copy = self.path.with_name(f"q{self.crashes}")
        for ending in ("", "-wal"):
            shutil.copy(f"{self.path}{ending}", f"{copy}{ending}")
        self.cold.close()
        self.path, self.cold = copy, Cold.open(copy)


@given(st.lists(CALLS, max_size=25))
@settings(max_examples=120)
def test_whatever_is_called_it_is_a_plain_list(calls: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory(dir=RAM) as place:
        model = Model(Path(place))
        for call in calls:
            model.call(*call)
        assert everything(model.cold) == model.records
        assert (model.cold.damaged, model.cold.lost) == (0, 0)
        model.cold.close()


# ------------------------------------------------------------------------------------------ kill -9, disks

WRITER = """
import sys
from pathlib import Path
from test_cold import Cold, Meta, frames
cold = Cold.open(Path(sys.argv[1]))
while True:
    first = cold.last + 1
    cold.put(frames(first, first + 6), Meta(next_number=first + 7, confirmed=first - 500))
    print(cold.last, flush=True)
"""
HERE = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{Path(gateway.__file__).parents[1]}"}


def test_kill_9_loses_nothing_that_was_committed(path: Path) -> None:
    dice = random.Random(4)
    last = 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=HERE
        ) as child:
            assert child.stdout
            for _ in range(dice.randrange(1, 60)):
                last = int(child.stdout.readline())
            time.sleep(dice.random() / 500)  # somewhere inside a transaction
            child.kill()
            last = max([last, *map(int, child.stdout.read().split("\n")[:-1])])
        cold = Cold.open(path)
        found = everything(cold)
        assert is_true(found)
        assert [one.number for one in found] == list(range(max(cold.meta.confirmed, 0) + 1, cold.last + 1))
        assert last <= cold.last <= last + 7
        assert (cold.records, cold.damaged, cold.lost) == (len(found), 0, 0)
        cold.close()


def in_small_disk(script: str) -> dict[str, Any]:
    """Runs it in a mount namespace, in a directory that is a tmpfs of 1 MB. It prints JSON."""
    place = tempfile.mkdtemp()
    mount = f"mount -t tmpfs -o size=1m none {place} && exec {sys.executable} - {place}"
    if subprocess.run(["unshare", "-Urm", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("unshare is not allowed here")
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount],
        input=f"import json, os, sys\nfrom pathlib import Path\nfrom test_cold import *\n{script}",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=HERE,
    )
    os.rmdir(place)
    return dict(json.loads(done.stdout))


FULL = """
others = Path(sys.argv[1], "others")
others.write_bytes(bytes(300_000))
cold = Cold.open(Path(sys.argv[1], "q"))
def until_full():
    while True:
        try:
            cold.put(frames(cold.last + 1, cold.last + 20), Meta(next_number=cold.last + 21))
        except StoreError as error:
            return [str(error), error.full, numbers(cold) == list(range(cold.first, cold.last + 1)),
            cold.records]
first = until_full()
again = until_full()
others.unlink()
gone = cold.drop_oldest(100_000)
second = until_full()
cold.close()
cold = Cold.open(Path(sys.argv[1], "q"))
print(json.dumps({"first": first, "again": again, "gone": gone, "second": second, "at_end": numbers(cold)}))
"""


@pytest.mark.needs("unshare", "mount")
def test_a_full_disk_is_told_and_keeps_what_it_has_and_goes_on_when_there_is_room() -> None:
    found = in_small_disk(FULL)
    reason, full, whole, records = found["first"]
    assert reason.endswith("the disk is full")
    assert (full, whole) == (True, True)
    assert records > 500
    assert found["again"] == found["first"]
    assert found["gone"] > 300
    assert found["second"][1:3] == [True, True]
    assert len(found["at_end"]) == found["second"][3] > records - found["gone"]
    assert found["at_end"][0] == found["gone"] + 1


BROKEN = """
import json, resource, sys
from pathlib import Path
from test_cold import *
path = Path(sys.argv[1])
cold = Cold.open(path)
fill(cold, 1, 500)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    fill(cold, 501, 5000)
except StoreError as error:
    told = [str(error).rpartition(": ")[2], error.full]
last = cold.last
stood = numbers(cold) == list(range(1, last + 1))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
cold.close()
cold = Cold.open(path)
print(json.dumps([told, stood, cold.records - last, cold.lost + cold.damaged]))
"""


def test_a_disk_that_does_not_write_is_told_and_what_was_committed_is_there_later(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(path)], stdout=subprocess.PIPE, check=True, env=HERE
    )
    assert json.loads(done.stdout) == [["the disk has an error", False], True, 0, 0]


NO_ROOM_TO_SAVE = """
path, others = Path(sys.argv[1], "q"), Path(sys.argv[1], "others")
cold = Cold.open(path)
fill(cold, 1, 1000)
cold.close()
rewrite(path, lambda data: data.__setitem__(slice(0, 100), b"g" * 100))
others.write_bytes(bytes(600_000))
try:
    Cold.open(path)
except StoreError as error:
    told = [str(error).rpartition(": ")[2], error.full]
others.unlink()
cold = Cold.open(path)
print(json.dumps({"told": told, "asides": asides(path), "records": [cold.records, len(everything(cold))]}))
"""


@pytest.mark.needs("unshare", "mount")
def test_a_damaged_file_waits_where_it_is_until_there_is_room_to_save_it() -> None:
    found = in_small_disk(NO_ROOM_TO_SAVE)
    assert found == {"told": ["the disk is full", False], "asides": [".damaged-1"], "records": [1000, 1000]}


READ_ONLY = """
def refused(call):
    try:
        call()
    except StoreError as error:
        return [str(error).rpartition(": ")[2], error.full]
def remount(how):
    subprocess.run(["mount", "-o", "remount," + how, sys.argv[1]], check=True)
path = Path(sys.argv[1], "q")
cold = Cold.open(path)
fill(cold, 1, 500)
cold.close()
remount("ro")
at_start = refused(lambda: Cold.open(path))
remount("rw")
cold = Cold.open(path)
fill(cold, 501, 600)
cold.close()
print(json.dumps({"at_start": at_start, "records": Cold.open(path).records}))
"""


@pytest.mark.needs("unshare", "mount")
def test_a_read_only_disk_is_told_and_used_again_once_it_can_be_written() -> None:
    found = in_small_disk(READ_ONLY)
    assert found == {"at_start": ["the disk is read-only", False], "records": 600}


def test_a_file_that_is_gone_is_told_and_a_new_one_begun(path: Path) -> None:
    place = path.parent / "state"
    place.mkdir()
    cold = Cold.open(place / "q")
    fill(cold, 1, 100)
    shutil.rmtree(place)
    with pytest.raises(StoreError, match="it is gone") as told:
        cold.put(frames(101, 110), Meta())
    assert not told.value.full
    assert cold.records == 100
    cold.close()
    cold = Cold.open(place / "q")
    cold.put(frames(101, 110), Meta())
    assert numbers(cold) == list(range(101, 111))
    cold.close()


def test_nobody_else_has_the_file_meanwhile(opened: Cold, path: Path) -> None:
    with pytest.raises(StoreError, match="another program has it open"):
        Cold.open(path)
    fill(opened, 1, 10)
    assert opened.records == 10


def test_a_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as told:
        Cold.open(tmp_path)
    assert not told.value.full
    with pytest.raises(StoreError):
        Cold.open(tmp_path / "no" / "such" / "place")


# ------------------------------------------------------------------------------------------------- damage


def filled(path: Path, last: int = 10_000) -> None:
    cold = Cold.open(path)
    fill(cold, 1, last)
    cold.close()


def rewrite(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def test_flipped_bytes_cost_the_records_in_which_they_are(path: Path) -> None:
    filled(path)

    def flip(data: bytearray) -> None:
        for number in range(300, 10_000, 500):
            data[data.index(b"%08d %08d" % (number, number)) + 3] ^= 0x55

    rewrite(path, flip)
    cold = Cold.open(path)
    found = everything(cold)
    assert is_true(found)
    assert (len(found), cold.damaged) == (9980, 20)
    assert len(everything(cold)) == 9980
    assert cold.damaged == 20  # each counted once, however often it is read
    cold.confirm(10_000)
    assert cold.records == 0
    cold.close()


def destroy_pages(path: Path, count: int) -> None:
    dice = random.Random(count)

    def garbage(data: bytearray) -> None:
        for page in dice.sample(range(1, len(data) // 1024), count):
            data[page * 1024 : page * 1024 + 1024] = dice.randbytes(1024)

    rewrite(path, garbage)


def asides(path: Path) -> list[str]:
    return sorted(name.name.removeprefix(path.name) for name in path.parent.glob("*damaged-?"))


def test_destroyed_pages_cost_little_more_than_what_stood_in_them(path: Path) -> None:
    filled(path)
    destroy_pages(path, 40)
    cold = Cold.open(path)
    found = everything(cold)
    print(f"\n40 of 2,500 pages destroyed: {len(found)} of 10,000 records; {cold.saved=} {cold.lost=}")
    assert is_true(found)
    assert len(found) > 9_500
    assert cold.damaged + cold.lost == 10_000 - len(found)
    cold.put(frames(10_001, 10_100), cold.meta)
    assert len(everything(cold)) == len(found) + 100
    cold.close()


@pytest.mark.parametrize(
    ("change", "least"),
    [
        pytest.param(lambda data: data.__setitem__(slice(0, 100), b"g" * 100), 9_999, id="header"),
        pytest.param(lambda data: data.__setitem__(slice(0, 1024), bytes(1024)), 9_999, id="first page"),
        pytest.param(lambda data: data.__delitem__(slice(len(data) * 2 // 3, None)), 6_500, id="truncated"),
        pytest.param(
            lambda data: data.__delitem__(slice(1500, None)), 0, id="truncated to a page and a half"
        ),
        pytest.param(lambda data: data.__setitem__(slice(None), b"no database\n" * 1000), 0, id="garbage"),
    ],
)
def test_a_broken_file_is_set_aside_and_what_is_whole_in_it_saved(
    path: Path, change: Callable[[bytearray], object], least: int
) -> None:
    filled(path)
    rewrite(path, change)
    cold = Cold.open(path)
    found = everything(cold)
    print(f"\nsaved {cold.saved}, lost {cold.lost}, read {len(found)}")
    assert is_true(found)
    assert len(found) >= least
    assert asides(path) == [".damaged-1"]
    cold.put(frames(10_001, 10_100), replace(cold.meta, next_number=10_101))
    cold.close()
    cold = Cold.open(path)
    assert len(everything(cold)) == len(found) + 100
    cold.close()


@pytest.mark.parametrize("content", [b"", b"S"])
def test_a_file_with_nothing_in_it_is_a_new_one(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    cold = Cold.open(path)
    assert (cold.records, cold.meta, asides(path)) == (0, Meta(), [])
    cold.close()


def test_the_meta_is_found_in_a_damaged_file_too_and_what_was_confirmed_stays_dead(path: Path) -> None:
    cold = Cold.open(path)
    fill(cold, 1, 1000)
    cold.reserve_seqs({STREAM: 1000}, ahead=500)
    cold.confirm(700)
    cold.close()
    rewrite(path, lambda data: data.__setitem__(slice(0, 100), b"g" * 100))
    cold = Cold.open(path)
    assert cold.meta == Meta(next_number=1001, confirmed=700, seqs={STREAM: 1500}, records=300)
    assert (numbers(cold), cold.saved, cold.lost) == (list(range(701, 1001)), 300, 0)
    cold.close()


def test_damage_while_it_is_open_is_healed_within_the_call_that_finds_it(path: Path) -> None:
    filled(path)
    cold = Cold.open(path)
    destroy_pages(path, 300)
    found = everything(cold)
    assert is_true(found)
    assert asides(path) == [".damaged-1"]
    assert cold.saved > 5_000
    assert cold.lost + cold.saved == 10_000
    assert cold.meta.next_number == 10_001
    cold.put(frames(10_001, 10_100), cold.meta)
    assert [one.number for one in everything(cold, 10_000)] == list(range(10_001, 10_101))
    cold.close()


def test_at_most_three_damaged_files_are_kept(path: Path) -> None:
    for _ in range(5):
        path.write_bytes(b"no database\n" * 1000)
        Cold.open(path).close()
    assert asides(path) == [".damaged-1", ".damaged-2", ".damaged-3"]


def test_killed_while_a_damaged_file_was_set_aside_it_goes_on_with_the_new_one(path: Path) -> None:
    filled(path, 500)
    path.rename(f"{path}.new")
    path.with_name(f"{path.name}-wal").write_bytes(b"of the damaged one")
    cold = Cold.open(path)
    assert numbers(cold) == list(range(1, 501))
    cold.close()


BLOWS = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "zero", "shift"]), st.floats(0, 1), st.integers(1, 3000)),
    min_size=1,
)


@given(BLOWS, st.booleans(), st.integers(0, 600))
@settings(max_examples=160)
def test_no_damage_makes_it_fail_or_say_what_is_not_true(
    blows: list[tuple[str, float, int]], in_wal: bool, confirmed: int
) -> None:
    with tempfile.TemporaryDirectory(dir=RAM) as place:
        path, original = Path(place, "q"), Path(place, "live")
        live = Cold.open(original)
        fill(live, 1, 700)
        live.confirm(confirmed)
        if in_wal:
            shutil.copy(original, path)
            shutil.copy(f"{original}-wal", f"{path}-wal")
        live.close()
        if not in_wal:
            shutil.copy(original, path)
        struck = Path(f"{path}-wal") if in_wal else path
        for blow in blows:
            rewrite(struck, partial(strike, *blow))
        cold = Cold.open(path)
        assert is_true(everything(cold))
        top = max(cold.last, 700)
        cold.put(frames(top + 1, top + 10), cold.meta)
        assert [one.number for one in everything(cold, top)] == list(range(top + 1, top + 11))
        cold.confirm(top + 10)
        assert everything(cold) == []
        cold.close()


def strike(how: str, where: float, size: int, data: bytearray) -> None:
    at = int(where * len(data))
    if how == "flip" and at < len(data):
        data[at] ^= size & 0xFF or 1
    elif how == "cut":
        del data[at:]
    elif how == "zero":
        data[at : at + size] = bytes(len(data[at : at + size]))
    elif how == "shift":
        del data[at : at + size]


# ------------------------------------------------------------------------------------------------ figures


def written() -> int:
    with open("/proc/self/io") as io:
        return int(next(line for line in io if line.startswith("write_bytes")).split()[1])


def test_what_a_record_costs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed; on a disk of RAM nothing is written."""
    cold = Cold.open(path)
    start, clock = written(), time.perf_counter()
    fill(cold, 1, 20_000)
    filling = time.perf_counter() - clock
    middle, clock = written(), time.perf_counter()
    found = 0
    while batch := cold.take(found, 100, 1 << 20):
        found = batch[-1].number
        if found % 5_000 == 0:
            cold.confirm(found)
    draining = time.perf_counter() - clock
    end = written()
    cold.put(new := frames(20_001, 21_000), cold.meta)
    clock = time.perf_counter()
    cold.put([(number + 1000, frame) for number, frame in new], cold.meta)
    thousand = time.perf_counter() - clock
    cold.close()
    per_record = [(middle - start) / 20_000, (end - middle) / 20_000]
    with capsys.disabled():
        print(
            "\ncold, 200-byte records, 100 per commit: {:.0f} bytes written per record, {:.0f} on drain; "
            "put {:.1f} us per record, take of 100 {:.2f} ms, put of 1000 {:.1f} ms".format(
                *per_record, filling / 20_000 * 1e6, draining / 200 * 1e3, thousand * 1e3
            )
        )
    assert found == 20_000
    assert per_record[0] < 200 * 7
