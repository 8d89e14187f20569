"""The file of the sequence numbers: all of it, or none of it, and never a wrong one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StoreError
from gateway.store import numbers

SEQS = {"cloud.mqtt": {"port/scale": 1_000_000, "device/meter": 17}, "plant.modbus-client": {}}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    numbers.save(tmp_path / "made" / "numbers", SEQS)

    assert numbers.load(tmp_path / "made" / "numbers") == SEQS
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["numbers"]


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert numbers.load(tmp_path / "numbers") == {}


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_file_tells_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int, cut: bool
) -> None:
    path = tmp_path_factory.mktemp("numbers") / "numbers"
    numbers.save(path, SEQS)
    data = bytearray(path.read_bytes())
    place %= len(data)
    if cut:
        del data[place:]
    else:
        data[place] ^= 1 << bit
    path.write_bytes(data)

    assert numbers.load(path) == {}


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="file"):
        numbers.save(tmp_path / "file" / "numbers", SEQS)
    (tmp_path / "numbers").mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        numbers.load(tmp_path / "numbers")
