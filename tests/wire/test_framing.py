"""Frames out of raw bytes: no byte is lost that is not outside of them, and none is held longer than said."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.framing import ByDelimiter, ByLength, Piece, Splitter, by_silence

LONGEST = 16
CUTS = st.lists(st.integers(0, 300), max_size=8)


def delimited(
    delimiter: bytes = b"\r\n",
    start: bytes = b"",
    trailing: int = 0,
    strip: bool = False,
    longest: int = LONGEST,
) -> ByDelimiter:
    return ByDelimiter(delimiter, start, trailing, strip, longest)


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


def frames(splitter: Splitter, *chunks: bytes) -> list[bytes]:
    return [piece.data for chunk in chunks for piece in splitter.feed(chunk, 0.0)]


def one_by_one(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


RULES = {  # rule, what comes, the frames, what comes behind them and is none yet
    "lines": (delimited, b"a\r\nbc\r\n", [b"a\r\n", b"bc\r\n"], b"d\r"),
    "empty lines": (delimited, b"\r\n\r\n", [b"\r\n", b"\r\n"], b""),
    "a lone CR": (delimited, b"a\rb\nc\r\r\n", [b"a\rb\nc\r\r\n"], b""),
    "stripped": (lambda: delimited(strip=True), b"a\r\n\r\nbc\r\n", [b"a", b"", b"bc"], b"d"),
    "one byte": (lambda: delimited(b"\x03"), b"\x02a\x03\x02b\x03", [b"\x02a\x03", b"\x02b\x03"], b"\x02"),
    "trailing": (
        lambda: delimited(b"\x03", trailing=2),
        b"a\x03xyb\x03\x03\x03",
        [b"a\x03xy", b"b\x03\x03\x03"],
        b"c\x03x",
    ),
    "start": (
        lambda: delimited(b"\x03", b"\x02"),
        b"??\x02a\x03!\x02b\x03",
        [b"\x02a\x03", b"\x02b\x03"],
        b"\x02c",
    ),
    "a start in the middle": (
        lambda: delimited(b"\x03", b"\x02"),
        b"\x02a\x02b\x03",
        [b"\x02a\x02b\x03"],
        b"??",
    ),
    "a long start": (lambda: delimited(b">", b"<<"), b"<a><<b><c><<d>", [b"<<b>", b"<<d>"], b"<"),
    "start is the delimiter": (lambda: delimited(b"~", b"~"), b"x~a~~b~", [b"~a~", b"~b~"], b"~c"),
    "all of it": (
        lambda: delimited(b"\x03", b"\x02", trailing=1, strip=True),
        b"?\x02ab\x03c\x02\x03x?",
        [b"ab", b""],
        b"\x02a\x03",
    ),
    "too long": (delimited, b"x" * LONGEST + b"y\r\n", [b"x" * LONGEST, b"y\r\n"], b"z" * (LONGEST - 1)),
    "too long and stripped": (
        lambda: delimited(strip=True),
        b"x" * LONGEST + b"y\r\n",
        [b"x" * LONGEST, b"y"],
        b"",
    ),
    "as long as it may be": (delimited, b"x" * LONGEST, [b"x" * LONGEST], b""),
    "a longer start": (lambda: delimited(b">", b"<<!"), b"x<<<!a>x<!<<!b>", [b"<<!a>", b"<<!b>"], b"<<"),
    "just not too long": (
        delimited,
        b"x" * (LONGEST - 2) + b"\r\ny\r\n",
        [b"x" * (LONGEST - 2) + b"\r\n", b"y\r\n"],
        b"",
    ),
    "too long with its end": (
        delimited,
        b"x" * (LONGEST - 1) + b"\r\n",
        [b"x" * (LONGEST - 1) + b"\r"],
        b"\n",
    ),
    "by length": (lambda: ByLength(3), b"abcdef", [b"abc", b"def"], b"gh"),
    "single bytes": (lambda: ByLength(1), b"abc", [b"a", b"b", b"c"], b""),
    "too long for silence": (lambda: by_silence(0.02, 4), b"abcdefgh", [b"abcd", b"efgh"], b"ij"),
}


@pytest.mark.parametrize(("make", "data", "expected", "behind"), RULES.values(), ids=RULES)
def test_frames_are_the_same_whole_byte_by_byte_and_with_bytes_behind_them(
    make: Callable[[], Splitter], data: bytes, expected: list[bytes], behind: bytes
) -> None:
    assert frames(make(), data) == expected
    assert frames(make(), *one_by_one(data)) == expected
    assert frames(make(), data + behind) == expected
    assert frames(make(), *one_by_one(data + behind)) == expected


@pytest.mark.parametrize("make", [rule[0] for rule in RULES.values()], ids=RULES)
@given(data=st.lists(st.sampled_from([b"\r", b"\n", b"\x02", b"\x03", b"<", b">", b"~", b"ab"])), cuts=CUTS)
def test_frames_do_not_depend_on_how_the_bytes_were_read(
    make: Callable[[], Splitter], data: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(data)

    assert frames(make(), *cut(stream, cuts)) == frames(make(), stream)


@given(data=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"ab"])), cuts=CUTS, trailing=st.integers(0, 3))
def test_a_delimiter_without_start_loses_no_byte_and_keeps_no_whole_frame(
    data: list[bytes], cuts: list[int], trailing: int
) -> None:
    stream, splitter = b"".join(data), delimited(trailing=trailing)
    got = b"".join(frames(splitter, *cut(stream, cuts)))
    rest = stream[len(got) :]

    assert got + rest == stream
    assert len(rest) < LONGEST + trailing
    assert rest.find(b"\r\n") in (-1, *range(max(0, len(rest) - 1 - trailing), len(rest)))


@given(data=st.binary(max_size=300), cuts=CUTS, length=st.integers(1, 20))
def test_a_length_loses_no_byte_at_all(data: bytes, cuts: list[int], length: int) -> None:
    splitter = ByLength(length, idle=1.0)
    got = frames(splitter, *cut(data, cuts))
    rest = splitter.flush()

    assert {len(frame) for frame in got} <= {length}
    assert b"".join(got) + (rest.data if rest else b"") == data
    assert splitter.flush() is None


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_after_any_garbage_a_good_frame_is_found(garbage: list[bytes]) -> None:
    """Behind a start that came by accident the first frame may be lost in it, the second never."""
    splitter = delimited(b"\x03", b"\x02", trailing=1, strip=True)
    before = b"".join(garbage)
    got = frames(splitter, before, b"\x03" * 2 * LONGEST, b"\x02good\x03c")

    assert got[-1] == b"good"


def test_a_frame_is_dated_by_its_first_byte() -> None:
    splitter = delimited()

    assert list(splitter.feed(b"a", 1.0)) == []
    assert list(splitter.feed(b"b\r\nc", 2.0)) == [Piece(1.0, b"ab\r\n")]
    assert list(splitter.feed(b"\r\n", 3.0)) == [Piece(2.0, b"c\r\n")]
    assert list(splitter.feed(b"d\r\ne\r\n", 4.0)) == [Piece(4.0, b"d\r\n"), Piece(4.0, b"e\r\n")]


def test_a_frame_behind_noise_is_dated_by_its_start() -> None:
    splitter = delimited(b"\x03", b"\x02\x02")

    assert list(splitter.feed(b"noise\x02", 1.0)) == []
    assert list(splitter.feed(b"more noise\x02\x02a\x03", 9.0)) == [Piece(9.0, b"\x02\x02a\x03")]


def test_a_frame_that_comes_in_parts_is_dated_by_its_start() -> None:
    splitter = delimited(b"\x03", b"\x02")

    assert list(splitter.feed(b"noise\x02a", 1.0)) == []
    assert list(splitter.feed(b"b\x03", 9.0)) == [Piece(1.0, b"\x02ab\x03")]


def test_a_frame_that_silence_ends_is_dated_by_its_first_byte() -> None:
    splitter = by_silence(0.02, 100)

    assert splitter.idle == 0.02
    assert splitter.flush() is None
    assert list(splitter.feed(b"a", 1.0)) == []
    assert list(splitter.feed(b"b", 1.01)) == []
    assert splitter.flush() == Piece(1.0, b"ab")
    assert list(splitter.feed(b"c", 5.0)) == []
    assert splitter.flush() == Piece(5.0, b"c")


def test_silence_does_not_end_a_frame_that_waits_for_its_delimiter() -> None:
    splitter = delimited()

    assert splitter.idle is None
    assert frames(splitter, b"a") == []
    assert splitter.flush() is None
    assert frames(splitter, b"\r\n") == [b"a\r\n"]


def test_what_silence_leaves_of_a_length_waits_for_its_rest() -> None:
    splitter = ByLength(3)

    assert splitter.idle is None
    assert frames(splitter, b"ab") == []
    assert frames(splitter, b"c") == [b"abc"]


# Between two frames, or inside of one


INSIDE = {  # rule, what comes, how much of it is a frame that has not ended
    "nothing": (delimited, b"", 0),
    "a whole line": (delimited, b"a\r\n", 0),
    "a line and a half": (delimited, b"a\r\nbc\r", 3),
    "no checksum yet": (lambda: delimited(trailing=2), b"a\r\nx", 4),
    "noise in front": (lambda: delimited(b"\x03", b"\x02"), b"\x02a\x03??", 0),
    "a start": (lambda: delimited(b"\x03", b"\x02"), b"\x02a\x03?\x02b", 2),
    "half a start": (lambda: delimited(b">", b"<<"), b"<<a>?<", 1),
    "stripped": (lambda: delimited(b"\x03", b"\x02", strip=True), b"\x02a\x03\x02bc", 3),
    "too long": (delimited, b"x" * LONGEST + b"y", 1),
    "by length": (lambda: ByLength(3), b"abcd", 1),
    "by silence": (lambda: by_silence(0.02, 4), b"abcdef", 2),
}


@pytest.mark.parametrize(("make", "data", "inside"), INSIDE.values(), ids=INSIDE)
def test_what_has_come_of_a_frame_that_has_not_ended_is_counted(
    make: Callable[[], Splitter], data: bytes, inside: int
) -> None:
    for chunks in ([data], one_by_one(data)):
        splitter = make()
        frames(splitter, *chunks)
        assert splitter.unfinished == inside


@pytest.mark.parametrize("make", [rule[0] for rule in RULES.values()], ids=RULES)
@given(data=st.lists(st.sampled_from([b"\r", b"\n", b"\x02", b"\x03", b"<", b">", b"~", b"ab"])), cuts=CUTS)
def test_where_nothing_is_unfinished_a_frame_may_begin_anew(
    make: Callable[[], Splitter], data: list[bytes], cuts: list[int]
) -> None:
    stream, splitter = b"".join(data), make()
    before: list[bytes] = []
    passed = 0
    for chunk in cut(stream, cuts):
        before += frames(splitter, chunk)
        passed += len(chunk)
        edge = max(0, passed - splitter.unfinished)
        assert before + frames(make(), stream[edge:]) == frames(make(), stream)


def joined(rule: str, passed: int) -> Splitter:
    """Of a line on which so many bytes have gone by."""
    match rule:
        case "length":
            return ByLength(5, passed=passed)
        case "silence":
            return by_silence(0.02, 1000, passed)  # where it is cut for its length is nobody's frame
        case "delimiter":
            return ByDelimiter(b"\r\n", b"", 1, False, LONGEST, passed)
    return ByDelimiter(b"\x03", b"\x02", 0, False, LONGEST, passed)


@pytest.mark.parametrize("rule", ["length", "silence", "delimiter", "start"])
@given(
    texts=st.lists(st.text("ab\x02\r", max_size=4), min_size=1, max_size=6),
    at=st.integers(0, 60),
    more=st.integers(1, 60),
)
def test_whoever_comes_in_the_middle_of_a_frame_does_not_take_it_for_its_beginning(
    rule: str, texts: list[str], at: int, more: int
) -> None:
    shape = {"delimiter": "{}\r\nc", "start": "\x02{}\x03"}.get(rule, "{}")
    stream = "".join(shape.format(text) for text in texts).encode()
    before, after = stream[:at], stream[at : at + more]
    since_ever, latecomer = joined(rule, 0), joined(rule, len(before))
    frames(since_ever, before, after)
    if after:
        frames(latecomer, after)
        assert latecomer.unfinished >= since_ever.unfinished
    rest = stream[at + more :]
    theirs, ours = frames(since_ever, rest), frames(latecomer, rest)
    if ours:  # now it knows
        assert ours[1:] == theirs[len(theirs) - len(ours) + 1 :]
        assert latecomer.unfinished == since_ever.unfinished


def test_a_latecomer_begins_with_the_next_frame_of_its_length() -> None:
    splitter = ByLength(4, passed=9)

    assert frames(splitter, b"b", b"c") == []
    assert splitter.unfinished == 3
    assert frames(splitter, b"d1234", b"5678") == [b"1234", b"5678"]
    assert splitter.unfinished == 0


def test_noise_is_not_taken_for_the_rest_of_a_frame_for_longer_than_a_frame_can_be() -> None:
    splitter = ByDelimiter(b"\x03", b"\x02", 0, False, LONGEST, passed=100)
    frames(splitter, b"?" * (LONGEST - 1))
    assert splitter.unfinished == 100 + LONGEST - 1
    frames(splitter, b"?")
    assert splitter.unfinished == 0


def test_a_frame_that_is_too_long_for_silence_ends_what_nobody_saw_begin() -> None:
    splitter = by_silence(0.02, 4, passed=100)
    assert frames(splitter, b"abcdef") == [b"abcd"]
    assert splitter.unfinished == 2


def test_a_silence_ends_what_nobody_saw_begin() -> None:
    splitter = by_silence(0.02, LONGEST, passed=100)
    frames(splitter, b"ab")
    assert splitter.unfinished == 102
    splitter.flush()
    assert splitter.unfinished == 0
