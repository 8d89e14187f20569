"""The journal against a plain list: crashes in any write, torn writes, kill -9."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_kit import (
    PAGE,
    SIZE,
    STEPS,
    Crash,
    Disk,
    Model,
    Step,
    both,
    confirm_each,
    directory,
    live,
    opened,
    record,
)

from gateway.store.journal import Journal


def check_crashes(lives: list[tuple[list[Step], int, int | float]]) -> None:
    with directory() as path:
        model = Model()
        for steps, whole, part in lives:
            live(path, Disk(whole, part), model, steps)
        live(path, Disk(), model, [])
        live(path, Disk(), model, [])


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(STEPS, st.integers(0, 60), st.sampled_from([0.0, 1.0, 0, 1, 2])), min_size=1, max_size=5
    )
)
def test_a_kill_in_any_write_loses_nothing_and_brings_nothing_back(
    lives: list[tuple[list[Step], int, int | float]],
) -> None:
    check_crashes(lives)


@settings(max_examples=300)
@given(st.lists(st.tuples(STEPS, st.integers(0, 60), st.floats(0, 1)), min_size=1, max_size=5))
def test_a_write_torn_at_any_byte_loses_nothing_and_brings_nothing_back(
    lives: list[tuple[list[Step], int, int | float]],
) -> None:
    check_crashes(lives)


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_a_kill_in_any_write_and_another_while_it_is_recovered_lose_nothing(part: float) -> None:
    steps = [("append", 0, 900), ("append", 1, 700), ("confirm", 1, 0), ("forget", 1, 0)] * 7
    for first in range(40):
        for second in range(3):
            check_crashes([(steps, first, part), (steps, second, part)])


@pytest.mark.parametrize("part", [0.0, 0.1, 0.2, 0.3])
def test_a_kill_while_what_lives_is_copied_and_another_while_it_is_recovered_lose_nothing(
    part: float,
) -> None:
    """Marks have filled the segment, so that what lives goes to nearly the place where it stood."""
    steps = [("forget", 500, 0), *[("append", 0, 900)] * 4, *[("confirm", 1, 0)] * 120]
    for first in range(105, 125):
        for second in range(2):
            check_crashes([(steps, first, part), (steps, second, part)])


@pytest.mark.parametrize("borders", range(4))
@pytest.mark.parametrize("of_head", [False, True])
def test_a_head_of_several_pages_that_is_torn_does_not_exist(
    tmp_path: Path, of_head: bool, borders: int
) -> None:
    armed = False

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if armed and len(data) > PAGE and of_head is (offset == 0):
            assert borders * PAGE < len(data)
            os.pwrite(file, data[: -offset % PAGE + borders * PAGE], offset)
            raise Crash
        return os.pwrite(file, data, offset)

    records = [record(number, f"device/{number:0100}", number) for number in range(2001, 2121)]
    journal = Journal.open(tmp_path / "link", 65536, pwrite)
    journal.forget(2000)
    assert all(journal.append(one) for one in records)
    armed = True
    with pytest.raises(Crash):
        confirm_each(journal, 2000)
    journal.close()
    with opened(tmp_path / "link", 65536) as journal:
        found = journal.recovered
    assert found.records == records
    assert found.seqs == {one.stream: one.seq for one in records}
    assert 700 < found.confirmed < 2000
    assert (found.next_number, found.damaged) == (2121, 0)


CHILD = """
import os, sys
from pathlib import Path
from gateway.buffer import Record
from gateway.store.journal import Journal

journal = Journal.open(Path(sys.argv[1]), 262144)
number, confirmed = journal.recovered.next_number, journal.recovered.confirmed
while True:
    payload = b"%d " % number * (number % 1000)
    assert journal.append(Record(number, "hall/scale", number, 0.0, True, payload))
    os.write(1, b"%d %d\\n" % (number, confirmed))
    if number % 7 == 0:
        confirmed = max(confirmed, number - 10)
        journal.confirm(confirmed)
    number += 1
"""


def test_kill_9_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    path, taken, confirmed = tmp_path / "link", 0, 0
    for kill in range(12):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)
        with child, child.stdout or open(os.devnull) as told:
            lines = [told.readline() for _ in range(50 + 131 * kill)]
            child.kill()
            lines += told
        assert child.returncode == -signal.SIGKILL
        numbers = [int(line.split()[0]) for line in lines]
        assert numbers[0] in {taken + 1, taken + 2}  # the last one may not have been told
        taken, confirmed = numbers[-1], int(lines[-1].split()[1])
        with opened(path, 262144) as journal:
            found = journal.recovered
        assert found.damaged == 0
        assert found.confirmed in {confirmed, max(confirmed, taken - 10)}
        assert found.next_number - 1 in {taken, taken + 1}
        assert found.seqs == {"hall/scale": found.next_number - 1}
        assert [one.number for one in found.records] == list(range(found.confirmed + 1, found.next_number))
        assert all(one.payload == b"%d " % one.number * (one.number % 1000) for one in found.records)


def test_a_kill_before_anything_was_written_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(Crash):
        Journal.open(tmp_path / "link", SIZE, Disk(0).pwrite)
    assert [file.read_bytes() for file in both(tmp_path / "link")] == [bytes(SIZE)] * 2
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == ([], 0, 1, {}, 0)
