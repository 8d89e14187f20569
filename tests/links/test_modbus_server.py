"""kind = "modbus-server" over real TCP: what clients ask, however they ask it, and what they get."""

import asyncio
from typing import Any

import pytest
from conftest import Until
from parts_kit import Wires, running
from pydantic import ValidationError
from scada_kit import MANY, READ, Answer, Line, adu, client, echo, holds, meters, opened, read, server

from gateway.contracts import Rank
from gateway.demo.bus import silent
from gateway.errors import Busy, GatewayError, LineDown, NoAnswer
from gateway.links.modbus_server import Config

# Requests and their answers


async def test_registers_are_read_and_written_through_the_gateway(free_port: int) -> None:
    with meters(1, 2) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            assert await scada.ask(2, read(5, 3)) == holds(2, 5, 3)
            assert await scada.ask(1, b"\x06\x00\x07\x12\x34") == b"\x06\x00\x07\x12\x34"
            assert await scada.ask(1, read(7)) == b"\x03\x02\x12\x34"
            assert await scada.ask(1, read(199, 2)) == b"\x83\x02"


async def test_requests_may_be_piled_up_and_each_answer_has_the_transaction_id_of_its_request(
    free_port: int,
) -> None:
    with meters(1, 2, 3) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            asked = {1000 + n: (1 + n % 3, 2 * n, 1 + n % 5) for n in range(MANY)}
            scada.send(
                b"".join(adu(tid, unit, read(address, n)) for tid, (unit, address, n) in asked.items())
            )
            got = [await scada.answer() for _ in asked]
    assert {answer.tid for answer in got} == asked.keys()
    for answer in got:
        unit, address, count = asked[answer.tid]
        assert (answer.unit, answer.pdu) == (unit, holds(unit, address, count))


async def test_answers_go_out_as_they_come_in_any_order(free_port: int, until: Until) -> None:
    line = Line()
    async with server(free_port, Wires(meters=line)), client(free_port) as scada:
        scada.send(adu(1, 1, read(1)) + adu(2, 1, read(2)) + adu(3, 1, read(3)))
        await until(lambda: len(line.owed) == 3)
        for place in (2, 0, 1):
            line.owed[place].set_result(echo(line.asked[place]))
        got = [await scada.answer() for _ in range(3)]
    assert got == [Answer(tid, 1, b"\x03\x02" + bytes((0, tid))) for tid in (3, 1, 2)]


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 8, 11, 13, 100])
async def test_a_request_is_read_by_its_length_however_it_is_cut(size: int, free_port: int) -> None:
    stream = b"".join(adu(tid, 1, read(tid)) for tid in range(5))
    async with server(free_port, Wires(meters=Line(echo))), client(free_port) as scada:
        for start in range(0, len(stream), size):
            scada.send(stream[start : start + size])
            await asyncio.sleep(0)
        got = [await scada.answer() for _ in range(5)]
    assert got == [Answer(tid, 1, b"\x03\x02" + bytes((0, tid))) for tid in range(5)]


async def test_the_same_transaction_id_may_come_twice_and_from_two_clients(
    free_port: int, until: Until
) -> None:
    line = Line()
    async with server(free_port, Wires(meters=line)), client(free_port) as one, client(free_port) as two:
        one.send(adu(7, 1, read(1)) + adu(7, 1, read(2)))
        two.send(adu(7, 1, read(3)))
        await until(lambda: len(line.owed) == 3)
        for request, answer in zip(line.asked, line.owed, strict=True):
            answer.set_result(echo(request))
        assert [await one.answer(), await one.answer()] == [
            Answer(7, 1, b"\x03\x02\x00\x01"),
            Answer(7, 1, b"\x03\x02\x00\x02"),
        ]
        assert await two.answer() == Answer(7, 1, b"\x03\x02\x00\x03")


async def test_each_connection_is_an_asker_of_its_own_and_a_write_has_its_rank(free_port: int) -> None:
    line = Line(echo)
    async with server(free_port, Wires(meters=line)), client(free_port) as one, client(free_port) as two:
        await one.ask(1, READ)
        await one.ask(1, b"\x06\x00\x01\x00\x01")
        await two.ask(1, READ)
    hosts, connections = zip(*(request.asker for request in line.asked), strict=True)
    assert set(hosts) == {"127.0.0.1"}
    assert connections[0] == connections[1] != connections[2]
    assert [request.rank for request in line.asked] == [Rank.READ, Rank.WRITE, Rank.READ]


# What is no Modbus TCP


@pytest.mark.parametrize(
    "header",
    [
        b"\x00\x01\x00\x01\x00\x06\x01",
        b"\x00\x01\xff\x00\x00\x06\x01",
        b"\x00\x01\x00\x00\x00\x00",
        b"\x00\x01\x00\x00\x00\x01\x01",
        b"\x00\x01\x00\x00\x00\xff\x01",
        b"\x00\x01\x00\x00\xff\xff\x01",
        b"GET / HTTP/1.1\r\nHost: meters\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x01\x03\x00\x01\x00\x02\x95\xcb",
    ],
    ids=lambda header: header[:8].hex(" "),
)
async def test_a_header_that_cannot_be_trusted_ends_this_connection_and_no_other(
    header: bytes, free_port: int
) -> None:
    line = Line(echo)
    async with server(free_port, Wires(meters=line)), client(free_port) as other, client(free_port) as bad:
        await other.ask(1, READ)
        bad.send(header + adu(1, 1, READ))
        assert await bad.rest() == b""
        assert len(line.asked) == 1
        assert await other.ask(1, READ) == b"\x03\x02\x00\x00"


async def test_what_was_asked_before_the_bad_header_does_not_reach_the_wire_any_more(
    free_port: int, until: Until
) -> None:
    line = Line()
    async with server(free_port, Wires(meters=line)), client(free_port) as bad:
        bad.send(adu(1, 1, READ) + b"\x00\x01\x00\x01\x00\x06\x01")
        await bad.rest()
        await until(lambda: line.owed[0].cancelled())


async def test_half_a_header_that_never_ends_harms_nobody(free_port: int) -> None:
    async with server(free_port, Wires(meters=Line(echo))), client(free_port) as slow:
        slow.send(b"\x00\x01\x00")
        async with client(free_port) as other:
            assert await other.ask(1, READ) == b"\x03\x02\x00\x00"


# What is no good request


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (b"\x00", b"\x80\x01"),
        (b"\x00\x00\x00\x00\x01", b"\x80\x01"),
        (b"\x80\x00\x00\x00\x01", b"\x80\x01"),
        (b"\x83\x00\x00\x00\x01", b"\x83\x01"),
        (b"\xff", b"\xff\x01"),
        (b"\x03", b"\x83\x03"),
        (b"\x03\x00\x00\x00", b"\x83\x03"),
        (b"\x03\x00\x00\x00\x01\x00", b"\x83\x03"),
        (b"\x03\x00\x00\x00\x00", b"\x83\x03"),
        (b"\x04\x00\x00\x00\x7e", b"\x84\x03"),
        (b"\x10\x00\x01\x00\x00\x00", b"\x90\x03"),
        (b"\x10\x00\x01\x00\x02\x04\x00\x01", b"\x90\x03"),
    ],
    ids=lambda pdu: pdu.hex(" "),
)
async def test_a_request_that_cannot_be_one_is_answered_here_and_the_next_one_is_understood(
    pdu: bytes, answer: bytes, free_port: int
) -> None:
    with meters(1) as (bus, port):
        async with opened(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            assert await scada.ask(1, pdu) == answer
            assert not bus.seen
            assert await scada.ask(1, read(5, 2)) == holds(1, 5, 2)


# Errors in the words of Modbus


@pytest.mark.parametrize("unit", [0, 248, 255])
async def test_a_unit_that_no_line_has_is_answered_0a_and_nothing_is_sent(unit: int, free_port: int) -> None:
    with meters(1) as (bus, port):
        async with opened(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            assert await scada.ask(unit, READ) == b"\x83\x0a"
            assert not bus.seen


@pytest.mark.parametrize(
    ("error", "code"), [(LineDown("unplugged"), 0x0A), (NoAnswer("silent"), 0x0B), (Busy("queue"), 0x06)]
)
async def test_an_error_of_the_line_is_an_exception_code(
    error: GatewayError, code: int, free_port: int
) -> None:
    line = Line(lambda request: error)
    async with server(free_port, Wires(meters=line)), client(free_port) as scada:
        assert await scada.ask(1, READ) == bytes((0x83, code))
        assert await scada.ask(1, b"\x10\x00\x01\x00\x01\x02\x00\x01") == bytes((0x90, code))


async def test_a_port_that_is_away_is_answered_0a_without_waiting(free_port: int) -> None:
    with meters(1, response_timeout="30s") as (bus, port):
        bus.unplug()
        async with running(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            assert await scada.ask(1, READ) == b"\x83\x0a"


async def test_a_device_that_is_silent_is_answered_0b(free_port: int) -> None:
    with meters(1, fault=silent, response_timeout="20ms", late_answer_guard="1ms") as (_, port):
        async with opened(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            assert await scada.ask(1, READ) == b"\x83\x0b"


async def test_who_asks_for_more_than_the_queue_holds_is_answered_06_for_the_rest(free_port: int) -> None:
    with meters(1, fault=silent, queue=3, response_timeout="50ms", request_timeout="20ms") as (bus, port):
        async with opened(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            scada.send(b"".join(adu(tid, 1, READ) for tid in range(6)))
            answers = {answer.tid: answer.pdu for answer in [await scada.answer() for _ in range(6)]}
            assert answers == dict.fromkeys(range(4), b"\x83\x0b") | dict.fromkeys((4, 5), b"\x83\x06")
            assert len(bus.seen) == 1


# Units


async def test_units_lead_to_the_lines_and_numbers_of_the_config(free_port: int) -> None:
    units = {"1-31": "meters", "101-131": {"port": "pumps", "first": 1}, "200": {"port": "pumps", "first": 9}}
    with meters(2) as (_, one), meters(1, 9) as (_, two):
        async with (
            opened(one),
            opened(two),
            server(free_port, Wires(meters=one, pumps=two), units=units) as link,
            client(free_port) as scada,
        ):
            assert await scada.ask(2, read(5)) == holds(2, 5, 1)
            assert await scada.ask(101, read(5)) == holds(1, 5, 1)
            assert await scada.ask(200, read(5)) == holds(9, 5, 1)
            assert await scada.ask(100, read(5)) == b"\x83\x0a"
            assert link.status()["ports"] == ["meters", "pumps"]


@pytest.mark.parametrize("unit", [0, 255])
async def test_the_default_unit_answers_for_0_and_255(unit: int, free_port: int) -> None:
    with meters(4) as (_, port):
        async with (
            opened(port),
            server(free_port, Wires(meters=port), default_unit_id=4),
            client(free_port) as scada,
        ):
            assert await scada.ask(unit, read(5)) == holds(4, 5, 1)


async def test_a_broadcast_is_not_answered_and_reaches_every_device(free_port: int) -> None:
    with meters(1, 2, broadcast=True, turnaround_delay="1ms") as (_, port):
        async with opened(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            scada.send(adu(1, 0, b"\x06\x00\x07\x12\x34"))
            assert await scada.ask(1, read(7), tid=2) == b"\x03\x02\x12\x34"
            assert await scada.ask(2, read(7), tid=3) == b"\x03\x02\x12\x34"
            assert await scada.ask(0, read(7), tid=4) == b"\x83\x0a"


async def test_without_permission_a_broadcast_is_answered_0a(free_port: int) -> None:
    with meters(1) as (bus, port):
        async with opened(port), server(free_port, Wires(meters=port)), client(free_port) as scada:
            assert await scada.ask(0, b"\x06\x00\x07\x12\x34") == b"\x86\x0a"
            assert not bus.seen


# The config


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"port": "meters", "units": {"1": "pumps"}}, ("port",)),
        ({}, ()),
        ({"units": {}}, ()),
        ({"units": {"1-5": "meters", "5-9": "pumps"}}, ("units", "5-9")),
        ({"units": {"1-300": "meters"}}, ("units", "1-300")),
        ({"units": {"240-255": "meters"}}, ("units", "240-255")),
        ({"units": {"1-10": {"port": "meters", "first": 240}}}, ("units", "1-10")),
        ({"units": {"0": "meters"}}, ("units", "0")),
        ({"units": {"1-5": "meters"}, "default_unit_id": 9}, ("default_unit_id",)),
    ],
    ids=str,
)
def test_a_table_that_contradicts_itself_is_refused_at_the_right_key(
    keys: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        Config.model_validate({"kind": "modbus-server", "listen": ":502"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [where]
