"""A Modbus ASCII line behind the real daemon: foreign Modbus TCP clients read and write its devices."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from ascii_kit import Chillers
from pymodbus.client import ModbusTcpClient
from system_kit import PATIENCE, Daemon, eventually, modbus_port, modbus_server, table

from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers, float_words

SPEED = 21.5
LINE = {"mode": "modbus-ascii", "baudrate": 9600, "format": "8N1", "response_timeout": "300ms"}


@dataclass
class Plant:
    line: Chillers
    scada: int  # TCP port
    daemon: Daemon


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    chillers = {
        unit: Registers(holding=dict.fromkeys(range(130), unit), inputs=dict(enumerate(float_words(SPEED))))
        for unit in (1, 2)
    }
    line, scada = Chillers(chillers, Wire(baudrate=9600, bits=10)), free_port()
    config = (
        modbus_port("chillers", line.tty, **LINE)
        + modbus_server("scada", scada, port="chillers")
        + table("devices.compressor", port="chillers", unit_id=2, poll_interval="500ms")
        + table("devices.compressor.points", speed={"input": 0, "type": "float32"})
    )
    with Lines(line), Daemon(config) as daemon:
        daemon.comes_to("ports.chillers", "open")
        yield Plant(line, scada, daemon)


@pytest.mark.needs("mbpoll")
def test_mbpoll_reads_and_writes_what_the_device_holds(plant: Plant) -> None:
    command = ["mbpoll", "-m", "tcp", "-p", str(plant.scada), "-0", "-1", "-q", "-a", "1", "-r", "5"]
    for values in (["4711", "815"], []):
        done = subprocess.run(
            [*command, *([] if values else ["-c", "2"]), "127.0.0.1", *values],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(":")[2].strip() for line in done.stdout.splitlines() if line[:1] == "["] == [
        "4711",
        "815",
    ]
    assert [plant.line.slaves[1].holding[address] for address in (4, 5, 6, 7)] == [1, 4711, 815, 1]


def test_pymodbus_gets_the_values_exceptions_and_silence_of_the_line(plant: Plant) -> None:
    with ModbusTcpClient("127.0.0.1", port=plant.scada, timeout=PATIENCE, retries=0) as scada:
        assert scada.read_holding_registers(10, count=100, device_id=2).registers == [2] * 100
        assert not scada.write_register(10, 77, device_id=2).isError()
        assert scada.read_holding_registers(10, count=2, device_id=2).registers == [77, 2]
        assert scada.read_holding_registers(129, count=2, device_id=1).exception_code == 2
        assert scada.read_holding_registers(0, count=1, device_id=3).exception_code == 0x0B


def test_a_device_on_it_is_polled(plant: Plant) -> None:
    plant.daemon.comes_to("devices.compressor", "ok")
    assert plant.daemon.part("devices.compressor")["values"] == {"speed": SPEED}


def test_a_wrong_lrc_is_counted_and_asked_again(plant: Plant) -> None:
    before = plant.daemon.part("ports.chillers")["errors"]["crc"]
    plant.line.fault = lambda answer: answer[:-4] + b"00\r\n"
    eventually(lambda: plant.daemon.part("ports.chillers")["errors"]["crc"] >= before + 2)
    plant.line.fault = bytes
    plant.daemon.comes_to("devices.compressor", "ok")


def test_the_trace_shows_frames_as_they_are_written_and_what_they_mean(plant: Plant) -> None:
    with plant.daemon.trace("chillers") as seen:
        eventually(lambda: "unit 2: read input 0..1" in seen() and ":020400000002F8" in seen())


def test_the_status_says_what_kind_of_line_it_is(plant: Plant) -> None:
    shown = plant.daemon.ctl("status").stdout
    assert "9600 8N1 modbus-ascii" in shown
