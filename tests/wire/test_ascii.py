"""Modbus ASCII: the frame, and the one answer to one request out of whatever a line brings."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import PAIRS
from pymodbus.framer.ascii import FramerAscii
from pymodbus.pdu import DecodePDU

from gateway.wire import ascii as frames
from gateway.wire.modbus import exception

UNIT = 17
READ = bytes.fromhex("03 006b 0002")
ANSWER = bytes.fromhex("03 04 022b 0064")
EVERY = [pytest.param(*pair, id=name) for name, pair in PAIRS.items()]
UNITS = st.integers(0, 247)
PDUS = st.binary(min_size=1, max_size=253)
KNOWN = st.sampled_from(list(PAIRS.values()))
LIKELY = st.sampled_from(
    [b":", b"\r", b"\n", b"\r\n", b":\r\n", b"0", b"g", b" ", b":1103", b":110304022B006499", b"\xff", b"::"]
)
GARBAGE = st.lists(st.binary(max_size=40) | LIKELY, max_size=12).map(b"".join)


def pymodbus() -> FramerAscii:
    return FramerAscii(DecodePDU(is_server=True))


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


def fed(answer: frames.Answer, pieces: list[bytes]) -> bytes | None:
    """What `answer` makes of one piece after the other."""
    return next((pdu for piece in pieces if (pdu := answer.feed(piece)) is not None), None)


def each(data: bytes) -> list[bytes]:
    return [bytes((octet,)) for octet in data]


def spoiled(frame: bytes) -> bytes:
    """The same with a wrong LRC."""
    return frame[:-3] + (b"0" if frame[-3:-2] != b"0" else b"1") + frame[-2:]


# Frames


@pytest.mark.parametrize(
    ("unit", "pdu", "frame"),
    [
        (17, "03 006b 0003", b":1103006B00037E\r\n"),
        (247, "03 1389 000a", b":F7031389000A60\r\n"),
        (1, "11", b":0111EE\r\n"),
        (0xFE, "01 01", b":FE010100\r\n"),  # the sum is 0x100
    ],
)
def test_a_frame_is_colon_upper_case_digits_lrc_and_crlf(unit: int, pdu: str, frame: bytes) -> None:
    assert frames.encode(unit, bytes.fromhex(pdu)) == frame


@given(UNITS, PDUS)
def test_a_foreign_implementation_builds_the_same_frame(unit: int, pdu: bytes) -> None:
    assert frames.encode(unit, pdu) == pymodbus().encode(pdu, unit, 0)


@given(UNITS, st.binary(min_size=2, max_size=253))
def test_a_foreign_implementation_understands_what_we_say(unit: int, pdu: bytes) -> None:
    frame = frames.encode(unit, pdu)

    assert pymodbus().decode(frame) == (len(frame), unit, 0, pdu)


@given(UNITS, PDUS)
def test_what_was_encoded_is_decoded_in_either_case_of_the_digits(unit: int, pdu: bytes) -> None:
    digits = frames.encode(unit, pdu)[1:-2]

    assert frames.decode(digits) == frames.decode(digits.lower()) == bytes((unit,)) + pdu


@given(UNITS, PDUS, st.integers(0, 2**12), st.integers(1, 255))
def test_one_wrong_octet_is_seen(unit: int, pdu: bytes, at: int, change: int) -> None:
    octets = bytearray.fromhex(frames.encode(unit, pdu)[1:-2].decode())
    octets[at % len(octets)] ^= change

    assert frames.decode(octets.hex().encode()) is None


@pytest.mark.parametrize(
    "digits",
    [
        b"",
        b"11",
        b"11EF",
        b"1103006B00037",
        b"11 03006B00037E",
        b"1103006G00037E",
        b"+103006B00037E",
        b"\xb1",
    ],
)
def test_what_is_no_row_of_pairs_of_digits_is_no_frame(digits: bytes) -> None:
    assert frames.decode(digits) is None


def test_a_frame_of_more_than_513_characters_is_none() -> None:
    longest = frames.encode(UNIT, b"\x41" + bytes(252))
    assert len(longest) == frames.MAX_FRAME
    assert frames.decode(longest[1:-2]) is not None
    assert frames.decode(frames.encode(UNIT, b"\x41" + bytes(253))[1:-2]) is None


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_no_answer_is_larger_than_was_said(request_: bytes, pdu: bytes) -> None:
    assert frames.answer_size(request_) in (len(frames.encode(UNIT, pdu)), frames.MAX_FRAME)


# The answer


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_an_answer_is_found_whole(request_: bytes, pdu: bytes) -> None:
    assert frames.answer_to(UNIT, request_).feed(frames.encode(UNIT, pdu)) == pdu


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_an_answer_is_found_with_its_last_character(request_: bytes, pdu: bytes) -> None:
    answer, frame = frames.answer_to(UNIT, request_), frames.encode(UNIT, pdu)

    assert [answer.feed(piece) for piece in each(frame)] == [None] * (len(frame) - 1) + [pdu]


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_an_answer_in_lower_case_is_found(request_: bytes, pdu: bytes) -> None:
    answer = frames.answer_to(UNIT, request_)

    assert fed(answer, each(frames.encode(UNIT, pdu).lower())) == pdu


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_an_exception_is_an_answer_to_every_request(request_: bytes, pdu: bytes) -> None:
    refusal = exception(request_[0], 2)

    assert frames.answer_to(UNIT, request_).feed(frames.encode(UNIT, refusal)) == refusal


@pytest.mark.parametrize("function", [65, 72, 100, 110, 9, 43])
def test_an_answer_of_a_function_that_nobody_knows_ends_with_crlf(function: int) -> None:
    request, pdu = bytes((function, 13)), bytes((function, 13)) + bytes(range(200))

    assert frames.answer_to(UNIT, request).feed(frames.encode(UNIT, pdu)) == pdu


@given(KNOWN, GARBAGE, st.lists(st.integers(0, 1000), max_size=5))
def test_an_answer_is_found_after_any_garbage(
    pair: tuple[bytes, bytes], garbage: bytes, cuts: list[int]
) -> None:
    request, pdu = pair

    assert fed(frames.answer_to(UNIT, request), chunks(garbage + frames.encode(UNIT, pdu), cuts)) == pdu


@given(st.lists(GARBAGE | st.binary(max_size=700), max_size=8), KNOWN)
def test_garbage_raises_nothing_and_is_no_answer(pieces: list[bytes], pair: tuple[bytes, bytes]) -> None:
    answer = frames.answer_to(UNIT, pair[0])
    for piece in pieces:
        assert answer.feed(piece) is None
        assert answer.missing >= 1
        assert answer.heard >= 0
    answer.silence()
    assert not answer.ends_by_silence


@given(KNOWN, st.integers(0, 600))
def test_a_colon_begins_the_frame_anew_wherever_it_stands(pair: tuple[bytes, bytes], at: int) -> None:
    request, pdu = pair
    frame = frames.encode(UNIT, pdu)
    begun = frame[: at % len(frame)]

    answer = frames.answer_to(UNIT, request)
    assert fed(answer, each(begun + frame)) == pdu
    assert not answer.broken
    assert answer.foreign == 0


@given(KNOWN, st.binary(max_size=50))
def test_no_fewer_characters_than_are_said_to_be_missing_complete_an_answer(
    pair: tuple[bytes, bytes], before: bytes
) -> None:
    answer, left = frames.answer_to(UNIT, pair[0]), before + frames.encode(UNIT, pair[1])
    while left:
        missing = answer.missing
        assert 1 <= missing <= len(left)
        assert answer.feed(left[: missing - 1]) is None
        left = left[missing - 1 :]
        if answer.feed(left[:1]) is not None:
            return
        left = left[1:]


@pytest.mark.parametrize(
    ("came", "missing"),
    [
        (b"", 9),
        (b"\xff\xff", 9),
        (b":1", 7),
        (b":1103", 14),  # unit id, function, count, 4 octets, LRC: 19 characters
        (b":1183", 6),
        (b":1203", 4),  # another unit
        (b":110304022B006460\r", 1),
    ],
)
def test_the_head_of_an_answer_tells_how_much_is_missing(came: bytes, missing: int) -> None:
    answer = frames.answer_to(UNIT, READ)
    answer.feed(came)

    assert answer.missing == missing


def test_endless_noise_takes_no_endless_room() -> None:
    answer = frames.answer_to(UNIT, READ)
    answer.feed(b":")
    for _ in range(frames.MAX_FRAME):
        assert answer.ends_by_silence or answer.heard >= frames.MAX_FRAME
        assert answer.feed(b"5") is None
    assert not answer.ends_by_silence
    assert answer.feed(frames.encode(UNIT, ANSWER)) == ANSWER


# What is not the answer


FOREIGN = {
    "another unit": frames.encode(UNIT + 1, ANSWER),
    "another unit's exception": frames.encode(UNIT + 1, exception(3, 2)),
    "another function": frames.encode(UNIT, b"\x04" + ANSWER[1:]),
    "another function's exception": frames.encode(UNIT, exception(4, 2)),
    "another quantity": frames.encode(UNIT, bytes.fromhex("03 02 022b")),
    "its own count wrong": frames.encode(UNIT, bytes.fromhex("03 05 022b 0064")),
    "a write": frames.encode(UNIT, bytes.fromhex("06 0001 0003")),
    "hardly anything": frames.encode(UNIT, b"\x03"),
}


@pytest.mark.parametrize("frame", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("noise", [b"", b"\x55", b":11"])
def test_a_frame_of_somebody_else_is_counted_and_waited_past(frame: bytes, noise: bytes) -> None:
    answer = frames.answer_to(UNIT, READ)

    assert fed(answer, each(noise + frame + frame)) is None
    assert answer.foreign == 2
    assert answer.heard == len(noise)
    assert not answer.broken
    assert answer.feed(frames.encode(UNIT, ANSWER)) == ANSWER


def test_a_write_to_another_address_is_not_confirmed() -> None:
    answer = frames.answer_to(UNIT, bytes.fromhex("06 0001 0003"))

    assert answer.feed(frames.encode(UNIT, bytes.fromhex("06 0002 0003"))) is None
    assert answer.foreign == 1


BROKEN = {
    "a wrong LRC": spoiled(frames.encode(UNIT, ANSWER)),
    "a wrong LRC of an exception": spoiled(frames.encode(UNIT, exception(3, 2))),
    "a digit that is none": frames.encode(UNIT, ANSWER).replace(b"2B", b"2?"),
    "a digit lost": frames.encode(UNIT, ANSWER).replace(b"2B", b"2"),
    "two digits lost": frames.encode(UNIT, ANSWER).replace(b"2B", b""),
    "a blank between digits": frames.encode(UNIT, ANSWER).replace(b"2B", b"2B "),
    "no CR": frames.encode(UNIT, ANSWER).replace(b"\r", b""),
    "in lower case": spoiled(frames.encode(UNIT, ANSWER)).lower(),
}


@pytest.mark.parametrize("frame", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_came_damaged_is_none_and_known_to_be_broken_at_its_end(frame: bytes) -> None:
    answer = frames.answer_to(UNIT, READ)
    *begun, last = each(frame)
    assert fed(answer, begun) is None
    assert not answer.broken

    assert answer.feed(last) is None
    assert answer.broken
    assert answer.foreign == 0
    assert answer.heard == len(frame)


@pytest.mark.parametrize(
    "noise", [b"\r\n", b":\r\n", b"1103\r\n", b":12\r\n", b":1203FF\r\n", b":1104FF\r\n"]
)
def test_noise_and_what_others_say_badly_is_not_a_broken_answer(noise: bytes) -> None:
    answer = frames.answer_to(UNIT, READ)

    assert fed(answer, each(noise)) is None
    assert not answer.broken
    assert answer.heard == len(noise)


@pytest.mark.parametrize(
    ("request_", "pdu"),
    [
        (READ, ANSWER),
        (bytes.fromhex("01 03aa 0018"), bytes.fromhex("01 03 123456")),  # the echo has an answer's shape
        (bytes.fromhex("01 03aa 0018"), bytes.fromhex("01 03 aa0018")),  # the answer is the same
    ],
)
def test_a_line_that_gives_a_read_request_back_is_told_and_read_past(request_: bytes, pdu: bytes) -> None:
    answer = frames.answer_to(UNIT, request_)
    echo = frames.encode(UNIT, request_)

    assert fed(answer, each(echo + frames.encode(UNIT, pdu))) == pdu
    assert answer.echoed
    assert answer.foreign == 0


def test_the_answer_to_a_write_is_no_echo() -> None:
    answer = frames.answer_to(UNIT, bytes.fromhex("06 0001 0003"))

    assert answer.feed(frames.encode(UNIT, bytes.fromhex("06 0001 0003"))) is not None
    assert not answer.echoed


# Silence


@pytest.mark.parametrize(("came", "broken"), [(b":1103042", True), (b":1183", True), (b":12030", False)])
def test_silence_breaks_off_the_frame_that_has_begun(came: bytes, broken: bool) -> None:
    answer = frames.answer_to(UNIT, READ)
    answer.feed(came)
    assert answer.ends_by_silence

    answer.silence()
    assert answer.broken == broken
    assert answer.heard == len(came)
    assert not answer.ends_by_silence


def test_what_comes_behind_that_silence_is_no_part_of_the_frame() -> None:
    answer, frame = frames.answer_to(UNIT, READ), frames.encode(UNIT, ANSWER)
    answer.feed(frame[:9])
    answer.silence()

    assert answer.feed(frame[9:]) is None
    assert answer.feed(frame) == ANSWER


def test_between_frames_silence_means_nothing() -> None:
    answer = frames.answer_to(UNIT, READ)
    answer.feed(frames.encode(UNIT + 1, ANSWER) + b"\xff")

    assert not answer.ends_by_silence
