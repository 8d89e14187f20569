"""What a port counts outlives its lines, and is told in the shape of the status record."""

import asyncio
from dataclasses import dataclass

import pytest
from virtual import in_virtual_time

from gateway.host.settled import PLAIN, Settled
from gateway.host.uart import DriverCounts
from gateway.ports._tally import Occupancy, Tally, Unit
from gateway.ports.raw import Config

CONFIG = Config.model_validate({"mode": "raw", "tty": "/dev/ttyUSB1", "baudrate": 9600, "format": "8E1"})


@dataclass
class Line:
    """As much of an open line as is counted."""

    rx_bytes: int
    tx_bytes: int
    driver: DriverCounts | None = None
    settled: Settled = PLAIN

    def real_baudrate(self) -> int | None:
        return self.settled.baudrate

    def driver_counts(self) -> DriverCounts | None:
        return self.driver


def test_the_record_has_the_names_of_the_interface() -> None:
    record = Tally().status(CONFIG)
    assert record == {
        "reason": "",
        "mode": "raw",
        "tty": "/dev/ttyUSB1",
        "line": "9600 8E1",
        "real_baudrate": None,
        "rs485": None,
        "rx_bytes": 0,
        "tx_bytes": 0,
        "rx_frames": 0,
        "tx_frames": 0,
        "errors": {
            **dict.fromkeys(("timeout", "crc", "short", "late", "foreign", "echo", "exceptions"), 0),
            **dict.fromkeys(("overrun", "framing", "parity", "break")),
        },
        "units": {},
    }


def test_bytes_are_counted_while_a_line_is_open_and_kept_when_it_is_not() -> None:
    tally = Tally()
    with tally.counting(Line(rx_bytes=10, tx_bytes=1)) as _:
        assert tally.status(CONFIG)["rx_bytes"] == 10
    assert tally.status(CONFIG)["rx_bytes"] == 10
    with tally.counting(Line(rx_bytes=5, tx_bytes=2)):
        record = tally.status(CONFIG)
    assert (record["rx_bytes"], record["tx_bytes"]) == (15, 3)


def test_a_line_that_vanished_is_counted_too() -> None:
    tally = Tally()
    with pytest.raises(RuntimeError), tally.counting(Line(rx_bytes=10, tx_bytes=1)):
        raise RuntimeError
    assert tally.status(CONFIG)["rx_bytes"] == 10


def test_what_the_driver_counts_adds_up_over_all_lines() -> None:
    tally = Tally()
    with tally.counting(Line(0, 0, DriverCounts(framing=1, overrun=2, parity=3, breaks=4))):
        pass
    with tally.counting(Line(0, 0, DriverCounts(framing=10, overrun=20, parity=30, breaks=40))):
        errors = tally.status(CONFIG)["errors"]
    assert isinstance(errors, dict)
    assert [errors[key] for key in ("framing", "overrun", "parity", "break")] == [11, 22, 33, 44]


def test_a_driver_that_stops_counting_takes_nothing_away() -> None:
    tally = Tally()
    with tally.counting(Line(0, 0, DriverCounts(framing=1, overrun=2, parity=3, breaks=4))):
        pass
    with tally.counting(Line(0, 0)):
        errors = tally.status(CONFIG)["errors"]
    assert isinstance(errors, dict)
    assert errors["framing"] == 1


def test_units_are_told_in_their_order() -> None:
    tally = Tally()
    for unit in (20, 3, 100):
        tally.unit(unit).requests += 1
    assert list(tally.status(CONFIG)["units"]) == ["3", "20", "100"]


def test_a_unit_without_answers_has_no_latency() -> None:
    assert Unit().status()["latency_ms"] is None


def test_latencies_are_percentiles_of_the_last_answers_in_milliseconds() -> None:
    unit = Unit()
    unit.latencies.extend([9.0] * 1000)
    unit.latencies.extend(place / 1000 for place in range(256))
    assert unit.status()["latency_ms"] == {"p50": 128.0, "p99": 253.0}


@pytest.mark.parametrize(("timeouts", "state"), [(0, "ok"), (1, "ok"), (2, "silent"), (9, "silent")])
def test_a_unit_is_silent_after_two_timeouts_in_a_row(timeouts: int, state: str) -> None:
    assert Unit(timeouts_in_a_row=timeouts).status()["state"] == state


# How busy


@in_virtual_time
async def test_busy_is_the_share_of_the_last_ten_to_twenty_seconds() -> None:
    line = Occupancy(asyncio.get_running_loop().time)
    shares = []
    for second in range(60):
        await asyncio.sleep(1)
        line.seconds += 0.5 if second < 30 else 0.1
        shares.append(line.percent())
    assert shares[:30] == [50.0] * 30
    assert shares[50:] == [10.0] * 10


@in_virtual_time
async def test_busy_is_never_more_than_a_hundred_percent() -> None:
    line = Occupancy(asyncio.get_running_loop().time)
    line.seconds += 5.0
    await asyncio.sleep(1)
    assert line.percent() == 100.0


@in_virtual_time
async def test_a_line_that_was_opened_this_moment_is_not_busy() -> None:
    assert Occupancy(asyncio.get_running_loop().time).percent() == 0.0
