"""kind = "modbus-server": who may ask for what, by function, unit id, register and address."""

import asyncio
import logging
from typing import Any

import pytest
from conftest import Until
from log_kit import ours
from parts_kit import Wires, running
from scada_kit import READ, Line, Scada, adu, client, echo, holds, meters, opened, read, server
from stream_kit import FarEnd
from virtual import in_virtual_time

from gateway.contracts import Asker, Request
from gateway.errors import GatewayError
from gateway.links._access import Guard
from gateway.links.modbus_server import Config
from gateway.wire.rtu import frame

ZERO = b"\x03\x02\x00\x00"  # the answer to READ
WRITE = b"\x06\x00\x00\x12\x34"
WRITES = [
    WRITE,
    b"\x05\x00\x00\xff\x00",
    b"\x0f\x00\x00\x00\x01\x01\x01",
    b"\x10\x00\x00\x00\x01\x02\x00\x07",
    b"\x15\x09\x06\x00\x01\x00\x00\x00\x01\x00\x07",  # one file record
    b"\x16\x00\x00\x00\x00\x00\x07",
    b"\x17\x00\x00\x00\x01\x00\x00\x00\x01\x02\x00\x07",
    b"\x08\x00\x04\x00\x00",  # force listen only mode
    b"\x2b\x0d\x00",  # CANopen
    b"\x41\x00",  # the maker's own
]
READS = [
    READ,
    b"\x01\x00\x00\x00\x01",
    b"\x02\x00\x00\x00\x01",
    b"\x04\x00\x00\x00\x01",
    b"\x07",
    b"\x0b",
    b"\x0c",
    b"\x11",
    b"\x14\x07\x06\x00\x01\x00\x00\x00\x01",
    b"\x18\x00\x00",
    b"\x2b\x0e\x01\x00",
]
OK, DENIED, FORBIDDEN = 0, 1, 2


def by_function(pdu: bytes) -> str:
    return f"function {pdu[0]}"


def read_write(read_from: int, write_to: int) -> bytes:
    return b"\x17" + bytes((0, read_from, 0, 2, 0, write_to, 0, 1, 2, 0, 7))


async def outcome(scada: Scada, pdu: bytes, unit: int = 1) -> int:
    """The exception code, or 0."""
    answer = await scada.ask(unit, pdu)
    return answer[1] if answer[0] & 0x80 else OK


async def asked(free_port: int, access: object, pdu: bytes, unit: int = 1) -> int:
    """The outcome of one request to a link with that `access`; only what is permitted comes to the line."""
    line = Line(lambda request: request.pdu)
    async with (
        server(free_port, Wires(meters=line), access=access) as link,
        client(free_port) as scada,
    ):
        code = await outcome(scada, pdu, unit)
        assert link.status()["denied"] == (1 if code else 0)
    assert [request.pdu for request in line.asked] == ([] if code else [pdu])
    return code


# What may be asked


@pytest.mark.parametrize("pdu", READS, ids=by_function)
async def test_read_only_lets_reads_pass(free_port: int, pdu: bytes) -> None:
    assert await asked(free_port, "read-only", pdu) == OK


@pytest.mark.parametrize("pdu", WRITES, ids=by_function)
async def test_read_only_denies_whatever_could_change_a_device(free_port: int, pdu: bytes) -> None:
    assert await asked(free_port, "read-only", pdu) == DENIED


@pytest.mark.parametrize("pdu", [*READS, *WRITES], ids=by_function)
async def test_if_nothing_is_said_everything_may_be_asked(free_port: int, pdu: bytes) -> None:
    assert await asked(free_port, "read-write", pdu) == OK


@pytest.mark.parametrize(("functions", "code"), [([3, 6], OK), ([3], DENIED), ([16], DENIED)])
async def test_functions_are_those_that_are_named(free_port: int, functions: list[int], code: int) -> None:
    assert await asked(free_port, {"functions": functions}, WRITE) == code


@pytest.mark.parametrize(
    ("unit", "code"), [(1, OK), (5, OK), (9, OK), (2, FORBIDDEN), (10, FORBIDDEN), (0, FORBIDDEN)]
)
async def test_unit_ids_are_those_that_the_client_writes(free_port: int, unit: int, code: int) -> None:
    assert await asked(free_port, {"unit_ids": [1, "5-9"]}, WRITE, unit) == code


REGISTERS = ["holding 10-19", "holding 20", "coil 3", "input 0-65535"]


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (read(10, 10), OK),
        (read(15, 6), OK),  # over both
        (read(9, 2), FORBIDDEN),
        (read(20, 2), FORBIDDEN),
        (read(0, 125), FORBIDDEN),
        (b"\x04\xff\xff\x00\x01", OK),
        (b"\x04\xff\xff\x00\x02", FORBIDDEN),  # beyond the last
        (b"\x01\x00\x03\x00\x01", OK),
        (b"\x01\x00\x03\x00\x02", FORBIDDEN),
        (b"\x02\x00\x03\x00\x01", FORBIDDEN),  # another table
        (b"\x05\x00\x03\xff\x00", OK),
        (b"\x05\x00\x0a\xff\x00", FORBIDDEN),
        (b"\x06\x00\x14\x00\x01", OK),
        (b"\x06\x00\x03\x00\x01", FORBIDDEN),
        (b"\x0f\x00\x03\x00\x01\x01\x01", OK),
        (b"\x0f\x00\x02\x00\x02\x01\x01", FORBIDDEN),
        (b"\x10\x00\x13\x00\x02\x04\x00\x01\x00\x02", OK),
        (b"\x10\x00\x14\x00\x02\x04\x00\x01\x00\x02", FORBIDDEN),
        (b"\x16\x00\x0a\x00\x00\x00\x07", OK),
        (b"\x16\x00\x09\x00\x00\x00\x07", FORBIDDEN),
        (read_write(10, 20), OK),
        (read_write(9, 20), FORBIDDEN),
        (read_write(10, 21), FORBIDDEN),
        (b"\x07", DENIED),
        (b"\x08\x00\x00\x00\x00", DENIED),
        (b"\x18\x00\x0a", DENIED),
        (b"\x2b\x0e\x01\x00", DENIED),
        (b"\x41\x00\x0a", DENIED),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else None,
)
async def test_all_that_a_request_touches_has_to_be_among_the_registers(
    free_port: int, pdu: bytes, code: int
) -> None:
    assert await asked(free_port, {"registers": REGISTERS}, pdu) == code


async def test_a_code_without_addresses_gets_past_registers_by_its_own_number(free_port: int) -> None:
    access = {"functions": [3, 43], "registers": REGISTERS}
    assert await asked(free_port, access, b"\x2b\x0e\x01\x00") == OK


@pytest.mark.parametrize(
    ("pdu", "code"),
    [(b"\x00", 1), (b"\x83\x02", 1), (b"\x03\x00\x00", 3), (b"\x10\x00\x0a\x00\x01\x02\x00", 3)],
    ids=["function 0", "an exception", "cut", "too short"],
)
async def test_what_cannot_be_right_is_answered_as_ever_and_was_not_denied(
    free_port: int, pdu: bytes, code: int
) -> None:
    line = Line(echo)
    async with (
        server(free_port, Wires(meters=line), access={"registers": REGISTERS}) as link,
        client(free_port) as scada,
    ):
        scada.send(adu(1, 1, pdu))
        assert (await scada.answer()).pdu == bytes((pdu[0] & 0x7F | 0x80, code))
        assert link.status()["denied"] == 0
    assert line.asked == []


async def test_on_a_real_line_a_denied_write_changes_nothing_and_its_connection_goes_on(
    free_port: int,
) -> None:
    with meters(1, 2) as (bus, port):
        async with (
            opened(port),
            server(free_port, Wires(meters=port), access="read-only"),
            client(free_port) as scada,
        ):
            for unit in (1, 2):
                assert await outcome(scada, WRITE, unit) == DENIED
                assert await scada.ask(unit, read(0, 3)) == holds(unit, 0, 3)
            assert len(bus.seen) == 2


async def test_of_many_requests_at_once_each_has_its_own_outcome(free_port: int) -> None:
    async with (
        server(free_port, Wires(meters=Line(echo)), access="read-only"),
        client(free_port) as scada,
    ):
        scada.send(b"".join(adu(tid, 1, WRITE if tid % 2 else READ) for tid in range(200)))
        answers = {answer.tid: answer.pdu for answer in [await scada.answer() for _ in range(200)]}
    assert answers == {tid: b"\x86\x01" if tid % 2 else ZERO for tid in range(200)}


async def test_over_rtu_a_denial_keeps_its_place_in_the_order(free_port: int) -> None:
    keys = {"framing": "rtu", "access": "read-only"}
    async with server(free_port, Wires(meters=Line(echo)), **keys), client(free_port) as scada:
        scada.send(frame(1, READ) + frame(1, WRITE) + frame(1, READ))
        good, denied = frame(1, ZERO), frame(1, b"\x86\x01")
        assert await scada.exactly(2 * len(good) + len(denied)) == good + denied + good


async def test_whom_we_dial_has_what_access_says(free_port: int, until: Until) -> None:
    keys = {"connect": f"127.0.0.1:{free_port}", "port": "meters", "access": "read-only"}
    line = Line(echo)
    link = Config.model_validate({"kind": "modbus-server"} | keys).build("cloud", Wires(meters=line))
    async with FarEnd(free_port) as far, running(link) as life:
        await until(lambda: life.state == "up" and far.clients)
        far.clients[0].write(adu(1, 1, WRITE) + adu(2, 1, READ))
        await until(lambda: far.got == adu(1, 1, b"\x86\x01") + adu(2, 1, ZERO))
        assert link.status()["denied"] == 1
    assert [request.pdu for request in line.asked] == [READ]


# Who asks


async def test_each_address_has_its_own_rights_and_the_smallest_network_decides(free_port: int) -> None:
    clients = {
        "127.0.0.0/8": "read-only",
        "127.0.0.2": "read-write",
        "127.0.1.0/24": {"functions": [6], "unit_ids": [7]},
    }
    keys = {"access": {"functions": [16]}, "clients": clients}
    async with server(free_port, Wires(meters=Line(lambda request: request.pdu)), **keys):
        for source, codes in {
            "127.0.0.1": (OK, DENIED, DENIED),
            "127.0.0.2": (OK, OK, OK),
            "127.0.1.9": (DENIED, FORBIDDEN, OK),
        }.items():
            async with client(free_port, source) as scada:
                asks = ((READ, 1), (WRITE, 1), (WRITE, 7))
                assert tuple([await outcome(scada, *ask) for ask in asks]) == codes


def guard(access: Any = "read-write", **clients: Any) -> tuple[Guard, Line]:
    line = Line(echo)
    keys = {"kind": "modbus-server", "listen": ":502", "port": "meters", "access": access}
    config = Config.model_validate(keys | {"clients": clients})
    return Guard("links.scada", line, config.access, config.clients), line


def code_for(guard: Guard, host: str, pdu: bytes = WRITE) -> int:
    error = guard.ask(Request(1, pdu, Asker(host, 1))).exception()
    assert error is None or isinstance(error, GatewayError)
    return OK if error is None else error.modbus


async def test_who_is_in_no_entry_has_what_access_says() -> None:
    some, _ = guard("read-only", **{"10.0.0.8": "read-write", "2001:db8::/32": "read-write"})
    hosts = ("10.0.0.8", "10.0.0.9", "[2001:db8::7]", "[2001:db9::7]")
    assert [code_for(some, host) for host in hosts] == [OK, DENIED, OK, DENIED]


async def test_who_was_gone_before_we_could_see_who_it_is_may_do_nothing_where_that_matters() -> None:
    some, line = guard("read-write", **{"10.0.0.8": "read-only"})
    assert code_for(some, "?", READ) == DENIED
    assert line.asked == []
    everybody, _ = guard("read-write")
    assert code_for(everybody, "?", READ) == OK


# What the log says


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in ours(caplog) if record.levelno == logging.WARNING]


@in_virtual_time
async def test_each_host_is_told_once_per_episode_with_what_it_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    some, _ = guard({"functions": [3, 6], "registers": ["holding 0-99"]})
    for _ in range(1000):
        code_for(some, "10.0.0.9", b"\x06\x00\x64\x00\x01")
        await asyncio.sleep(1)
    code_for(some, "10.0.0.10", b"\x10\x00\x00\x00\x02\x04\0\0\0\0")
    assert told(caplog) == [
        "links.scada: 10.0.0.9 is denied function 6, holding 100 of unit 1: "
        "not all of that is in its registers (exception 02)",
        "links.scada: 10.0.0.10 is denied function 16, holding 0-1 of unit 1: "
        "not one of its functions (exception 01)",
    ]
    await asyncio.sleep(600)
    code_for(some, "10.0.0.9", b"\x06\x00\x65\x00\x01")
    assert [line.partition(" of unit")[0] for line in told(caplog)[2:]] == [
        "links.scada: 10.0.0.9 is denied function 6, holding 101"
    ]
    assert some.denied == 1002


def test_a_reload_that_changes_who_may_do_what_makes_the_link_anew() -> None:
    keys = {"kind": "modbus-server", "listen": ":502", "port": "meters"}
    shapes = [
        Config.model_validate(keys | more).shape
        for more in ({}, {"access": "read-only"}, {"clients": {"10.0.0.8": "read-only"}}, {})
    ]
    assert shapes[0] == shapes[3]
    assert shapes[0] not in shapes[1:3]
