"""Modbus over UDP at the real daemon: foreign clients, TCP beside it, a flood, and what is said of it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from pymodbus.client import AsyncModbusUdpClient, ModbusTcpClient, ModbusUdpClient
from system_kit import PATIENCE, Daemon, eventually, modbus_port, modbus_server, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers

READ = b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01"
GARBAGE = b"\x00\x01\x00\x00\x00\x02\x01\x83"


@dataclass
class Plant:
    line: Bus
    both: int  # a port of TCP and of UDP
    rtu: int
    daemon: Daemon


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    line = Bus(
        {unit: Registers(holding=dict.fromkeys(range(130), unit)) for unit in (1, 2)}, Wire(baudrate=0)
    )
    both, rtu = free_port(), free_port()
    config = (
        modbus_port("meters", line.tty, response_timeout="300ms")
        + modbus_server("scada", both, port="meters")
        + table("links.udp", kind="modbus-server", listen=f":{both}", transport="udp", port="meters")
        + modbus_server("rtu", rtu, port="meters", transport="udp", framing="rtu")
    )
    with Lines(line), Daemon(config) as daemon:
        daemon.comes_to("ports.meters", "open")
        daemon.comes_to("links.udp", "listening")
        daemon.comes_to("links.rtu", "listening")
        yield Plant(line, both, rtu, daemon)


@contextmanager
def caller(port: int, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """It hears only what comes from the very address that it speaks to."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((host, port))
        yield sock


def test_a_foreign_client_gets_the_values_exceptions_and_silence_of_the_line(plant: Plant) -> None:
    async def asks() -> None:
        scada = AsyncModbusUdpClient("127.0.0.1", port=plant.both, timeout=PATIENCE, retries=0)
        assert await scada.connect()
        assert (await scada.read_holding_registers(10, count=100, device_id=2)).registers == [2] * 100
        assert not (await scada.write_register(10, 77, device_id=2)).isError()
        assert (await scada.read_holding_registers(10, count=2, device_id=2)).registers == [77, 2]
        assert (await scada.read_holding_registers(129, count=2, device_id=1)).exception_code == 2
        assert (await scada.read_holding_registers(0, count=1, device_id=3)).exception_code == 0x0B
        scada.close()

    asyncio.run(asks())


def test_many_of_them_at_once_each_get_their_own(plant: Plant) -> None:
    async def asks(unit: int) -> None:
        scada = AsyncModbusUdpClient("127.0.0.1", port=plant.both, timeout=PATIENCE, retries=0)
        assert await scada.connect()
        for count in range(1, 21):
            got = await scada.read_holding_registers(20, count=count, device_id=unit)
            assert got.registers == [unit] * count
        scada.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(asks(1 + n % 2) for n in range(8)))

    asyncio.run(all_of_them())


def test_rtu_frames_in_datagrams_are_answered_as_such(plant: Plant) -> None:
    from pymodbus.framer import FramerType

    with ModbusUdpClient(
        "127.0.0.1", port=plant.rtu, framer=FramerType.RTU, timeout=PATIENCE, retries=0
    ) as scada:
        assert scada.read_holding_registers(30, count=5, device_id=1).registers == [1] * 5
        assert not scada.write_registers(30, [8, 9], device_id=1).isError()
        assert scada.read_holding_registers(30, count=3, device_id=1).registers == [8, 9, 1]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "::1"])
def test_the_answer_comes_from_the_address_that_was_asked(host: str, plant: Plant) -> None:
    with caller(plant.both, host) as sock:
        sock.send(READ)
        assert sock.recv(100) == b"\x00\x01\x00\x00\x00\x05\x01\x03\x02\x00\x01"


def test_garbage_is_counted_shown_and_not_answered(plant: Plant) -> None:
    before = plant.daemon.part("links.udp")["datagrams"]["malformed"]
    with caller(plant.both) as sock:
        for _ in range(3):
            sock.send(GARBAGE)
        eventually(lambda: plant.daemon.part("links.udp")["datagrams"]["malformed"] == before + 3)
        sock.send(READ)
        assert len(sock.recv(100)) == 11
        shown = plant.daemon.ctl("status", "udp").stdout
        assert f"{before + 3} malformed" in shown
        assert f"127.0.0.1:{sock.getsockname()[1]}" in shown
    assert f"modbus-server, listens on udp :{plant.both}" in shown
    assert f"modbus-server udp :{plant.both}" in plant.daemon.ctl("status").stdout


def test_the_trace_shows_datagrams_and_what_they_mean(plant: Plant) -> None:
    with plant.daemon.trace("udp") as seen, caller(plant.both) as sock:

        def shown() -> bool:
            sock.send(READ)
            sock.recv(100)
            return "read holding 0" in seen() and f"127.0.0.1:{sock.getsockname()[1]}" in seen()

        eventually(shown)


def test_check_has_nothing_to_say_against_it(plant: Plant) -> None:
    checked = plant.daemon.ctl("check", str(plant.daemon.file))
    assert checked.returncode == 0, checked.stdout
    assert "links.scada: at rest" in checked.stdout
    assert "links.udp" not in checked.stdout


def test_a_flood_takes_nothing_from_those_who_ask_by_tcp(plant: Plant) -> None:
    over = threading.Event()

    def flood() -> None:
        with caller(plant.both) as sock:
            while not over.is_set():
                for _ in range(20):
                    sock.send(GARBAGE)
                time.sleep(0.001)

    before = plant.daemon.part("links.udp")["datagrams"]["malformed"]
    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        with ModbusTcpClient("127.0.0.1", port=plant.both, timeout=PATIENCE, retries=0) as scada:
            for _ in range(100):
                assert scada.read_holding_registers(40, count=1, device_id=1).registers == [1]
    finally:
        over.set()
        flooding.join()
    assert plant.daemon.part("links.udp")["datagrams"]["malformed"] > before + 100


def test_a_port_that_another_has_is_told_as_for_tcp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        taken = sock.getsockname()[1]
        config = modbus_port("meters", "/dev/no-such") + modbus_server(
            "scada", taken, port="meters", transport="udp"
        )
        with Daemon(config) as daemon:
            waiting = daemon.comes_to("links.scada", "waiting")
            assert waiting["reason"] == (
                f"cannot listen on 127.0.0.1:{taken}: another program uses this address"
            )
            sock.close()
            daemon.comes_to("links.scada", "listening")
