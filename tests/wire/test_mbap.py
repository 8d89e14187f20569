"""ADUs by the length in their header, however the bytes came in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import PAIRS

from gateway.errors import PeerError
from gateway.wire.mbap import Adu, Decoder, encode

READ = bytes.fromhex("03 006b 0002")
ADUS = st.builds(Adu, st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=253))


def decoded(*pieces: bytes) -> list[Adu]:
    decoder = Decoder()
    return [adu for piece in pieces for adu in decoder.feed(piece)]


def one_by_one(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


def test_an_adu_is_tid_protocol_0_length_unit_and_pdu() -> None:
    assert encode(0x1234, 0x11, READ) == bytes.fromhex("1234 0000 0006 11 03 006b 0002")


@pytest.mark.parametrize("pdu", [pdu for pair in PAIRS.values() for pdu in pair])
def test_every_pdu_comes_out_as_it_went_in(pdu: bytes) -> None:
    whole = encode(7, 255, pdu)

    assert decoded(whole) == [Adu(7, 255, pdu)]
    assert decoded(*one_by_one(whole)) == [Adu(7, 255, pdu)]
    assert decoded(whole + whole[:-1]) == [Adu(7, 255, pdu)]


@pytest.mark.parametrize("size", [1, 2, 252, 253])
def test_a_pdu_has_1_to_253_bytes(size: int) -> None:
    assert decoded(encode(0, 1, bytes(size))) == [Adu(0, 1, bytes(size))]


@given(st.lists(ADUS, max_size=6), st.lists(st.integers(0, 2000), max_size=6))
def test_adus_do_not_depend_on_how_they_were_received(adus: list[Adu], cuts: list[int]) -> None:
    stream = b"".join(encode(*adu) for adu in adus)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})

    assert decoded(*(stream[a:b] for a, b in pairwise(edges))) == adus


def test_the_same_transaction_id_twice_is_no_fault() -> None:
    assert decoded(encode(1, 1, READ) * 2) == [Adu(1, 1, READ)] * 2


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("0001 0001 0006", "protocol id"),
        ("0001 ff00 0006", "protocol id"),
        ("0001 0000 0000", "a length of 0"),
        ("0001 0000 0001", "a length of 1"),
        ("0001 0000 00ff", "a length of 255"),
        ("0001 0000 ffff", "a length of 65535"),
        ("4745 5420 2f20", "protocol id"),  # "GET / "
        ("1603 0101 00fa", "protocol id"),  # a TLS greeting
    ],
)
@pytest.mark.parametrize("before", [b"", encode(1, 1, READ)])
def test_a_header_that_cannot_be_trusted_ends_the_stream_for_good(
    header: str, words: str, before: bytes
) -> None:
    wrong, decoder = bytes.fromhex(header), Decoder()
    good: list[Adu] = []
    with pytest.raises(PeerError, match=words):
        good.extend(decoder.feed(before + wrong))
    with pytest.raises(PeerError, match=words):
        good.extend(decoder.feed(encode(3, 1, READ)))

    assert all(adu.tid == 1 for adu in good)


@pytest.mark.parametrize("header", ["0001 0000 0001", "0001 0001 0006"])
def test_what_came_whole_before_it_still_counts(header: str) -> None:
    decoder = Decoder()
    adus = decoder.feed(encode(1, 1, READ) + bytes.fromhex(header))

    assert next(adus) == Adu(1, 1, READ)
    with pytest.raises(PeerError):
        next(adus)


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_garbage_raises_nothing_but_a_peer_error(pieces: list[bytes]) -> None:
    try:
        adus = decoded(*pieces)
    except PeerError:
        return
    assert b"".join(pieces).startswith(b"".join(encode(*adu) for adu in adus))


# What is to be ignored

WORDS = (b"PONG", b"PONG, are you there?", b"\x00", b"\x01\x02\x03", b"\0\1\0\0\0\2\1\7")


@given(st.lists(st.sampled_from(WORDS) | ADUS, max_size=8), st.lists(st.integers(0, 2000), max_size=6))
def test_words_between_adus_are_taken_out_however_they_were_received(
    parts: list[bytes | Adu], cuts: list[int]
) -> None:
    decoder = Decoder(WORDS)
    stream = b"".join(encode(*part) if isinstance(part, Adu) else part for part in parts)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    got = [adu for a, b in pairwise(edges) for adu in decoder.feed(stream[a:b])]

    adus = [part for part in parts if isinstance(part, Adu)]
    assert got == [adu for adu in adus if encode(*adu) != WORDS[-1]]


def test_a_short_word_is_none_where_a_header_begins_with_it() -> None:
    decoder = Decoder([b"\x12"])

    assert [*decoder.feed(b"\x12\x12" + encode(0x1234, 1, READ))] == [Adu(0x1234, 1, READ)]


def test_what_is_no_word_ends_the_stream() -> None:
    with pytest.raises(PeerError):
        [*Decoder([b"PONG"]).feed(b"PING!!")]
    with pytest.raises(PeerError):
        [*Decoder([b"PONG and more"]).feed(b"PONG, no more")]
