"""Values picked from frames of text: what is one, what is none, and what may not be asked for."""

from math import isfinite
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.picked import LONGEST, Pick, Picked, pattern, picked
from gateway.wire.points import Gives, Value

KG = r"([-+]? *[0-9.]+) kg"


def one(frame: bytes, regex: str = KG, **keys: object) -> Picked:
    return picked({"v": Pick(regex=pattern(regex), **keys)}, frame)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "keys", "value"),
    [
        (b"ST,GS,+0012.50 kg\r\n", {}, 12.5),
        (b"S S  -  12.50 kg\r\n", {}, -12.5),  # the sign stands apart on many scales
        (b".5 kg", {}, 0.5),
        (b"5. kg", {}, 5.0),
        (b"1 kg, 2 kg", {}, 1.0),  # the first one
        (b"1.5E-3", {"regex": "(.*)"}, 0.0015),
        (b"12.5 \xb5m", {"regex": "(.*) \xb5m"}, 12.5),  # Latin-1
        (b"2301 kg", {"scale": 0.1}, 230.1),
        (b"2301 kg", {"scale": 0.1, "offset": -0.1}, 230.0),
        (b"0.005 kg", {"scale": 1000, "decimals": 0}, 5),
        (b"1.2345 kg", {"decimals": 2}, 1.23),
        (b"N=00012345678901234567890;", {"regex": "N=([0-9]+)", "type": "int"}, 12345678901234567890),
        (b"N=-7;", {"regex": "N=([-0-9]+)", "type": "int", "scale": 2, "offset": 1}, -13),
        (b"N=7;", {"regex": "N=([-0-9]+)", "type": "int", "scale": 0.5}, 3.5),
        (b"ST , 12.5\r\n", {"regex": "^(.*),", "type": "text"}, "ST"),
        (b"\xb0C", {"regex": "(.*)", "type": "text"}, "\xb0C"),
        (b"A;B;7.5;D", {"regex": "^(?:[^;]*;){2}([^;]*)"}, 7.5),  # the third column
    ],
    ids=str,
)
def test_what_the_group_fits_is_the_value(frame: bytes, keys: dict[str, object], value: Value) -> None:
    found = one(frame, **keys)  # type: ignore[arg-type]
    assert found == ({"v": value}, {})
    assert type(found.values["v"]) is type(value)


@pytest.mark.parametrize(
    ("frame", "keys", "why"),
    [
        (b"--.-- kg", {"regex": "(.*) kg"}, "no number: '--.--'"),
        (b" kg", {"regex": "(.*) kg"}, "no number: ''"),
        (b"1.2.3 kg", {}, "no number: '1.2.3'"),
        (b"nan", {"regex": "(.*)"}, "no number: 'nan'"),
        (b"inf", {"regex": "(.*)"}, "no number: 'inf'"),
        (b"1_000", {"regex": "(.*)"}, "no number: '1_000'"),
        (b"\xb2", {"regex": "(.)"}, "no number: '\xb2'"),
        (b"12.5", {"regex": "(.*)", "type": "int"}, "no number: '12.5'"),
        (b"1e999", {"regex": "(.*)"}, "1e999 is too large"),
        (b"1e300", {"regex": "(.*)", "scale": 1e300}, "1e300 is too large"),
        (b"9" * 33, {"regex": "(.*)"}, f"no number: '{'9' * 33}'"),
    ],
    ids=str,
)
def test_what_stands_there_and_is_no_number_is_told(frame: bytes, keys: dict[str, object], why: str) -> None:
    assert one(frame, **keys) == ({}, {"v": why})  # type: ignore[arg-type]


@pytest.mark.parametrize("frame", [b"OK,T\r\n", b"", b"12.5 g\r\n"])
def test_a_frame_without_the_value_says_nothing_of_it(frame: bytes) -> None:
    assert one(frame) == ({}, {})


def test_a_group_that_took_no_part_is_no_value() -> None:
    assert one(b"kg", r"(?:(\d+) )?kg") == ({}, {})


def test_several_values_stand_in_one_frame_and_a_bad_one_leaves_the_others() -> None:
    picks = {
        "gross": Pick(regex=pattern("G *([0-9.]+)")),
        "tare": Pick(regex=pattern("T *([0-9.-]+)")),
        "state": Pick(regex=pattern("^(ST|US)"), type="text"),
        "absent": Pick(regex=pattern("X(.)")),
    }
    assert picked(picks, b"ST G 12.5 T -- kg") == (
        {"gross": 12.5, "state": "ST"},
        {"tare": "no number: '--'"},
    )


def test_a_frame_that_is_too_long_is_not_searched() -> None:
    """Not its beginning either: a number could end where that does."""
    assert one(b"1".rjust(LONGEST), r"(\d)") == ({"v": 1.0}, {})
    assert one(b"1" + b" " * LONGEST, r"(\d)") == ({}, {})


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        ("([0-9]+", "no regular expression: missing \\)"),
        ("kg", "one group, .*; here are 0"),
        ("(a)(b)", "one group, .*; here are 2"),
        ("(a+)+", "search for ever"),
        ("(?:a|b)*(c)", "search for ever"),
        ("(?:a|b)*?(c)", "search for ever"),
        ("(a){2,}", "search for ever"),
        ("(a){,}", "search for ever"),
        (r"[\]](a)+", "search for ever"),
        ("(a){99999999999}", "no regular expression"),
    ],
)
def test_a_regular_expression_that_cannot_be_used_is_told_so(regex: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pattern(regex)


@pytest.mark.parametrize("regex", [r"([)]+)", r"\(([0-9]+)\)*", "(?:a,){1,8}(b)", "(a)?", r"[^])+]*(a)"])
def test_a_bracket_that_is_no_group_may_repeat(regex: str) -> None:
    assert pattern(regex).pattern == regex


def test_a_number_is_a_number_and_a_text_is_a_text() -> None:
    given_by = {name: Pick(regex=pattern("(.)"), type=name).gives for name in ("float", "int", "text")}
    assert given_by == {"float": Gives.NUMBER, "int": Gives.NUMBER, "text": Gives.TEXT}


def test_searching_the_longest_frame_for_what_is_not_there_ends() -> None:
    began = perf_counter()
    assert one(b"1" * LONGEST) == ({}, {})
    assert one(b" " * LONGEST) == ({}, {})
    assert perf_counter() - began < 10


@given(
    st.binary(min_size=1, max_size=200),
    st.sampled_from(["float", "int", "text"]),
    st.floats(allow_nan=False, width=32),
)
def test_no_frame_raises_anything_and_no_value_is_no_number(frame: bytes, kind: str, offset: float) -> None:
    if not isfinite(offset):
        offset = 0.0
    values, errors = one(frame, "(?s)(.*)", type=kind, scale=3, offset=offset)
    assert len(values) + len(errors) == 1
    for value in values.values():
        assert isinstance(value, str) if kind == "text" else isfinite(value)  # type: ignore[arg-type]


@given(st.decimals(-(10**9), 10**9, places=3))
def test_a_printed_number_comes_back_as_it_was_printed(number: object) -> None:
    assert one(f"{number:+.3f} kg".encode()).values == {"v": float(f"{number:.3f}")}
