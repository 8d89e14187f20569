"""mode = "modbus-rtu" on a pty, with a simulated bus at its far end.

Values, and a tty that comes and goes.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Until
from parts_kit import another_pty, running
from pydantic import ValidationError

from gateway.contracts import Asker, Rank, Request, Transactor
from gateway.demo.bus import Bus, bad_crc, cut, garbage, only, silent, sometimes
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.errors import GatewayError, LineDown, NoAnswer
from gateway.ports.modbus_rtu import Client, Config

UNPACED = Wire(baudrate=0)
NEVER = 30.0  # seconds: longer than any test lasts
SCADA = Asker("10.0.0.1", 1)


def config(tty: str, **keys: Any) -> Config:
    table = {"mode": "modbus-rtu", "tty": tty, "baudrate": 19200, "format": "8E1", "frame_gap": "0s"}
    return Config.model_validate(table | keys)


def slaves(*units: int) -> dict[int, Registers]:
    """Each holding register holds 256 * unit + its own address."""
    return {unit: Registers(holding={n: 256 * unit + n for n in range(200)}) for unit in units}


def read(unit: int, address: int, count: int) -> Request:
    pdu = b"\x03" + address.to_bytes(2, "big") + count.to_bytes(2, "big")
    return Request(unit, pdu, SCADA)


def write(unit: int, address: int, value: int) -> Request:
    pdu = b"\x06" + address.to_bytes(2, "big") + value.to_bytes(2, "big")
    return Request(unit, pdu, SCADA, Rank.WRITE)


def holds(unit: int, address: int, count: int) -> bytes:
    words = (256 * unit + n for n in range(address, address + count))
    return bytes((3, 2 * count)) + b"".join(word.to_bytes(2, "big") for word in words)


async def test_it_is_a_transactor() -> None:
    assert isinstance(Client(config("/dev/ttyUSB0")), Transactor)


async def test_registers_are_read_and_written_through_a_real_tty(until: Until) -> None:
    bus = Bus(slaves(1, 2), UNPACED)
    port = Client(config(bus.tty))
    with Lines(bus):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            answers = await asyncio.gather(*(port.ask(read(1 + n % 2, n, 1 + n % 10)) for n in range(16)))
            assert answers == [holds(1 + n % 2, n, 1 + n % 10) for n in range(16)]
            assert await port.ask(write(1, 7, 0x1234)) == write(1, 7, 0x1234).pdu
            assert await port.ask(read(1, 7, 1)) == b"\x03\x02\x12\x34"
            assert await port.ask(read(1, 250, 1)) == b"\x83\x02"
    assert bus.count.overlaps == 0


async def test_the_status_tells_line_bytes_frames_and_units(until: Until) -> None:
    bus = Bus(slaves(1), UNPACED)
    port = Client(config(bus.tty))
    with Lines(bus):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            await port.ask(read(1, 0, 2))
            await port.ask(read(1, 250, 1))
            record = port.status()
    assert (record["mode"], record["role"], record["line"]) == ("modbus-rtu", "client", "19200 8E1")
    assert (record["tx_bytes"], record["rx_bytes"]) == (16, 9 + 5)
    assert (record["tx_frames"], record["rx_frames"], record["queue"]) == (2, 2, 0)
    assert isinstance(record["errors"], dict)
    assert (record["errors"]["exceptions"], record["errors"]["parity"]) == (1, None)
    assert record["units"]["1"]["answers"] == 2


@pytest.mark.parametrize("baudrate", [19200, 115200])
async def test_on_a_line_that_keeps_the_time_of_a_wire_every_gap_is_kept(baudrate: int, until: Until) -> None:
    bus = Bus(slaves(1, 2, 3), Wire(baudrate=baudrate), strict=True)
    port = Client(config(bus.tty, baudrate=baudrate, frame_gap="auto"))
    with Lines(bus):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            answers = await asyncio.gather(*(port.ask(read(1 + n % 3, n, 10)) for n in range(12)))
    assert answers == [holds(1 + n % 3, n, 10) for n in range(12)]
    assert (bus.count.short_gaps, bus.count.overlaps, bus.count.pauses, bus.count.bad_crc) == (0, 0, 0, 0)


async def test_what_a_bad_line_does_to_answers_never_makes_a_wrong_value(until: Until) -> None:
    bus = Bus(slaves(1), UNPACED)
    port = Client(config(bus.tty, response_timeout="20ms", late_answer_guard="10ms", baudrate=115200))
    faults = [sometimes(2, bad_crc), sometimes(2, cut(4)), garbage(b"\x01\x55\x00"), only(1, silent)]
    outcomes: list[bytes | type[GatewayError]] = []
    with Lines(bus):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            for fault in faults:
                bus.fault = fault
                for _ in range(3):
                    try:
                        outcomes.append(await port.ask(read(1, 5, 3)))
                    except GatewayError as error:
                        outcomes.append(type(error))
    assert outcomes == [holds(1, 5, 3)] * 9 + [NoAnswer] * 3


# A tty that comes and goes


async def test_a_tty_that_is_not_there_at_start_is_waited_for_and_then_used(
    tmp_path: Path, until: Until
) -> None:
    bus = Bus(slaves(1), UNPACED, link=tmp_path / "meters")
    bus.unplug()
    port = Client(config(bus.tty))
    async with running(port) as life:
        await until(lambda: life.reason)
        assert life.reason == f"no such device {bus.tty}"
        with pytest.raises(LineDown, match="no such device"):
            await port.ask(read(1, 0, 1))
        bus.plug()
        with Lines(bus):
            await until(lambda: life.state == "open")
            assert await port.ask(read(1, 0, 1)) == holds(1, 0, 1)


async def test_before_its_first_try_a_port_answers_nobody() -> None:
    with pytest.raises(LineDown, match="not open"):
        await Client(config("/dev/ttyUSB0")).ask(read(1, 0, 1))


async def test_a_tty_that_vanishes_in_a_transaction_is_told_at_once_and_used_again_under_its_new_name(
    tmp_path: Path, until: Until
) -> None:
    bus = Bus(slaves(1), UNPACED, link=tmp_path / "meters", fault=silent)
    port = Client(config(bus.tty, response_timeout="30s", request_timeout="30s"))
    with Lines(bus) as lines:
        async with running(port) as life:
            await until(lambda: life.state == "open")
            first_name = os.path.realpath(bus.tty)
            asked = [port.ask(read(1, address, 1)) for address in range(3)]
            await until(lambda: bus.seen)
            lines.call(bus.unplug)
            async with asyncio.timeout(NEVER / 2):
                await asyncio.wait(asked)
            assert [str(answer.exception()) for answer in asked] == [f"{bus.tty}: unplugged"] * 3
            assert {type(answer.exception()) for answer in asked} == {LineDown}

            await until(lambda: life.state == "waiting" and "no such device" in life.reason)
            assert port.status()["queue"] == 0
            bus.fault = None
            with another_pty():
                lines.call(bus.plug)
                assert os.path.realpath(bus.tty) != first_name
                await until(lambda: life.state == "open")
                assert await port.ask(read(1, 5, 1)) == holds(1, 5, 1)
            assert len(bus.seen) == 2


async def test_a_tty_that_vanishes_while_nobody_asks_is_noticed_too(tmp_path: Path, until: Until) -> None:
    bus = Bus(slaves(1), UNPACED, link=tmp_path / "meters")
    port = Client(config(bus.tty))
    with Lines(bus) as lines:
        async with running(port) as life:
            await until(lambda: life.state == "open")
            lines.call(bus.unplug)
            await until(lambda: life.state == "waiting")
            assert life.deaths == 1


async def test_the_counts_of_a_port_outlive_its_tty(tmp_path: Path, until: Until) -> None:
    bus = Bus(slaves(1), UNPACED, link=tmp_path / "meters")
    port = Client(config(bus.tty))
    with Lines(bus) as lines:
        async with running(port) as life:
            for turn in range(1, 4):
                await until(lambda: life.state == "open")
                await port.ask(read(1, 0, 1))
                record = port.status()
                assert (record["tx_bytes"], record["units"]["1"]["answers"]) == (8 * turn, turn)
                lines.call(bus.unplug)
                await until(lambda: life.state == "waiting")
                lines.call(bus.plug)


async def test_a_port_that_is_stopped_leaves_nobody_without_an_outcome(until: Until) -> None:
    bus = Bus(slaves(1), UNPACED, fault=silent)
    port = Client(config(bus.tty, response_timeout="30s", request_timeout="30s"))
    with Lines(bus):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            asked = [port.ask(read(1, address, 1)) for address in range(3)]
            await until(lambda: bus.seen)
        assert [type(answer.exception()) for answer in asked] == [LineDown] * 3
        assert isinstance(port.ask(read(1, 0, 1)).exception(), LineDown)


async def test_a_port_that_is_stopped_does_not_blame_a_device_that_was_missing_long_ago(
    tmp_path: Path, until: Until
) -> None:
    bus = Bus(slaves(1), UNPACED, link=tmp_path / "meters")
    bus.unplug()
    port = Client(config(bus.tty))
    async with running(port) as life:
        await until(lambda: life.reason)
        bus.plug()
        await until(lambda: life.state == "open")
    bus.unplug()
    assert "no such device" not in str(port.ask(read(1, 0, 1)).exception())


async def test_the_next_session_runs_by_the_new_config(until: Until) -> None:
    first, second = Bus(slaves(1), UNPACED), Bus(slaves(2), UNPACED)
    port = Client(config(first.tty))
    with Lines(first, second):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            assert await port.ask(read(1, 0, 1)) == holds(1, 0, 1)
        port.config = config(second.tty)
        async with running(port) as life:
            await until(lambda: life.state == "open")
            assert await port.ask(read(2, 0, 1)) == holds(2, 0, 1)
    assert port.status()["tx_frames"] == 2


# The config


@pytest.mark.parametrize(
    ("baudrate", "gap"), [(1200, 0.03208), (9600, 0.00401), (19200, 0.002005), (38400, 0.00175)]
)
def test_the_gap_is_three_and_a_half_characters_and_never_less_than_the_standard_says(
    baudrate: int, gap: float
) -> None:
    automatic = config("/dev/ttyUSB0", baudrate=baudrate, frame_gap="auto")
    assert automatic.rules.gap == pytest.approx(gap, rel=0.001)


def test_the_rules_of_the_bus_are_the_keys_of_the_table() -> None:
    rules = config("/dev/ttyUSB0", frame_gap="5ms", retries=3, queue=4, request_timeout="7s").rules
    assert (rules.gap, rules.retries, rules.queue, rules.request_timeout) == (0.005, 3, 4, 7.0)
    assert rules.character == pytest.approx(11 / 19200)


@pytest.mark.parametrize(("role", "called"), [("master", "client"), ("slave", "server")])
def test_who_writes_master_or_slave_is_told_what_it_is_called_here(role: str, called: str) -> None:
    with pytest.raises(ValidationError, match=f'is called "{called}" here'):
        config("/dev/ttyUSB0", role=role)
