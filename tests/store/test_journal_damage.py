"""A journal whose files are not what was written there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_kit import (
    SIZE,
    STEPS,
    STREAMS,
    Disk,
    Model,
    Step,
    both,
    directory,
    generation,
    live,
    opened,
    pack_size,
    record,
    run,
)

from gateway.buffer import Record
from gateway.store.frames import pack
from gateway.store.journal import Journal


def filled(path: Path, steps: list[Step]) -> Model:
    """A journal that has gone through all of this, and was killed."""
    model = Model()
    live(path, Disk(), model, steps)
    return model


def damage(file: Path, how: str, place: float, length: int, rubbish: bytes = b"") -> None:
    content = bytearray(file.read_bytes())
    start = int(place * len(content))
    there = content[start : start + length]
    match how:
        case "truncate":
            del content[start:]
        case "zero":
            content[start : start + length] = bytes(len(there))
        case "flip":
            content[start : start + length] = bytes(byte ^ 0x55 for byte in there)
        case "rubbish":
            content[start : start + length] = (rubbish * length)[: len(there)]
    file.write_bytes(content)


@settings(max_examples=500)
@given(
    STEPS,
    st.sampled_from(["truncate", "zero", "flip"]),
    st.integers(0, 1),
    st.floats(0, 1),
    st.integers(1, 300),
)
def test_damage_in_one_place_costs_only_what_stood_there(
    steps: list[Step], how: str, which: int, place: float, length: int
) -> None:
    with directory() as path:
        model = filled(path, steps)
        damage(both(path)[which], how, place, length)
        with opened(path) as journal:
            found = journal.recovered
            assert found.records == [one for one in model.records if one in found.records]
            gone = [one for one in model.live if one not in found.records]
            assert sum(pack_size(one) for one in gone) < length + 2 * 2600 or how == "truncate"
            assert found.damaged >= len([one for one in gone if one.number < found.next_number])
            if how == "truncate" and 0 < int(place * SIZE) < SIZE:
                assert found.damaged
            assert found.confirmed <= model.confirmed
            assert found.next_number <= model.next_number
            assert all(seq <= model.seqs[stream] for stream, seq in found.seqs.items())
            after = record(found.next_number, seq=10_000)
            room = journal.append(after)
        with opened(path) as journal:
            assert journal.recovered.records == found.records + [after] * room
            assert journal.recovered.seqs == found.seqs | ({after.stream: 10_000} if room else {})


@settings(max_examples=300)
@given(
    STEPS,
    st.lists(
        st.tuples(
            st.sampled_from(["truncate", "zero", "flip", "rubbish"]),
            st.integers(0, 1),
            st.floats(0, 1),
            st.integers(1, 100),
        ),
        min_size=1,
        max_size=9,
    ),
    st.binary(min_size=1, max_size=100),
)
def test_whatever_stands_in_the_files_it_opens_and_invents_nothing(
    steps: list[Step], places: list[tuple[str, int, float, int]], rubbish: bytes
) -> None:
    with directory() as path:
        model = filled(path, steps)
        for how, which, place, length in places:
            damage(both(path)[which], how, place, length, rubbish)
        with opened(path) as journal:
            found = journal.recovered.records
            assert found == [one for one in model.records if one in found]
            assert journal.append(record(journal.recovered.next_number, seq=9999)) or found


def test_records_that_are_missing_are_counted_and_the_others_come_back(tmp_path: Path) -> None:
    path, records = tmp_path / "link", run(1, 20)
    with opened(path) as journal:
        assert all(journal.append(one) for one in records)
    for file in both(path):
        content = file.read_bytes()
        file.write_bytes(content.replace(b"record 5.", b"record 6.").replace(b"record 17", b"record 71"))
    for _ in range(2):
        with opened(path) as journal:
            assert journal.recovered.damaged == 2
            assert journal.recovered.records == [one for one in records if one.number not in {5, 17}]
            assert journal.recovered.next_number == 21
    with opened(path) as journal:
        journal.confirm(17)
    with opened(path) as journal:
        assert journal.recovered.damaged == 0


@pytest.mark.parametrize("newer", [False, True])
def test_a_segment_that_is_gone_is_damage_even_if_nothing_stood_there(tmp_path: Path, newer: bool) -> None:
    path, records = tmp_path / "link", run(1, 20)
    with opened(path) as journal:
        assert all(journal.append(one) for one in records)
    with opened(path):  # now everything stands in both
        pass
    sorted(both(path), key=generation)[newer].unlink()
    with opened(path) as journal:
        assert journal.recovered == (records, 0, 21, {STREAMS[0]: 20}, 1)
    with opened(path) as journal:
        assert journal.recovered == (records, 0, 21, {STREAMS[0]: 20}, 0)


def test_without_a_head_what_stands_there_is_damaged(tmp_path: Path) -> None:
    path, records = tmp_path / "link", run(1, 3)
    with opened(path) as journal:
        assert all(journal.append(one) for one in records)
    for file in both(path):
        file.write_bytes(bytes(4) + file.read_bytes()[4:])
    with opened(path) as journal:
        assert journal.recovered == (records, 0, 4, {STREAMS[0]: 3}, 1)


def test_frames_in_a_payload_are_never_taken_for_ours(tmp_path: Path) -> None:
    """A device may send what it likes, and old segments are overwritten at any place."""
    mark = pack(Record(0, "confirmed", 1 << 60, 0.0, False, b""))
    with opened(tmp_path / "link") as journal:
        for number in range(1, 300):
            assert journal.append(record(number, payload=mark * 5 + bytes(number)))
            journal.confirm(number - 5)
            with opened_copy(tmp_path) as copy:
                assert copy.recovered.confirmed == max(0, number - 5)


@contextmanager
def opened_copy(directory: Path) -> Iterator[Journal]:
    """What would be found if the process were killed now."""
    for file in both(directory / "link"):
        shutil.copy(file, directory / f"copy{file.suffix}")
    with opened(directory / "copy") as journal:
        yield journal
