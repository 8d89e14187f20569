"""What a modbus-server link answers by itself: the gateway's own registers, and broadcasts."""

from typing import Any

import pytest
from parts_kit import Wires
from pydantic import ValidationError
from scada_kit import READ, adu, client, holds, meters, opened, read, server

from gateway.links.modbus_server import Config
from gateway.wire import rtu

SET = b"\x06\x00\x07\x12\x34"  # register 7 = 0x1234
SET_TWO = b"\x10\x00\x07\x00\x02\x04\x12\x34\x56\x78"
BROADCAST = {"broadcast": True, "turnaround_delay": "1ms"}


# Its own registers


async def test_a_plc_reads_the_registers_of_the_gateway_and_of_each_line_in_the_order_of_their_names(
    free_port: int,
) -> None:
    units = {"1-31": "pumps", "101-131": {"port": "meters", "first": 1}}
    with meters(1, 2) as (_, one), meters(1) as (_, other):
        async with (
            opened(one),
            server(free_port, Wires(meters=one, pumps=other), units=units, own_unit_id=255),
            client(free_port) as plc,
        ):
            assert await plc.ask(102, read(5)) == holds(2, 5, 1)
            assert await plc.ask(255, read(0, 5)) == b"\x03\x0a" + bytes.fromhex("0001 0002 0001 1170 0001")
            assert await plc.ask(255, read(1000)) == b"\x03\x02\x00\x01"
            assert await plc.ask(255, read(2000)) == b"\x03\x02\x00\x00"
            assert await plc.ask(255, read(1006, 4)) == b"\x03\x08" + bytes.fromhex("00000001 00000001")
            assert await plc.ask(255, b"\x04" + read(1101, 2)[1:]) == b"\x04\x04\x00\x00\x00\x01"
            assert await plc.ask(255, b"\x02" + read(1100, 8)[1:]) == b"\x02\x01\x04"


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (read(8), b"\x83\x02"),
        (read(3000), b"\x83\x02"),
        (read(0, 126), b"\x83\x03"),
        (SET, b"\x86\x01"),
        (b"\x01\x00\x00\x00\x01", b"\x81\x01"),
        (b"\x99", b"\x99\x01"),
    ],
    ids=lambda pdu: pdu.hex(" "),
)
async def test_what_is_not_there_or_cannot_be_is_an_exception_and_never_on_the_line(
    pdu: bytes, answer: bytes, free_port: int
) -> None:
    with meters(1) as (bus, port):
        async with (
            opened(port),
            server(free_port, Wires(meters=port), own_unit_id=255),
            client(free_port) as plc,
        ):
            assert await plc.ask(255, pdu) == answer
            assert not bus.seen


async def test_where_a_line_has_all_unit_ids_its_own_one_is_taken_from_it(free_port: int) -> None:
    with meters(1, 247) as (bus, port):
        async with (
            opened(port),
            server(free_port, Wires(meters=port), own_unit_id=247),
            client(free_port) as plc,
        ):
            assert await plc.ask(247, read(0)) == b"\x03\x02\x00\x01"
            assert not bus.seen
            assert await plc.ask(1, read(5)) == holds(1, 5, 1)
            assert await plc.ask(255, READ) == b"\x83\x0a"


async def test_a_client_that_may_only_read_may_read_these(free_port: int) -> None:
    with meters(1) as (_, port):
        wires = Wires(meters=port)
        access = {"unit_ids": [255], "registers": ["holding 0-7"]}
        async with server(free_port, wires, own_unit_id=255, access=access), client(free_port) as plc:
            assert await plc.ask(255, read(0)) == b"\x03\x02\x00\x01"
            assert await plc.ask(255, read(1000)) == b"\x83\x02"


# Broadcasts


@pytest.mark.parametrize(("write", "confirmation"), [(SET, SET), (SET_TWO, SET_TWO[:5])], ids=["6", "16"])
async def test_with_echo_a_broadcast_is_answered_as_a_device_would_answer_it(
    write: bytes, confirmation: bytes, free_port: int
) -> None:
    with meters(1, 2, **BROADCAST) as (_, port):
        async with (
            opened(port),
            server(free_port, Wires(meters=port), broadcast_reply="echo"),
            client(free_port) as scada,
        ):
            assert await scada.ask(0, write, tid=7) == confirmation
            assert await scada.ask(1, read(7), tid=8) == b"\x03\x02\x12\x34"
            assert await scada.ask(2, read(7), tid=9) == b"\x03\x02\x12\x34"
            assert await scada.ask(0, read(7), tid=10) == b"\x83\x0a"


async def test_with_echo_a_broadcast_that_no_line_takes_is_answered_0a(free_port: int) -> None:
    with meters(1) as (bus, port):
        async with (
            opened(port),
            server(free_port, Wires(meters=port), broadcast_reply="echo"),
            client(free_port) as scada,
        ):
            assert await scada.ask(0, SET) == b"\x86\x0a"
            assert not bus.seen


async def test_each_line_gets_a_broadcast_once_and_one_answer_goes_back(free_port: int) -> None:
    units = {"1-31": "meters", "32-63": "meters", "101-131": {"port": "pumps", "first": 1}}
    with meters(1, **BROADCAST) as (one, port), meters(1, **BROADCAST) as (other, pumps):
        async with (
            opened(port),
            opened(pumps),
            server(free_port, Wires(meters=port, pumps=pumps), units=units, broadcast_reply="echo"),
            client(free_port) as scada,
        ):
            scada.send(adu(1, 0, SET) + adu(2, 101, read(7)) + adu(3, 1, read(7)))
            got = {answer.tid: answer.pdu for answer in [await scada.answer() for _ in range(3)]}
            assert got == {1: SET, 2: b"\x03\x02\x12\x34", 3: b"\x03\x02\x12\x34"}
            assert len(one.seen) == len(other.seen) == 2


async def test_rtu_over_tcp_has_the_registers_of_the_gateway_too(free_port: int) -> None:
    with meters(1) as (_, port):
        wires = Wires(meters=port)
        async with server(free_port, wires, own_unit_id=255, framing="rtu"), client(free_port) as plc:
            plc.send(rtu.frame(255, read(0)))
            assert await plc.exactly(7) == rtu.frame(255, b"\x03\x02\x00\x01")


# The config


UNITS = {"1-5": "meters", "0": {"port": "meters", "first": 9}, "255": {"port": "meters", "first": 8}}


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"port": "meters", "own_unit_id": 0}, ("own_unit_id",)),
        ({"port": "meters", "own_unit_id": 256}, ("own_unit_id",)),
        ({"units": UNITS, "own_unit_id": 3}, ("own_unit_id",)),
        ({"units": UNITS, "own_unit_id": 255}, ("own_unit_id",)),
        ({"port": "meters", "default_unit_id": 1, "own_unit_id": 255}, ("own_unit_id",)),
        ({"port": "meters", "default_unit_id": 1, "own_unit_id": 1}, ("own_unit_id",)),
        (
            {"units": {f"{n}": {"port": f"line{n}", "first": 1} for n in range(1, 66)}, "own_unit_id": 255},
            ("own_unit_id",),
        ),
        ({"port": "meters", "broadcast_reply": "all"}, ("broadcast_reply",)),
        ({"port": "meters", "broadcast_reply": "echo", "framing": "rtu"}, ("broadcast_reply",)),
        ({"port": "meters", "broadcast_reply": "echo", "default_unit_id": 1}, ("broadcast_reply",)),
        ({"units": UNITS, "broadcast_reply": "echo"}, ("broadcast_reply",)),
    ],
    ids=str,
)
def test_a_table_that_contradicts_itself_is_refused_at_the_right_key(
    keys: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        Config.model_validate({"kind": "modbus-server", "listen": ":502"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [where]


@pytest.mark.parametrize("keys", [{"own_unit_id": 255}, {"broadcast_reply": "echo"}], ids=str)
def test_a_reload_that_changes_these_makes_the_link_anew(keys: dict[str, Any]) -> None:
    table = {"kind": "modbus-server", "listen": ":502", "port": "meters"}
    assert Config.model_validate(table | keys).shape != Config.model_validate(table).shape


@pytest.mark.parametrize(
    "keys",
    [
        {"own_unit_id": 200, "default_unit_id": 1},
        {"own_unit_id": 1},
        {"own_unit_id": 255, "broadcast_reply": "echo"},
        {"broadcast_reply": "none", "framing": "rtu", "default_unit_id": 1},
    ],
    ids=str,
)
def test_what_fits_together_is_accepted(keys: dict[str, Any]) -> None:
    Config.model_validate({"kind": "modbus-server", "listen": ":502", "port": "meters"} | keys)
