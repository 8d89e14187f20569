"""Units and columns as people read them."""

import pytest

from gateway.show.columns import Cell, about, columns, count, cut, milliseconds, printable, size, span, value


@pytest.mark.parametrize(
    ("seconds", "text", "coarse"),
    [
        (0.0, "0.0 s", "0.0 s"),
        (0.04, "0.0 s", "0.0 s"),
        (0.84, "0.8 s", "0.8 s"),
        (9.94, "9.9 s", "9.9 s"),
        (9.96, "10 s", "10 s"),
        (59.4, "59 s", "59 s"),
        (59.6, "1 min", "1 min"),
        (60, "1 min", "1 min"),
        (3599.9, "59 min", "59 min"),
        (3600, "1 h", "1 h"),
        (3 * 3600 + 12 * 60 + 59, "3 h 12 min", "3 h"),
        (86399, "23 h 59 min", "23 h"),
        (86400, "1 d", "1 d"),
        (3 * 86400 + 4 * 3600, "3 d 4 h", "3 d"),
        (400 * 86400 + 10 * 3600, "400 d 10 h", "400 d"),
    ],
)
def test_spans_of_time(seconds: float, text: str, coarse: str) -> None:
    assert span(seconds) == text
    assert span(seconds, coarse=True) == coarse


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (21900, "6 h"),
        (172799, "48 h"),
        (6.6 * 86400, "7 d"),
        (4e8, "4,630 d"),
    ],
)
def test_rough_spans_of_time(seconds: float, text: str) -> None:
    assert about(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1024, "1 KB"),
        (1259110, "1.2 MB"),
        (8 * 1024**2, "8 MB"),
        (10 * 1024**2 - 1, "10 MB"),
        (1023 * 1024, "1 MB"),
        (999 * 1024**2, "999 MB"),
        (5000 * 1024**3, "5000 GB"),
    ],
)
def test_sizes(octets: int, text: str) -> None:
    assert size(octets) == text


@pytest.mark.parametrize(
    ("took", "text"),
    [(None, ""), (0.04, "0.0 ms"), (0.44, "0.4 ms"), (9.96, "10 ms"), (24.1, "24 ms"), (1400, "1.4 s")],
)
def test_milliseconds(took: float | None, text: str) -> None:
    assert milliseconds(took) == text


def test_counts_have_a_plural() -> None:
    counts = [count(1234), count(0, "client"), count(1, "client"), count(2, "client"), count(1000, "unit")]
    assert counts == ["1,234", "0 clients", "1 client", "2 clients", "1,000 units"]


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (True, "true"),
        (230.10000000000002, "230.1"),
        (1234567.8, "1234567.8"),
        (1e300, "1e+300"),
        (7, "7"),
        ("closed", "closed"),
        (None, "-"),
    ],
)
def test_values_are_written_without_noise(of: object, text: str) -> None:
    assert value(of) == text


@pytest.mark.parametrize(
    ("width", "text"),
    [(None, "no such device"), (14, "no such device"), (13, "no such de..."), (3, "...")],
)
def test_a_cut_text_says_so(width: int | None, text: str) -> None:
    assert cut("no such device", width) == text


def test_no_text_from_outside_can_move_the_cursor() -> None:
    dirty = {"\x1b[2J": ["a\nb", {"c": "\x9b31m", "n": 5, "none": None, "true": True}]}
    assert printable(dirty) == {"?[2J": ["a?b", {"c": "?31m", "n": 5, "none": None, "true": True}]}
    assert printable("23 °C, Zähler") == "23 °C, Zähler"


ROWS: list[tuple[Cell, ...]] = [
    ("NAME", "EMPTY", "COUNT", "WHERE", "WHAT"),
    ("a", "", 7, "/dev/somewhere/else", "it is fine"),
    ("long", None, 12345, "here", ""),
]


def test_columns_stand_below_their_heads_and_empty_ones_are_left_out() -> None:
    assert columns(ROWS) == [
        "NAME   COUNT  WHERE                WHAT",
        "a          7  /dev/somewhere/else  it is fine",
        "long  12,345  here",
    ]


def test_a_narrow_table_first_loses_the_end_of_its_last_column() -> None:
    assert columns(ROWS, 42, elastic=3)[1] == "a          7  /dev/somewhere/else  it i..."


def test_then_the_elastic_column_loses_its_beginning() -> None:
    assert columns(ROWS, 40, elastic=3, keep=10) == [
        "NAME   COUNT  WHERE           WHAT",
        "a          7  ...ewhere/else  it is fine",
        "long  12,345  here",
    ]


def test_no_line_is_wider_than_the_terminal() -> None:
    for width in range(3, 60):
        assert max(map(len, columns(ROWS, width, elastic=3, keep=10))) <= width


def test_a_head_alone_is_not_a_table() -> None:
    assert columns([("NAME", "COUNT")]) == []
