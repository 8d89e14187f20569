"""The rules of a Modbus line, R1 to R13, each with a slave that plays a script to the real daemon.

tests/system/test_rules.py has the whole list, and names those that other tests prove.
"""

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from ascii_kit import frame as in_digits
from codes_kit import EVERY, UNIT, Exchange
from rules_kit import (
    EIGHT,
    READ,
    READ_NEXT,
    SEVEN,
    WRITE,
    Hears,
    Keys,
    Place,
    Says,
    Waits,
    hears,
    rtu,
    says,
    spoiled,
    stage,
)
from system_kit import eventually

NEVER = {"response_timeout": "60s", "request_timeout": "60s"}  # what waits for a timeout fails
TIMEOUT, TURNAROUND = 0.4, 0.3  # seconds; half of them is counted: what is seen here may be seen late
SOON = {"response_timeout": "400ms", "request_timeout": "60s", "late_answer_guard": "100ms"}
PORTS: dict[str, Keys] = {
    "calm": NEVER,
    "brisk": SOON,
    "late": SOON | {"late_answer_guard": "10s"},
    "slow": NEVER | {"baudrate": 1200},
    "cast": SOON | {"broadcast": True, "turnaround_delay": "300ms"},
    "echo": SOON | {"echo": True},
    "panel": {"role": "server", "units": {"1-9": "calm"}},
    "digits": NEVER | {"mode": "modbus-ascii", "format": "8N1"},
}


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, Place]]:
    with stage(PORTS, {}) as places:
        yield places


@pytest.fixture
def calm(places: dict[str, Place]) -> Place:
    return places["calm"]


@pytest.fixture
def brisk(places: dict[str, Place]) -> Place:
    return places["brisk"]


# ---------------------------------------------------------------- one at a time, and the frame


def test_r1_a_request_goes_out_only_when_the_one_before_has_its_answer(calm: Place) -> None:
    turns = [(hears(unit, READ), Waits(0.05), says(unit, SEVEN)) for unit in (2, 3)]
    with (
        calm.plays(hears(1, READ), *turns[0], *turns[1]) as slave,
        calm.scada() as one,
        calm.scada() as two,
        calm.scada() as three,
    ):
        one.request(1, READ)
        eventually(lambda: slave.seen)
        two.request(2, READ)
        eventually(lambda: calm.queue == 1)
        three.request(3, READ)
        eventually(lambda: calm.queue == 2)
        calm.speaks(rtu(1, SEVEN))
        assert [scada.hears() for scada in (one, two, three)] == [SEVEN] * 3
    assert [seen.what for seen in slave.seen] == ["heard", "said"] * 3


def test_r1_and_when_there_was_none_only_after_the_timeout(brisk: Place) -> None:
    with brisk.plays(hears(10, READ), hears(11, READ), says(11, SEVEN)) as slave, brisk.scada() as scada:
        scada.request(10, READ)
        scada.request(11, READ)
        answers = [scada.answer(), scada.answer()]
    assert [(answer.unit, answer.pdu.hex(" ")) for answer in answers if answer] == [
        (10, "83 0b"),
        (11, SEVEN),
    ]
    first, second, _ = slave.seen
    assert second.at - first.at >= TIMEOUT / 2


@pytest.mark.parametrize("size", [1, 251, 252])
def test_r3_a_frame_is_unit_pdu_and_crc_low_byte_first_up_to_256_bytes(size: int, calm: Place) -> None:
    pdu = "41" + "a5" * size
    with calm.plays(hears(1, pdu), says(1, pdu)), calm.scada() as scada:
        assert scada.ask(1, pdu) == bytes.fromhex(pdu).hex(" ")


def test_r4_before_each_request_the_line_was_quiet_for_three_and_a_half_characters(
    places: dict[str, Place],
) -> None:
    place, character = places["slow"], 11 / 1200
    turns = [hears(1, READ), says(1, SEVEN), hears(2, READ), says(2, SEVEN)]
    with place.plays(*turns * 4) as slave, place.scada() as one, place.scada() as two:
        for _ in range(4):
            one.request(1, READ)
            two.request(2, READ)
            assert (one.hears(), two.hears()) == (SEVEN, SEVEN)
    for said, heard in pairwise(slave.seen):
        if (said.what, heard.what) == ("said", "heard"):
            assert heard.at - said.at >= 3.5 * character


BIG = "03 fa" + " 01 02" * 125
BIG_READ = "03 0000 007d"


@pytest.mark.parametrize(("size", "pause"), [(62, 0.016), (1, 0.002), (200, 0.1)])
def test_r4_an_answer_may_come_in_pieces_as_usb_adapters_make_them(
    size: int, pause: float, brisk: Place
) -> None:
    whole = rtu(12, BIG)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    steps = [step for piece in pieces for step in (Waits(pause), Says(piece))]
    with brisk.plays(hears(12, BIG_READ), *steps), brisk.scada() as scada:
        assert scada.ask(12, BIG_READ) == BIG
        assert brisk.errors == {}


def test_r6_a_broadcast_goes_out_once_and_the_next_request_after_the_turnaround_delay(
    places: dict[str, Place],
) -> None:
    place = places["cast"]
    with place.plays(hears(0, WRITE), hears(1, READ), says(1, SEVEN)) as slave, place.scada() as scada:
        scada.request(0, WRITE)
        assert scada.ask(1, READ) == SEVEN  # the broadcast itself has no answer
    broadcast, request, _ = slave.seen
    assert request.at - broadcast.at >= TURNAROUND / 2


def test_r6_a_read_of_all_units_never_reaches_the_line(places: dict[str, Place]) -> None:
    place = places["cast"]
    with place.plays(hears(1, READ), says(1, SEVEN)), place.scada() as scada:
        assert scada.ask(0, READ) == "83 0a"
        assert scada.ask(1, READ) == SEVEN


# ---------------------------------------------------------------- what is an answer


@pytest.mark.parametrize("pdu", [READ, WRITE, "10 0000 0001 02 0007", "41 01"])
def test_r7_nothing_is_asked_twice_because_of_silence(pdu: str, brisk: Place) -> None:
    unit = 20 + int(pdu[:2], 16) % 16
    with brisk.plays(hears(unit, pdu), hears(19, READ), says(19, SEVEN)), brisk.scada() as scada:
        assert scada.ask(unit, pdu)[3:] == "0b"
        assert scada.ask(19, READ) == SEVEN


@pytest.mark.parametrize("pdu", [WRITE, "05 0005 ff00", "16 0004 00f2 0025", "08 0000 1234"])
def test_r7_a_write_is_not_repeated_though_its_answer_was_broken(pdu: str, brisk: Place) -> None:
    broken = spoiled(rtu(19, pdu))
    with brisk.plays(hears(19, pdu), Says(broken), hears(19, READ), says(19, SEVEN)), brisk.scada() as scada:
        assert scada.ask(19, pdu)[3:] == "0b"
        assert scada.ask(19, READ) == SEVEN


FOREIGN = {
    "another unit": rtu(2, SEVEN),
    "another function": rtu(1, "04 02 00 09"),
    "another function's exception": rtu(1, "84 02"),
    "another unit's exception": rtu(2, "83 02"),
    "more registers": rtu(1, "03 04 00 09 00 09"),
    "a write": rtu(1, WRITE),
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_r8_what_answers_something_else_is_waited_past_and_counted(foreign: bytes, calm: Place) -> None:
    with calm.plays(hears(1, READ), Says(foreign), Waits(0.02), says(1, SEVEN)), calm.scada() as scada:
        assert scada.ask(1, READ) == SEVEN
        assert calm.errors == {"foreign": 1}


@pytest.mark.parametrize(
    "foreign", [FOREIGN["another unit"], FOREIGN["another function"]], ids=["unit", "function"]
)
def test_r8_if_nothing_else_comes_there_was_no_answer(foreign: bytes, brisk: Place) -> None:
    with brisk.plays(hears(1, READ), Says(foreign), hears(3, READ), says(3, SEVEN)), brisk.scada() as scada:
        assert scada.ask(1, READ) == "83 0b"
        assert scada.ask(3, READ) == SEVEN
        with brisk.plays(hears(1, READ), says(1, SEVEN)):
            assert scada.ask(1, READ) == SEVEN


@pytest.mark.parametrize("confirmed", ["06 0006 0007", "06 0005"], ids=["address", "length"])
def test_r8_a_write_is_confirmed_only_by_what_was_written(confirmed: str, calm: Place) -> None:
    with calm.plays(hears(1, WRITE), says(1, confirmed), Waits(0.02), says(1, WRITE)), calm.scada() as scada:
        assert scada.ask(1, WRITE) == bytes.fromhex(WRITE).hex(" ")


@pytest.mark.parametrize("exchange", EVERY, ids=str)
def test_r8_the_answer_of_every_function_is_whole_and_waits_for_no_timeout(
    exchange: Exchange, calm: Place
) -> None:
    request, answer = exchange.request.hex(), exchange.answer.hex()
    with calm.plays(hears(UNIT, request), says(UNIT, answer)), calm.scada() as scada:
        assert scada.ask(UNIT, request) == exchange.answer.hex(" ")


# ---------------------------------------------------------------- what comes too late


def test_r9_a_late_answer_is_never_given_to_the_next_request(places: dict[str, Place]) -> None:
    place = places["late"]
    with place.plays(hears(1, READ), hears(1, READ_NEXT), says(1, EIGHT)) as slave, place.scada() as scada:
        assert scada.ask(1, READ) == "83 0b"
        scada.request(1, READ_NEXT)
        place.speaks(rtu(1, SEVEN))
        assert scada.hears() == EIGHT
        assert place.errors == {"timeout": 1, "late": 1}
    assert [seen.what for seen in slave.seen] == ["heard", "said", "heard", "said"]


def test_r9_nor_to_a_request_for_another_unit_that_is_asked_meanwhile(places: dict[str, Place]) -> None:
    place = places["late"]
    late = says(1, SEVEN)
    with (
        place.plays(hears(1, READ), hears(2, READ), late, Waits(0.02), says(2, EIGHT)),
        place.scada() as scada,
    ):
        assert scada.ask(1, READ) == "83 0b"
        assert scada.ask(2, READ) == EIGHT
        with place.plays(hears(1, READ_NEXT), says(1, EIGHT)):
            assert scada.ask(1, READ_NEXT) == EIGHT


def test_r9_a_late_confirmation_is_never_that_of_the_next_write(places: dict[str, Place]) -> None:
    place = places["late"]
    with place.plays(hears(3, WRITE), hears(3, WRITE)), place.scada() as scada:
        assert scada.ask(3, WRITE) == "86 0b"
        scada.request(3, WRITE)
        place.speaks(rtu(3, WRITE))
        assert scada.hears() == "86 0b"


# ---------------------------------------------------------------- garbage and echoes


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_r10_a_beginning_of_the_answer_that_was_broken_off_does_not_hide_the_answer(
    cut: int, calm: Place
) -> None:
    whole = rtu(1, SEVEN)
    with calm.plays(hears(1, READ), Says(whole[:cut] + b"\xff" + whole)), calm.scada() as scada:
        assert scada.ask(1, READ) == SEVEN


@pytest.mark.parametrize("pdu", [READ, "01 03aa 0018"])
def test_r11_a_line_that_gives_reads_back_is_diagnosed_and_read_past(pdu: str, calm: Place) -> None:
    answer = "03 02 00 07" if pdu == READ else "01 03 12 34 56"
    with calm.plays(hears(1, pdu), Says(rtu(1, pdu) + rtu(1, answer))), calm.scada() as scada:
        assert scada.ask(1, pdu) == answer
        assert calm.errors == {"echo": 1}


ECHOED = {
    "a read": (READ, SEVEN),
    "a write": (WRITE, WRITE),
    "a coil": ("05 0005 ff00", "05 0005 ff00"),
    "a mask": ("16 0004 00f2 0025", "16 0004 00f2 0025"),
    "a question for an echo": ("08 0000 1234", "08 0000 1234"),
    "many registers": ("10 0000 0001 02 0007", "10 0000 0001"),
}


@pytest.mark.parametrize(("pdu", "answer"), ECHOED.values(), ids=ECHOED)
def test_r11_where_the_line_is_known_to_echo_exactly_what_was_sent_is_dropped(
    pdu: str, answer: str, places: dict[str, Place]
) -> None:
    place = places["echo"]
    with place.plays(hears(1, pdu), Says(rtu(1, pdu)), Waits(0.02), says(1, answer)), place.scada() as scada:
        assert scada.ask(1, pdu) == bytes.fromhex(answer).hex(" ")


def test_r11_there_the_echo_of_a_write_is_no_answer(places: dict[str, Place]) -> None:
    place = places["echo"]
    with place.plays(hears(2, WRITE), Says(rtu(2, WRITE))), place.scada() as scada:
        assert scada.ask(2, WRITE) == "86 0b"


# ---------------------------------------------------------------- ASCII


def digits(unit: int, pdu: str) -> bytes:
    return in_digits(bytes((unit,)) + bytes.fromhex(pdu))


IN_DIGITS = {
    "as it should be": [digits(1, SEVEN)],
    "in lower case": [digits(1, SEVEN).lower()],
    "begun twice": [digits(1, SEVEN)[:7] + digits(1, SEVEN)],
    "behind noise": [b"\xff\r\n55" + digits(1, SEVEN)],
    "behind another unit's": [digits(2, SEVEN) + digits(1, SEVEN)],
    "slowly": [bytes((octet,)) for octet in digits(1, SEVEN)],
}


@pytest.mark.parametrize("pieces", IN_DIGITS.values(), ids=IN_DIGITS)
def test_r12_an_ascii_answer_is_found_and_the_request_is_in_upper_case(
    pieces: list[bytes], places: dict[str, Place]
) -> None:
    place, steps = places["digits"], [step for piece in pieces for step in (Waits(0.005), Says(piece))]
    with place.plays(Hears(b":010300000001FB\r\n"), *steps), place.scada() as scada:
        assert scada.ask(1, READ) == SEVEN


def test_r12_a_wrong_lrc_is_no_answer_and_a_read_is_asked_again(places: dict[str, Place]) -> None:
    place, asked, good = places["digits"], Hears(digits(1, READ)), digits(1, SEVEN)
    wrong = good[:-4] + b"00\r\n"
    with place.plays(asked, Says(wrong), asked, Says(good)), place.scada() as scada:
        assert scada.ask(1, READ) == SEVEN
        assert place.errors == {"crc": 1}


def test_r12_an_answer_that_stops_is_given_up_after_the_character_timeout(places: dict[str, Place]) -> None:
    place, asked, good = places["digits"], Hears(digits(1, READ)), digits(1, SEVEN)
    began = time.monotonic()
    with place.plays(asked, Says(good[:6]), asked, Says(good)), place.scada() as scada:
        assert scada.ask(1, READ) == SEVEN
    assert time.monotonic() - began >= 0.99


# ---------------------------------------------------------------- when we are the slave


def test_r13_what_others_are_asked_and_answer_is_left_alone(places: dict[str, Place]) -> None:
    """Also where it says what we would be asked, or is damaged, or cut off."""
    ours = rtu(1, READ)
    others = [
        says(30, READ),
        says(30, EIGHT),
        says(31, "10 0000 0004 08" + ours.hex()),
        says(31, "10 0000 0004"),
    ]
    damaged = [Says(spoiled(ours)), Says(rtu(30, READ)[:5]), Says(b"\x00\xff")]
    heard = [step for said in (*others, *damaged) for step in (Waits(0.1), said)]
    answered = (Waits(0.1), says(1, READ_NEXT), hears(1, SEVEN))
    with places["calm"].plays(hears(1, READ_NEXT), says(1, SEVEN)), places["panel"].plays(*heard, *answered):
        pass


def test_r13_a_unit_that_nobody_stands_for_is_silent_and_a_broadcast_is_not_answered(
    places: dict[str, Place],
) -> None:
    steps = [step for unit in (10, 247, 248, 0) for step in (Waits(0.1), says(unit, WRITE))]
    answered = (Waits(0.1), says(9, READ), hears(9, EIGHT))
    with places["calm"].plays(hears(9, READ), says(9, EIGHT)), places["panel"].plays(*steps, *answered):
        pass
