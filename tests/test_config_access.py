"""Who may do what, as it stands in a config file.

What is wrong with it is said in words, at the right key.
"""

from pathlib import Path

import pytest
from config_kit import METERS, read, said

LINK = """
[links.scada]
kind = "modbus-server"
port = "meters"
"""
ACCESS, CLIENTS = "links.scada.access", "links.scada.clients"


def lines(where: Path, text: str, ends: str = 'listen = ":502"') -> list[str]:
    return said(read(where, f"{METERS}{LINK}{ends}\n{text}\n"))


@pytest.mark.parametrize(
    "text",
    [
        'access = "read-only"',
        'access = "read-write"',
        'access = { functions = [3, 4] }\nclients = { "10.0.0.8" = "read-write", "10.0.0.0/8" = "read-only"}',
        'access = { unit_ids = [0, 1, "5-9"], registers = ["holding 0-99", "coil 3", "discrete_input 9"] }',
        'access = "read-only"\nclients = { "2001:db8::/32" = { registers = ["input 0-9"] } }',
    ],
)
def test_what_is_meant_is_taken(tmp_path: Path, text: str) -> None:
    assert lines(tmp_path, text) == []


def test_access_holds_for_whom_we_dial_too_and_clients_does_not(tmp_path: Path) -> None:
    dials = 'connect = "a:502"'
    assert lines(tmp_path, 'access = "read-only"', dials) == []
    assert lines(tmp_path, 'access = "read-only"\nclients = { "10.0.0.8" = "read-write" }', dials) == [
        f"{CLIENTS}: clients goes with listen; access holds for whom we dial, too"
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('access = "readonly"', 'access: this must be "read-write" or "read-only"'),
        ("access = true", 'access: this must be "read-write" or "read-only", in quotes'),
        ("access = {}", "access: what is allowed? name functions, unit_ids or registers"),
        ("access = { function = [3] }", 'access.function: unknown key, did you mean "functions"?'),
        (
            "access = { functions = [] }",
            "access.functions: at least one is needed; without the key all of them are allowed",
        ),
        ("access = { functions = [3, 0] }", "access.functions: function codes are 1 to 127, not 0"),
        ("access = { functions = [128] }", "access.functions: function codes are 1 to 127, not 128"),
        ("access = { unit_ids = [256] }", 'access.unit_ids: unit ids are "5" or "1-31", each 0 to 255'),
        ('access = { unit_ids = ["9-5"] }', 'access.unit_ids: unit ids are "5" or "1-31", each 0 to 255'),
        ("access = { unit_ids = [true] }", 'access.unit_ids: unit ids are 5 or "1-31", each 0 to 255'),
        (
            'clients = { "10.0.0.8/8" = "read-only" }',
            'clients."10.0.0.8/8": write "10.0.0.0/8", or for that one address "10.0.0.8"',
        ),
        (
            'clients = { scada = "read-only" }',
            'clients.scada: an address is written "10.0.0.8" or "10.0.0.0/8", and never by name',
        ),
        (
            'clients = { "10.0.0.8" = "read-only", "10.0.0.8/32" = "read-write" }',
            'clients."10.0.0.8/32": that is "10.0.0.8" once more',
        ),
        (
            'clients = { "10.0.0.8" = { functions = 3 } }',
            'clients."10.0.0.8".functions: expected a list, such as ["a", "b"], not a number: '
            "codes, such as [3, 4]",
        ),
        (
            'clients = { 10.0.0.8 = "read-only" }',
            'clients.10: an address goes into quotes: "10.0.0.8" = "read-only"',
        ),
    ],
)
def test_what_is_wrong_is_said_once_and_in_words(tmp_path: Path, text: str, complaint: str) -> None:
    text = text if text.startswith("access") else f'access = "read-only"\n{text}'
    assert lines(tmp_path, text) == [f"links.scada.{complaint}"]


@pytest.mark.parametrize(
    "written", ['"holding"', '"holding 9-5"', '"input 65536"', '"register 5"', '"coil 3,5"', "40001"]
)
def test_how_registers_are_written_is_said(tmp_path: Path, written: str) -> None:
    (line,) = lines(tmp_path, f'access = {{ registers = ["coil 3", {written}] }}')
    assert line.startswith(f'{ACCESS}.registers: registers are written "holding 0-99" or "coil 3"')


def test_addresses_out_of_a_manual_are_doubted(tmp_path: Path) -> None:
    text = """
access = { registers = ["holding 0-99", "holding 40001-40100"] }
clients = { "10.0.0.8" = { registers = ["input 30005"] } }
"""
    assert lines(tmp_path, text) == [
        f"warning: {ACCESS}.registers: manuals write 40001 for holding = 0",
        f'warning: {CLIENTS}."10.0.0.8".registers: manuals write 30005 for input = 4',
    ]


def test_clients_that_leave_open_what_all_others_may_do_are_doubted(tmp_path: Path) -> None:
    clients = 'clients = { "10.0.0.0/8" = "read-only" }'
    doubt = 'all others may read and write: say so, access = "read-write", or "read-only"'
    assert lines(tmp_path, clients) == [f"warning: {CLIENTS}: {doubt}"]
    assert lines(tmp_path, f'{clients}\naccess = "read-write"') == []
