"""Records on disk: whatever happens to the bytes of the file, what is whole in it is found."""

import random
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cold_kit import RAM, asides, everything, fill, filled, frames, is_true, numbers, rewrite
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store.cold import Cold


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.buffer"


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


def test_destroyed_pages_cost_little_more_than_what_stood_in_them(path: Path) -> None:
    filled(path)
    destroy_pages(path, 40)
    cold = Cold.open(path)
    found = everything(cold)
    print(f"\n40 of 2,500 pages destroyed: {len(found)} of 10,000 records; {cold.saved=} {cold.lost=}")
    assert is_true(found)
    assert len(found) > 9_500
    assert cold.gone == 10_000 - len(found)
    cold.put(frames(10_001, 10_100), 0)
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
    cold.put(frames(10_001, 10_100), 0)
    cold.close()
    cold = Cold.open(path)
    assert len(everything(cold)) == len(found) + 100
    cold.close()


@pytest.mark.parametrize("content", [b"", b"S"])
def test_a_file_with_nothing_in_it_is_a_new_one(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    cold = Cold.open(path)
    assert (cold.records, cold.confirmed, asides(path)) == (0, 0, [])
    cold.close()


def test_what_was_confirmed_stays_dead_in_a_damaged_file_too(path: Path) -> None:
    cold = Cold.open(path)
    fill(cold, 1, 1000)
    cold.confirm(700)
    cold.close()
    rewrite(path, lambda data: data.__setitem__(slice(0, 100), b"g" * 100))
    cold = Cold.open(path)
    assert (cold.confirmed, cold.records) == (700, 300)
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
    cold.put(frames(10_001, 10_100), 0)
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
        cold.put(frames(top + 1, top + 10), 0)
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
