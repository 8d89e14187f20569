"""Whatever a program sends to where requests are expected: never an exception but ours, never a request that
was not put in, never more kept than a frame; and what is good comes out, however it was cut.
"""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import ECHOED, PAIRS
from streams_kit import CUTS, EVERYWHERE, NOISE, damaged, in_any_order, pieces, truncated

from gateway.errors import PeerError
from gateway.wire import mbap, rtu
from gateway.wire.mbap import Adu
from gateway.wire.rtu_requests import Asked, Requests

READ = PAIRS["read 2 registers"][0]
PDUS = [request for request, _ in PAIRS.values() if request[0] not in ECHOED]
CUT = CUTS | st.just(EVERYWHERE)


# RTU over TCP: no lengths, no silences


class Stream(NamedTuple):
    data: bytes
    good: list[Asked]  # what stands whole in it, in order


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    data, good = b"", []
    for _ in range(draw(st.integers(0, 5))):
        asked = Asked(draw(st.integers(0, 255)), draw(st.sampled_from(PDUS)))
        frame = rtu.frame(*asked)
        bad = st.one_of(NOISE, truncated(frame), damaged(frame))
        data += draw(st.one_of(st.just(b""), bad)) + frame
        good.append(asked)
    return Stream(data, good)


def found(requests: Requests, data: bytes, cuts: list[int] | None = None) -> list[Asked]:
    return [asked for piece in pieces(data, cuts) for asked in requests.feed(piece)]


def in_order(few: list[Asked], many: list[Asked]) -> bool:
    """All of `few` stand in `many`, in their order."""
    rest = iter(many)
    return all(asked in rest for asked in few)


@given(streams(), CUT)
def test_only_requests_that_were_put_in_come_out_and_in_their_order(
    stream: Stream, cuts: list[int] | None
) -> None:
    assert in_order(found(Requests(), stream.data, cuts), stream.good)


@given(in_any_order(NOISE, *(truncated(rtu.frame(1, pdu)) for pdu in PDUS)), CUT)
def test_behind_anything_and_a_silence_each_request_is_found_at_once(
    before: bytes, cuts: list[int] | None
) -> None:
    requests = Requests()
    found(requests, before, cuts)
    requests.drop()
    for pdu in PDUS:
        assert found(requests, rtu.frame(1, pdu)) == [Asked(1, pdu)]
        assert not requests.unfinished


@given(in_any_order(NOISE, *(truncated(rtu.frame(1, pdu)) for pdu in PDUS)), CUT)
def test_behind_anything_without_a_silence_no_more_is_lost_than_one_frame_may_hide(
    before: bytes, cuts: list[int] | None
) -> None:
    """A beginning of a write promises up to 256 bytes: what stands there may be its data."""
    requests, frame = Requests(), rtu.frame(1, READ)
    found(requests, before, cuts)
    hidden = rtu.MAX_FRAME // len(frame) + 1
    assert found(requests, frame * hidden + rtu.frame(2, READ))[-1:] == [Asked(2, READ)]


@given(st.sampled_from(PDUS), st.integers(0, 255), CUT)
def test_a_request_that_is_cut_off_anywhere_is_none(pdu: bytes, unit: int, cuts: list[int] | None) -> None:
    frame = rtu.frame(unit, pdu)
    for end in range(len(frame)):
        requests = Requests()
        assert found(requests, frame[:end], cuts) == []
        assert requests.unfinished == (end > 0)


@pytest.mark.parametrize(
    "repeated", [b"\x00", b"\x03", b"\x10", b"\x01\x10\0\0\0\x7b\xf6", b"\x01\x08\0\0", b"\x83"]
)
def test_what_is_repeated_for_ever_hides_no_request_for_ever(repeated: bytes) -> None:
    requests = Requests()
    assert found(requests, repeated * 1000, EVERYWHERE) == []
    assert Asked(2, READ) in found(requests, rtu.frame(2, READ) * 40)


# Modbus TCP: the length in the header


ADUS = st.builds(Adu, st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=253))
LONGEST = 260  # MODBUS Messaging on TCP/IP V1.0b, 4.1


def taken(decoder: mbap.Decoder, data: bytes, cuts: list[int] | None) -> tuple[list[Adu], bool]:
    """What came out, and whether the stream was still good in the end."""
    adus: list[Adu] = []
    try:
        for piece in pieces(data, cuts):
            adus.extend(decoder.feed(piece))
    except PeerError:
        return adus, False
    return adus, True


def headers(adu: Adu) -> st.SearchStrategy[bytes]:
    """One with a wrong protocol or length."""
    whole = mbap.encode(*adu)
    protocols = st.integers(1, 0xFFFF).map(lambda number: whole[:2] + number.to_bytes(2, "big") + whole[4:])
    lengths = st.sampled_from([0, 1, 255, 256, 0xFFFF]) | st.integers(255, 0xFFFF)
    return protocols | lengths.map(lambda number: whole[:4] + number.to_bytes(2, "big") + whole[6:])


@given(st.lists(ADUS, max_size=4), ADUS.flatmap(headers), NOISE, CUT)
def test_behind_a_header_that_cannot_be_one_nothing_comes_out(
    adus: list[Adu], header: bytes, behind: bytes, cuts: list[int] | None
) -> None:
    stream = b"".join(mbap.encode(*adu) for adu in adus)
    got, good = taken(mbap.Decoder(), stream + header + behind, cuts)

    assert not good
    if cuts is EVERYWHERE:
        assert got == adus
    assert got == adus[: len(got)]


@given(st.lists(ADUS, min_size=1, max_size=4), st.integers(0, 1100), CUT)
def test_what_is_cut_off_anywhere_is_no_request_and_whole_when_its_rest_comes(
    adus: list[Adu], at: int, cuts: list[int] | None
) -> None:
    stream = b"".join(mbap.encode(*adu) for adu in adus)
    at %= len(stream)
    decoder = mbap.Decoder()
    before, good = taken(decoder, stream[:at], cuts)
    after, still_good = taken(decoder, stream[at:], cuts)

    assert good
    assert still_good
    assert before + after == adus
    assert sum(len(mbap.encode(*adu)) for adu in before) <= at


@given(in_any_order(NOISE, st.binary(max_size=8).map(lambda head: head[:2] + b"\0\0\0" + head[2:]), most=30))
def test_no_stream_is_kept_for_longer_than_an_adu_can_be(stream: bytes) -> None:
    decoder, kept = mbap.Decoder(), 0
    try:
        for piece in pieces(stream, EVERYWHERE):
            kept += 1
            for adu in decoder.feed(piece):
                kept -= len(mbap.encode(*adu))
            assert kept < LONGEST
    except PeerError:
        assert kept <= LONGEST


WORDS = (b"PONG", b"\0\0", b"PONG, " + b"still " * 50)


@given(in_any_order(NOISE, *(st.sampled_from(WORDS).flatmap(truncated) for _ in range(2))), ADUS, CUT)
def test_words_that_are_cut_off_raise_nothing_but_a_peer_error_and_make_no_request(
    stream: bytes, adu: Adu, cuts: list[int] | None
) -> None:
    got, good = taken(mbap.Decoder(WORDS), stream + mbap.encode(*adu), cuts)
    for each in got:
        assert each == adu or mbap.encode(*each) in stream + mbap.encode(*adu)
    assert good or len(got) <= 1 + len(stream) // 8
