"""Where keys stand, held against tomllib; and what is said about text that is no TOML."""

import tomllib

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.config import syntax
from gateway.config.syntax import Unread
from gateway.toml import KEY, Place, nearest, positions

NASTY = """
top."dotted key".'x' = 1 # not = this
[ports . "a.b"]
text = \"\"\"
[not.a.table]
key = "no key" \"\"\"\"
list = [ # with a remark ]
    1, { a.b = [2, 'x]'], c = {} },
    \"\"\"]
\"\"\", # and more
]
[[many]]
[many.inner]
when = 1979-05-27 07:32:00
[[many]]
"esc\\u0061ped" = 'C:\\'
"""


def every_path(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    match value:
        case dict():
            inner = value.items()
        case list():
            inner = enumerate(value)
        case _:
            inner = ()
    found = {path} if path else set()
    return found.union(*(every_path(one, (*path, key)) for key, one in inner))


def test_every_path_of_a_nasty_document_has_its_place() -> None:
    places = positions(NASTY)
    assert set(places) == every_path(tomllib.loads(NASTY))
    assert places["top", "dotted key", "x"] == Place(2, 18)
    assert places["ports", "a.b"] == Place(3, 1)
    assert places["ports", "a.b", "list", 1, "a", "b", 1] == Place(8, 20)
    assert places["many", 0, "inner", "when"] == Place(14, 1)
    assert places["many", 1] == Place(15, 1)
    assert places["many", 1, "escaped"] == Place(16, 1)


def test_lines_that_end_as_on_windows_count_the_same() -> None:
    assert positions(NASTY.replace("\n", "\r\n")) == positions(NASTY)


def test_a_path_that_is_not_there_stands_where_its_table_does() -> None:
    places = positions("[ports.meters]\nmode = 1\n")
    assert nearest(places, ("ports", "meters", "tty")) == Place(1, 1)
    assert nearest(places, ("links", "scada")) == Place(1, 1)
    assert nearest(places, ("ports", "meters", "mode", "x", 3)) == Place(2, 1)


# Documents in which each name is used once, so that most of them are TOML: `assume` sees to that.

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
BARE = st.text("abcXYZ019_-", min_size=1, max_size=4)
SPACE = st.sampled_from(["", " ", "\t", "  "])
BREAK = st.sampled_from(["", " ", "\n", " # remark ] } \" '\n", "\n\n\t"])


def basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def keys(draw: st.DrawFn, number: int) -> str:
    """One part of a key, as it is written."""
    kind = draw(st.sampled_from(["bare", "basic", "literal"]))
    if kind == "bare":
        return f"{draw(BARE)}{number}"
    text = f"{draw(WORDS)}{number}"
    return basic(text) if kind == "basic" else "'" + text.replace("'", ".") + "'"


SCALARS = st.one_of(
    st.integers(-999, 999).map(str),
    st.sampled_from(["true", "false", "0x1F", "1e3", "-.5".replace(".", "0."), "inf", "1_000"]),
    st.sampled_from(["1979-05-27", "07:32:00", "1979-05-27 07:32:00", "1979-05-27T07:32:00.5+01:00"]),
    WORDS.map(basic),
    WORDS.map(lambda text: "'" + text.replace("'", ".") + "'"),
    WORDS.map(lambda text: '"""\n[x]\n' + text.replace("\\", "/").replace('"', "'") + '"\n""""'),
    WORDS.map(lambda text: "'''" + text.replace("'", '"') + "\nkey = [ # ''''"),
)


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    kind = draw(st.sampled_from(["scalar", "scalar", "list", "table"] if depth else ["scalar"]))
    if kind == "scalar":
        return draw(SCALARS)
    count = draw(st.integers(0, 3))
    inner = [draw(values(depth - 1)) for _ in range(count)]
    if kind == "list":
        written = [draw(BREAK) + value + draw(BREAK) for value in inner]
        end = draw(st.sampled_from(["", ","])) if written else ""
        return "[" + ",".join(written) + end + draw(BREAK) + "]"
    pairs = [draw(SPACE) + draw(dotted(place)) + f" = {value}" for place, value in enumerate(inner)]
    return "{" + ",".join(pairs) + draw(SPACE) + "}"


@st.composite
def dotted(draw: st.DrawFn, number: int) -> str:
    parts = [draw(keys(number)) for _ in range(draw(st.integers(1, 3)))]
    return (draw(SPACE) + "." + draw(SPACE)).join(parts)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines, number = [], 0
    for _ in range(draw(st.integers(0, 4))):
        for _ in range(draw(st.integers(0, 3))):
            number += 1
            lines.append(
                draw(SPACE) + draw(dotted(number)) + f"={draw(SPACE)}" + draw(values()) + draw(SPACE)
            )
        number += 1
        lines += draw(st.sampled_from([[], ["", "# [remark]"]]))
        header = draw(
            st.sampled_from(
                ["[[many]]", "[[many.more]]", f"[many.table{number}]", f"[ many.'x.y'.z{number} ] # x"]
            )
            | dotted(number).map(lambda key: f"[{key}]")
            | dotted(number).map(lambda key: f"[[{key}]]")
        )
        lines.append(header)
    return "\n".join(lines)


@UNHURRIED
@given(documents())
def test_places_are_those_of_tomllib_no_path_more_and_none_less(text: str) -> None:
    data = syntax.read(text).data
    assume(data is not None)
    places = positions(text)
    assert set(places) == every_path(data)
    lines = text.split("\n")
    for path, (line, col) in places.items():
        here = lines[line - 1][col - 1 :]
        if not here.startswith("[") and isinstance(path[-1], str):
            assert spelled(here) == path[-1]
        else:
            assert here.strip()


def spelled(text: str) -> str:
    """The key that a line begins with."""
    found = KEY.match(text)
    assert found
    return next(iter(tomllib.loads(f"{found[0]} = 1")))


@UNHURRIED
@given(st.text() | documents(), st.data())
def test_whatever_is_read_is_either_toml_or_told(text: str, data: st.DataObject) -> None:
    """With some characters taken out and put in."""
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + data.draw(st.sampled_from(list("[]{}=\"'.,#\n\\a1 :"))) + text[place:]
    read = syntax.read(text)
    try:
        good = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert read.mistakes
        assert all(mistake.place.line <= text.count("\n") + 1 for mistake in read.mistakes)
    else:
        assert (read.data, read.mistakes) == (good, ())


def first(text: str) -> tuple[tuple[str | int, ...], int, int, str]:
    mistake = syntax.read(text).mistakes[0]
    return mistake.path, *mistake.place, mistake.text


QUOTES = "text stands in quotes: "
TRUE = "write true, in small letters and without quotes"
COMMENT = "a comment begins with #"
COLON = "a key and its value are joined by =, not by a colon"
HIDDEN = "a character that cannot be seen is in this line"
BRACES = "a table in { } is { key = value, key = value }, and text stands in quotes"
BRACKETS = 'in [ ] the values are separated by commas, and text stands in quotes: ["a", "b"]'
DECIMALS = "a number has digits on both sides of the point: 0.5"
NAME = 'a key is letters a to z, digits, "-" and "_"'
PAIR = "= is missing: a line is key = value"
TABLE_NAME = 'a table\'s name is letters, digits, "-" and "_", its parts joined by points: [ports.meters]'


@pytest.mark.parametrize(
    ("text", "col", "hint"),
    [
        ("a = /dev/ttyUSB0 # x", 5, QUOTES + 'a = "/dev/ttyUSB0"'),
        ("a = 3.1.1", 5, QUOTES + 'a = "3.1.1"'),
        ("a = 10.0.0.1:502", 5, QUOTES + 'a = "10.0.0.1:502"'),
        ("a = :502", 5, QUOTES + 'a = ":502"'),
        ("a = 5s", 5, QUOTES + 'a = "5s"'),
        ("a = none", 5, QUOTES + 'a = "none"'),
        ("a = 02 03", 5, QUOTES + 'a = "02 03"'),
        ("  a.b = x", 9, QUOTES + 'a.b = "x"'),
        ("a =", 4, "the value is missing"),
        ("a = yes", 5, TRUE),
        ("a = on", 5, TRUE),
        ("a = True", 5, TRUE),
        ("a = No", 5, "write false, in small letters and without quotes"),
        ("a = null", 5, "there is no such value: leave the key out"),
        ('a = "x', 5, "the closing quote is missing"),
        ("a = 'x", 5, "the closing quote is missing"),
        ('a = x"', 5, "the opening quote is missing"),
        ('a = """x', 5, "this text over several lines is never closed"),
        ("a = “x”", 5, 'these quotes are typographic: use the plain ones, "'),
        ('a = "x" // y', 5, COMMENT),
        ("a = 5 ; y", 5, COMMENT),
        (r'a = "\x03"', 5, r'there is no \x in text: write bytes as { hex = "03" }'),
        (r'a = { b = { text = "\x03" } }', 5, r'there is no \x in text: write bytes as { hex = "03" }'),
        (r'a = { text = "\x02é" }', 14, r'there is no \x in text: write bytes as { hex = "02 e9" }'),
        (r'a = "C:\dev"', 5, r"a backslash in quotes is written twice: \\, or use single quotes: '...'"),
        ("a = 007", 5, 'a number does not begin with 0: 7, or "007" if it is a text'),
        ("a = 0,01", 5, "decimals are written with a point: 0.01"),
        ("a = .5", 5, DECIMALS),
        ("a = 5.", 5, DECIMALS),
        ("a = {\n  b = 1\n}", 5, "a table in { } stands on one line"),
        ("a = { b = 1,\n c = 2 }", 5, "a table in { } stands on one line"),
        ("a = { b = 1, }", 5, "no comma before the }"),
        ('a = { "b": 1 }', 5, "in { } a key and its value are joined by =, not by a colon"),
        ("a = { b 1 }", 5, BRACES),
        ("a = { b = 1, b = 2 }", 1, "a key stands in it twice"),
        ("a = [b]", 5, BRACKETS),
        ("a = [1 2]", 5, BRACKETS),
        ("a = [1, 2", 5, "the ] is missing"),
        ('a = "x" "y"', 5, 'one value ends where its quotes end; several are a list: ["a", "b"]'),
        ("a = 5\xa0", 5, HIDDEN),
        ("a = 5\x00", 5, HIDDEN),
        ("a: 5", 4, COLON),
        ("\xa0a = 5", 1, HIDDEN),
        ("// x", 1, COMMENT),
        ("; x", 1, COMMENT),
        ("[a", 1, "the ] is missing"),
        ("[a] x", 1, "the line ends after the ]"),
        ("[a b]", 1, TABLE_NAME),
        ("[]", 1, TABLE_NAME),
        ("}", 1, "this closes nothing"),
        ("ü = 1", 1, NAME),
        ("a b = 1", 1, NAME),
        (r'"\d" = 1', 1, NAME),
        ("a 5", 1, PAIR),
        ("a", 1, PAIR),
        ("<<<<<<< HEAD", 1, "this is left from a merge of two versions: choose one"),
    ],
)
def test_each_usual_mistake_is_answered_with_what_to_write(text: str, col: int, hint: str) -> None:
    _, *place, said = first(f"# a line above\n{text}\n")
    assert (place, said) == ([2, col], hint)


def test_a_mistake_inside_braces_is_told_at_its_own_key() -> None:
    text = '[d]\np = { holding = 0, type = "uint32", scale = 0,01 }\n'
    assert first(text) == (("d", "p", "scale"), 2, 45, "decimals are written with a point: 0.01")
    assert syntax.read(text).data == {"d": {"p": Unread.VALUE}}


@pytest.mark.parametrize(
    ("text", "line", "path", "hint"),
    [
        ("[a]\nb = 1\nb = 2", 3, ("a", "b"), "a second time, first in line 2: delete one"),
        ("[a.b]\n[c]\n[a.b]", 3, ("a", "b"), "a second time, first in line 1: join the two, or rename one"),
        ("a = 1\n[a]", 2, ("a",), "a second time, first in line 1: join the two, or rename one"),
        ("a = { b = 1 }\n[a.c]", 2, ("a", "c"), "a has its value already, in line 1"),
        ("a.b = 1\na.b.c.d = 2", 2, ("a", "b", "c", "d"), "a.b has its value already, in line 1"),
        ("[[a]]\n[a]", 2, ("a",), "a second time, first in line 1: join the two, or rename one"),
    ],
)
def test_what_stands_there_twice_names_the_first(
    text: str, line: int, path: tuple[str, ...], hint: str
) -> None:
    told, at, _, said = first(text)
    assert (told, at) == (path, line)
    assert said.removeprefix("this stands here ") == hint


def test_mistakes_within_their_lines_do_not_hide_what_follows() -> None:
    read = syntax.read("a = x\n// remark\n[t]\nb = yes\nc: 5\nd = 4\nd = 5\ne = [1, 2]\n")
    assert [(mistake.path, mistake.place.line) for mistake in read.mistakes] == [
        (("a",), 1),
        ((), 2),
        (("t", "b"), 4),
        (("t", "c"), 5),
        (("t", "d"), 7),
    ]
    unread = Unread.VALUE
    assert read.data == {"a": unread, "t": {"b": unread, "c": unread, "d": unread, "e": [1, 2]}}


def test_a_mistake_that_leaves_something_open_ends_the_reading() -> None:
    read = syntax.read("a = [1,\nb = 2\nc = yes\n")
    assert (len(read.mistakes), read.data) == (1, None)


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 5000, "{a=" * 5000])
def test_what_is_too_much_for_tomllib_is_told_like_the_rest(value: str) -> None:
    read = syntax.read(f"a = 1\nb = {value}\nc = 2\n")
    assert [mistake.place.line for mistake in read.mistakes] == [2]


def test_a_file_of_another_kind_is_not_told_line_by_line() -> None:
    assert len(syntax.read("key = some words\n" * 1000).mistakes) < 30
