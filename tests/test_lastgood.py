"""The copy of the last good config: what it holds, who may read it, and that it is no trouble."""

import logging
import os
from pathlib import Path

import pytest

from gateway import lastgood
from gateway.config import Loaded, Tree

PORT = '[ports.{name}]\ntty = "/dev/ttyUSB0"\nmode = "modbus-rtu"\nbaudrate = 9600\nformat = "8E1"\n'
DEVICE = '[devices.meter]\nport = "{name}"\nunit_id = 1\nmodel = "small"\n'
MODEL = '[points]\nvoltage = { input = 0, type = "float32" }\n'
LINK = """
[links.cloud]
kind = "mqtt"
connect = "mqtt://127.0.0.1"
username = "site7"
password_file = "mqtt.password"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good config file with a model beside it."""
    path = tmp_path / "etc" / "gateway.toml"
    (path.parent / "models").mkdir(parents=True)
    (path.parent / "models" / "small.toml").write_text(MODEL)
    path.write_text(config("meters"))
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def config(name: str) -> str:
    return PORT.format(name=name) + DEVICE.format(name=name) + LINK


def recalled(path: Path, state: Path) -> Tree:
    loaded = lastgood.recall(path, state, {})
    assert isinstance(loaded, Loaded)
    assert loaded.problems == ()
    assert loaded.tree is not None
    return loaded.tree


def kept(state: Path) -> dict[str, os.stat_result]:
    return {path.name: path.stat() for path in state.rglob("*.*") if path.is_file()}


def test_it_is_what_the_file_was_with_the_models_that_it_had(file: Path, state: Path) -> None:
    lastgood.remember(file, state)
    file.write_text("rubbish")
    (file.parent / "models" / "small.toml").write_text("rubbish")
    tree = recalled(file, state)
    assert list(tree.ports) == ["meters"]
    assert list(tree.devices["meter"].points) == ["voltage"]


def test_paths_in_it_still_count_from_the_file(file: Path, state: Path) -> None:
    lastgood.remember(file, state)
    file.unlink()
    link = recalled(file, state).links["cloud"].model_dump()
    assert link["password_file"] == file.parent / "mqtt.password"


def test_it_is_the_last_one_that_was_remembered(file: Path, state: Path) -> None:
    lastgood.remember(file, state)
    file.write_text(config("pumps"))
    (file.parent / "models" / "other.toml").write_text(MODEL)
    lastgood.remember(file, state)
    assert list(recalled(file, state).ports) == ["pumps"]
    assert sorted(kept(state)) == ["gateway.toml", "other.toml", "small.toml"]
    (file.parent / "models" / "other.toml").unlink()
    lastgood.remember(file, state)
    assert sorted(kept(state)) == ["gateway.toml", "small.toml"]


def test_nobody_else_may_read_it(file: Path, state: Path) -> None:
    """There may be a password in it."""
    lastgood.remember(file, state)
    assert {stat.st_mode & 0o777 for stat in kept(state).values()} == {0o600}


def test_what_has_not_changed_is_not_written_again(file: Path, state: Path) -> None:
    lastgood.remember(file, state)
    before = kept(state)
    lastgood.remember(file, state)
    assert {name: stat.st_ino for name, stat in kept(state).items()} == {
        name: stat.st_ino for name, stat in before.items()
    }


def test_where_nothing_was_kept_there_is_none(file: Path, state: Path) -> None:
    assert lastgood.recall(file, state, {}) is None


def test_a_copy_that_is_bad_itself_has_no_tree(file: Path, state: Path) -> None:
    file.write_text(config("${NAME}"))
    lastgood.remember(file, state)
    loaded = lastgood.recall(file, state, {})
    assert loaded is not None
    assert loaded.tree is None
    assert loaded.problems


def test_a_state_directory_that_cannot_be_written_is_a_warning(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lastgood.remember(file, file / "below-a-file")
    ((_, level, text),) = caplog.record_tuples
    assert level == logging.WARNING
    assert text.startswith("the config cannot be kept for a start with a broken file: ")
