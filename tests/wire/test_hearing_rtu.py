"""A Modbus RTU line as a slave hears it: the master's requests, whoever else is on the line.

Checksums are the demo's, which share no code with `gateway.wire`.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pairs_kit import PAIRS
from streams_kit import CUTS, EVERYWHERE, NOISE, pieces

from gateway.demo.bus import crc_fits, with_crc
from gateway.wire.modbus import UNKNOWN, answer_length, expected_length, request_length
from gateway.wire.rtu_line import Ear, listening_for
from gateway.wire.rtu_requests import Asked

OURS = frozenset({1, 2, 3})
THEIRS = 17
READ = bytes.fromhex("03 0000 0002")
WRITE = bytes.fromhex("06 0010 1234")
VALUES = bytes.fromhex("03 04 0001 0002")


@dataclass
class Counts:
    crc: int = 0
    short: int = 0
    echo: int = 0


def frame(unit: int, pdu: bytes) -> bytes:
    return with_crc(bytes((unit,)) + pdu)


def attentive(counts: Counts | None = None, ours: Container[int] = OURS) -> Ear:
    """It has heard a silence, and knows that what comes next begins there."""
    ear = listening_for(ours, counts or Counts())
    assert ear.silence() is None
    return ear


def heard(*pieces: bytes) -> list[Asked]:
    ear = attentive()
    return [asked for piece in pieces for asked in ear.feed(piece)]


def one_by_one(data: bytes) -> list[bytes]:
    return pieces(data, EVERYWHERE)


# Requests


@pytest.mark.parametrize("pdu", [request for request, _ in PAIRS.values()], ids=PAIRS)
def test_each_request_is_heard_at_once_or_when_the_line_falls_silent(pdu: bytes) -> None:
    whole = frame(2, pdu)
    for split in ([whole], one_by_one(whole), [whole[:5], whole[5:]]):
        counts = Counts()
        ear = attentive(counts)
        found = [asked for piece in split for asked in ear.feed(piece)]
        if request_length(pdu) == UNKNOWN:
            assert found == []
            assert ear.begun
            found = [ear.silence()]
        assert found == [Asked(2, pdu)]
        assert (ear.unfinished, ear.begun, counts) == (False, False, Counts())


def test_what_is_said_to_all_is_heard_too() -> None:
    assert heard(frame(0, WRITE)) == [Asked(0, WRITE)]


def test_a_request_that_is_not_whole_is_waited_for_and_given_up_when_the_line_falls_silent() -> None:
    counts = Counts()
    ear = attentive(counts)
    assert list(ear.feed(frame(1, READ)[:3])) == []
    assert (ear.unfinished, ear.begun) == (True, False)
    assert list(ear.feed(frame(1, READ)[3:-1])) == []
    assert ear.begun
    assert ear.silence() is None
    assert not ear.unfinished
    assert list(ear.feed(frame(1, READ))) == [Asked(1, READ)]
    assert counts == Counts(crc=1)


# The others on the line


class Exchange(NamedTuple):
    """A request, and what a device makes of it, if there is one."""

    unit: int
    request: bytes
    answer: bytes = b""

    @property
    def frames(self) -> bytes:
        return frame(self.unit, self.request) + (frame(self.unit, self.answer) if self.answer else b"")


def tells_its_length(request: bytes, answer: bytes) -> bool:
    return request_length(request) != UNKNOWN and (
        answer_length(answer) != UNKNOWN or expected_length(request) != UNKNOWN
    )


TOLD = [pair for pair in PAIRS.values() if tells_its_length(*pair)]
FOREIGN = st.builds(
    lambda unit, pair, kind: Exchange(
        unit, pair[0], {"good": pair[1], "exception": bytes((pair[0][0] | 0x80, 2)), "none": b""}[kind]
    ),
    st.integers(4, 247),
    st.sampled_from(TOLD),
    st.sampled_from(("good", "exception", "none")),
)
FOR_US = st.builds(
    lambda unit, pair: Exchange(unit, pair[0]), st.sampled_from(sorted(OURS)), st.sampled_from(TOLD)
)


@given(st.lists(FOREIGN | FOR_US, max_size=8), CUTS | st.just(EVERYWHERE))
def test_each_request_to_us_is_heard_and_no_answer_is_taken_for_one(
    exchanges: list[Exchange], cuts: list[int] | None
) -> None:
    """When a device gives no answer the line falls silent. A write to it that is repeated may as well be its
    answer.
    """
    ear, found = attentive(), []
    for one in exchanges:
        found += [asked for piece in pieces(one.frames, cuts) for asked in ear.feed(piece)]
        if one.unit not in OURS and not one.answer and ear.unfinished:
            assert ear.silence() is None
    asked = [Asked(one.unit, one.request) for one in exchanges]
    assert [one for one in found if one.unit in OURS] == [one for one in asked if one.unit in OURS]
    rest = iter(asked)
    assert all(one in rest for one in found)


@given(st.lists(FOREIGN.filter(lambda one: bool(one.answer)) | FOR_US, max_size=8), CUTS)
def test_while_all_answer_no_silence_is_needed(exchanges: list[Exchange], cuts: list[int]) -> None:
    asked = [Asked(one.unit, one.request) for one in exchanges]
    found = heard(*pieces(b"".join(one.frames for one in exchanges), cuts))
    assert [one for one in found if one.unit in OURS] == [one for one in asked if one.unit in OURS]


def test_a_device_that_answers_what_looks_like_a_request_does_not_confuse_it() -> None:
    three = bytes.fromhex("01 0000 0018")  # 24 coils: the answer is as long as a request
    foreign = frame(THEIRS, three) + frame(THEIRS, bytes.fromhex("01 03 0a0b0c"))
    assert heard(foreign + frame(1, READ)) == [Asked(THEIRS, three), Asked(1, READ)]
    assert heard(frame(THEIRS, WRITE) * 2 + frame(1, READ)) == [Asked(THEIRS, WRITE), Asked(1, READ)]


def test_the_master_asks_a_silent_device_again_and_then_us() -> None:
    stream = frame(THEIRS, READ) * 3 + frame(1, READ)
    assert heard(*one_by_one(stream))[-1] == Asked(1, READ)
    assert heard(*one_by_one(stream)) == [Asked(THEIRS, READ)] * 3 + [Asked(1, READ)]


def test_whether_a_repeated_write_or_its_answer_the_next_frame_is_understood() -> None:
    writes = frame(THEIRS, WRITE) * 2
    for answer in (frame(THEIRS, WRITE), frame(THEIRS, b"\x86\x02")):
        assert heard(*one_by_one(writes + answer + frame(1, READ))) == [Asked(THEIRS, WRITE), Asked(1, READ)]


def test_the_same_question_may_be_answered_again_and_again() -> None:
    request, answer = PAIRS["server id"]
    stream = (frame(THEIRS, request) + frame(THEIRS, answer)) * 2
    assert heard(*one_by_one(stream + frame(1, READ))) == [Asked(THEIRS, request)] * 2 + [Asked(1, READ)]


FORGED = frame(1, WRITE)


@given(st.integers(0, 20), st.integers(0, 20), CUTS)
@example(0, 0, [])
def test_data_of_others_that_look_like_a_request_to_us_are_data(
    before: int, behind: int, cuts: list[int]
) -> None:
    data = bytes(2 * before) + FORGED + bytes(2 * behind)
    words = len(data) // 2
    read = bytes.fromhex("03 0000") + words.to_bytes(2, "big")
    answer = bytes((3, len(data))) + data
    write = bytes.fromhex("10 0000") + words.to_bytes(2, "big") + bytes((len(data),)) + data
    stream = Exchange(THEIRS, read, answer).frames + Exchange(THEIRS, write, write[:5]).frames
    assert heard(*pieces(stream + frame(2, READ), cuts)) == [
        Asked(THEIRS, read),
        Asked(THEIRS, write),
        Asked(2, READ),
    ]


def test_so_are_data_of_an_answer_whose_beginning_is_a_whole_request_to_that_device() -> None:
    """Its first eight bytes have a good CRC, and what follows them is a request to us."""
    ten = bytes.fromhex("03 0000 000A")
    answer = with_crc(bytes((THEIRS, 3, 20, 0, 0, 1))) + FORGED + bytes(7)
    assert len(answer) == 3 + answer[2]
    assert heard(*one_by_one(frame(THEIRS, ten) + with_crc(answer))) == [Asked(THEIRS, ten)]


@pytest.mark.parametrize("at", range(1, 25))
def test_when_the_line_is_opened_in_the_middle_of_an_answer_that_is_no_request(at: int) -> None:
    answer = frame(THEIRS, bytes((3, 20)) + bytes(2) + FORGED + bytes(10))
    ear = listening_for(OURS, Counts())
    assert [*ear.feed(answer[at:])] == []
    assert ear.silence() is None
    assert [*ear.feed(frame(1, READ))] == [Asked(1, READ)]


def test_who_uses_a_code_of_their_own_is_let_talk() -> None:
    counts = Counts()
    ear = attentive(counts)
    for said in (frame(THEIRS, b"\x41\x01\x02"), frame(THEIRS, b"\x41" + FORGED + b"\x00")):
        assert [*ear.feed(said)] == []
        assert ear.silence() is None
    assert counts == Counts()
    assert [*ear.feed(frame(1, READ))] == [Asked(1, READ)]


# Garbage


def test_behind_garbage_a_request_is_believed_once_the_line_is_silent() -> None:
    counts = Counts()
    ear = attentive(counts)
    assert [*ear.feed(b"\x55\x00" + frame(3, READ))] == []
    assert ear.silence() == Asked(3, READ)
    assert counts == Counts(short=1)
    assert [*ear.feed(frame(3, READ))] == [Asked(3, READ)]


def test_what_does_not_tell_its_length_is_believed_only_with_nothing_before_it() -> None:
    own = frame(1, b"\x41\x01\x02")
    for before, heard_then in ((b"", Asked(1, b"\x41\x01\x02")), (b"\x55", None)):
        ear = attentive()
        assert [*ear.feed(before + own)] == []
        assert ear.silence() == heard_then


@pytest.mark.parametrize("damage", range(8))
def test_a_damaged_request_is_none(damage: int) -> None:
    whole = frame(1, WRITE)
    spoiled = whole[:damage] + bytes((whole[damage] ^ 0x10,)) + whole[damage + 1 :]
    counts = Counts()
    ear = attentive(counts)
    assert [*ear.feed(spoiled)] == []
    assert ear.silence() is None
    assert counts == Counts(crc=1)


@given(NOISE, CUTS)
def test_garbage_never_raises_and_behind_a_silence_a_request_is_heard_at_once(
    noise: bytes, cuts: list[int]
) -> None:
    ear = attentive()
    for piece in pieces(noise, cuts):
        assert all(crc_fits(frame(*asked)) for asked in ear.feed(piece))
    ear.silence()
    assert [*ear.feed(frame(1, READ))] == [Asked(1, READ)]


@given(NOISE.filter(lambda noise: len(noise) > 0), CUTS)
def test_without_a_silence_before_it_a_request_is_heard_at_the_silence_behind_it(
    noise: bytes, cuts: list[int]
) -> None:
    ear = attentive()
    found = [asked for piece in pieces(noise + frame(1, READ), cuts) for asked in ear.feed(piece)]
    assert Asked(1, READ) in (ear.silence(), *found[-1:])


def test_a_line_that_babbles_for_ever_costs_no_memory_and_no_sense() -> None:
    ear = attentive()
    for _ in range(100):
        assert [*ear.feed(bytes(range(256)))] == []
    assert [*ear.feed(frame(1, READ))] == []
    assert ear.silence() == Asked(1, READ)


# Our own answers


def test_an_answer_of_ours_that_comes_back_is_counted_and_is_no_request() -> None:
    coils = bytes.fromhex("01 0000 0018")
    for request, answer in ((READ, VALUES), (coils, bytes.fromhex("01 03 0a0b0c")), (READ, b"\x83\x0b")):
        counts = Counts()
        ear = attentive(counts)
        assert [*ear.feed(frame(1, request))] == [Asked(1, request)]
        back = ear.answer(1, answer)
        assert back == frame(1, answer)
        found = [asked for piece in one_by_one(back + frame(1, READ)) for asked in ear.feed(piece)]
        assert found == [Asked(1, READ)]
        assert counts == Counts(echo=1)


def test_a_write_that_the_master_repeats_is_no_echo_of_our_answer() -> None:
    counts = Counts()
    ear = attentive(counts)
    for _ in range(3):
        assert [*ear.feed(frame(1, WRITE))] == [Asked(1, WRITE)]
        ear.answer(1, WRITE)
    assert counts == Counts()


def test_which_units_are_ours_may_change() -> None:
    ours = {1}
    ear = attentive(ours=ours)
    assert [*ear.feed(frame(5, WRITE))] == [Asked(5, WRITE)]
    assert [*ear.feed(frame(5, WRITE))] == []  # its device has answered
    ours.add(5)
    assert [*ear.feed(frame(5, WRITE)), *ear.feed(frame(5, WRITE))] == [Asked(5, WRITE)] * 2
