"""What a journal takes, and what it gives back."""

import os
from pathlib import Path

import pytest
from journal_kit import (
    SIZE,
    STREAMS,
    both,
    confirm_each,
    opened,
    pack_size,
    record,
    run,
)

from gateway.store.journal import Journal


def test_however_much_waits_a_record_is_not_copied_again_and_again(tmp_path: Path) -> None:
    written = 0

    def pwrite(file: int, data: bytes, offset: int) -> int:
        nonlocal written
        written += len(data.rstrip(b"\0"))
        return os.pwrite(file, data, offset)

    journal = Journal.open(tmp_path / "link", SIZE, pwrite)
    written = appended = lag = 0
    for number in range(1, 2000):
        while not journal.append(one := record(number, payload=b"x" * 50)):
            lag += 1
            journal.confirm(lag)
        appended += pack_size(one)
    journal.close()
    assert written < 4 * appended


def test_a_full_journal_takes_nothing_until_something_was_confirmed_or_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path / "link") as journal:
        number = 1
        while journal.append(record(number, seq=number)):
            number += 1
        assert SIZE / 2 - 100 < (number - 1) * pack_size(record(1)) <= SIZE / 2
        assert not journal.append(record(number, seq=number))
        journal.confirm(1)
        assert journal.append(record(number, seq=number))
        assert not journal.append(record(number + 1))
        journal.forget(number // 2)
        assert journal.append(record(number + 1, seq=number + 1))
    with opened(tmp_path / "link") as journal:
        found = [one.number for one in journal.recovered.records]
        assert found == list(range(number // 2 + 1, number + 2))


def test_a_record_larger_than_half_a_segment_has_no_room_and_one_that_fills_it_has(tmp_path: Path) -> None:
    most = SIZE // 2 - pack_size(record(1, payload=b""))
    with opened(tmp_path / "link") as journal:
        assert not journal.append(record(1, payload=bytes(most + 1)))
        assert journal.append(record(1, payload=bytes(most)))
    with opened(tmp_path / "link") as journal:
        assert journal.recovered.records == [record(1, payload=bytes(most))]


def test_a_full_journal_takes_any_number_of_marks(tmp_path: Path) -> None:
    """What stands on disk drains, record by record, while younger ones wait here."""
    with opened(tmp_path / "link") as journal:
        journal.forget(5000)
        number = 5001
        while journal.append(record(number, seq=number)):
            number += 1
        confirm_each(journal, 5000)
    assert {file.stat().st_size for file in both(tmp_path / "link")} == {SIZE}
    with opened(tmp_path / "link") as journal:
        assert [one.number for one in journal.recovered.records] == list(range(5001, number))
        assert journal.recovered.confirmed == 5000


# Numbers


def test_after_all_was_confirmed_the_numbers_go_on(tmp_path: Path) -> None:
    with opened(tmp_path / "link") as journal:
        for number in range(1, 301):
            assert journal.append(record(number, STREAMS[number % 2], number))
            journal.confirm(number)
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == ([], 300, 301, {STREAMS[0]: 300, STREAMS[1]: 299}, 0)


def test_numbers_follow_one_another_but_for_those_that_were_given_elsewhere(tmp_path: Path) -> None:
    """What stands on disk is ahead: of a journal that was full, or that a restart of the machine emptied."""
    with opened(tmp_path / "link") as journal:
        for wrong in (0, 2):
            with pytest.raises(ValueError, match=f"number {wrong} is given where 1 comes next"):
                journal.append(record(wrong))
        assert all(journal.append(one) for one in run(1, 10))
        journal.forget(5000)
        journal.confirm(4000)
        with pytest.raises(ValueError, match="number 11 is given where 5001 comes next"):
            journal.append(record(11))
        assert journal.append(record(5001, seq=900))
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == ([record(5001, seq=900)], 4000, 5002, {STREAMS[0]: 900}, 0)


def test_seqs_that_were_given_elsewhere_are_known_and_none_goes_back(tmp_path: Path) -> None:
    records = [record(1, "a/b", 7), record(2, "c/d", 10)]
    with opened(tmp_path / "link") as journal:
        assert journal.append(records[0])
        journal.know({"a/b": 5, "c/d": 9, "e/f": 3})
        assert journal.append(records[1])
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == (records, 0, 3, {"a/b": 7, "c/d": 10, "e/f": 3}, 0)


def test_what_was_confirmed_or_forgotten_never_goes_back(tmp_path: Path) -> None:
    with opened(tmp_path / "link") as journal:
        assert all(journal.append(one) for one in run(1, 10))
        journal.confirm(5)
        journal.forget(7)
        journal.confirm(3)
        journal.forget(1)
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == (run(8, 10), 5, 11, {STREAMS[0]: 10}, 0)
