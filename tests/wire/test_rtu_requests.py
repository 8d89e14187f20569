"""RTU requests in a stream without silences, however the bytes came in and whatever stands between them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import PAIRS

from gateway.wire.modbus import MORE, UNKNOWN, request_length
from gateway.wire.rtu import frame
from gateway.wire.rtu_requests import Asked, Requests

READ = bytes.fromhex("03 006b 0002")
REQUESTS = {name: request for name, (request, _) in PAIRS.items()}
TOLD = [pdu for name, pdu in REQUESTS.items() if "echo" not in name]  # a subfunction 0 tells no length
USER = b"\x41\x01\x02\x03"
KNOWN = st.builds(Asked, st.integers(128, 255), st.sampled_from(TOLD))  # units that look like no function
CALM = st.binary(max_size=40).map(lambda data: bytes(byte | 0x80 for byte in data))  # no function in it


def found(*pieces: bytes, ignore: tuple[bytes, ...] = ()) -> list[Asked]:
    requests = Requests(ignore)
    return [asked for piece in pieces for asked in requests.feed(piece)]


def one_by_one(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


@pytest.mark.parametrize("pdu", REQUESTS.values(), ids=REQUESTS)
def test_every_request_comes_out_as_it_went_in(pdu: bytes) -> None:
    whole = frame(17, pdu)

    assert found(whole) == found(*one_by_one(whole)) == [Asked(17, pdu)]
    assert found(whole[:3], whole[3:], whole) == [Asked(17, pdu)] * 2


@pytest.mark.parametrize("pdu", TOLD)
def test_a_request_tells_its_length(pdu: bytes) -> None:
    assert request_length(pdu + b"\1\2\3") == len(pdu)
    assert {request_length(pdu[:size]) for size in range(len(pdu))} <= {MORE, len(pdu)}


@pytest.mark.parametrize(
    "head", [b"\x41", b"\x00", b"\x83", b"\x2b\x0d\x00", b"\x08\0\0", b"\x10\0\0\0\2\3", b"\x0f\0\0\0\x09\1"]
)
def test_some_do_not_or_contradict_themselves(head: bytes) -> None:
    assert request_length(head) == UNKNOWN


@given(st.lists(st.tuples(CALM, KNOWN), max_size=5), st.lists(st.integers(0, 2000), max_size=6))
def test_requests_are_found_between_garbage_however_they_were_received(
    parts: list[tuple[bytes, Asked]], cuts: list[int]
) -> None:
    stream = b"".join(noise + frame(*asked) for noise, asked in parts)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})

    assert found(*(stream[a:b] for a, b in pairwise(edges))) == [asked for _, asked in parts]


@given(st.lists(st.binary(max_size=600), max_size=6))
def test_garbage_raises_nothing_and_does_not_pile_up_and_dropped_it_hides_no_request(
    pieces: list[bytes],
) -> None:
    requests = Requests()
    for piece in pieces:
        for _ in requests.feed(piece):
            pass
    requests.drop()

    assert not requests.unfinished
    assert [*requests.feed(frame(1, READ))] == [Asked(1, READ)]


@pytest.mark.parametrize("wrong", range(8))
def test_a_request_with_a_wrong_byte_is_none_and_the_next_one_is_found(wrong: int) -> None:
    spoiled = bytearray(frame(1, READ))
    spoiled[wrong] ^= 0x40
    requests = Requests()

    assert [*requests.feed(spoiled)] == []
    assert requests.unfinished
    requests.drop()
    assert [*requests.feed(frame(2, READ))] == [Asked(2, READ)]


def test_what_a_write_carries_is_data_even_if_it_looks_like_a_request() -> None:
    inner = frame(1, b"\x06\x00\x01\x00\x02")
    pdu = b"\x10\x00\x00\x00\x04\x08" + inner
    whole = frame(1, pdu)

    assert found(whole[:-1]) == []
    assert found(*one_by_one(whole)) == [Asked(1, pdu)]


def test_a_request_whose_length_nobody_knows_is_all_that_came() -> None:
    whole = frame(1, USER)

    assert found(*one_by_one(whole)) == [Asked(1, USER)]
    assert found(whole[:3]) == []


def test_a_request_that_contradicts_itself_is_found_if_its_crc_is_right() -> None:
    pdu = b"\x10\x00\x00\x00\x02\x03\x01\x02\x03"

    assert found(frame(1, pdu)) == [Asked(1, pdu)]


@pytest.mark.parametrize("ignore", [(b"PONG",), (b"PONG", b"PONG!!"), (b"\x01",), (b"\x01\x03",)], ids=str)
def test_what_is_ignored_leaves_nothing_unfinished(ignore: tuple[bytes, ...]) -> None:
    request, requests = frame(1, READ), Requests(ignore)
    asked = [*requests.feed(ignore[-1] * 2 + request + ignore[-1] + request)]

    assert asked == [Asked(1, READ)] * 2
    assert not requests.unfinished
