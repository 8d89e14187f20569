"""The serial lines of machines that are folders: what is on each, who has it, and finding one again."""

import asyncio
import os
from pathlib import Path

import pytest
from conftest import Pty
from machine_kit import BY_PATH, CH340, Machine

from gateway.errors import LineDown
from gateway.host.adapters import Adapter, Whereabouts, fitting, ttys
from gateway.host.holders import holders
from gateway.host.serial import open_line
from gateway.host.survey import survey
from gateway.settings import PortConfig

SOCKET_2, SOCKET_3 = BY_PATH.format(socket=2), BY_PATH.format(socket=3)
CONFIG = PortConfig.model_validate({"tty": "/dev/null", "mode": "raw", "baudrate": 9600, "format": "8N1"})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# What is there


def test_an_adapter_is_told_with_its_driver_its_numbers_and_its_names(machine: Machine) -> None:
    machine.plug("ttyUSB0", 2, "A50285BI")
    (tty,) = ttys(machine.root)
    assert (tty.path, tty.driver) == ("/dev/ttyUSB0", "ftdi_sio")
    assert tty.adapter == Adapter("0403", "6001", "A50285BI", "FTDI", "FT232R USB UART")
    assert tty.by_path == [SOCKET_2]
    assert tty.by_id == ["/dev/serial/by-id/usb-FTDI_A50285BI-if00-port0"]


def test_a_uart_of_the_board_has_its_own_driver_and_its_alias(machine: Machine) -> None:
    machine.uart("ttyAMA0", "32")
    (machine.root / "dev/serial0").symlink_to("ttyAMA0")
    (tty,) = ttys(machine.root)
    assert (tty.driver, tty.adapter, tty.links) == ("uart-pl011", None, ("/dev/serial0",))


def test_consoles_and_places_without_a_uart_are_no_lines(machine: Machine) -> None:
    machine.uart("ttyS0", "4", "00:04")
    machine.uart("ttyS1", "0", "serial8250")
    assert [tty.path for tty in ttys(machine.root)] == ["/dev/ttyS0"]


def test_they_come_in_the_order_in_which_people_count(machine: Machine) -> None:
    for number in (10, 2, 1):
        machine.plug(f"ttyUSB{number}", number)
    assert [tty.path for tty in ttys(machine.root)] == ["/dev/ttyUSB1", "/dev/ttyUSB2", "/dev/ttyUSB10"]


def test_a_machine_without_any_has_none(tmp_path: Path) -> None:
    assert ttys(tmp_path) == []


# Patterns


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("usb:0403:6001", ["/dev/ttyUSB0", "/dev/ttyUSB1"]),
        ("usb:0403:6001:A50285BI", ["/dev/ttyUSB0"]),
        ("usb:0403:6001:a50285bi", ["/dev/ttyUSB0"]),
        ("usb:1A86:7523", ["/dev/ttyUSB2"]),
        ("usb:1a86:7523:X", []),
        ("usb:0403:6001:A5", []),
    ],
)
def test_a_pattern_is_numbers_and_perhaps_a_serial(machine: Machine, pattern: str, found: list[str]) -> None:
    machine.plug("ttyUSB0", 2, "A50285BI")
    machine.plug("ttyUSB1", 3, "B7")
    machine.plug("ttyUSB2", 4, kind=CH340, driver="ch341")
    machine.uart("ttyAMA0", "32")
    assert [tty.path for tty in fitting(pattern, ttys(machine.root))] == found


async def test_a_pattern_opens_the_one_line_that_fits_wherever_it_is(machine: Machine, pty: Pty) -> None:
    machine.plug("ttyUSB7", 2, "A50285BI")
    (machine.root / "dev/ttyUSB7").unlink()
    (machine.root / "dev/ttyUSB7").symlink_to(pty.path)
    config = CONFIG.model_copy(update={"tty": "usb:0403:6001:A50285BI"})
    async with asyncio.timeout(30), open_line(config, Whereabouts(machine.root)) as line:
        await line.write(b"here")
        assert await pty.hears(4) == b"here"


async def why_not(tty: str, whereabouts: Whereabouts) -> str:
    with pytest.raises(LineDown) as caught:
        async with open_line(CONFIG.model_copy(update={"tty": tty}), whereabouts):
            pass
    return str(caught.value)


async def test_a_pattern_that_nothing_fits_says_so_and_what_is_alike(machine: Machine) -> None:
    where = Whereabouts(machine.root)
    tty = "usb:0403:6001:A50285BI"
    assert await why_not(tty, where) == f"no adapter {tty} is plugged in"
    machine.plug("ttyUSB0", 2, "B7")
    assert await why_not(tty, where) == f"no adapter {tty} is plugged in, but /dev/ttyUSB0 (0403:6001, B7)"


async def test_a_pattern_that_several_fit_names_them(machine: Machine) -> None:
    machine.plug("ttyUSB0", 2, "A50285BI")
    machine.plug("ttyUSB1", 3, "B7")
    assert await why_not("usb:0403:6001", Whereabouts(machine.root)) == (
        "usb:0403:6001 may be /dev/ttyUSB0 (0403:6001, A50285BI) or /dev/ttyUSB1 (0403:6001, B7): "
        "add the serial number, or name a path"
    )


# An adapter in another socket


async def test_an_adapter_that_is_in_another_socket_now_is_named(machine: Machine) -> None:
    where = Whereabouts(machine.root)
    machine.plug("ttyUSB0", 2, "A50285BI")
    where.opened(SOCKET_2)
    machine.unplug("ttyUSB0")
    assert await why_not(SOCKET_2, where) == f"no such device {SOCKET_2}"
    machine.plug("ttyUSB0", 3, "A50285BI")
    assert await why_not(SOCKET_2, where) == (
        f"no such device {SOCKET_2}: the same adapter (0403:6001, A50285BI) is at {SOCKET_3} now"
    )


async def test_what_was_opened_is_remembered(machine: Machine) -> None:
    where, (master, slave) = Whereabouts(machine.root), os.openpty()
    path = os.ttyname(slave)
    machine.plug(os.path.basename(path), 2, "A50285BI")  # what the number of a pty is in /sys
    async with open_line(CONFIG.model_copy(update={"tty": path}), where):
        pass
    os.close(slave)
    os.close(master)
    machine.unplug(os.path.basename(path))
    machine.plug("ttyUSB0", 3, "A50285BI")
    assert (await why_not(path, where)).endswith("is at /dev/ttyUSB0 now")


async def test_by_the_kernels_name_it_is_named_so(machine: Machine) -> None:
    where = Whereabouts(machine.root)
    machine.plug("ttyUSB71", 2, "A50285BI")
    where.opened("/dev/ttyUSB71")
    machine.unplug("ttyUSB71")
    machine.plug("ttyUSB72", 2, "A50285BI")
    assert (await why_not("/dev/ttyUSB71", where)).endswith("is at /dev/ttyUSB72 now")


@pytest.mark.parametrize(("before", "after"), [("A50285BI", "B7"), ("", ""), ("", "B7")])
def test_another_adapter_is_not_taken_for_it(machine: Machine, before: str, after: str) -> None:
    """Nor is one that has no serial number: all of its kind look the same."""
    where = Whereabouts(machine.root)
    machine.plug("ttyUSB0", 2, before)
    where.opened(SOCKET_2)
    machine.unplug("ttyUSB0")
    machine.plug("ttyUSB0", 3, after)
    assert where.moved(SOCKET_2) == ""


def test_what_is_remembered_belongs_to_one_path(machine: Machine) -> None:
    """A reload may have given the port another tty."""
    where = Whereabouts(machine.root)
    machine.plug("ttyUSB0", 2, "A50285BI")
    where.opened(SOCKET_2)
    assert where.moved(SOCKET_3) == ""


# Who has it


def test_who_has_a_line_is_known_by_open_files_by_locks_and_by_lock_files(machine: Machine) -> None:
    for name, socket in (("ttyUSB0", 2), ("ttyUSB1", 3), ("ttyUSB2", 4)):
        machine.plug(name, socket)
    machine.process(77, "ModemManager", "/dev/ttyUSB0", "/dev/null", "/dev/ttyUSB0")
    machine.process(99, "pppd")
    machine.lock(99, "/dev/ttyUSB1")
    machine.lock(77, "/dev/ttyUSB1", waits="-> ")
    machine.lock(77, "/dev/ttyUSB0")
    (machine.root / "var/lock/LCK..ttyUSB1").write_text("        99\n")
    (machine.root / "var/lock/LCK..ttyUSB2").write_text("      4711\n")  # it has died
    found = holders({"/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/ttyUSB2"}, machine.root)
    assert found == {
        "/dev/ttyUSB0": [(77, "ModemManager", ("open", "lock"))],
        "/dev/ttyUSB1": [(99, "pppd", ("lock", "lock file"))],
    }
    assert str(found["/dev/ttyUSB1"][0]) == "pppd (pid 99)"


# All of it


def test_a_survey_has_each_tty_once_with_its_port_and_ports_without_one_last(machine: Machine) -> None:
    machine.plug("ttyUSB0", 2, "A50285BI")
    machine.plug("ttyUSB1", 3, "B7")
    machine.uart("ttyAMA0", "32")
    machine.process(812, "gatewayd", "/dev/ttyUSB0")
    ports = {
        "meters": {"tty": SOCKET_2, "state": "open", "reason": ""},
        "scale": {"tty": "usb:0403:6001:B7", "state": "waiting", "reason": "in use"},
        "gone": {"tty": "/dev/ttyUSB9", "state": "waiting", "reason": "no such device /dev/ttyUSB9"},
        "lost": {"tty": "usb:0403:6001:C8", "state": "waiting", "reason": "no adapter"},
    }
    rows = survey(ports, machine.root)
    assert [(row["tty"], row["port"], row["state"], row["present"]) for row in rows] == [
        ("/dev/ttyAMA0", None, None, True),
        ("/dev/ttyUSB0", "meters", "open", True),
        ("/dev/ttyUSB1", "scale", "waiting", True),
        ("/dev/ttyUSB9", "gone", "waiting", False),
        ("usb:0403:6001:C8", "lost", "waiting", False),
    ]
    assert rows[1]["holders"] == [{"pid": 812, "program": "gatewayd", "how": ["open"]}]
    assert (rows[1]["vendor_id"], rows[1]["serial"], rows[1]["by_path"]) == ("0403", "A50285BI", [SOCKET_2])
    assert (rows[0]["driver"], rows[0]["vendor_id"], rows[0]["links"]) == ("uart-pl011", None, [])
