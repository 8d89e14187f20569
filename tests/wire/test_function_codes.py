"""Every function code in both framings: its answer is found however it arrives, and ends where it should."""

from collections.abc import Iterable
from types import ModuleType

import pytest
from ascii_kit import frame as in_digits
from codes_kit import BY_LENGTH, BY_SILENCE, EVERY, HEAD, UNIT, WITH_FRAMES, Exchange

from gateway.demo.bus import with_crc
from gateway.errors import BadRequest
from gateway.wire import ascii as ascii_
from gateway.wire import modbus, rtu

FRAMERS = {rtu: lambda pdu: with_crc(HEAD + pdu), ascii_: lambda pdu: in_digits(HEAD + pdu)}
GARBAGE = (
    b"\x00",
    b"\xff\x00\x55",
    HEAD,
    3 * HEAD,
    b"\x12\x03\x02\x00",
    b":",
    b":11\r\n",
    b"\x55" * 300,
)
PACKET = 62  # bytes: what an FTDI adapter passes on at once

both_framings = pytest.mark.parametrize("framing", FRAMERS, ids=lambda framing: framing.__name__[13:])
every_code = pytest.mark.parametrize("exchange", EVERY, ids=str)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def heard(framing: ModuleType, exchange: Exchange, pieces: Iterable[bytes]) -> bytes | None:
    """What is made of these pieces, and of silence behind them if that is said to be needed."""
    answer = framing.answer_to(UNIT, exchange.request)
    for piece in pieces:
        if (pdu := answer.feed(piece)) is not None:
            return pdu
        assert answer.foreign == 0
    return answer.silence() if answer.ends_by_silence else None


@every_code
def test_requests_and_answers_are_as_long_on_the_line_as_the_specification_says(exchange: Exchange) -> None:
    modbus.check_request(exchange.request)
    assert len(rtu.encode(UNIT, exchange.request)) == exchange.asks
    assert len(rtu.encode(UNIT, exchange.answer)) == exchange.takes <= rtu.answer_size(exchange.request)
    assert len(ascii_.encode(UNIT, exchange.answer)) <= ascii_.answer_size(exchange.request)


@both_framings
@every_code
@pytest.mark.parametrize("size", [1, 2, 3, 7, PACKET, 513], ids=lambda size: f"{size} at a time")
def test_an_answer_is_found_however_it_is_cut(framing: ModuleType, exchange: Exchange, size: int) -> None:
    assert heard(framing, exchange, cut(FRAMERS[framing](exchange.answer), size)) == exchange.answer


@both_framings
@every_code
@pytest.mark.parametrize("size", [1, 513], ids=["byte by byte", "whole"])
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: garbage[:4].hex(" "))
def test_an_answer_is_found_behind_garbage(
    framing: ModuleType, exchange: Exchange, garbage: bytes, size: int
) -> None:
    stream = garbage + FRAMERS[framing](exchange.answer)
    assert heard(framing, exchange, cut(stream, size)) == exchange.answer


@both_framings
@every_code
def test_an_exception_needs_no_silence(framing: ModuleType, exchange: Exchange) -> None:
    *head, last = cut(FRAMERS[framing](exchange.refusal), 1)
    answer = framing.answer_to(UNIT, exchange.request)

    assert [answer.feed(piece) for piece in head] == [None] * len(head)
    assert answer.feed(last) == exchange.refusal


@pytest.mark.parametrize("exchange", [one for one in EVERY if not one.by_silence], ids=str)
def test_an_answer_that_tells_its_length_ends_with_its_last_byte(exchange: Exchange) -> None:
    *head, last = cut(FRAMERS[rtu](exchange.answer), 1)
    answer = rtu.answer_to(UNIT, exchange.request)

    assert [answer.feed(piece) for piece in head] == [None] * len(head)
    assert not answer.ends_by_silence
    assert answer.feed(last) == exchange.answer


@pytest.mark.parametrize("exchange", [one for one in EVERY if one.by_silence], ids=str)
def test_an_answer_that_does_not_is_left_alone_by_every_silence_but_the_one_behind_it(
    exchange: Exchange,
) -> None:
    frame = FRAMERS[rtu](exchange.answer)
    answer = rtu.answer_to(UNIT, exchange.request)
    for piece in cut(frame, 16)[:-1]:
        assert answer.feed(piece) is None
        assert answer.silence() is None
    assert answer.feed(cut(frame, 16)[-1]) is None

    assert answer.silence() == exchange.answer


@every_code
def test_half_an_answer_is_none(exchange: Exchange) -> None:
    frame = FRAMERS[rtu](exchange.answer)
    assert heard(rtu, exchange, [frame[: len(frame) // 2]]) is None
    assert heard(rtu, exchange, cut(frame[:-1], 1)) is None


@pytest.mark.parametrize("exchange", BY_LENGTH + BY_SILENCE, ids=str)
@pytest.mark.parametrize("at", [0, 1, -3, -2, -1])
def test_an_answer_with_a_wrong_bit_is_none(exchange: Exchange, at: int) -> None:
    frame = bytearray(FRAMERS[rtu](exchange.answer))
    frame[at] ^= 0x10
    assert heard(rtu, exchange, [bytes(frame)]) is None


# What else can stand for an answer


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("08 0000 a537", "08 0001 a537"),  # another subfunction
        ("08 0000 a537", "08 0000 a5"),
        ("14 07 06 0004 0001 0002", "14 07 05 06 0dfe 0020"),  # its own count is wrong
        ("15 09 06 0004 0007 0001 06af", "15 09 06 0004 0008 0001 06af"),  # another record
        ("18 04de", "18 0007 0002 01b8 1284"),
        ("18 04de", "18 ffff 0002 01b8 1284"),
        ("2b 0e 01 00", "2b 0d 01 01 00 00 00"),  # what carries CANopen
        ("2b 0e 01 00", "2b 0e 01 01 00 00 02 00 03 414243"),  # two objects, and one came
        ("2b 0e 01 00", "2b 0e 01 01 00 00 01 00 ff 414243"),
        ("2b 0e 01 00", "2b"),
    ],
)
@both_framings
def test_what_contradicts_itself_or_the_request_is_no_answer(
    framing: ModuleType, request_: str, answer: str
) -> None:
    awaited = framing.answer_to(UNIT, bytes.fromhex(request_))
    assert awaited.feed(FRAMERS[framing](bytes.fromhex(answer))) is None
    assert awaited.silence() is None


def test_a_list_of_objects_that_no_frame_can_hold_does_not_hide_the_answer_behind_it() -> None:
    exchange = next(one for one in BY_LENGTH if one.name == "43/14: more follows")
    too_many = HEAD + b"\x2b\x0e\x03\x83\x00\x00\xff" + bytes(2 * 123)
    answer = rtu.answer_to(UNIT, exchange.request)

    assert answer.feed(too_many) is None
    assert answer.feed(FRAMERS[rtu](exchange.answer)) == exchange.answer


def test_a_queue_that_no_frame_can_hold_does_not_hide_the_answer_behind_it() -> None:
    exchange = next(one for one in BY_LENGTH if one.name == "24: two")
    answer = rtu.answer_to(UNIT, exchange.request)

    assert answer.feed(HEAD + b"\x18\xff\xff") is None
    assert answer.feed(FRAMERS[rtu](exchange.answer)) == exchange.answer


def test_the_codes_of_the_table_are_those_of_the_specification_and_of_users() -> None:
    assert {one.code for one in BY_LENGTH + WITH_FRAMES} >= {
        *range(1, 9),
        11,
        12,
        15,
        16,
        17,
        *range(20, 25),
        43,
    }
    assert {one.code for one in BY_SILENCE} >= {43, *range(65, 73), *range(100, 111)}


# Requests


@pytest.mark.parametrize(
    "wrong",
    [
        "08",
        "08 00",
        "14 06 06 0004 0001 00",
        "14 08 06 0004 0001 0002 00",
        "14 fc" + " 06 0004 0001 0001" * 36,
        "15 08 06 0004 0007 0001 06",
        "2b",
        "2b 0e 01",
        "2b 0e 01 00 00",
    ],
)
def test_a_request_that_contradicts_itself_is_exception_03(wrong: str) -> None:
    with pytest.raises(BadRequest):
        modbus.check_request(bytes.fromhex(wrong))


@every_code
def test_a_request_tells_how_long_it_is_or_says_nothing_at_all(exchange: Exchange) -> None:
    told = modbus.request_length(exchange.request)
    assert told in (modbus.UNKNOWN, len(exchange.request))
    assert told != modbus.UNKNOWN or exchange.by_silence or exchange.request[:3] == b"\x08\x00\x00"


# What a slave says to a write


@pytest.mark.parametrize("exchange", [one for one in BY_LENGTH if one.code in modbus.BROADCASTS], ids=str)
def test_what_a_device_confirms_of_a_write_is_known_from_the_write_itself(exchange: Exchange) -> None:
    assert modbus.confirmation(exchange.request) == exchange.answer
