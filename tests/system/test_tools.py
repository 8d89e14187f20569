"""gatewayctl read, write, scan, pause and resume through the real daemon, on ptys with scripted devices."""

import json
import os
import re
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import serial
from peers_kit import Scada
from system_kit import PATIENCE, Daemon, eventually, modbus_port, modbus_server, raw_port, table

from gateway.demo.bus import Bus, bad_crc, late
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.demo.scale import Scale

READ = "03 0000 0001"
GOOD, AWAY = "03 02 43 66", "83 0a"
CHECKED = "only CRC errors: check baudrate, parity, termination"


class Meters(Bus):
    """Understands only who speaks at its own speed, as a pty does not by itself."""

    def __init__(self, speed: int) -> None:
        holding = {0: 0x4366, 1: 0x199A}
        super().__init__({1: Registers(holding=holding, coils={3: False}), 3: Registers()}, Wire(baudrate=0))
        self.speed = speed

    def heard(self, data: bytes, now: float) -> None:
        if termios.tcgetattr(self.fileno())[5] == self.speed:
            super().heard(data, now)


@dataclass
class Plant:
    meters: Meters
    scale: Scale
    scada: Scada
    console: int  # TCP port
    daemon: Daemon

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.daemon.ctl(*arguments)


@pytest.fixture
def plant() -> Iterator[Plant]:
    """The meters speak the 9600 Bd of the config, until a test changes them."""
    meters, scale, ports = Meters(termios.B9600), Scale(0.05), (free_port(), free_port())
    soon = {"response_timeout": "100ms", "late_answer_guard": "0ms", "skip_silent": False}
    config = (
        modbus_port("meters", meters.tty, baudrate=9600, **soon)
        + raw_port("scale", scale.tty)
        + modbus_server("scada", ports[0], port="meters")
        + table("links.console", kind="tcp", listen=f"127.0.0.1:{ports[1]}", port="scale")
    )
    with Lines(meters, scale), Daemon(config) as daemon, Scada(ports[0]) as scada:
        daemon.comes_to("ports.meters", "open")
        daemon.comes_to("ports.scale", "open")
        yield Plant(meters, scale, scada, ports[1], daemon)


def answers(plant: Plant) -> bool:
    return bool(plant.scada.ask(1, READ) == GOOD)


# read and write


def test_a_read_goes_through_the_arbiter_and_shows_every_order(plant: Plant) -> None:
    done = plant.ctl("read", "meters", "1", "holding", "0", "2", "--all-orders")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["HOLDING", "TYPE", "ABCD", "CDAB", "BADC", "DCBA"] in rows
    assert next(row for row in rows if row[1] == "float32")[2] == "230.1"
    assert plant.daemon.part("ports.meters")["units"]["1"]["requests"] == 1


def test_what_the_device_or_the_line_says_no_to_is_bad_news(plant: Plant) -> None:
    done = plant.ctl("read", "meters", "1", "holding", "9")
    assert (done.returncode, done.stderr) == (1, "gatewayctl: unit 1: exception 02 illegal data address\n")
    done = plant.ctl("read", "meters", "7", "holding", "0")
    assert (done.returncode, done.stderr) == (1, "gatewayctl: unit 7 did not answer within 0.1 s\n")
    done = plant.ctl("read", "scale", "1", "holding", "0")
    assert (done.returncode, done.stderr) == (
        1,
        "gatewayctl: scale cannot be asked: a raw port has no unit ids\n",
    )
    done = plant.ctl("read", "metres", "1", "holding", "0")
    assert done.stderr == 'gatewayctl: no port is called "metres"; did you mean "meters"?\n'


def test_a_write_reaches_the_device_and_the_log(plant: Plant) -> None:
    assert plant.ctl("write", "meters", "1", "holding", "0", "5").returncode == 2
    assert plant.meters.slaves[1].holding[0] == 0x4366
    typed = ("--type", "float32", "--byte-order", "CDAB", "--yes")
    assert plant.ctl("write", "meters", "1", "holding", "0", "230.1", *typed).returncode == 0
    assert plant.meters.slaves[1].holding == {0: 0x199A, 1: 0x4366}
    assert plant.ctl("write", "meters", "1", "coil", "3", "true", "--yes").returncode == 0
    assert plant.meters.slaves[1].coils == {3: True}
    assert "ports.meters: gatewayctl writes coil 3 = 1 to unit 1" in plant.daemon.log


# scan


def test_a_scan_with_the_own_settings_leaves_the_normal_work_alone(plant: Plant) -> None:
    with scanning(plant, "--unit-ids", "1-20") as scan:
        while scan.poll() is None:
            assert answers(plant)
    lines = out_of(plant)
    assert [line["unit_id"] for line in lines if line.get("state") == "found"] == [1, 3]
    assert [line["text"] for line in lines if line.get("unit_id") == 3] == [
        "exception 02 illegal data address"
    ]
    assert (scan.returncode, lines[-1]["asked"]) == (0, 20)
    assert list(plant.daemon.part("ports.meters")["units"]) == ["1", "3"]


def test_a_scan_with_others_finds_the_speed_and_gives_the_port_back(plant: Plant) -> None:
    plant.meters.speed = termios.B19200
    with scanning(plant, "--unit-ids", "1-20", "--baudrate", "9600,19200") as scan:
        port = plant.daemon.comes_to("ports.meters", "paused")
        assert port["reason"] == "being scanned by gatewayctl"
        assert plant.scada.ask(1, READ) == AWAY
        scan.wait(PATIENCE)
    found = [(line["line"], line["unit_id"]) for line in out_of(plant) if line.get("state") == "found"]
    assert found == [("19200 8E1", 1), ("19200 8E1", 3)]
    plant.daemon.comes_to("ports.meters", "open")
    plant.meters.speed = termios.B9600
    eventually(lambda: answers(plant))


def test_the_port_comes_back_when_gatewayctl_is_killed_in_the_middle(plant: Plant) -> None:
    with scanning(plant, "--baudrate", "19200") as scan:
        plant.daemon.comes_to("ports.meters", "paused")
        refused = plant.ctl("pause", "meters", "--for", "1m")
        why = "gatewayctl: meters is being scanned by gatewayctl\n"
        assert (refused.returncode, refused.stderr) == (1, why)
        scan.kill()
        plant.daemon.comes_to("ports.meters", "open")
    eventually(lambda: answers(plant))
    assert "Traceback" not in plant.daemon.log


def test_the_port_comes_back_when_the_socket_dies_in_the_middle(plant: Plant) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(plant.daemon.socket))
        control.sendall(b'{"verb":"scan","name":"meters","baudrates":[19200]}\n')
        plant.daemon.comes_to("ports.meters", "paused")
    plant.daemon.comes_to("ports.meters", "open")
    eventually(lambda: answers(plant))


def test_a_stop_in_the_middle_of_a_scan_or_a_pause_is_a_clean_one(plant: Plant) -> None:
    assert plant.ctl("pause", "scale", "--for", "10m").returncode == 0
    with scanning(plant, "--baudrate", "19200") as scan:
        plant.daemon.comes_to("ports.meters", "paused")
        assert plant.daemon.stop() == 0
        assert scan.wait(PATIENCE) == 3
    assert "Traceback" not in plant.daemon.log
    assert "does not end" not in plant.daemon.log
    plant.daemon.start()
    plant.daemon.comes_to("ports.scale", "open")


@contextmanager
def scanning(plant: Plant, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gateway.ctl", "--socket", str(plant.daemon.socket)]
    with (plant.daemon.folder / "scan").open("w") as out:
        scan = subprocess.Popen([*command, "--json", "scan", "meters", *arguments], stdout=out, text=True)
    try:
        yield scan
    finally:
        scan.kill()
        scan.wait()


def out_of(plant: Plant) -> list[dict[str, Any]]:
    """What the scan has printed so far."""
    return [json.loads(line) for line in (plant.daemon.folder / "scan").read_text().splitlines()]


# pause and resume


def test_a_paused_port_is_really_closed_for_another_program_and_is_taken_back_by_itself(plant: Plant) -> None:
    tty = os.path.realpath(plant.meters.tty)
    assert tty in plant.daemon.descriptors()
    assert plant.ctl("pause", "meters", "--for", "2s").returncode == 0
    assert tty not in plant.daemon.descriptors()
    port = plant.daemon.part("ports.meters")
    assert port["state"] == "paused"
    assert port["reason"].startswith("paused until ")
    assert 0 < port["next_try_s"] <= 2
    assert plant.scada.ask(1, READ) == AWAY
    with serial.Serial(plant.meters.tty, 19200, exclusive=True):
        assert plant.daemon.part("links.scada")["state"] == "listening"
    plant.daemon.comes_to("ports.meters", "open")
    eventually(lambda: answers(plant))


def test_resume_takes_it_back_before_that_and_says_who_still_has_it(plant: Plant) -> None:
    assert plant.ctl("pause", "meters", "--for", "10m").returncode == 0
    shown = plant.ctl("status").stdout
    assert "! meters " in shown
    assert "by gatewayctl; taken back in " in shown
    assert plant.ctl("status", "--strict").returncode == 1
    with serial.Serial(plant.meters.tty, 19200, exclusive=True):
        assert plant.ctl("resume", "meters").returncode == 0
        assert "is in use by" in plant.daemon.comes_to("ports.meters", "waiting")["reason"]
    plant.daemon.comes_to("ports.meters", "open")
    eventually(lambda: answers(plant))
    again = plant.ctl("resume", "meters")
    assert (again.returncode, again.stderr) == (1, "gatewayctl: meters is not paused\n")


def test_a_pause_has_a_bound(plant: Plant) -> None:
    assert plant.ctl("pause", "meters").returncode == 2
    assert plant.ctl("pause", "meters", "--for", "90d").returncode == 1
    assert plant.daemon.part("ports.meters")["state"] == "open"


def test_a_raw_port_can_be_paused_and_its_clients_stay(plant: Plant) -> None:
    with socket.create_connection(("127.0.0.1", plant.console), timeout=PATIENCE) as client:
        assert client.recv(1)
        assert plant.ctl("pause", "scale", "--for", "10m").returncode == 0
        assert os.path.realpath(plant.scale.tty) not in plant.daemon.descriptors()
        assert len(plant.daemon.part("links.console")["peers"]) == 1
        silent = plant.daemon.part("ports.scale")["rx_bytes"]
        assert plant.ctl("resume", "scale").returncode == 0
        plant.daemon.comes_to("ports.scale", "open")
        eventually(lambda: plant.daemon.part("ports.scale")["rx_bytes"] > silent)
        assert client.recv(65536)


def test_a_reload_leaves_a_pause_alone(plant: Plant) -> None:
    assert plant.ctl("pause", "meters", "--for", "10m").returncode == 0
    config = plant.daemon.file.read_text()
    plant.daemon.file.write_text(config.replace('"100ms"', '"120ms"'))
    plant.daemon.reload_by_ctl()
    assert plant.daemon.part("ports.meters")["state"] == "paused"
    assert plant.ctl("resume", "meters").returncode == 0
    eventually(lambda: answers(plant))


# what the counters mean


def test_the_status_says_what_the_counters_mean_until_it_is_cured(plant: Plant) -> None:
    plant.meters.fault = bad_crc
    for _ in range(3):
        assert plant.scada.ask(1, READ) == "83 0b"
    port = plant.daemon.part("ports.meters")
    assert (port["state"], port["reason"]) == ("open", CHECKED)
    assert f"    {CHECKED}\n" in plant.ctl("status").stdout
    plant.meters.fault = None
    assert answers(plant)
    assert plant.daemon.part("ports.meters")["reason"] != CHECKED


def test_a_slow_device_is_told_by_what_it_needs(plant: Plant) -> None:
    plant.meters.fault = late(0.15)
    assert plant.scada.ask(1, READ) == "83 0b"
    said = eventually(lambda: plant.daemon.part("ports.meters")["reason"])
    assert re.fullmatch(r"unit 1 answers after 0\.[2-9] s: raise response_timeout", said)


# a line whose master is somebody else


def test_a_port_that_is_asked_itself_cannot_be_asked_by_us_but_paused() -> None:
    ours, theirs = os.openpty()
    tty = os.ttyname(theirs)
    os.close(theirs)
    with Daemon(modbus_port("panel", tty, role="server")) as daemon:
        daemon.comes_to("ports.panel", "open")
        why = 'its role is "server": the master on this line asks, not we'
        for verb in (("read", "panel", "1", "holding", "0"), ("scan", "panel")):
            done = daemon.ctl(*verb)
            assert (done.returncode, done.stderr) == (1, f"gatewayctl: panel cannot be asked: {why}\n")
        assert daemon.ctl("pause", "panel", "--for", "10m").returncode == 0
        assert tty not in daemon.descriptors()
        assert daemon.ctl("resume", "panel").returncode == 0
        daemon.comes_to("ports.panel", "open")
    os.close(ours)
