"""The one answer to one request, out of whatever a line brings."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pairs_kit import PAIRS, UNTOLD

from gateway.wire import rtu
from gateway.wire.modbus import exception

UNIT = 17
READ = bytes.fromhex("03 006b 0002")
ANSWER = bytes.fromhex("03 04 022b 0064")
EVERY = [pytest.param(*pair, id=name) for name, pair in PAIRS.items()]
MEASURED = [pair for pair in PAIRS.values() if pair[0][0] not in UNTOLD]


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


def fed(answer: rtu.Answer, pieces: list[bytes]) -> bytes | None:
    """What `answer` makes of one piece after the other."""
    return next((pdu for piece in pieces if (pdu := answer.feed(piece)) is not None), None)


# Frames


@pytest.mark.parametrize(
    ("octets", "expected"),
    [("313233343536373839", 0x4B37), ("02 07", 0x1241), ("01 03 00 00 00 0a", 0xCDC5), ("", 0xFFFF)],
)
def test_the_crc_is_that_of_the_specification(octets: str, expected: int) -> None:
    assert rtu.crc(bytes.fromhex(octets)) == expected


def test_a_frame_is_unit_pdu_and_crc_low_byte_first() -> None:
    assert rtu.encode(1, bytes.fromhex("03 0000 000a")) == bytes.fromhex("01 03 0000 000a c5cd")


@given(
    st.integers(0, 255), st.binary(min_size=1, max_size=253), st.integers(1, 0xFFFF), st.integers(0, 2**12)
)
def test_the_crc_over_a_whole_frame_is_0_and_after_a_burst_of_up_to_16_wrong_bits_it_is_not(
    unit: int, pdu: bytes, burst: int, at: int
) -> None:
    frame = rtu.encode(unit, pdu)
    wrong = burst << at % (8 * len(frame) - 15)

    assert rtu.crc(frame) == 0
    assert rtu.crc((int.from_bytes(frame, "little") ^ wrong).to_bytes(len(frame), "little")) != 0


@pytest.mark.parametrize(
    ("baudrate", "milliseconds"),
    [(1200, 32.083), (9600, 4.010), (19200, 2.005), (38400, 1.75), (115200, 1.75)],
)
def test_the_gap_is_three_and_a_half_characters_and_fixed_above_19200_bd(
    baudrate: int, milliseconds: float
) -> None:
    assert rtu.gap(baudrate) * 1000 == pytest.approx(milliseconds, abs=0.001)


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_no_answer_is_larger_than_was_said(request_: bytes, pdu: bytes) -> None:
    size = rtu.answer_size(request_)

    assert size == len(rtu.encode(UNIT, pdu)) or (size == rtu.MAX_FRAME and request_[0] in UNTOLD)


# The answer


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_an_answer_is_found_whole(request_: bytes, pdu: bytes) -> None:
    assert rtu.answer_to(UNIT, request_).feed(rtu.encode(UNIT, pdu)) == pdu


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_an_answer_is_found_byte_by_byte_with_its_last_one(request_: bytes, pdu: bytes) -> None:
    answer, frame = rtu.answer_to(UNIT, request_), rtu.encode(UNIT, pdu)

    assert [answer.feed(bytes((byte,))) for byte in frame] == [None] * (len(frame) - 1) + [pdu]


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
@pytest.mark.parametrize("behind", [b"\0", b"\xff" * 3, rtu.encode(UNIT, ANSWER)])
def test_an_answer_is_found_with_bytes_behind_it(request_: bytes, pdu: bytes, behind: bytes) -> None:
    assert rtu.answer_to(UNIT, request_).feed(rtu.encode(UNIT, pdu) + behind) == pdu


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_an_exception_is_an_answer_to_every_request(request_: bytes, pdu: bytes) -> None:
    refusal = exception(request_[0], 2)

    assert rtu.answer_to(UNIT, request_).feed(rtu.encode(UNIT, refusal)) == refusal


@given(st.sampled_from(MEASURED), st.binary(max_size=700), st.lists(st.integers(0, 1000), max_size=5))
def test_an_answer_is_found_after_any_garbage(
    pair: tuple[bytes, bytes], garbage: bytes, cuts: list[int]
) -> None:
    request, pdu = pair

    assert fed(rtu.answer_to(UNIT, request), chunks(garbage + rtu.encode(UNIT, pdu), cuts)) == pdu


@given(st.lists(st.binary(max_size=200), max_size=8), st.sampled_from(list(PAIRS.values())))
def test_garbage_is_no_answer_and_raises_nothing(pieces: list[bytes], pair: tuple[bytes, bytes]) -> None:
    answer = rtu.answer_to(UNIT, pair[0])

    assert fed(answer, pieces) is None
    assert answer.silence() is None
    assert answer.missing >= 1


def test_endless_noise_takes_no_endless_room() -> None:
    answer = rtu.answer_to(UNIT, READ)
    for _ in range(3000):
        assert answer.feed(b"\x55") is None
        assert answer.heard <= 2 * rtu.MAX_FRAME
    assert answer.feed(rtu.encode(UNIT, ANSWER)) == ANSWER


@given(st.binary(max_size=50), st.sampled_from(list(PAIRS.values())))
@example(b"\x11\x03\x04", (READ, ANSWER))
def test_no_fewer_bytes_than_are_said_to_be_missing_complete_an_answer(
    before: bytes, pair: tuple[bytes, bytes]
) -> None:
    answer, left = rtu.answer_to(UNIT, pair[0]), before + rtu.encode(UNIT, pair[1])
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
        ("", 1),
        ("11", 1),
        ("11 03", 7),
        ("11 03 04 02", 5),
        ("11 83", 3),
        ("11 83 02 00", 1),
        ("12 03", 1),  # another unit: the answer may begin at any byte
    ],
)
def test_the_head_of_an_answer_tells_how_much_is_missing(came: str, missing: int) -> None:
    answer = rtu.answer_to(UNIT, READ)
    answer.feed(bytes.fromhex(came))

    assert answer.missing == missing


@pytest.mark.parametrize("noise", [b"", b"\x55\xaa"])
@pytest.mark.parametrize(
    "image",
    [
        rtu.encode(UNIT, bytes.fromhex("83 02")),
        rtu.encode(UNIT + 1, bytes.fromhex("83 02")),
        rtu.encode(UNIT, bytes.fromhex("06 0001 0003")),
        rtu.encode(UNIT + 1, bytes.fromhex("03 02 0001")),
    ],
)
def test_the_data_of_an_answer_may_look_like_a_frame(image: bytes, noise: bytes) -> None:
    data = b"\0" + image + b"\0" * (19 - len(image))
    pdu = bytes((3, 20)) + data
    answer = rtu.answer_to(UNIT, bytes.fromhex("03 0000 000a"))

    assert fed(answer, [bytes((byte,)) for byte in noise + rtu.encode(UNIT, pdu)]) == pdu
    assert answer.foreign == 0


# What is not the answer


FOREIGN = {
    "another unit": rtu.encode(UNIT + 1, ANSWER),
    "another unit's exception": rtu.encode(UNIT + 1, exception(3, 2)),
    "another function": rtu.encode(UNIT, bytes.fromhex("04 04 022b 0064")),
    "another function's exception": rtu.encode(UNIT, exception(4, 2)),
    "another quantity": rtu.encode(UNIT, bytes.fromhex("03 02 022b")),
    "a write": rtu.encode(UNIT, bytes.fromhex("06 0001 0003")),
}


@pytest.mark.parametrize("frame", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("noise", [b"", b"\x55"])
def test_a_frame_of_somebody_else_is_counted_and_waited_past(frame: bytes, noise: bytes) -> None:
    answer = rtu.answer_to(UNIT, READ)

    assert fed(answer, [bytes((byte,)) for byte in noise + frame + frame]) is None
    assert answer.foreign == 2
    assert answer.heard == 0
    assert answer.feed(rtu.encode(UNIT, ANSWER)) == ANSWER


def test_half_a_frame_of_somebody_else_does_not_hide_an_exception() -> None:
    answer = rtu.answer_to(UNIT, READ)

    assert answer.feed(bytes((UNIT + 1, 3, 4)) + rtu.encode(UNIT, exception(3, 6))) == exception(3, 6)


def test_an_answer_that_contradicts_its_own_byte_count_is_none() -> None:
    answer = rtu.answer_to(UNIT, READ)

    assert answer.feed(rtu.encode(UNIT, bytes.fromhex("03 05 022b 0064"))) is None


def test_a_write_to_another_address_is_not_confirmed() -> None:
    answer = rtu.answer_to(UNIT, bytes.fromhex("06 0001 0003"))

    assert answer.feed(rtu.encode(UNIT, bytes.fromhex("06 0002 0003"))) is None
    assert answer.foreign == 1


@pytest.mark.parametrize("damage", range(2, len(ANSWER) + 3))
def test_an_answer_with_a_wrong_byte_is_none_and_known_to_be_broken(damage: int) -> None:
    frame = bytearray(rtu.encode(UNIT, ANSWER))
    frame[damage] ^= 0x04
    answer = rtu.answer_to(UNIT, READ)

    assert [answer.feed(bytes((byte,))) for byte in frame] == [None] * len(frame)
    assert answer.broken


def test_a_byte_count_that_promises_more_is_waited_for() -> None:
    """It may be the late answer to a larger request: asking again would run into the rest of it."""
    answer = rtu.answer_to(UNIT, READ)
    late = rtu.encode(UNIT, bytes((3, 20)) + bytes(20))

    for byte in late[:-1]:
        assert answer.feed(bytes((byte,))) is None
        assert not answer.broken
    assert answer.feed(late[-1:]) is None
    assert answer.foreign == 1


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_an_answer_is_broken_when_it_is_whole_and_not_on_its_way(request_: bytes, pdu: bytes) -> None:
    answer = rtu.answer_to(UNIT, request_)
    *head, last = rtu.encode(UNIT, pdu)
    for byte in head:
        assert answer.feed(bytes((byte,))) is None
        assert not answer.broken
    assert answer.feed(bytes((last ^ 0xFF,))) is None

    assert answer.broken


@pytest.mark.parametrize(
    "frame", [rtu.encode(UNIT + 1, ANSWER), rtu.encode(UNIT, b"\x04" + ANSWER[1:])], ids=["unit", "function"]
)
def test_a_broken_frame_of_somebody_else_is_not_ours(frame: bytes) -> None:
    answer = rtu.answer_to(UNIT, READ)

    assert answer.feed(frame[:-1] + bytes((frame[-1] ^ 0xFF,))) is None
    assert not answer.broken


def test_noise_is_not_a_broken_answer() -> None:
    answer = rtu.answer_to(UNIT, READ)

    assert answer.feed(b"\x55" * 40) is None
    assert not answer.broken


@pytest.mark.parametrize(
    ("request_", "pdu"),
    [
        (READ, ANSWER),
        (bytes.fromhex("04 006b 0002"), bytes.fromhex("04 04 022b 0064")),
        (bytes.fromhex("01 03aa 0018"), bytes.fromhex("01 03 123456")),  # the echo has an answer's shape
        (bytes.fromhex("03 0400 0002"), bytes.fromhex("03 04 00000002")),  # it begins like one
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_line_that_gives_a_read_request_back_is_told_and_read_past(
    request_: bytes, pdu: bytes, whole: bool
) -> None:
    answer = rtu.answer_to(UNIT, request_)
    heard = rtu.encode(UNIT, request_) + rtu.encode(UNIT, pdu)

    assert fed(answer, [heard] if whole else [bytes((byte,)) for byte in heard]) == pdu
    assert answer.echoed
    assert answer.foreign == 0


def test_a_line_without_echo_is_not_said_to_have_one() -> None:
    answer = rtu.answer_to(UNIT, bytes.fromhex("06 0001 0003"))

    assert answer.feed(rtu.encode(UNIT, bytes.fromhex("06 0001 0003"))) is not None
    assert not answer.echoed


# Answers whose length nobody knows


OWN = [
    bytes.fromhex("41 01 02 03"),
    bytes.fromhex("2b 0d 01 02"),
    bytes.fromhex("09"),
    bytes.fromhex("6e 7f"),
]


@pytest.mark.parametrize("request_", OWN)
@pytest.mark.parametrize("before", [b"", b"\x55\xaa", bytes((UNIT,)) * 3])
def test_silence_ends_an_answer_of_a_function_that_nobody_knows(request_: bytes, before: bytes) -> None:
    answer = rtu.answer_to(UNIT, request_)
    pdu = request_[:2] + b"\x01\x02\x03\x04\x05\x06\x07"[: 9 - len(request_)]
    assert answer.ends_by_silence
    for byte in before + rtu.encode(UNIT, pdu):
        assert answer.feed(bytes((byte,))) is None

    assert answer.silence() == pdu


@pytest.mark.parametrize("request_", OWN)
def test_an_exception_to_such_a_function_needs_no_silence(request_: bytes) -> None:
    refusal = exception(request_[0], 1)

    assert rtu.answer_to(UNIT, request_).feed(rtu.encode(UNIT, refusal)) == refusal


@pytest.mark.parametrize(("request_", "pdu"), EVERY)
def test_no_other_answer_waits_for_silence(request_: bytes, pdu: bytes) -> None:
    assert not rtu.answer_to(UNIT, request_).ends_by_silence


def test_silence_does_not_make_an_answer_out_of_another_units_frame() -> None:
    answer = rtu.answer_to(UNIT, b"\x41\x01")
    answer.feed(rtu.encode(UNIT + 1, b"\x41\x01\x02"))

    assert answer.silence() is None


def test_silence_after_too_few_bytes_is_no_answer() -> None:
    answer = rtu.answer_to(UNIT, b"\x41\x01")
    for _ in range(4):
        answer.feed(bytes((UNIT,)))
        assert answer.silence() is None
