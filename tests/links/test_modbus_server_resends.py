"""Modbus over UDP: what clients send again, and the places of those who do not say goodbye."""

import asyncio
from typing import Any

import pytest
from parts_kit import Wires
from scada_kit import READ, Line, adu, echo, read
from udp_kit import Caller, caller, server, taken, until_heard
from virtual import in_virtual_time

from gateway.wire.rtu import frame

ON, OFF = b"\x05\x00\x05\xff\x00", b"\x05\x00\x05\x00\x00"
ZERO = b"\x03\x02\x00\x00"  # the answer to READ


def same(request: Any) -> bytes:
    """A write is answered by itself, a read by its address."""
    return request.pdu if request.pdu[0] == 5 else echo(request)


async def quiet(scada: Caller) -> list[bytes]:
    """What has come once everything that is on its way has been done."""
    for _ in range(50):
        await asyncio.sleep(0)
    return scada.heard()


# The same once more


@pytest.mark.parametrize("pdu", [READ, ON], ids=["read", "write"])
@pytest.mark.parametrize("framing", ["mbap", "rtu"])
async def test_what_is_in_work_is_asked_once_and_answered_once(
    pdu: bytes, framing: str, free_port: int
) -> None:
    line = Line()
    request = frame(1, pdu) if framing == "rtu" else adu(7, 1, pdu)
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line), framing=framing) as udp:
            scada.send(request, request, request)
            await until_heard(udp, 3)
            assert len(line.owed) == 1
            line.owed[0].set_result(b"\x83\x02")
            assert await scada.hears() == (
                frame(1, b"\x83\x02") if framing == "rtu" else adu(7, 1, b"\x83\x02")
            )
            assert await quiet(scada) == []
            assert udp.status()["datagrams"]["repeated"] == 2
    assert len(line.asked) == 1


async def test_the_same_from_another_source_is_no_repeat(free_port: int) -> None:
    line = Line(same)
    with caller(free_port) as one, caller(free_port) as other:
        async with server(free_port, Wires(meters=line)):
            assert await one.asks(adu(7, 1, ON)) == await other.asks(adu(7, 1, ON)) == adu(7, 1, ON)
    assert len(line.asked) == 2


@in_virtual_time
async def test_a_write_whose_answer_was_lost_is_answered_again_and_not_done_again(free_port: int) -> None:
    line = Line(same)
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line)) as udp:
            for _ in range(4):
                assert await scada.asks(adu(7, 1, ON)) == adu(7, 1, ON)
                await asyncio.sleep(3.0)
                assert len(line.asked) == 1
            assert udp.status()["datagrams"]["repeated"] == 3
            assert await scada.asks(adu(7, 1, ON)) == adu(7, 1, ON)
            assert len(line.asked) == 2


@in_virtual_time
async def test_an_exception_to_a_write_is_repeated_as_well(free_port: int) -> None:
    line = Line(lambda request: b"\x85\x04")
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line)):
            assert await scada.asks(adu(7, 1, ON)) == adu(7, 1, b"\x85\x04")
            await asyncio.sleep(1.0)
            assert await scada.asks(adu(7, 1, ON)) == adu(7, 1, b"\x85\x04")
    assert len(line.asked) == 1


@in_virtual_time
async def test_one_that_comes_twice_through_the_network_has_one_answer(free_port: int) -> None:
    line = Line(same)
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line)) as udp:
            assert await scada.asks(adu(7, 1, ON)) == adu(7, 1, ON)
            scada.send(adu(7, 1, ON))
            await taken(udp, "repeated", 1)
            assert await quiet(scada) == []
    assert len(line.asked) == 1


@in_virtual_time
async def test_a_read_is_read_again(free_port: int) -> None:
    line = Line(echo)
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line)):
            for _ in range(3):
                assert await scada.asks(adu(7, 1, READ)) == adu(7, 1, ZERO)
                await asyncio.sleep(1.0)
    assert len(line.asked) == 3


@pytest.mark.parametrize("writes", [(ON, OFF, ON, OFF), (READ, ON, ON, READ)])
@in_virtual_time
async def test_a_client_whose_transaction_ids_stand_still_is_always_served(
    writes: tuple[bytes, ...], free_port: int
) -> None:
    line = Line(same)
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line)):
            for pdu in writes:
                await scada.asks(adu(0, 1, pdu))
                await asyncio.sleep(1.0)
    assert [request.pdu for request in line.asked] == list(writes)


@in_virtual_time
async def test_rtu_has_no_transaction_ids_to_tell_a_repeat_by(free_port: int) -> None:
    line = Line(same)
    with caller(free_port) as scada:
        async with server(free_port, Wires(meters=line), framing="rtu"):
            for _ in range(2):
                assert await scada.asks(frame(1, ON)) == frame(1, ON)
                await asyncio.sleep(1.0)
    assert len(line.asked) == 2


async def test_two_gateways_that_are_made_to_talk_to_one_another_fall_silent(free_port: int) -> None:
    """Somebody sends one of them a write in the name of the other: its answer looks like the same write."""
    line = Line(same)
    with caller(free_port) as other:
        async with server(free_port, Wires(meters=line)) as udp:
            answer = await other.asks(adu(7, 1, ON))
            other.send(answer)
            await taken(udp, "repeated", 1)
            other.send(adu(8, 1, b"\x85\x04"))  # and exceptions are no requests
            await taken(udp, "malformed", 1)
            assert await quiet(other) == []


# Places


async def asked_by(line: Line, *scadas: Caller) -> list[int]:
    """The connection number under which each of them asks."""
    for scada in scadas:
        assert await scada.asks(adu(1, 1, READ)) == adu(1, 1, ZERO)
    return [request.asker.connection for request in line.asked[-len(scadas) :]]


async def test_who_was_silent_for_longest_is_forgotten_for_one_more(free_port: int) -> None:
    line = Line(echo)
    with caller(free_port) as one, caller(free_port) as two, caller(free_port) as three:
        async with server(free_port, Wires(meters=line), max_clients=2) as udp:
            (first, second) = await asked_by(line, one, two)
            assert await asked_by(line, one) == [first]
            await asked_by(line, three)
            assert {peer["address"] for peer in udp.status()["peers"]} == {one.address, three.address}
            again = await asked_by(line, one, two)
            assert again[0] == first
            assert again[1] != second
            assert udp.status()["refused"] == 0


async def test_who_is_owed_an_answer_is_not_forgotten(free_port: int) -> None:
    line = Line()
    with caller(free_port) as one, caller(free_port) as two, caller(free_port) as three:
        async with server(free_port, Wires(meters=line), max_clients=2) as udp:
            for count, scada in enumerate((one, two), 1):
                scada.send(adu(1, 1, read(count)))
                await until_heard(udp, count)
            three.send(adu(1, 1, READ))
            async with asyncio.timeout(30):
                while not udp.status()["refused"]:
                    await asyncio.sleep(0)
            for request, answer in zip(line.asked, line.owed, strict=True):
                answer.set_result(echo(request))
            assert await one.hears() == adu(1, 1, b"\x03\x02\x00\x01")
            assert await two.hears() == adu(1, 1, b"\x03\x02\x00\x02")
            three.send(adu(2, 1, read(3)))
            async with asyncio.timeout(30):
                while len(line.owed) < 3:
                    await asyncio.sleep(0)
            line.owed[2].set_result(echo(line.asked[2]))
            assert await three.hears() == adu(2, 1, b"\x03\x02\x00\x03")


@in_virtual_time
async def test_with_refuse_a_place_is_free_after_a_minute_of_silence(free_port: int) -> None:
    line = Line(echo)
    with caller(free_port) as one, caller(free_port) as other:
        async with server(free_port, Wires(meters=line), max_clients=1, when_full_clients="refuse") as udp:
            await asked_by(line, one)
            for seconds, refused in ((0.0, 1), (59.0, 2)):
                await asyncio.sleep(seconds)
                other.send(adu(1, 1, READ))
                assert await quiet(other) == []
                assert udp.status()["refused"] == refused
            await asyncio.sleep(1.0)
            await asked_by(line, other)
            assert [peer["address"] for peer in udp.status()["peers"]] == [other.address]


@in_virtual_time
async def test_the_status_shows_whoever_was_heard_within_a_minute(free_port: int) -> None:
    line = Line(echo)
    with caller(free_port) as one, caller(free_port) as other:
        async with server(free_port, Wires(meters=line)) as udp:
            await asked_by(line, one)
            await asyncio.sleep(50.0)
            await asked_by(line, other)
            await asyncio.sleep(9.0)
            assert [peer["silent_s"] for peer in udp.status()["peers"]] == [59.0, 9.0]
            await asyncio.sleep(1.0)
            assert [peer["address"] for peer in udp.status()["peers"]] == [other.address]
