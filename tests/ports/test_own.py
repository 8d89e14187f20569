"""One unit id is the gateway itself: what a PLC reads there, and that everything else goes its way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import Until
from parts_kit import running

from gateway.contracts import Asker, Counted, Request, Transactor
from gateway.demo.bus import Bus
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.errors import BadRequest, GatewayError, NoAnswer, Refused
from gateway.ports._own import Own
from gateway.ports.modbus_rtu import Client, Config

OURS = 255
ANSWERS, SILENT = 1, 2


def read(unit: int, address: int, count: int = 1) -> Request:
    return Request(
        unit, b"\x03" + address.to_bytes(2, "big") + count.to_bytes(2, "big"), Asker("10.0.0.1", 1)
    )


async def words(own: Own, address: int, count: int = 1) -> list[int]:
    pdu = await own.ask(read(OURS, address, count))
    assert pdu[:2] == bytes((3, 2 * count))
    return [int.from_bytes(pdu[at : at + 2], "big") for at in range(2, len(pdu), 2)]


def port(bus: Bus) -> Client:
    table = {"mode": "modbus-rtu", "tty": bus.tty, "baudrate": 115200, "format": "8E1", "frame_gap": "0s"}
    return Client(Config.model_validate(table | {"response_timeout": "20ms", "late_answer_guard": "1ms"}))


@asynccontextmanager
async def plant(folder: Path, until: Until) -> AsyncIterator[tuple[Own, Client, Bus, Lines]]:
    """A line with unit 1 on it, in which each register holds 7, and its own registers in front of it."""
    bus = Bus({1: Registers(holding=dict.fromkeys(range(10), 7))}, Wire(baudrate=0), link=folder / "meters")
    line = port(bus)
    with Lines(bus) as lines:
        async with running(line) as life:
            await until(lambda: life.state == "open")
            yield Own(line, OURS, [line], lambda: 61.7), line, bus, lines


async def test_a_line_can_be_counted_and_what_stands_in_front_of_it_can_be_asked(
    tmp_path: Path, until: Until
) -> None:
    async with plant(tmp_path, until) as (own, line, _, _):
        assert isinstance(line, Counted)
        assert isinstance(own, Transactor)


async def test_what_happens_on_the_line_is_read_from_its_registers(tmp_path: Path, until: Until) -> None:
    async with plant(tmp_path, until) as (own, _, bus, _):
        assert await words(own, 0, 6) == [1, 1, 0, 61, 1, 0]
        assert await own.ask(read(1, 0)) == b"\x03\x02\x00\x07"
        assert await own.ask(read(1, 10)) == b"\x83\x02"
        for _ in range(2):
            with pytest.raises(NoAnswer):
                await own.ask(read(5, 0))

        opened, _, queue, units, silent, _, *counts = await words(own, 1000, 24)
        assert (opened, queue, units, silent) == (1, 0, 2, 1)
        requests, answers, timeouts, *others, exceptions = counts[1::2]
        assert (requests, answers, timeouts, exceptions) == (4, 2, 2, 1)
        assert others == [0] * 5
        assert await words(own, 1100, 6) == [0, ANSWERS, 0, 0, 0, SILENT]
        assert len(bus.seen) == 4


async def test_a_line_that_is_away_is_not_open_and_keeps_what_it_has_counted(
    tmp_path: Path, until: Until
) -> None:
    async with plant(tmp_path, until) as (own, line, bus, lines):
        await own.ask(read(1, 0))
        lines.call(bus.unplug)
        await until(lambda: not line.counts().open)
        assert await words(own, 1000) == [0]
        assert await words(own, 1006, 2) == [0, 1]
        assert await words(own, 4) == [0]


@pytest.mark.parametrize(
    ("pdu", "error"), [(b"\x06\x00\x00\x00\x01", Refused), (b"\x03\x00\x00\x00\x00", BadRequest)]
)
async def test_what_cannot_be_asked_of_it_is_an_error_like_any_other(
    pdu: bytes, error: type[GatewayError]
) -> None:
    own = Own(Nobody(), OURS, [], lambda: 0.0)
    with pytest.raises(error):
        await own.ask(Request(OURS, pdu, Asker("10.0.0.1", 1)))


class Nobody:
    """A Transactor on whom nothing is to be asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def ask(self, request: Request, /) -> asyncio.Future[bytes]:
        self.asked.append(request)
        return asyncio.get_running_loop().create_future()


async def test_only_its_own_unit_id_is_answered_here() -> None:
    route = Nobody()
    own = Own(route, 200, [], lambda: 0.0)
    for unit in (0, 1, 199, 201, 255):
        assert not own.ask(read(unit, 0)).done()
    assert [request.unit for request in route.asked] == [0, 1, 199, 201, 255]
    assert own.ask(read(200, 0)).done()
