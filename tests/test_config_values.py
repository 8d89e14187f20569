"""Values of raw ports between the tables of a file: who may name them, and that names are one's own."""

from pathlib import Path

import pytest
from config_kit import METERS, SCALE, read, said

VALUES = """
[ports.scale.values]
weight = { regex = '([0-9.]+) kg', unit = "kg" }
state = { regex = '^(ST|US)', type = "text" }
"""
CLOUD = '\n[links.cloud]\nkind = "mqtt"\nconnect = "mqtt://127.0.0.1"\n'
DEVICE = '\n[devices.{}]\nport = "meters"\nunit_id = 1\npoints = {{ total = {{ holding = 60 }} }}\n'
PUSH = '\n[links.plant]\nkind = "modbus-client"\nconnect = "127.0.0.1:502"\npush = {{ "{}" = {} }}\n'


def test_a_broker_gets_devices_and_ports_with_values_by_default(tmp_path: Path) -> None:
    tree = read(tmp_path, METERS + SCALE + VALUES + DEVICE.format("meter") + CLOUD).tree
    assert tree is not None
    assert (tree.links["cloud"].samples(), tree.ports["meters"].picks) == (("meter", "scale"), {})


def test_a_broker_may_get_values_and_no_frames(tmp_path: Path) -> None:
    loaded = read(tmp_path, SCALE + VALUES + CLOUD + 'ports = []\ndevices = ["scale"]\n')
    assert said(loaded) == []
    assert loaded.tree is not None
    link = loaded.tree.links["cloud"]
    assert ([*link.needs()], link.samples()) == ([], ("scale",))


def test_a_value_may_be_pushed(tmp_path: Path) -> None:
    push = PUSH.format("scale.weight", '{ holding = 100, type = "float32" }')
    assert said(read(tmp_path, SCALE + VALUES + push)) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            SCALE + CLOUD + 'devices = ["scale"]\n',
            'port "scale" has no values: they stand in ports.scale.values',
        ),
        (
            SCALE + VALUES + CLOUD + 'devices = ["scales"]\n',
            'there is no device "scales", did you mean "scale"?',
        ),
        (
            METERS + SCALE + VALUES + DEVICE.format("scale"),
            "the values of ports.scale go up under this name",
        ),
        (
            SCALE + VALUES + PUSH.format("scale.wait", "{ holding = 1 }"),
            'scale has no point "wait", did you mean "weight"?',
        ),
        (SCALE + VALUES + PUSH.format("scale.state", "{ holding = 1 }"), '"state" is a text'),
    ],
)
def test_what_does_not_fit_is_told(text: str, complaint: str, tmp_path: Path) -> None:
    (told,) = said(read(tmp_path, text))
    assert complaint in told


def test_a_device_may_be_called_as_a_port_without_values(tmp_path: Path) -> None:
    assert said(read(tmp_path, METERS + DEVICE.format("meters"))) == []


def test_a_bad_regular_expression_is_told_with_its_place_and_once(tmp_path: Path) -> None:
    bad = VALUES.replace("([0-9.]+) kg", "([0-9.]+ kg")
    push = PUSH.format("scale.weight", '{ holding = 100, type = "float32" }')
    problems = read(tmp_path, SCALE + bad + CLOUD + push).problems
    assert [(one.line, str(one).partition(": ")[2]) for one in problems] == [
        (
            9,
            "ports.scale.values.weight.regex: no regular expression: "
            "missing ), unterminated subpattern at position 0",
        )
    ]
