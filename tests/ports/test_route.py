"""Which line a unit id of the TCP side leads to, and under which number it is known there."""

import asyncio

import pytest

from gateway.contracts import Asker, Request, Transactor
from gateway.errors import GatewayError, LineDown, NoRoute
from gateway.ports._route import Route, Way

WRITE_TO_ALL = Request(0, b"\x06\x00\x05\x00\x07", Asker("10.0.0.1", 1))


class Line:
    """A Transactor that keeps what it is asked until the test answers."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answers: list[asyncio.Future[bytes]] = []

    def ask(self, request: Request, /) -> asyncio.Future[bytes]:
        self.asked.append(request)
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


def read(unit: int) -> Request:
    return Request(unit, b"\x03\x00\x00\x00\x01", Asker("10.0.0.1", 1))


def leads_to(route: Route, *lines: Line, unit: int) -> tuple[int, int]:
    """Which of `lines` gets a request for `unit`, and for which unit there."""
    route.ask(read(unit))
    ((number, line),) = [(number, line) for number, line in enumerate(lines) if line.asked]
    return number, line.asked.pop().unit


async def test_a_line_and_a_route_are_transactors() -> None:
    assert isinstance(Line(), Transactor)
    assert isinstance(Route({}, None), Transactor)


@pytest.mark.parametrize(("unit", "goes"), [(1, (0, 1)), (31, (0, 31)), (101, (1, 1)), (131, (1, 31))])
async def test_units_lead_to_their_lines_under_the_numbers_there(unit: int, goes: tuple[int, int]) -> None:
    meters, pumps = Line(), Line()
    ways = {unit: Way(meters, unit) for unit in range(1, 32)}
    ways |= {unit: Way(pumps, unit - 100) for unit in range(101, 132)}
    assert leads_to(Route(ways, None), meters, pumps, unit=unit) == goes


async def test_only_the_unit_id_of_a_request_changes() -> None:
    pumps = Line()
    Route({101: Way(pumps, 1)}, None).ask(read(101))
    assert pumps.asked == [read(1)]


async def test_the_answer_and_the_withdrawal_are_those_of_the_line() -> None:
    line = Line()
    answer = Route({1: Way(line, 1)}, None).ask(read(1))
    answer.cancel()
    assert line.answers[0].cancelled()


@pytest.mark.parametrize("unit", [2, 100, 248, 255])
async def test_a_unit_without_a_way_has_no_route(unit: int) -> None:
    line = Line()
    with pytest.raises(NoRoute, match=f"unit {unit}"):
        await Route({1: Way(line, 1)}, None).ask(read(unit))
    assert line.asked == []


@pytest.mark.parametrize("unit", [0, 255])
async def test_the_default_unit_stands_for_0_and_255(unit: int) -> None:
    line = Line()
    assert leads_to(Route({7: Way(line, 3)}, 7), line, unit=unit) == (0, 3)


async def test_a_way_of_its_own_goes_before_the_default_unit() -> None:
    meters, panel = Line(), Line()
    route = Route({1: Way(meters, 1), 255: Way(panel, 9)}, 1)
    assert leads_to(route, meters, panel, unit=255) == (1, 9)
    assert leads_to(route, meters, panel, unit=0) == (0, 1)


# Broadcasts


def two_lines() -> tuple[Line, Line, asyncio.Future[bytes]]:
    meters, pumps = Line(), Line()
    ways = {unit: Way(meters, unit) for unit in (1, 2)} | {unit: Way(pumps, unit) for unit in (3, 4)}
    return meters, pumps, Route(ways, None).ask(WRITE_TO_ALL)


async def test_unit_0_goes_to_each_line_once() -> None:
    meters, pumps, _ = two_lines()
    assert meters.asked == pumps.asked == [WRITE_TO_ALL]


async def test_a_broadcast_is_good_if_one_line_took_it() -> None:
    meters, pumps, broadcast = two_lines()
    meters.answers[0].set_exception(NoRoute("broadcast is off"))
    pumps.answers[0].set_result(b"")
    assert await broadcast == b""


@pytest.mark.parametrize(
    ("write", "confirmation"),
    [
        ("05 0007 ff00", "05 0007 ff00"),
        ("06 0005 0007", "06 0005 0007"),
        ("0f 0013 000a 02 cd01", "0f 0013 000a"),
        ("10 0001 0002 04 000a 0102", "10 0001 0002"),
        ("15 09 06 0004 0007 0001 06af", "15 09 06 0004 0007 0001 06af"),
        ("16 0004 00f2 0025", "16 0004 00f2 0025"),
    ],
)
async def test_a_route_that_confirms_says_what_a_device_would_have_said(
    write: str, confirmation: str
) -> None:
    line = Line()
    route = Route({1: Way(line, 1), 2: Way(line, 2)}, None, confirms=True)
    broadcast = route.ask(WRITE_TO_ALL._replace(pdu=bytes.fromhex(write)))
    line.answers[0].set_result(b"")
    assert await broadcast == bytes.fromhex(confirmation)


async def test_a_route_that_confirms_confirms_nothing_that_no_line_took() -> None:
    line = Line()
    broadcast = Route({1: Way(line, 1)}, None, confirms=True).ask(WRITE_TO_ALL)
    line.answers[0].set_exception(NoRoute("broadcast is off"))
    with pytest.raises(NoRoute):
        await broadcast


async def test_a_broadcast_that_no_line_took_ends_once_all_have_said_so() -> None:
    meters, pumps, broadcast = two_lines()
    meters.answers[0].set_exception(NoRoute("broadcast is off"))
    await asyncio.sleep(0)
    assert not broadcast.done()
    pumps.answers[0].set_exception(LineDown("unplugged"))
    with pytest.raises(GatewayError):
        await broadcast


async def test_withdrawing_a_broadcast_breaks_nothing() -> None:
    meters, pumps, broadcast = two_lines()
    broadcast.cancel()
    meters.answers[0].set_result(b"")
    pumps.answers[0].set_exception(LineDown("unplugged"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert broadcast.cancelled()
