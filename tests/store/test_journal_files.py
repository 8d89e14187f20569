"""The two files of a journal: size, errors, removal."""

import os
import shutil
from collections.abc import Callable
from errno import EIO, ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from journal_kit import (
    PAGE,
    SIZE,
    STREAMS,
    both,
    confirm_each,
    generation,
    opened,
    record,
    run,
)

from gateway.errors import StoreError
from gateway.store.journal import Journal, exists


def test_both_segments_are_ours_alone_and_allocated_when_it_is_opened(tmp_path: Path) -> None:
    with opened(tmp_path / "link", 65536):
        assert sorted(tmp_path.iterdir()) == list(both(tmp_path / "link"))
        for file in tmp_path.iterdir():
            assert file.stat().st_mode & 0o777 == 0o600
            assert file.stat().st_size == 65536 <= file.stat().st_blocks * 512


@pytest.mark.parametrize("size", [0, 100_000])
def test_another_size_keeps_what_is_there(tmp_path: Path, size: int) -> None:
    """Even where it is more than there is to be room for."""
    records = run(1, 70)
    with opened(tmp_path / "link") as journal:
        assert all(journal.append(one) for one in records)
    with opened(tmp_path / "link", size) as journal:
        assert journal.recovered == (records, 0, 71, {STREAMS[0]: 70}, 0)
        assert journal.append(record(71)) is (size > SIZE)
        confirm_each(journal, 10)
    with opened(tmp_path / "link", size) as journal:
        assert journal.recovered.records[:60] == records[10:]
        assert journal.recovered.damaged == 0
        confirm_each(journal, 70)
    with opened(tmp_path / "link", size):
        assert {file.stat().st_size for file in tmp_path.iterdir()} == {size or PAGE}


def test_what_is_removed_is_gone_and_what_is_closed_stays(
    tmp_path: Path, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    journal = Journal.open(tmp_path / "link", SIZE)
    assert journal.append(record(1))
    journal.close()
    assert descriptors() == before
    journal = Journal.open(tmp_path / "link", SIZE)
    assert journal.recovered.records == [record(1)]
    journal.remove()
    assert descriptors() == before
    assert not list(tmp_path.iterdir())


def test_what_somebody_else_removed_may_be_removed_again(tmp_path: Path) -> None:
    for file in both(tmp_path / "link"):
        journal = Journal.open(tmp_path / "link", SIZE)
        file.unlink()
        assert exists(tmp_path / "link")
        assert journal.append(record(1))
        journal.remove()
        assert not exists(tmp_path / "link")


def test_a_removal_that_is_cut_short_leaves_the_segment_that_is_complete(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "link", SIZE)
    assert journal.append(record(1))
    older, newer = sorted(both(tmp_path / "link"), key=generation)
    older.unlink()
    older.mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        journal.remove()
    assert generation(newer)


def test_a_directory_that_is_not_there_is_told_in_plain_words(
    tmp_path: Path, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    with pytest.raises(StoreError, match="nowhere/link: No such file or directory") as caught:
        Journal.open(tmp_path / "nowhere" / "link", SIZE)
    assert not caught.value.full
    (tmp_path / "link.1").mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        Journal.open(tmp_path / "link", SIZE)
    assert descriptors() == before


@pytest.mark.parametrize(("number", "full"), [(ENOSPC, True), (EIO, False)])
def test_a_write_that_fails_is_told_and_can_be_tried_again(tmp_path: Path, number: int, full: bool) -> None:
    trouble = False

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if trouble:
            raise OSError(number, os.strerror(number))
        return os.pwrite(file, data, offset)

    journal = Journal.open(tmp_path / "link", SIZE, pwrite)
    records = run(1, 300)
    for each in records:
        trouble = True
        for attempt in (
            lambda each=each: journal.append(each),
            lambda each=each: journal.confirm(each.number),
        ):
            with pytest.raises(StoreError, match=os.strerror(number)) as caught:
                attempt()
            assert caught.value.full is full
        trouble = False
        assert journal.append(each)
        journal.confirm(each.number - 5)
    journal.close()
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == (records[295:], 295, 301, {STREAMS[0]: 300}, 0)


def test_a_write_that_is_cut_short_is_no_success_and_is_written_over(tmp_path: Path) -> None:
    most = 1 << 20

    def pwrite(file: int, data: bytes, offset: int) -> int:
        return os.pwrite(file, data[:most], offset)

    journal = Journal.open(tmp_path / "link", SIZE, pwrite)
    records = run(1, 300)
    for each in records:
        most = 20
        with pytest.raises(StoreError, match="only a part") as caught:
            journal.append(each)
        assert caught.value.full
        most = 1 << 20
        assert journal.append(each)
        journal.confirm(each.number - 5)
    journal.close()
    with opened(tmp_path / "link") as journal:
        assert journal.recovered == (records[295:], 295, 301, {STREAMS[0]: 300}, 0)


def test_a_full_tmpfs_is_found_when_it_is_opened_not_later() -> None:
    size = 1 << 50
    mounts = Path("/proc/mounts").read_text()
    if " /dev/shm tmpfs" not in mounts or not shutil.disk_usage("/dev/shm").total:
        pytest.skip("/dev/shm has no bound")
    with TemporaryDirectory(dir="/dev/shm") as name:
        path = Path(name) / "link"
        with opened(path) as journal:
            assert journal.append(record(1))
        with pytest.raises(StoreError, match="No space left") as caught:
            Journal.open(path, size)
        assert caught.value.full
        with opened(path) as journal:
            assert journal.recovered.records == [record(1)]
