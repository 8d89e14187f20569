"""kind = "modbus-client" with port and units: what the master on a serial line asks goes to a server."""

import asyncio
from typing import Any

import pytest
from conftest import Until
from parts_kit import running
from push_kit import Plc, Written, adu, up
from push_kit import World as Plant
from pydantic import ValidationError

from gateway.contracts import Asker, Asking, Rank, Request, Transactor
from gateway.errors import GatewayError, LinkDown
from gateway.links.modbus_client import Config, Link
from gateway.settings import Claim, Need

HARMLESS = bytes.fromhex("03 0000 0001")
READ = bytes.fromhex("03 0064 0002")
UNITS = {"1-9": {}, "20": {"unit_id": 255}}


def config(tcp_port: int = 502, **keys: Any) -> Config:
    table = {
        "kind": "modbus-client",
        "connect": f"127.0.0.1:{tcp_port}",
        "port": "panel",
        "units": UNITS,
        "liveness": {"detect_within": "3s"},
    }
    return Config.model_validate({key: value for key, value in (table | keys).items() if value is not None})


def link(tcp_port: int, **keys: Any) -> Link:
    made = config(tcp_port, **keys).build("plc", Plant())
    assert isinstance(made, Link)
    return made


def request(unit: int = 1, pdu: bytes = READ) -> Request:
    return Request(unit, pdu, Asker("line", 1), Rank.READ)


async def outcome(answer: asyncio.Future[bytes]) -> bytes | type[GatewayError]:
    try:
        return await answer
    except GatewayError as error:
        return type(error)


class Server(Plc):
    """Also remembers which unit each answer was for, and can keep answers back."""

    def __init__(self, tcp_port: int) -> None:
        super().__init__(tcp_port)
        self.units: list[int] = []
        self.wrap = self._wrapped
        self.silent_for: set[bytes] = set()
        self.script = lambda pdu: b"" if pdu in self.silent_for else None

    def _wrapped(self, tid: int, unit: int, pdu: bytes) -> bytes:
        self.units.append(unit)
        return adu(tid, unit, pdu)

    @property
    def questions(self) -> list[bytes]:
        return [pdu for pdu in self.asked if pdu != HARMLESS]


def holding(*words: int) -> bytes:
    return bytes((3, 2 * len(words))) + b"".join(word.to_bytes(2, "big") for word in words)


# Answers


async def test_the_server_answers_what_the_master_asks(free_port: int) -> None:
    made = link(free_port)
    assert isinstance(made, Transactor)
    async with Server(free_port) as server, up(made):
        server.holding = {100: 7, 101: 8}
        assert await made.ask(request()) == holding(7, 8)
        write = bytes.fromhex("10 0005 0001 02 0009")
        assert await made.ask(request(2, write)) == write[:5]
        server.missing = (100,)
        assert await made.ask(request()) == b"\x83\x02"
    assert server.writes == [Written(16, 5, (9,))]


async def test_units_are_called_over_there_as_the_table_says(free_port: int) -> None:
    made = link(free_port)
    async with Server(free_port) as server, up(made):
        for unit in (9, 20, 1):
            await made.ask(request(unit))
    assert server.units[-3:] == [9, 255, 1]


async def test_questions_go_out_one_after_the_other(free_port: int, until: Until) -> None:
    made = link(free_port)
    first, second = READ, bytes.fromhex("03 0065 0001")
    async with Server(free_port) as server, up(made):
        server.silent_for = {first}
        asked, waiting = made.ask(request(pdu=first)), made.ask(request(pdu=second))
        await until(lambda: server.questions == [first])
        await asyncio.sleep(0.05)
        assert server.questions == [first]
        asked.cancel()
        assert await waiting == holding(0)
    assert server.questions == [first, second]


async def test_who_leaves_before_his_turn_is_never_asked_for(free_port: int, until: Until) -> None:
    made = link(free_port)
    first, second, third = (bytes.fromhex(f"03 00{n:02x} 0001") for n in (1, 2, 3))
    async with Server(free_port) as server, up(made):
        server.silent_for = {first}
        answers = [made.ask(request(pdu=pdu)) for pdu in (first, second, third)]
        await until(lambda: server.questions)
        answers[1].cancel()
        answers[0].cancel()
        assert await answers[2] == holding(0)
    assert server.questions == [first, third]


async def test_an_answer_that_comes_late_is_not_taken_for_that_to_the_next_question(
    free_port: int, until: Until
) -> None:
    made = link(free_port)
    late: list[bytes] = []
    async with Server(free_port) as server, up(made):

        def keep_back(tid: int, unit: int, pdu: bytes) -> bytes:
            late.append(adu(tid, unit, holding(0xBAD)))
            return late[0] + adu(tid, unit, holding(2)) if len(late) == 2 else b""

        server.wrap = keep_back
        first = made.ask(request(pdu=bytes.fromhex("03 0001 0001")))
        await until(lambda: late)
        first.cancel()
        assert await made.ask(request(pdu=bytes.fromhex("03 0002 0001"))) == holding(2)


async def test_a_broadcast_goes_to_unit_0_and_nobody_waits_for_an_answer(
    free_port: int, until: Until
) -> None:
    made = link(free_port)
    write = bytes.fromhex("10 0005 0001 02 0009")
    async with Server(free_port) as server, up(made):
        server.silent_for = {write}
        assert await made.ask(request(0, write)) == b""
        assert await made.ask(request(3)) == holding(0, 0)
    assert server.questions == [write, READ]


# The far end is away


async def test_while_the_far_end_is_away_nobody_can_be_asked(free_port: int, until: Until) -> None:
    made = link(free_port)
    assert await outcome(made.ask(request())) is LinkDown
    async with running(made) as life:
        await until(lambda: life.attempts > 1)
        assert await outcome(made.ask(request())) is LinkDown
        async with Server(free_port) as server:
            await until(lambda: life.state == "up")
            assert await made.ask(request()) == holding(0, 0)
            server.silent_for = {READ}
            under_way, waiting = made.ask(request()), made.ask(request())
            await until(lambda: server.questions == [READ, READ])
            await server.closes()
            assert await outcome(under_way) is await outcome(waiting) is LinkDown
            assert await outcome(made.ask(request())) is LinkDown
            await server.opens()
            server.silent_for = set()
            await until(lambda: life.reconnects == 1)
            assert await made.ask(request()) == holding(0, 0)


async def test_a_server_that_hangs_is_found_and_what_waits_for_it_is_told(free_port: int) -> None:
    made = link(free_port)
    async with Server(free_port) as server, up(made) as life:
        server.silent_for = {READ, HARMLESS}
        async with asyncio.timeout(30):
            assert await outcome(made.ask(request())) is LinkDown
        assert life.deaths == 1
        assert "does not answer" in life.reason


async def test_an_answer_to_another_question_ends_the_connection(free_port: int, until: Until) -> None:
    made = link(free_port)
    async with Server(free_port) as server, up(made) as life:
        server.script = lambda pdu: b"\x04\x02\x00\x07" if pdu == READ else None
        assert await outcome(made.ask(request())) is LinkDown
        await until(lambda: life.deaths)
        assert life.status()["last_death"]["reason"] == "the server's answer does not fit the question"


@pytest.mark.parametrize("answer", [None, b"\x83\x02", b"\x83\x0b", b"\x83\x0a"])
async def test_any_answer_of_the_first_unit_shows_that_the_server_is_there(
    answer: bytes | None, free_port: int
) -> None:
    made = link(free_port, units={"20": {"unit_id": 255}, "1": {}})
    async with Server(free_port) as server:
        server.script = lambda pdu: answer
        async with up(made):
            assert (server.units, server.asked) == ([255], [HARMLESS])


# Beside push


async def test_values_are_pushed_through_the_same_connection(free_port: int, until: Until) -> None:
    plant = Plant()
    made = config(free_port, push={"main-meter.voltage": {"holding": 50}}, unit_id=4).build("plc", plant)
    assert isinstance(made, Link)
    async with Server(free_port) as server, up(made):
        plant.meter.reads(voltage=230)
        await until(lambda: server.told(50) == [230])
        assert await made.ask(request(9, bytes.fromhex("03 0032 0001"))) == holding(230)
        status = made.status()
    assert (status["port"], status["sent"], status["devices"]) == ("panel", 1, ["main-meter"])
    assert server.units[-2:] == [4, 9]
    assert server.accepted == 1


async def test_the_status_has_nothing_of_pushing_where_nothing_is_pushed(free_port: int) -> None:
    made = link(free_port)
    async with Server(free_port), up(made):
        await made.ask(request())
        status = made.status()
    assert (status["port"], status["endpoint"]) == ("panel", f"127.0.0.1:{free_port}")
    assert status["peers"][0]["requests"] == 2
    assert "sent" not in status


# The keys


def test_it_needs_the_port_and_claims_the_units() -> None:
    made = config()
    assert list(made.needs()) == [Need(("port",), "panel", Asking)]
    assert list(made.claims()) == [
        Claim(("units", "1-9"), "panel", range(1, 10)),
        Claim(("units", "20"), "panel", range(20, 21)),
    ]
    pushing = config(port=None, units=None, push={"a.b": {"holding": 1}})
    assert list(pushing.needs()) == list(pushing.claims()) == []


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"units": None}, "which unit ids are for us"),
        ({"port": None}, "units goes with port"),
        ({"units": None, "port": None}, "what for"),
        ({"unit_id": 1}, "unit_id goes with push"),
        ({"keep": "all"}, "keep goes with push"),
        ({"alive": {"holding": 1}}, "alive goes with push"),
        ({"units": {"1-2": {"unit_id": 255}}}, "unit_id goes with one unit"),
        ({"units": {"1": {"unit_id": 256}}}, "less than or equal to 255"),
        ({"units": {"1-5": {}, "5": {}}}, 'overlaps "1-5"'),
        ({"units": {"0": {}}}, "unit ids 1 to 247"),
        ({"units": {"one": {}}}, "unit ids are"),
    ],
)
def test_what_does_not_fit_together_is_told(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        config(**keys)
