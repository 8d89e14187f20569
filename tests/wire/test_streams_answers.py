"""Whatever comes while an answer is awaited: never an exception, never another's answer, never more kept than
two frames; and behind all of it the answer is found, however the bytes were read.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import PAIRS, UNTOLD
from streams_kit import CUTS, EVERYWHERE, NOISE, damaged, in_any_order, pieces, truncated

from gateway.wire import ascii as in_digits
from gateway.wire import rtu
from gateway.wire.modbus import exception

UNIT = 17
FRAMINGS = {"rtu": rtu, "ascii": in_digits}
LONGEST = 2 * rtu.MAX_FRAME  # bytes that are kept; of ASCII a frame, which `heard` does not tell
OWN = {
    f"function {request[0]}": (request, request[:1] + bytes(range(1, 9))) for request in (b"\x41\1", b"\x6e")
}


class Awaited(NamedTuple):
    """One request with its answer, and what else the line says."""

    framing: str
    request: bytes
    pdu: bytes
    before: bytes
    cuts: list[int] | None

    @property
    def frame(self) -> bytes:
        return FRAMINGS[self.framing].encode(UNIT, self.pdu)

    def answer(self) -> rtu.Answer | in_digits.Answer:
        return FRAMINGS[self.framing].answer_to(UNIT, self.request)

    def read(self, stream: bytes) -> Sequence[bytes]:
        return pieces(stream, self.cuts)


@st.composite
def awaited(draw: st.DrawFn, pairs: Sequence[tuple[bytes, bytes]]) -> Awaited:
    framing = draw(st.sampled_from(sorted(FRAMINGS)))
    encode = FRAMINGS[framing].encode
    request, pdu = draw(st.sampled_from(pairs))
    ours = encode(UNIT, pdu)
    strangers = [
        encode(unit, other)
        for unit, other in [
            (UNIT + 1, pdu),
            (UNIT + 1, exception(pdu[0], 2)),
            (0, pdu),
            (UNIT, exception(pdu[0] ^ 1, 2)),
            (UNIT, bytes((pdu[0] ^ 0x20,)) + pdu[1:]),
            (UNIT + 1, request),
        ]
    ]
    foreign = st.sampled_from(strangers)
    parts = (
        NOISE,
        foreign,
        foreign.flatmap(truncated),
        foreign.flatmap(damaged),
        truncated(ours),
        damaged(ours),
    )
    return Awaited(framing, request, pdu, draw(in_any_order(*parts)), draw(CUTS | st.just(EVERYWHERE)))


KNOWN = [pair for pair in PAIRS.values() if pair[0][0] not in UNTOLD]


@given(awaited(KNOWN))
def test_behind_anything_the_answer_is_found_with_its_last_byte(case: Awaited) -> None:
    answer = case.answer()
    found = [answer.feed(piece) for piece in case.read(case.before + case.frame[:-1])]

    assert set(found) <= {None, case.pdu}  # a damaged start and a whole end of it may make one
    if case.pdu not in found:
        assert answer.feed(case.frame[-1:]) == case.pdu


@given(awaited([*PAIRS.values(), *OWN.values()]))
def test_what_is_not_the_answer_is_never_taken_for_it_and_is_not_piled_up(case: Awaited) -> None:
    answer = case.answer()
    for piece in case.read(case.before):
        assert answer.feed(piece) in (None, case.pdu)
        assert answer.missing >= 1
        assert answer.foreign >= 0
        if case.framing == "rtu":
            assert answer.heard <= LONGEST
    assert answer.silence() in (None, case.pdu)


@given(awaited([*PAIRS.values(), *OWN.values()]))
def test_behind_anything_and_a_silence_the_answer_to_the_next_request_is_found(case: Awaited) -> None:
    before, after = case.answer(), case.answer()
    for piece in case.read(case.before):
        before.feed(piece)
    before.silence()
    *begun, last = case.read(case.frame)
    for piece in begun:
        assert after.feed(piece) is None
    assert after.feed(last) == case.pdu or after.silence() == case.pdu


@given(awaited([*OWN.values(), PAIRS["identification"], PAIRS["server id"], PAIRS["fifo"]]))
def test_truncated_anywhere_it_is_no_answer(case: Awaited) -> None:
    for end in range(len(case.frame)):
        answer = case.answer()
        for piece in case.read(case.frame[:end]):
            assert answer.feed(piece) is None
        assert answer.silence() is None


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    "repeated", [b"\x11", b"\x11\x03\xfa", b"\x11\x41", b":", b":1103", b":11\r\n"], ids=str
)
@pytest.mark.parametrize("request_", [b"\x03\0\0\0\x7d", b"\x41\1", b"\x2b\x0e\1\0"], ids=["3", "65", "43"])
def test_what_is_repeated_for_ever_is_no_answer_and_takes_no_endless_room(
    framing: str, repeated: bytes, request_: bytes
) -> None:
    answer = FRAMINGS[framing].answer_to(UNIT, request_)
    for _ in range(400):
        assert answer.feed(repeated) is None
        assert framing == "ascii" or answer.heard <= LONGEST
    assert answer.silence() is None


# A function of somebody's own may carry whole frames


TUNNELLED = {
    "another unit's answer": rtu.encode(UNIT + 1, bytes.fromhex("03 02 0001")),
    "an exception": rtu.encode(UNIT, exception(0x41, 2)),
    "a write": rtu.encode(UNIT, bytes.fromhex("06 0001 0003")),
}


@pytest.mark.parametrize("inner", TUNNELLED.values(), ids=TUNNELLED)
@pytest.mark.parametrize("cuts", [EVERYWHERE, []], ids=["byte by byte", "whole"])
def test_the_answer_of_an_unknown_function_is_whole_even_if_frames_stand_in_it(
    inner: bytes, cuts: list[int] | None
) -> None:
    pdu = b"\x41\x01" + inner + b"\x00"
    answer = rtu.answer_to(UNIT, b"\x41\x01")
    for piece in pieces(rtu.encode(UNIT, pdu), cuts):
        assert answer.feed(piece) is None
    assert answer.silence() == pdu
