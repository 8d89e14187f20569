"""Records on disk: what each call does, and a model of random calls and crashes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import pytest
from cold_kit import RAM, everything, fill, frames, kept, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.buffer import Record
from gateway.errors import StoreError
from gateway.store.cold import Cold
from gateway.store.frames import pack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.buffer"


@pytest.fixture
def opened(path: Path) -> Iterator[Cold]:
    cold = Cold.open(path)
    yield cold
    cold.close()


def test_what_was_put_comes_back_in_order_and_is_still_there_after_a_restart(path: Path) -> None:
    cold = Cold.open(path)
    fill(cold, 1, 1000)
    assert everything(cold) == [kept(number) for number in range(1, 1001)]
    cold.close()
    cold = Cold.open(path)
    assert numbers(cold) == list(range(1, 1001))
    assert (cold.records, cold.first, cold.last) == (1000, 1, 1000)
    assert (cold.confirmed, cold.gone) == (0, 0)
    cold.close()


def test_a_new_file_is_empty_and_for_its_owner_only(opened: Cold, path: Path) -> None:
    assert (opened.records, opened.first, opened.last, opened.take(0, 10, 1000)) == (0, 1, 0, [])
    opened.put(frames(1, 1), 0)
    for name in (path, path.with_name(f"{path.name}-wal")):
        assert S_IMODE(name.stat().st_mode) == 0o600


def test_take_keeps_to_its_bounds_but_never_gives_nothing(opened: Cold) -> None:
    opened.put(frames(1, 300), 0)
    assert [record.number for record in opened.take(140, 3, 1 << 20)] == [141, 142, 143]
    assert len(opened.take(0, 100, 1000)) == 5
    assert len(opened.take(0, 100, 10)) == 1
    opened.put([(301, pack(kept(301, 60_000)))], 0)
    assert [len(record.payload) for record in opened.take(300, 9, 1000)] == [60_000]
    assert opened.take(301, 9, 1000) == []


def test_what_is_confirmed_is_gone_though_half_of_its_row_stays(opened: Cold, path: Path) -> None:
    opened.put(frames(1, 300), 0)
    opened.confirm(150)
    assert (opened.records, opened.first, opened.last) == (150, 151, 300)
    assert numbers(opened) == list(range(151, 301))
    before = opened.size
    opened.put(frames(301, 301), 290)  # in one transaction
    assert (opened.records, opened.first, opened.last) == (11, 291, 301)
    assert opened.size < before
    opened.confirm(301)
    assert (opened.records, opened.first, opened.last, numbers(opened)) == (0, 302, 301, [])
    opened.confirm(5)  # late: nothing goes back
    opened.put(frames(302, 302), 5)
    assert (opened.confirmed, opened.first, opened.last) == (301, 302, 302)


def test_the_same_put_twice_stands_there_once(opened: Cold) -> None:
    opened.put(frames(1, 50), 0)
    opened.put(frames(1, 60), 0)
    assert (opened.records, numbers(opened)) == (60, list(range(1, 61)))


def test_the_oldest_make_room_in_whole_rows(opened: Cold) -> None:
    fill(opened, 1, 2000)
    before = opened.size
    gone = opened.drop_oldest(100_000)
    assert 100_000 <= before - opened.size <= 140_000
    assert (opened.records, numbers(opened)) == (2000 - gone, list(range(gone + 1, 2001)))
    assert opened.drop_oldest(1 << 30) == 2000 - gone
    assert (opened.records, opened.first, opened.last) == (0, 2001, 2000)
    assert opened.drop_oldest(1) == 0


def test_small_rows_make_room_too_and_of_a_half_confirmed_one_half_goes(opened: Cold) -> None:
    for number in range(1, 501):
        opened.put(frames(number, number, size=10), 0)
    opened.put(frames(501, 600, size=10), 0)
    before = opened.size
    gone = opened.drop_oldest(3000)
    assert before - opened.size >= 3000
    assert numbers(opened) == list(range(gone + 1, 601))
    opened.confirm(550)
    assert opened.drop_oldest(1) == 50


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
    opened.put([*unset[:2], (3, pack(kept(3, at=100.0))), unset[2]], 0)
    assert opened.older_than(50.0) == 0
    assert opened.older_than(101.0) == 3
    assert numbers(opened) == [4]


def test_a_file_that_nobody_wants_any_more_goes_and_a_new_one_begins(path: Path) -> None:
    aside, unfinished = (path.with_name(path.name + ending) for ending in (".damaged-1", ".new"))
    aside.touch()
    unfinished.touch()
    cold = Cold.open(path)
    fill(cold, 1, 100)
    cold.remove()
    assert list(path.parent.iterdir()) == [aside]
    with pytest.raises(StoreError, match="it is closed"):
        cold.put(frames(101, 101), 0)
    cold = Cold.open(path)
    assert (cold.records, cold.confirmed, cold.first, cold.last) == (0, 0, 1, 0)
    cold.put(frames(101, 110), 100)
    assert (numbers(cold), cold.first) == (list(range(101, 111)), 101)
    cold.close()


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
        self.records: list[Record] = []
        self.next, self.confirmed = 1, 0

    def call(self, what: str, a: int, b: int) -> None:
        getattr(self, what)(a, b)
        live = [record.number for record in self.records]
        assert self.cold.records == len(live)
        assert self.cold.confirmed == self.confirmed
        if live:
            assert self.cold.last == live[-1]
            assert self.confirmed < self.cold.first <= live[0]

    def put(self, count: int, size: int) -> None:
        new = [kept(self.next + i, size) for i in range(count)]
        self.next += count
        self.records += new
        self.cold.put([(one.number, pack(one)) for one in new], 0)

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
        self.gone_to(self.cold.confirmed)
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
        assert model.cold.gone == 0
        model.cold.close()
