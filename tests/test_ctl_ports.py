"""gatewayctl ports: what the daemon says of the lines, what is seen without one, and how it looks."""

import json
from pathlib import Path
from typing import Any

import pytest
from config_kit import METERS, SCALE, read, said
from control_kit import Daemon, connected
from ctl_kit import ctl, run
from machine_kit import BY_PATH, Machine

from gateway import control
from gateway.host.survey import survey
from gateway.show.picture import Look
from gateway.show.ttys import table

LOOK = Look(0.0)
PORTS = {
    "meters": {"tty": "usb:0403:6001:A50285BI", "state": "open", "reason": ""},
    "scale": {"tty": BY_PATH.format(socket=4), "state": "waiting", "reason": "no such device ..."},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "root")
    machine.plug("ttyUSB0", 2, "A50285BI")
    machine.plug("ttyUSB1", 3, "B7")
    machine.uart("ttyAMA0", "32")
    machine.process(812, "gatewayd", "/dev/ttyUSB0")
    machine.process(99, "pppd")
    machine.lock(99, "/dev/ttyUSB1")
    return machine


# The table


def test_each_line_has_its_adapter_its_port_its_holders_and_its_names_below(machine: Machine) -> None:
    drawn = table(survey(PORTS, machine.root), LOOK)
    assert [line.split() for line in drawn] == [
        ["TTY", "ADAPTER", "SERIAL", "PORT", "STATE", "HELD", "BY"],
        ["/dev/ttyAMA0", "uart-pl011"],
        [
            *("/dev/ttyUSB0", "ftdi_sio", "0403:6001", "FT232R", "USB", "UART", "A50285BI"),
            *("meters", "open", "gatewayd", "(pid", "812)"),
        ],
        [BY_PATH.format(socket=2)],
        ["/dev/serial/by-id/usb-FTDI_A50285BI-if00-port0"],
        [
            *("/dev/ttyUSB1", "ftdi_sio", "0403:6001", "FT232R", "USB", "UART", "B7"),
            *("pppd", "(pid", "99,", "lock)"),
        ],
        [BY_PATH.format(socket=3)],
        ["/dev/serial/by-id/usb-FTDI_B7-if00-port0"],
        ["!", BY_PATH.format(socket=4), "not", "there", "scale", "waiting"],
        ["no", "such", "device", "..."],
    ]


def test_without_a_daemon_it_says_what_it_does_not_know(machine: Machine) -> None:
    drawn = table(survey({}, machine.root), LOOK, "no gatewayd answers on x")
    assert drawn[0].split() == ["TTY", "ADAPTER", "SERIAL", "HELD", "BY"]
    assert drawn[-2:] == ["no gatewayd answers on x", "so it is not known which of them are configured"]


def test_a_machine_without_lines_says_so() -> None:
    assert table([], LOOK) == ["no serial line has hardware"]


def test_what_an_adapter_says_of_itself_cannot_move_the_cursor(machine: Machine) -> None:
    machine.plug("ttyUSB2", 5, "X\x1b[2J")
    assert not [line for line in table(survey({}, machine.root), LOOK) if "\x1b" in line]


def test_a_narrow_terminal_cuts_it(machine: Machine) -> None:
    drawn = table(survey(PORTS, machine.root), Look(0.0, 60))
    assert max(map(len, drawn)) <= 60


# The verb


async def test_the_daemon_tells_which_of_its_ports_is_on_what(path: Path) -> None:
    daemon = Daemon()
    async with control.serve(path, daemon), connected(path) as client:
        answer = await client.ask(verb="ports")
    ports = {row["port"]: row for row in answer["ttys"] if row["port"]}
    assert answer["ok"]
    assert ports.keys() == daemon.record["ports"].keys()
    for name, row in ports.items():
        assert row["state"] == daemon.record["ports"][name]["state"]


async def test_its_answer_as_a_table_and_as_json(path: Path) -> None:
    daemon = Daemon()
    daemon.record["ports"]["scale"]["tty"] = "usb:0403:6001:NOBODY"
    shown = await ctl(path, daemon, "po")
    assert (shown.code, shown.err) == (0, "")
    assert [line.split()[0] for line in shown.out.splitlines() if "NOBODY" in line] == [
        "usb:0403:6001:NOBODY"
    ]
    answer = json.loads((await ctl(path, daemon, "--json", "ports")).out)
    (scale,) = (row for row in answer["ttys"] if row["port"] == "scale")
    assert (answer["daemon"], answer["trouble"], scale["present"]) == (True, None, False)


async def test_it_looks_for_itself_where_no_daemon_answers(path: Path) -> None:
    done = await run(path, "--json", "ports")
    answer: dict[str, Any] = json.loads(done.out)
    assert (done.code, answer["daemon"]) == (0, False)
    assert answer["trouble"].startswith(f"no gatewayd answers on {path}")
    assert not [row for row in answer["ttys"] if row["port"]]
    shown = await run(path, "ports")
    assert shown.code == 0
    assert "so it is not known which of them are configured" in shown.out


# The config


def two(first: str, second: str) -> str:
    return METERS.replace("/dev/ttyUSB0", first) + SCALE.replace("/dev/ttyUSB1", second)


@pytest.mark.parametrize(
    ("first", "second", "said_of"),
    [
        ("usb:0403:6001:A50285BI", BY_PATH.format(socket=2), "scale"),
        ("/dev/ttyUSB0", "usb:0403:6001:a50285bi", "scale"),
        ("usb:0403:6001:A50285BI", "usb:0403:6001:B7", None),
        ("usb:0403:6001", "/dev/ttyUSB0", None),  # it may be either
        ("usb:0403:6001:C8", "usb:0403:6001:C9", None),  # neither is there
    ],
)
def test_a_pattern_that_leads_to_the_line_of_another_port_is_a_warning(
    machine: Machine, tmp_path: Path, first: str, second: str, said_of: str | None
) -> None:
    loaded = read(tmp_path, two(first, second), root=machine.root)
    words = "this is the line of ports.meters now: /dev/ttyUSB0"
    assert said(loaded) == ([f"warning: ports.{said_of}.tty: {words}"] if said_of else [])
    assert loaded.tree is not None


def test_the_same_pattern_twice_is_an_error(machine: Machine, tmp_path: Path) -> None:
    loaded = read(tmp_path, two("usb:0403:6001:X", "usb:0403:6001:x"), root=machine.root)
    assert said(loaded) == [
        "ports.scale.tty: this is the line of ports.meters already: usb:0403:6001:x",
    ]


@pytest.mark.parametrize(
    "tty", ["usb", "usb:403:6001", "usb:0403", "usb:0403:60g1", "usb:0403:6001:", "ttyUSB0"]
)
def test_what_is_neither_a_path_nor_a_pattern_is_an_error(tmp_path: Path, tty: str) -> None:
    (problem,) = said(read(tmp_path, METERS.replace("/dev/ttyUSB0", tty)))
    assert problem.startswith("ports.meters.tty: expected the path of the line")
    assert problem.endswith('"usb:0403:6001:A50285BI"')
