"""Whatever raw lines and devices send: frames are cut out of it without loss, disorder or endless room, and
words and values are made of it, or a plain reason why not.
"""

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs_kit import PAIRS
from streams_kit import CUTS, EVERYWHERE, NOISE, damaged, in_any_order, pieces, truncated

from gateway.wire.framing import ByDelimiter, ByLength, Splitter, by_silence
from gateway.wire.pdus import describe
from gateway.wire.points import BYTE_ORDERS, LONGEST_STRING, TYPES, Codec, Gives, NoReading, Value

# Frames


LONGEST, TAIL = 16, 4  # bytes of a frame; of a delimiter and a checksum behind it
STX, ETX, CRLF = b"\x02", b"\x03", b"\r\n"
SPLITTERS: dict[str, Callable[[], Splitter]] = {
    "lines": lambda: ByDelimiter(CRLF, b"", 0, False, LONGEST),
    "lines, stripped": lambda: ByDelimiter(CRLF, b"", 0, True, LONGEST),
    "start to end": lambda: ByDelimiter(ETX, STX, 0, False, LONGEST),
    "start to checksum": lambda: ByDelimiter(ETX, STX, 2, False, LONGEST),
    "a long start": lambda: ByDelimiter(CRLF, b"<<!", 1, True, LONGEST),
    "a length": lambda: ByLength(5),
    "a length, or silence": lambda: ByLength(5, idle=0.02),
    "silence": lambda: by_silence(0.02, LONGEST),
}
MARKS = st.sampled_from([STX, ETX, CRLF, b"\r", b"\n", b"<<!", b"<", b"0"])
STREAMS = in_any_order(NOISE, MARKS, st.just(b"<<!good\r\n!"), st.just(STX + b"good" + ETX), most=20)
every_rule = pytest.mark.parametrize("make", SPLITTERS.values(), ids=SPLITTERS)


def cut_out(splitter: Splitter, stream: bytes, cuts: Sequence[int] | None) -> list[bytes]:
    return [
        each.data for at, part in enumerate(pieces(stream, cuts)) for each in splitter.feed(part, float(at))
    ]


@every_rule
@given(stream=STREAMS, cuts=CUTS | st.just(EVERYWHERE))
def test_frames_stand_in_the_stream_in_their_order_and_none_overlaps_another(
    make: Callable[[], Splitter], stream: bytes, cuts: list[int] | None
) -> None:
    splitter = make()
    frames = cut_out(splitter, stream, cuts)
    rest = splitter.flush()
    at = 0
    for frame in [*frames, *([rest.data] if rest else [])]:
        at = stream.index(frame, at) + len(frame)


@every_rule
@given(stream=STREAMS, cuts=CUTS | st.just(EVERYWHERE))
def test_what_is_kept_is_never_more_than_one_frame_and_is_said(
    make: Callable[[], Splitter], stream: bytes, cuts: list[int] | None
) -> None:
    splitter = make()
    for part in pieces(stream, cuts):
        frames = [each.data for each in splitter.feed(part, 0.0)]
        assert all(len(frame) <= LONGEST + TAIL for frame in frames)
        assert splitter.unfinished <= 2 * LONGEST + TAIL  # before the first start all may be a frame's end


@every_rule
@given(stream=STREAMS, cuts=CUTS)
def test_behind_anything_and_what_ends_a_frame_the_next_ones_are_found(
    make: Callable[[], Splitter], stream: bytes, cuts: list[int]
) -> None:
    """The longest frame's worth of ends; then silence, for those that silence ends."""
    splitter = make()
    cut_out(splitter, stream + CRLF * LONGEST + ETX * LONGEST, cuts)
    splitter.flush()
    again = b"<<!" + STX + b"\xfe" + ETX + CRLF + b"1"
    frames = cut_out(splitter, again * 5, [])
    rest = splitter.flush()
    assert any(b"\xfe" in frame for frame in [*frames, *([rest.data] if rest else [])])


# Words


KNOWN = [pdu for pair in PAIRS.values() for pdu in pair]


@given(
    st.sampled_from(KNOWN).flatmap(lambda pdu: damaged(pdu) | (truncated(pdu) if pdu[1:] else NOISE)),
    st.booleans(),
)
def test_a_pdu_that_is_damaged_or_cut_off_is_described_in_one_short_line(pdu: bytes, answer: bool) -> None:
    words = describe(pdu, answer)
    assert 0 < len(words) < 150
    assert words.isprintable()


@given(st.sampled_from(KNOWN), NOISE, st.booleans())
def test_a_pdu_with_bytes_behind_it_is_described_too(pdu: bytes, behind: bytes, answer: bool) -> None:
    assert 0 < len(describe(pdu + behind, answer)) < 150


# Values


NAMES = [name for name in TYPES if name != "string(N)"]
STRINGS = st.integers(1, LONGEST_STRING).map(lambda length: f"string({length})")
SCALES = st.sampled_from([1, -1, 10, 0.1, 0.001, 3, 1e-9, 1e300])
CODECS = st.builds(
    Codec,
    type=st.sampled_from(NAMES) | STRINGS,
    byte_order=st.sampled_from(BYTE_ORDERS),
    scale=SCALES,
    offset=SCALES | st.just(0),
    decimals=st.none() | st.integers(0, 12),
    invalid=st.lists(st.integers(-0x8000, 0xFFFF), max_size=2),
)
TEXTS = st.builds(
    Codec,
    type=st.sampled_from(["uint16", "int16", "uint32", "uint64"]),
    map=st.dictionaries(st.integers(0, 3), st.text(max_size=5), max_size=3),
)
BITS = st.builds(Codec, type=st.sampled_from(["uint16", "int16", "int32"]), bit=st.integers(0, 15))
KINDS: dict[Gives, tuple[type, ...]] = {Gives.BOOL: (bool,), Gives.NUMBER: (int, float), Gives.TEXT: (str,)}


def read(codec: Codec, held: Sequence[int]) -> Value | None:
    """None when it is no reading."""
    try:
        return codec.value(held)
    except NoReading:
        return None


@given(CODECS | TEXTS | BITS, st.data())
def test_any_registers_are_a_value_of_its_kind_or_no_reading(codec: Codec, data: st.DataObject) -> None:
    size = codec.registers
    held = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=size, max_size=size))
    value = read(codec, held)
    if value is None:
        return
    assert type(value) in KINDS[codec.gives]
    assert not isinstance(value, float) or math.isfinite(value)
    assert read(codec, held) == value


@given(st.sampled_from(BYTE_ORDERS), st.integers(1, LONGEST_STRING), st.data())
def test_any_registers_are_a_text_that_is_no_longer_than_they_are(
    order: str, length: int, data: st.DataObject
) -> None:
    codec = Codec(type=f"string({length})", byte_order=order)
    size = codec.registers
    text = read(codec, data.draw(st.lists(st.integers(0, 0xFFFF), min_size=size, max_size=size)))
    assert isinstance(text, str)
    assert len(text) <= length
    assert not text.endswith(("\0", " "))
