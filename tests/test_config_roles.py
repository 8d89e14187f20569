"""Lines whose master asks.

What is wrong with them is told in tests/data/broken/roles.toml; here is what is good.
"""

from pathlib import Path

import pytest
from config_kit import METERS, read, said

from gateway.contracts import Asking, Transactor

PANEL = """
[ports.panel]
tty = "/dev/ttyUSB7"
mode = "modbus-ascii"
role = "server"
baudrate = 9600
format = "7E1"
"""
UNITS = """
[ports.panel.units]
"1-9" = "meters"
"101-109" = { port = "meters", first = 1 }
"""
PLC = """
[links.plc]
kind = "modbus-client"
connect = "10.0.0.5:502"
port = "panel"
units = { "20" = {}, "21" = { unit_id = 255 } }
"""
HISTORIAN = '[links.cloud]\nkind = "mqtt"\nconnect = "mqtt://10.0.0.9"\n'


@pytest.mark.parametrize("answered", [UNITS, PLC, UNITS + PLC])
def test_links_and_other_ports_may_answer_the_master_of_a_line(answered: str, tmp_path: Path) -> None:
    loaded = read(tmp_path, METERS + PANEL + answered)
    assert said(loaded) == []
    assert loaded.tree is not None
    assert (loaded.tree.ports["panel"].contract, loaded.tree.ports["meters"].contract) == (Asking, Transactor)


def test_two_links_may_share_a_line(tmp_path: Path) -> None:
    other = PLC.replace("links.plc", "links.other").replace('"20" = {}, "21"', '"22"')
    assert said(read(tmp_path, PANEL + PLC + other)) == []


def test_two_lines_may_have_the_same_unit_ids(tmp_path: Path) -> None:
    other = (PANEL + PLC).replace("panel", "hmi").replace("USB7", "USB8").replace("links.plc", "links.hmi")
    assert said(read(tmp_path, PANEL + PLC + other)) == []


@pytest.mark.parametrize("others", ["", METERS, HISTORIAN])
def test_a_master_whom_nobody_answers_is_doubted(others: str, tmp_path: Path) -> None:
    assert said(read(tmp_path, PANEL + others)) == [
        "warning: ports.panel: nobody answers its master: write a table units, or a modbus-client link"
    ]


def test_it_is_not_doubted_when_who_answers_is_wrong_for_another_reason(tmp_path: Path) -> None:
    told = said(read(tmp_path, PANEL + PLC.replace("10.0.0.5:502", "10.0.0.5")))
    assert told == ['links.plc.connect: an address is written "10.0.0.5:502"']
