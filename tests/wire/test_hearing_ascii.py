"""A Modbus ASCII line as a slave hears it: the master's requests, whoever else is on the line.

Frames are those of `ascii_kit`, which shares no code with `gateway.wire`.
"""

from dataclasses import dataclass

import pytest
from ascii_kit import frame as framed
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import PAIRS
from streams_kit import CUTS, EVERYWHERE, NOISE, pieces

from gateway.wire.ascii_line import Ear, listening_for
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
    return framed(bytes((unit,)) + pdu)


def listening(counts: Counts | None = None) -> Ear:
    return listening_for(OURS, counts or Counts())


def heard(*pieces: bytes) -> list[Asked]:
    ear = listening()
    return [asked for piece in pieces for asked in ear.feed(piece)]


def one_by_one(data: bytes) -> list[bytes]:
    return pieces(data, EVERYWHERE)


@pytest.mark.parametrize("pdu", [request for request, _ in PAIRS.values()], ids=PAIRS)
def test_each_request_is_heard_at_once_in_either_case(pdu: bytes) -> None:
    whole = frame(2, pdu)
    for data in (whole, whole.lower()):
        assert heard(data) == heard(*one_by_one(data)) == heard(data[:5], data[5:]) == [Asked(2, pdu)]
    assert heard(frame(0, WRITE)) == [Asked(0, WRITE)]


EXCHANGES = st.tuples(st.integers(4, 247), st.sampled_from([*PAIRS.values()]), st.booleans())


@given(st.lists(EXCHANGES, max_size=6), CUTS)
def test_each_request_is_heard_and_no_answer_of_another_unit_is_taken_for_one(
    exchanges: list[tuple[int, tuple[bytes, bytes], bool]], cuts: list[int]
) -> None:
    stream, asked = b"", []
    for unit, (request, answer), answered in exchanges:
        stream += frame(unit, request) + (frame(unit, answer) if answered else b"") + frame(1, READ)
        asked += [Asked(unit, request), Asked(1, READ)]
    assert heard(*pieces(stream, cuts)) == asked


def test_what_has_our_unit_id_and_is_no_request_is_none() -> None:
    assert heard(frame(1, VALUES), frame(1, b"\x83\x02"), frame(1, READ[:-1]), frame(1, READ)) == [
        Asked(1, READ)
    ]


def test_a_colon_begins_anew_and_a_damaged_frame_is_none() -> None:
    counts = Counts()
    ear = listening(counts)
    whole = frame(1, READ)
    assert [*ear.feed(b"\xff\x00" + whole[:7] + whole)] == [Asked(1, READ)]
    assert [*ear.feed(whole.replace(b"02", b"03"))] == []
    assert [*ear.feed(whole[:-2] + b"\n")] == []
    assert counts == Counts(crc=2)
    assert [*ear.feed(whole)] == [Asked(1, READ)]


def test_silence_ends_a_frame_that_goes_no_further() -> None:
    counts = Counts()
    ear = listening(counts)
    assert [*ear.feed(b"noise")] == []
    assert not ear.begun
    assert [*ear.feed(frame(1, READ)[:-1])] == []
    assert ear.begun
    assert ear.unfinished
    ear.silence()
    assert not ear.unfinished
    assert [*ear.feed(b"\n")] == []
    assert counts == Counts(short=2)


@given(NOISE, CUTS)
def test_garbage_never_raises_and_the_request_behind_it_is_heard(noise: bytes, cuts: list[int]) -> None:
    assert heard(*pieces(noise + frame(1, READ), cuts))[-1:] == [Asked(1, READ)]


def test_a_line_that_babbles_for_ever_costs_no_memory() -> None:
    ear = listening()
    for _ in range(100):
        assert [*ear.feed(b":" + b"0" * 600)] == []
        assert not ear.unfinished
    assert [*ear.feed(frame(1, READ))] == [Asked(1, READ)]


def test_an_answer_of_ours_that_comes_back_is_counted_and_a_repeated_write_is_none() -> None:
    coils = bytes.fromhex("01 0000 0018")
    counts = Counts()
    ear = listening(counts)
    for request, answer in ((READ, VALUES), (coils, bytes.fromhex("01 03 0a0b0c")), (READ, b"\x83\x0b")):
        assert [*ear.feed(frame(1, request))] == [Asked(1, request)]
        back = ear.answer(1, answer)
        assert back == frame(1, answer)
        assert [*ear.feed(back)] == []
    for _ in range(3):
        assert [*ear.feed(frame(1, WRITE))] == [Asked(1, WRITE)]
        ear.answer(1, WRITE)
    assert counts == Counts(echo=3)
