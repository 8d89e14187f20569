"""The one request that a datagram is, if it is one."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import PAIRS

from gateway.wire import mbap, rtu_requests
from gateway.wire.mbap import Adu
from gateway.wire.rtu import frame
from gateway.wire.rtu_requests import Asked

REQUESTS = [request for request, _ in PAIRS.values()]
READ = bytes.fromhex("03 006b 0002")
USER = b"\x41\x01\x02\x03"


@pytest.mark.parametrize("pdu", REQUESTS, ids=bytes.hex)
def test_every_request_comes_out_as_it_went_in(pdu: bytes) -> None:
    assert mbap.whole(mbap.encode(0x1234, 255, pdu)) == Adu(0x1234, 255, pdu)
    assert rtu_requests.whole(frame(17, pdu)) == Asked(17, pdu)


@pytest.mark.parametrize("size", [1, 2, 252, 253])
def test_a_pdu_has_1_to_253_bytes(size: int) -> None:
    assert mbap.whole(mbap.encode(1, 1, bytes(size))) == Adu(1, 1, bytes(size))
    assert rtu_requests.whole(frame(1, b"\x41" * size)) == Asked(1, b"\x41" * size)


@pytest.mark.parametrize("size", [0, 254])
def test_nothing_else_is_a_pdu(size: int) -> None:
    assert mbap.whole(mbap.encode(1, 1, bytes(size))) is None
    assert rtu_requests.whole(frame(1, b"\x41" * size)) is None


@pytest.mark.parametrize("pdu", REQUESTS, ids=bytes.hex)
@pytest.mark.parametrize(
    "spoiled",
    [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data + data, lambda data: b"\1" + data],
    ids=["cut", "longer", "two", "something in front"],
)
def test_a_datagram_that_is_not_just_that_is_none(pdu: bytes, spoiled: Callable[[bytes], bytes]) -> None:
    assert mbap.whole(spoiled(mbap.encode(1, 1, pdu))) is None
    data = frame(1, pdu)
    if spoiled(data)[:-1] != data or pdu[0] != 8:  # zeros leave a CRC right, and diagnostics may carry any
        assert rtu_requests.whole(spoiled(data)) is None


def test_an_rtu_request_whose_length_nobody_knows_needs_a_right_crc() -> None:
    data = frame(1, USER)
    assert rtu_requests.whole(data) == Asked(1, USER)
    for place in range(len(data)):
        for bit in range(8):
            wrong = bytearray(data)
            wrong[place] ^= 1 << bit
            assert rtu_requests.whole(bytes(wrong)) is None


@pytest.mark.parametrize("protocol", [b"\0\1", b"\1\0", b"\xff\xff"])
def test_another_protocol_is_none(protocol: bytes) -> None:
    data = mbap.encode(1, 1, READ)
    assert mbap.whole(data[:2] + protocol + data[4:]) is None


@given(st.binary(max_size=300) | st.builds(bytes.__add__, st.just(b"\0\1\0\0"), st.binary(max_size=300)))
def test_garbage_raises_nothing_and_what_is_found_in_it_is_all_of_it(data: bytes) -> None:
    adu = mbap.whole(data)
    assert adu is None or mbap.encode(*adu) == data
    asked = rtu_requests.whole(data)
    assert asked is None or frame(*asked) == data
