"""Commands to a device: what reaches the line, in which order, and what is said of it; in virtual time."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual import in_virtual_time
from writing_kit import UNIT, Line, config, in_service, told

from gateway.contracts import Outcome, Rank, Settable
from gateway.devices.poller import Device
from gateway.devices.writing import PATIENCE, QUEUE, planned
from gateway.errors import Busy, LineDown, NoAnswer
from gateway.wire.points import BYTE_ORDERS, Value

RELAY = {"relay": {"coil": 3}}


def pdus(point: dict[str, Any], value: object) -> list[str]:
    """The writes of one point, the first one of each."""
    plan = planned(config({"p": point}).points, {"p": value})
    assert not isinstance(plan, Outcome), plan.error
    return [write.requests[0].hex(" ") for write in plan]


@pytest.mark.parametrize(
    ("point", "value", "request_"),
    [
        ({"coil": 3}, True, "05 00 03 ff 00"),
        ({"coil": 3}, False, "05 00 03 00 00"),
        ({"coil": 3, "map": {"0": "open", "1": "closed"}}, "closed", "05 00 03 ff 00"),
        ({"holding": 9}, 258, "06 00 09 01 02"),
        ({"holding": 9, "byte_order": "BADC"}, 258, "06 00 09 02 01"),
        ({"holding": 9, "type": "int16"}, -2, "06 00 09 ff fe"),
        ({"holding": 9, "type": "int16", "scale": 0.1, "offset": -40}, 21.5, "06 00 09 02 67"),
        ({"holding": 9, "scale": 10}, 70, "06 00 09 00 07"),
        ({"holding": 9, "map": {"0": "off", "0x10": "eco"}}, "eco", "06 00 09 00 10"),
        ({"holding": 9, "map": {"0": "off", "0x10": "eco"}}, 16, "06 00 09 00 10"),
        ({"holding": 9, "bit": 3}, True, "16 00 09 ff f7 00 08"),
        ({"holding": 9, "bit": 3}, False, "16 00 09 ff f7 00 00"),
        ({"holding": 9, "bit": 3, "byte_order": "BADC"}, True, "16 00 09 f7 ff 08 00"),
        ({"holding": 9, "type": "uint32"}, 0x01020304, "10 00 09 00 02 04 01 02 03 04"),
        ({"holding": 9, "type": "uint32", "byte_order": "CDAB"}, 0x01020304, "10 00 09 00 02 04 03 04 01 02"),
        ({"holding": 9, "type": "uint32", "byte_order": "BADC"}, 0x01020304, "10 00 09 00 02 04 02 01 04 03"),
        ({"holding": 9, "type": "uint32", "byte_order": "DCBA"}, 0x01020304, "10 00 09 00 02 04 04 03 02 01"),
        ({"holding": 9, "type": "int32", "scale": 0.01}, -1.5, "10 00 09 00 02 04 ff ff ff 6a"),
        ({"holding": 9, "type": "float32"}, 230.1, "10 00 09 00 02 04 43 66 19 9a"),
        ({"holding": 9, "type": "int64"}, -1, "10 00 09 00 04 08" + " ff" * 8),
        ({"holding": 9, "type": "float64"}, 1, "10 00 09 00 04 08 3f f0" + " 00" * 6),
        ({"holding": 9, "type": "string(3)"}, "AB", "10 00 09 00 02 04 41 42 00 00"),
    ],
)
def test_a_value_is_written_as(point: dict[str, Any], value: object, request_: str) -> None:
    assert pdus(point, value) == [request_]


NUMBERS = ["int16", "uint16", "int32", "uint32"]


@in_virtual_time
async def read_back(point: dict[str, Any], value: Value) -> tuple[Outcome, object]:
    async with in_service(Line(), {"p": point}, poll_interval="1s") as device:
        outcome = await told(device, p=value)
        with device.samples.tap() as tap:
            await tap.take()
    return outcome, device.newest["p"].value


@given(
    st.data(),
    st.sampled_from(NUMBERS),
    st.sampled_from(BYTE_ORDERS),
    st.sampled_from([1, 0.1, 0.01, 10, -0.5]),
    st.sampled_from([0, -40, 0.5]),
)
def test_the_number_that_was_written_is_read_back(
    data: st.DataObject, name: str, order: str, scale: float, offset: float
) -> None:
    """The nearest that the registers can hold, and the outcome says which one."""
    lowest, highest = (-(2**15), 2**15 - 1) if name.startswith("i") else (0, 2**16 - 1)
    raw = data.draw(st.integers(lowest, highest))
    off = data.draw(st.sampled_from([0, 0.3, -0.3])) if lowest < raw < highest else 0
    point = {"holding": 9, "type": name, "byte_order": order, "scale": scale, "offset": offset}
    value = (raw + off) * scale + offset

    outcome, read = read_back(point, value)

    assert outcome == Outcome(values={"p": read})
    assert abs(float(read) - value) <= abs(scale) / 2  # type: ignore[arg-type]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(BYTE_ORDERS))
def test_a_float32_that_was_written_is_read_back(value: float, order: str) -> None:
    outcome, read = read_back({"holding": 9, "type": "float32", "byte_order": order}, value)

    assert outcome.values == {"p": read}
    assert read == pytest.approx(value, rel=1e-6)


@given(st.text(st.characters(exclude_characters="\0 ", exclude_categories=["Cs"]), max_size=8))
def test_a_text_that_was_written_is_read_back(text: str) -> None:
    size = max(1, len(text.encode()))
    assert read_back({"holding": 9, "type": f"string({size})"}, text) == (Outcome(values={"p": text}), text)


@given(st.sampled_from([{"coil": 3}, {"holding": 9, "bit": 5}]), st.booleans(), st.booleans())
def test_a_bit_that_was_written_is_read_back(point: dict[str, Any], value: bool, mapped: bool) -> None:
    told_as = {False: "off", True: "on"}[value] if mapped else value
    names = {"map": {"0": "off", "1": "on"}} if mapped else {}

    assert read_back(point | names, told_as) == (Outcome(values={"p": told_as}), told_as)


@pytest.mark.parametrize(
    ("point", "value", "fault"),
    [
        ({"holding": 9, "max": 60}, 60.5, "60.5 is more than 60 (max)"),
        ({"holding": 9, "type": "int16", "min": -5}, -6, "-6 is less than -5 (min)"),
        ({"holding": 9, "scale": 0.1, "max": 0.35}, 0.35, "0.4 is more than 0.35 (max)"),  # once rounded
        ({"holding": 9, "scale": 0.1, "max": 59.6, "decimals": 0}, 59.7, "59.7 is more than 59.6 (max)"),
        ({"holding": 9, "type": "float32", "max": 1e6}, float("inf"), "inf does not fit float32"),
        ({"holding": 9}, 65536, "65536 does not fit uint16"),
        ({"holding": 9}, -1, "-1 does not fit uint16"),
        ({"holding": 9, "invalid": 0xFFFF}, 65535, "65535 would be read as no value at all (invalid)"),
        ({"holding": 9}, True, "it takes a number, not true or false"),
        ({"holding": 9}, "7", "it takes a number, not a text"),
        ({"holding": 9}, None, "a value is true, false, a number or a text"),
        ({"holding": 9}, [1], "a value is true, false, a number or a text"),
        ({"coil": 9}, 1, "1 is no bool"),
        ({"coil": 9}, "on", "'on' is no bool"),
        ({"holding": 9, "bit": 1}, 1, "1 is no bool"),
        ({"holding": 9, "map": {"0": "off", "1": "on"}}, "On", "'On' is none of off, on"),
        ({"holding": 9, "type": "string(4)"}, 4, "4 is no text"),
        ({"holding": 9, "type": "string(4)"}, "ABCDE", "'ABCDE' is longer than 4 bytes"),
        ({"holding": 9, "writable": False}, 1, "it can only be read"),
    ],
)
def test_a_value_that_must_not_be_written_is_refused(
    point: dict[str, Any], value: object, fault: str
) -> None:
    refused = planned(config({"p": point}).points, {"p": value})

    assert refused == Outcome(error=f"p: {fault}", errors={"p": fault})


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ({"holding": 9, "min": 5, "max": 60}, 5),
        ({"holding": 9, "min": 5, "max": 60}, 60),
        ({"holding": 9, "scale": 0.1, "max": 59.6, "decimals": 0}, 59.6),  # is 596, though it is shown as 60
        ({"holding": 9, "type": "float32", "max": 0.1}, 0.1),
    ],
)
def test_the_limits_themselves_may_be_written(point: dict[str, Any], value: object) -> None:
    assert len(pdus(point, value)) == 1


@in_virtual_time
async def test_all_of_a_command_is_checked_before_any_of_it_is_written() -> None:
    line = Line()
    async with in_service(line, RELAY | {"level": {"holding": 9, "max": 60}}) as device:
        outcome = await told(device, relay=True, level=99, valve=True)
    fault = "99 is more than 60 (max)"
    assert outcome == Outcome(
        error=f"level: {fault}",
        errors={"relay": "not tried", "level": fault, "valve": "the device has no such point"},
    )
    assert line.writes == []


@in_virtual_time
async def test_points_are_written_in_the_order_of_the_command() -> None:
    line = Line()
    points = {"a": {"holding": 1}, "b": {"holding": 2}, "c": {"coil": 3}}
    async with in_service(line, points) as device:
        assert isinstance(device, Settable)
        assert set(device.writable) == {"a", "b", "c"}
        assert await told(device, c=True, b=7, a=8) == Outcome(values={"c": True, "b": 7, "a": 8})
    assert line.writes == ["050003ff00", "0600020007", "0600010008"]
    ((unit, rank, asker),) = {(request.unit, request.rank, request.asker) for request in line.asked}
    assert (unit, rank) == (UNIT, Rank.WRITE)
    assert asker.host != "device"  # that is who polls


@in_virtual_time
async def test_a_command_ends_at_the_first_point_that_fails() -> None:
    line = Line()
    line.refuses[2] = 3
    points = {"a": {"holding": 1}, "b": {"holding": 2}, "c": {"coil": 3}}
    async with in_service(line, points) as device:
        outcome = await told(device, a=8, b=7, c=True)
    assert outcome == Outcome(
        error="b: illegal data value (3)",
        values={"a": 8},
        errors={"b": "illegal data value (3)", "c": "not tried"},
    )
    assert line.writes == ["0600010008", "0600020007"]


@pytest.mark.parametrize(
    ("point", "value", "codes"), [({"holding": 1}, 8, "06 10"), ({"coil": 1}, True, "05 0f")]
)
@in_virtual_time
async def test_a_device_without_the_code_for_one_is_asked_by_that_for_many(
    point: dict[str, Any], value: Value, codes: str
) -> None:
    line = Line(lacks=(5, 6))
    async with in_service(line, {"p": point}) as device:
        assert await told(device, p=value) == Outcome(values={"p": value})
    assert " ".join(pdu[:2] for pdu in line.writes) == codes
    assert {**line.holding, **line.coils} == {1: value}


@pytest.mark.parametrize("point", [{"holding": 1}, {"holding": 1, "bit": 4}, {"holding": 1, "type": "int32"}])
@in_virtual_time
async def test_a_device_that_cannot_write_at_all_says_so(point: dict[str, Any]) -> None:
    line = Line(lacks=(5, 6, 15, 16, 22))
    async with in_service(line, {"p": point}) as device:
        outcome = await told(device, p="bit" in point or 8)
    assert outcome == Outcome(error="p: illegal function (1)", errors={"p": "illegal function (1)"})


@pytest.mark.parametrize(
    "fault",
    [
        LineDown("no such device /dev/ttyUSB0"),
        NoAnswer("unit 7 did not answer within 1 s"),
        Busy("too many requests wait for this line"),
    ],
)
@in_virtual_time
async def test_why_the_line_has_no_answer_is_told_and_nothing_is_written_twice(fault: Any) -> None:
    line = Line()
    line.fault = fault
    async with in_service(line, RELAY) as device:
        outcome = await told(device, relay=True)
    assert outcome == Outcome(error=f"relay: {fault}", errors={"relay": str(fault)})
    assert len(line.writes) == 1


@in_virtual_time
async def test_commands_are_carried_out_one_after_the_other() -> None:
    line = Line()
    async with in_service(line, {"a": {"holding": 1}, "b": {"holding": 2}}) as device:
        commands = [device.write({"a": number, "b": number}) for number in range(3)]
        await asyncio.wait(commands)
    assert [pdu[-1] for pdu in line.writes] == ["0", "0", "1", "1", "2", "2"]


@in_virtual_time
async def test_more_commands_than_may_wait_are_told_so_at_once() -> None:
    line = Line(latency=1.0)
    async with in_service(line, RELAY) as device:
        first = device.write({"relay": True})
        await asyncio.sleep(0)  # it is on the wire
        waiting = [device.write({"relay": False}) for _ in range(QUEUE)]
        refused = device.write({"relay": True})
        assert refused.result() == Outcome(error=f"busy: {QUEUE} commands wait for this device")
        await first
        await asyncio.sleep(0)
        assert not device.write({"relay": False}).done()
        late = await waiting[-1]
    assert late == Outcome(
        error=f"waited {PATIENCE:g} s for the commands before it", errors={"relay": "not tried"}
    )
    done = [command for command in waiting if not command.result().error]
    assert len(done) < PATIENCE
    assert line.writes[1:] == ["0500030000"] * (len(done) + 1)  # and the one that came later


@in_virtual_time
async def test_a_command_that_expires_while_it_waits_is_not_carried_out() -> None:
    line = Line(latency=1.0)
    async with in_service(line, RELAY) as device:
        first = device.write({"relay": True})
        late = device.write({"relay": False}, asyncio.get_running_loop().time() + 0.5)
        assert (await first).error == ""
        assert await late == Outcome(error="it has expired", errors={"relay": "not tried"})
    assert len(line.writes) == 1


@in_virtual_time
async def test_a_device_that_is_not_in_service_says_so_at_once() -> None:
    device = Device("main-meter", config(RELAY), Line())
    assert device.write({"relay": True}).result() == Outcome(error="the device is not in service")


@in_virtual_time
async def test_a_device_that_is_taken_out_of_service_leaves_no_command_without_an_outcome() -> None:
    line = Line(latency=5.0)
    async with in_service(line, {"a": {"holding": 1}, "b": {"holding": 2}}) as device:
        first, second = device.write({"a": 1, "b": 2}), device.write({"a": 3})
        await asyncio.sleep(1.0)
    why = "interrupted: it may have been written or not"
    assert first.result() == Outcome(error=why, errors={"a": why, "b": "not tried"})
    assert second.result() == Outcome(error="the device was taken out of service")
    assert len(line.writes) == 1
