"""What a port says of its counters: from those of late, so that a fault that is cured is told no more."""

import pytest
from conftest import Until
from parts_kit import running

from gateway.contracts import Asker, Request, Settings
from gateway.demo.bus import Bus, bad_crc, silent
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.errors import Garbled, GatewayError, NoAnswer
from gateway.ports._recent import Recent
from gateway.ports._tally import Tally
from gateway.ports.modbus_rtu import Client, Config

CRC = "only CRC errors: check baudrate, parity, termination"
NOBODY = "nothing answers: check wiring A/B, baudrate, unit ids"
READ = b"\x03\x00\x00\x00\x01"


def ask(tally: Tally, unit: int, times: int, *, answered: bool = True) -> None:
    for _ in range(times):
        tally.asked(unit)
        if answered:
            tally.answered(unit, 0.01, exception=False)
        else:
            tally.timed_out(unit, noise=False)


def test_nothing_is_said_before_anything_was_asked() -> None:
    assert Recent(Tally()).diagnosis() == ""


def test_what_is_wrong_is_said_at_once_and_no_more_once_it_is_cured() -> None:
    tally = Tally()
    recent = Recent(tally)
    ask(tally, 1, 3, answered=False)
    assert recent.diagnosis() == NOBODY
    ask(tally, 1, 1)
    assert recent.diagnosis() == ""


def test_what_went_wrong_long_ago_is_forgotten() -> None:
    tally = Tally()
    recent = Recent(tally)
    ask(tally, 1, 50)
    tally.crc += 30
    assert recent.diagnosis().startswith("30 of 50 answers are broken")
    recent.look()
    ask(tally, 1, 50)
    assert recent.diagnosis().startswith("30 of 100 answers are broken")
    recent.look()
    assert recent.diagnosis() == ""


def test_on_a_line_that_is_hardly_used_the_last_requests_count_however_old_they_are() -> None:
    tally = Tally()
    recent = Recent(tally)
    ask(tally, 1, 4, answered=False)
    for _ in range(100):
        recent.look()
    assert recent.diagnosis() == NOBODY


def test_a_unit_that_never_answered_is_named_and_one_that_did_is_not() -> None:
    tally = Tally()
    ask(tally, 2, 5)
    recent = Recent(tally)
    for unit in (1, 3):
        ask(tally, unit, 5)
    ask(tally, 2, 5, answered=False)
    assert recent.diagnosis() == ""
    ask(tally, 255, 5, answered=False)
    assert recent.diagnosis() == "unit 255 asked, only 1-3 answer"


def test_a_slow_unit_is_told_by_how_long_it_takes() -> None:
    tally = Tally()
    recent = Recent(tally)
    ask(tally, 5, 1, answered=False)
    tally.came_late(5, 1.36)
    assert recent.diagnosis() == "unit 5 answers after 1.4 s: raise response_timeout"
    ask(tally, 5, 20)
    recent.look()
    ask(tally, 5, 20)
    recent.look()
    assert recent.diagnosis() == ""


def test_broadcasts_are_not_waited_for() -> None:
    tally = Tally()
    recent = Recent(tally)
    for _ in range(10):
        tally.asked(0)
    assert recent.diagnosis() == ""


@pytest.fixture
def line() -> Bus:
    return Bus({1: Registers(holding={0: 7})}, Wire(baudrate=0))


def config(line: Bus, **keys: object) -> Config:
    table = {"mode": "modbus-rtu", "tty": line.tty, "baudrate": 19200, "format": "8E1", "frame_gap": "0s"}
    soon = {"response_timeout": "100ms", "late_answer_guard": "0s", "skip_silent": False}
    return Config.model_validate(table | soon | keys)


async def test_a_port_tells_while_it_is_open_and_forgets_with_its_line(line: Bus, until: Until) -> None:
    port = Client(config(line))
    line.fault = bad_crc
    with Lines(line):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            for _ in range(2):
                with pytest.raises(Garbled):
                    await port.ask(Request(1, READ, Asker("here", 1)))
            assert port.status()["reason"] == CRC
        assert port.status()["reason"] == ""
        line.fault = silent
        async with running(port) as life:
            await until(lambda: life.state == "open")
            assert port.status()["reason"] == ""
            for _ in range(3):
                with pytest.raises(NoAnswer):
                    await port.ask(Request(1, READ, Asker("here", 1)))
            assert port.status()["reason"] == NOBODY


async def test_elsewhere_nothing_is_counted_and_nothing_asked_twice(line: Bus, until: Until) -> None:
    port = Client(config(line))
    line.fault = bad_crc
    with Lines(line):
        async with port.elsewhere(Settings(4800, "8N1")) as other:
            with pytest.raises(GatewayError, match="wrong checksum"):
                await other.ask(Request(1, READ, Asker("ctl", 1)))
    assert line.count.requests == 1
    assert port.status()["units"] == {}
    assert port.status()["line"] == "19200 8E1"


async def test_units_that_only_a_scan_asked_are_forgotten_unless_they_answer(line: Bus, until: Until) -> None:
    port = Client(config(line))
    with Lines(line):
        async with running(port) as life:
            await until(lambda: life.state == "open")
            with pytest.raises(NoAnswer):
                await port.ask(Request(9, READ, Asker("here", 1)))
            with port.unnoticed():
                for unit in (1, 2):
                    try:
                        await port.ask(Request(unit, READ, Asker("ctl", 1)))
                    except NoAnswer:
                        assert unit == 2
            assert list(port.status()["units"]) == ["1", "9"]
