"""The rules of Modbus TCP, R20 to R28, as far as a slave that plays a script is needed to see them kept.

tests/system/test_rules.py has the whole list, and names those that other tests prove.
"""

from collections.abc import Iterator

import pytest
from peers_kit import adu
from rules_kit import EIGHT, READ, READ_NEXT, SEVEN, WRITE, Client, Place, Waits, hears, rtu, says, stage
from system_kit import eventually, modbus_server

from gateway.demo.gatewayd import free_port

NEVER = {"response_timeout": "60s", "request_timeout": "60s"}  # what waits for a timeout fails
PORTS = {"calm": NEVER, "other": NEVER, "short": NEVER | {"request_timeout": "300ms"}}
LINKS = {"calm": {"default_unit_id": 7}, "other": {"default_unit_id": 7}}
READ_AT = "03 {:04x} 0001"


@pytest.fixture(scope="module")
def both() -> int:
    """The TCP port of a link with two lines: 1 to 9 are "calm", 11 to 19 are 1 to 9 of "other"."""
    return free_port()


@pytest.fixture(scope="module")
def places(both: int) -> Iterator[dict[str, Place]]:
    units = {"1-9": "calm", "11-19": {"port": "other", "first": 1}}
    with stage(PORTS, LINKS, more=modbus_server("both", both, units=units)) as places:
        yield places


@pytest.fixture
def calm(places: dict[str, Place]) -> Place:
    return places["calm"]


def test_r20_the_longest_request_and_the_longest_answer_come_through(calm: Place) -> None:
    request, answer = "41" + "5a" * 252, "41" + "a5" * 252
    with calm.plays(hears(1, request), says(1, answer)), calm.scada() as scada:
        for octet in adu(1, 1, bytes.fromhex(request)):
            scada.send(bytes((octet,)))
        assert scada.hears() == bytes.fromhex(answer).hex(" ")


def test_r22_what_a_request_says_reaches_the_slave_as_it_was_said(calm: Place) -> None:
    """Nothing is repaired on the way: a coil that is neither on nor off, a function nobody knows."""
    for pdu in ("05 0005 1234", "06 ffff ffff", "63 00 ff 00 ff", "08 1234 5678", "2b 0d 00"):
        refusal = f"{int(pdu[:2], 16) | 0x80:02x} 03"
        with calm.plays(hears(1, pdu), says(1, refusal)), calm.scada() as scada:
            assert scada.ask(1, pdu) == refusal


def test_r24_the_same_transaction_id_of_two_clients_is_two_transactions(calm: Place) -> None:
    with (
        calm.plays(hears(1, READ), hears(1, READ_NEXT), says(1, EIGHT)) as slave,
        calm.scada() as one,
        calm.scada() as two,
    ):
        one.request(1, READ, tid=5)
        eventually(lambda: slave.seen)
        two.request(1, READ_NEXT, tid=5)
        eventually(lambda: calm.queue == 1)
        calm.speaks(rtu(1, SEVEN))
        assert (one.answer(), two.answer()) == ((5, 1, bytes.fromhex(SEVEN)), (5, 1, bytes.fromhex(EIGHT)))


def test_r24_answers_go_out_as_they_come_and_carry_the_ids_of_their_requests(
    places: dict[str, Place], both: int
) -> None:
    calm, other = places["calm"], places["other"]
    with calm.plays(hears(2, READ)), other.plays(hears(3, READ), says(3, EIGHT)), Client(both) as scada:
        scada.request(2, READ, tid=0xFFFF)
        scada.request(13, READ, tid=0)
        assert scada.answer() == (0, 13, bytes.fromhex(EIGHT))
        calm.speaks(rtu(2, SEVEN))
        assert scada.answer() == (0xFFFF, 2, bytes.fromhex(SEVEN))


def test_r24_sixteen_requests_at_once_are_answered_each_with_its_own(calm: Place) -> None:
    asked = [READ_AT.format(address) for address in range(16)]
    turns = [
        step for address, pdu in enumerate(asked) for step in (hears(1, pdu), says(1, f"03 02 {address:04x}"))
    ]
    with calm.plays(*turns), calm.scada() as scada:
        tids = {scada.request(1, pdu): address for address, pdu in enumerate(asked)}
        for _ in asked:
            answer = scada.answer()
            assert answer is not None
            assert int.from_bytes(answer.pdu[2:], "big") == tids.pop(answer.tid)


def test_r24_the_answer_for_a_client_that_has_left_is_given_to_nobody(calm: Place) -> None:
    with calm.plays(hears(1, READ), hears(1, READ_NEXT), says(1, EIGHT)) as slave, calm.scada() as stays:
        with calm.scada() as leaves:
            leaves.request(1, READ, tid=2)
            eventually(lambda: slave.seen)
        eventually(lambda: calm.clients == 1)
        stays.request(1, READ_NEXT, tid=2)
        eventually(lambda: calm.queue == 1)
        calm.speaks(rtu(1, SEVEN))
        assert stays.answer() == (2, 1, bytes.fromhex(EIGHT))


@pytest.mark.parametrize("unit", [0, 255])
def test_r25_units_0_and_255_are_the_default_unit_where_there_is_one(unit: int, calm: Place) -> None:
    with calm.plays(hears(7, READ), says(7, SEVEN), hears(7, WRITE), says(7, WRITE)), calm.scada() as scada:
        assert scada.ask(unit, READ) == SEVEN
        assert scada.ask(unit, WRITE) == bytes.fromhex(WRITE).hex(" ")


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7, 8, 0x0A, 0x0B, 0x7F])
@pytest.mark.parametrize("pdu", [READ, WRITE, "11", "41 01"])
def test_r26_an_exception_of_the_slave_comes_back_as_it_is_and_at_once(
    pdu: str, code: int, calm: Place
) -> None:
    refusal = f"{int(pdu[:2], 16) | 0x80:02x} {code:02x}"
    with calm.plays(hears(1, pdu), says(1, refusal)), calm.scada() as scada:
        assert scada.ask(1, pdu) == refusal
        assert calm.errors == {"exceptions": 1}


def test_r27_what_waited_too_long_is_told_so_and_never_reaches_the_line(places: dict[str, Place]) -> None:
    place = places["short"]
    with place.plays(hears(1, READ), hears(3, READ), says(3, EIGHT)) as slave, place.scada() as scada:
        first = scada.request(1, READ)
        eventually(lambda: slave.seen)
        second = scada.request(2, WRITE)
        assert scada.answer() == (second, 2, b"\x86\x0b")
        place.speaks(rtu(1, SEVEN))
        assert scada.answer() == (first, 1, bytes.fromhex(SEVEN))
        assert scada.ask(3, READ) == EIGHT


def test_r27_what_a_client_has_asked_that_has_left_never_reaches_the_line(calm: Place) -> None:
    with calm.plays(hears(1, READ), hears(3, READ), says(3, EIGHT)) as slave, calm.scada() as stays:
        stays.request(1, READ)
        eventually(lambda: slave.seen)
        with calm.scada() as leaves:
            for _ in range(3):
                leaves.request(2, WRITE)
            eventually(lambda: calm.queue == 3)
        eventually(lambda: calm.clients == 1)
        calm.speaks(rtu(1, SEVEN))
        assert stays.hears() == SEVEN
        assert stays.ask(3, READ) == EIGHT


def test_r27_a_transaction_is_finished_though_its_client_has_left(calm: Place) -> None:
    with calm.plays(hears(1, WRITE), hears(3, READ), Waits(0.02), says(3, EIGHT)) as slave:
        with calm.scada() as leaves:
            leaves.request(1, WRITE)
            eventually(lambda: slave.seen)
        eventually(lambda: calm.clients == 0)
        with calm.scada() as stays:
            stays.request(3, READ)
            eventually(lambda: calm.queue == 1)
            calm.speaks(rtu(1, WRITE))
            assert stays.hears() == EIGHT
    assert [seen.what for seen in slave.seen] == ["heard", "said", "heard", "said"]
