"""rs485 and direction in the config file: what goes with what; and a bus that reckons with `delay_before`."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from bus_kit import RULES, good, read
from pydantic import ValidationError
from virtual import in_virtual_time

from gateway.contracts import Traced
from gateway.errors import NoAnswer
from gateway.flow import Fan
from gateway.host.settled import Settled
from gateway.ports import modbus_rtu, raw
from gateway.ports._bus import Bus
from gateway.ports._tally import Occupancy, Tally
from gateway.wire import rtu

LINE = {"tty": "/dev/ttyUSB0", "baudrate": 9600, "format": "8N1"}


def rtu_port(**keys: Any) -> modbus_rtu.Config:
    return modbus_rtu.Config.model_validate(LINE | {"mode": "modbus-rtu"} | keys)


def raw_port(**keys: Any) -> raw.Config:
    return raw.Config.model_validate(LINE | {"mode": "raw"} | keys)


@pytest.mark.parametrize(
    ("keys", "place", "words"),
    [
        ({"rs485": {}, "direction": "rts"}, ("direction",), "one of the two, not both"),
        ({"rs485": {}, "flow": "rts-cts"}, ("flow",), "RTS says who sends"),
        ({"rs485": {}, "rts": True}, ("rts",), "RTS says who sends"),
        ({"direction": "rts", "flow": "rts-cts"}, ("flow",), "RTS says who sends"),
        ({"direction": {"rts": True}, "rts": False}, ("rts",), "RTS says who sends"),
        ({"rs485": {"rts_after_send": True}}, ("rs485", "rts_after_send"), "RTS would never change"),
        ({"rs485": {"delay_before": "1.5ms"}}, ("rs485", "delay_before"), "whole milliseconds"),
        ({"rs485": {"delay_after": "0.2ms"}}, ("rs485", "delay_after"), "whole milliseconds"),
        ({"rs485": {"delay_after": "101ms"}}, ("rs485", "delay_after"), "less than or equal to 0.1"),
        ({"direction": {}}, ("direction",), "one line switches"),
        ({"direction": {"rts": True, "gpio": "gpiochip0:1"}}, ("direction",), "one line switches"),
    ],
)
@pytest.mark.parametrize("port", [rtu_port, raw_port])
def test_what_does_not_go_together_is_told_where_it_stands(
    port: Any, keys: dict[str, Any], place: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        port(**keys)
    found = [error for error in caught.value.errors() if words in error["msg"]]
    assert found
    assert found[0]["loc"][: len(place)] == place


@pytest.mark.parametrize("role", ["client", "server"])
def test_it_holds_for_both_roles_of_a_modbus_port(role: str) -> None:
    with pytest.raises(ValidationError, match="one of the two, not both"):
        rtu_port(role=role, rs485={}, direction="rts")


@pytest.mark.parametrize("gpio", ["17", "gpiochip0", "gpiochip0:x", "/dev/gpiochip0:1", "gpiochip0:17 "])
def test_a_gpio_line_is_a_chip_and_a_number(gpio: str) -> None:
    with pytest.raises(ValidationError):
        raw_port(direction={"gpio": gpio})


@pytest.mark.parametrize(
    "keys",
    [
        {"rs485": {}},
        {"rs485": {"rts_on_send": False}},
        {"rs485": {"rts_on_send": False, "rts_after_send": True, "delay_before": "29ms"}},
        {"direction": "rts", "flow": "xon-xoff"},
        {"direction": {"gpio": "gpiochip0:17"}, "flow": "rts-cts", "rts": True},
        {"direction": {"rts": True, "inverted": True, "delay_before": "0.2ms"}},
    ],
)
def test_what_goes_together_is_taken(keys: dict[str, Any]) -> None:
    assert rtu_port(**keys).model_dump(include=set(keys)) == raw_port(**keys).model_dump(include=set(keys))


@pytest.mark.parametrize(
    ("keys", "lead"),
    [
        ({}, 0.0),
        ({"direction": "rts"}, 0.0),
        ({"rs485": {"delay_before": "3ms"}}, 0.003),
        ({"direction": {"gpio": "gpiochip0:1", "delay_before": "0.5ms"}}, 0.0005),
    ],
)
def test_the_bus_knows_how_long_the_first_byte_waits(keys: dict[str, Any], lead: float) -> None:
    plain, port = rtu_port(), rtu_port(**keys)
    assert (port.rules.lead, port.terms.lead) == (lead, lead)
    request = b"\x03\x00\x00\x00\x01"
    assert port.busy([request, request]) - plain.busy([request, request]) == pytest.approx(2 * lead)


class Quiet:
    """A line that takes everything and brings nothing."""

    def __init__(self) -> None:
        self.sent: list[float] = []

    def offer(self, data: bytes, /) -> bool:
        self.sent.append(asyncio.get_running_loop().time())
        return True

    def poll(self) -> None: ...
    def rest(self, seconds: float, /) -> None: ...
    def discard_output(self) -> None: ...


def bus_on(line: Quiet, lead: float) -> Bus:
    now = asyncio.get_running_loop().time
    trace: Fan[Traced] = Fan()
    rules = replace(RULES, lead=lead, broadcast=True)
    return Bus(line, rtu, rules, Tally(), Occupancy(now), trace)


@in_virtual_time
async def test_the_time_for_an_answer_begins_when_the_request_has_left() -> None:
    loop, ended = asyncio.get_running_loop(), []
    for lead in (0.0, 0.05):
        begun = loop.time()
        with pytest.raises(NoAnswer):
            await bus_on(Quiet(), lead).ask(read())
        ended.append(loop.time() - begun)
    assert ended[1] - ended[0] == pytest.approx(0.05)


@in_virtual_time
async def test_the_silence_after_a_broadcast_begins_when_it_has_left() -> None:
    line = Quiet()
    bus = bus_on(line, 0.05)
    broadcast = read(unit=0)._replace(pdu=b"\x06\x00\x00\x00\x01")
    await bus.ask(broadcast)
    bus.ask(read()).cancel()
    waiting = bus.ask(read(2))
    with pytest.raises(NoAnswer):
        await waiting
    first, second = line.sent[:2]
    assert second - first == pytest.approx(0.05 + 8 * RULES.character + RULES.turnaround_delay)
    assert good(b"\x01\x03\x00\x00\x00\x01\x84\x0a")


def test_a_rate_is_doubted_when_it_is_more_than_two_percent_off() -> None:
    class Open:
        rx_bytes = tx_bytes = 0

        def __init__(self, baudrate: int | None) -> None:
            self.settled = Settled(asked=100_000, baudrate=baudrate)

        def driver_counts(self) -> None: ...
        def real_baudrate(self) -> int | None:
            return self.settled.baudrate

    for there, doubted in ((98_000, False), (102_000, False), (97_999, True), (102_001, True), (None, False)):
        tally = Tally()
        with tally.counting(Open(there)):  # type: ignore[arg-type]
            record = tally.status(raw_port(baudrate=100_000))
            assert record["real_baudrate"] == there
            assert bool(record["reason"]) is doubted
        assert tally.status(raw_port())["reason"] == ""
