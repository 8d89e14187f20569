"""Whatever is wrong with a value is said in plain words, once, and nothing breaks over it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from config_kit import ENVIRON, FILLED, SCALE, inner_models, read, said
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import Gateway
from gateway.config.folders import LINKS, PORTS
from gateway.devices.model import DeviceConfig, ModelConfig
from gateway.settings import LinkTables
from gateway.values import Model


def tables() -> Iterator[tuple[str, type[Model]]]:
    """Each model, and the table that it reads when it stands behind the prefix."""
    yield "[gateway]\n", Gateway
    yield "[defaults.links]\n", LinkTables
    for name in PORTS.names():
        yield SCALE.replace('"raw"', f'"{name}"'), PORTS.model(name)
    for name in LINKS.names():
        yield f'[links.a]\nkind = "{name}"\n', LINKS.model(name)
    yield "[models.a]\n", ModelConfig
    yield "[devices.a]\n", DeviceConfig


def paths(model: type[Model], prefix: str = "") -> Iterator[str]:
    """Every key that a table may have, dotted, those of inner tables included."""
    for key, field in model.model_fields.items():
        if key not in ("kind", "mode"):
            yield f"{prefix}{key}"
            for inner, named in inner_models(field.annotation):
                yield from paths(inner, f"{prefix}{key}.{'x.' if named else ''}")


VALUES = [
    "-1",
    "0",
    "1",
    "99999999999999999999",
    "1.5",
    "nan",
    "true",
    '""',
    '"x"',
    '"5s"',
    '":0"',
    '"-5"',
    "[]",
    "{}",
    "[1]",
    '["x"]',
    "{x=1}",
    '{x="x"}',
    "{x={}}",
    "1979-05-27",
    "07:32:00",
    '"\\u0000"',
    '"${X}"',
]
CODE = re.compile(
    r"Input|should|valid |Value error|Extra inputs|Field required|[Pp]ydantic|Unread|None\b|<|dict|tuple"
)


@pytest.mark.parametrize(("start", "model"), [*tables()], ids=lambda each: getattr(each, "__module__", ""))
def test_whatever_stands_behind_a_key_is_answered_in_plain_words(
    start: str, model: type[Model], tmp_path: Path
) -> None:
    for path in paths(model):
        lines = [line for line in start.splitlines() if not line.startswith(f"{path} ")]
        for value in VALUES:
            text = "\n".join([*lines, f"{path} = {value}", ""])
            for line in said(read(tmp_path, text)):
                assert not CODE.search(line), f"{path} = {value}: {line}"


def mutations(text: str) -> st.SearchStrategy[str]:
    """The text with one of its lines gone, doubled, misspelled, or with another value."""
    lines = text.splitlines()
    value = st.sampled_from((*VALUES, "yes", "/dev/ttyUSB0", '"x', "[1,", "{", "0,5"))

    def changed(number: int, how: str, value: str) -> str:
        line = lines[number]
        key = line.split("=")[0]
        new = {"gone": [], "doubled": [line, line], "misspelled": [line[1:]], "other": [f"{key}= {value}"]}[
            how
        ]
        return "\n".join([*lines[:number], *new, *lines[number + 1 :]])

    number = st.integers(0, len(lines) - 1)
    return st.builds(changed, number, st.sampled_from(["gone", "doubled", "misspelled", "other"]), value)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mutations(FILLED).flatmap(mutations))
def test_a_file_with_mistakes_is_a_tree_or_told_with_places(tmp_path: Path, text: str) -> None:
    loaded = read(tmp_path, text, ENVIRON)
    assert (loaded.tree is None) == bool(loaded.problems)
    for problem in loaded.problems:
        assert problem.line <= text.count("\n") + 2
        assert not CODE.search(problem.text)
    assert len(set(loaded.problems)) == len(loaded.problems)
