"""tomllib with better manners: text that is no TOML is answered with what to write instead.

A broken value that ends with its line does not hide what is wrong further down: it is told and taken out, and
the rest is read. PURE: text in, values out.
"""

import re
import tomllib
from enum import Enum
from typing import Any, NamedTuple

from ..toml import KEY, Path, Place, last_key, positions

_NOT_TOML = (
    ValueError,
    RecursionError,
)  # TOMLDecodeError, and what tomllib lets through: too many digits or brackets
_MOST = 25  # mistakes told of one text: beyond that it is some other kind of file


class Unread(Enum):
    """Stands in for a value that could not be read: no model accepts it, and its mistake is already told."""

    VALUE = None


class Mistake(NamedTuple):
    """Text that is no TOML. `path` is the key whose value is meant, empty when no key is."""

    path: Path
    place: Place
    text: str


class Read(NamedTuple):
    """What a text says. `text` is what was parsed in the end, line for line the one that came in."""

    data: dict[str, Any] | None
    text: str
    mistakes: tuple[Mistake, ...]


def read(text: str) -> Read:
    """The values in a text, and every mistake that can be told apart from those before it."""
    text = text.replace("\r\n", "\n")
    mistakes: list[Mistake] = []
    while True:
        try:
            data = tomllib.loads(text)
        except _NOT_TOML as error:
            mistake, mended = _explained(text.split("\n"), str(error))
            mistakes.append(mistake)
            if mended is None or len(mistakes) == _MOST:
                return Read(None, text, tuple(mistakes))
            text = mended
        else:
            for mistake in mistakes:
                _blot(data, mistake.path)
            return Read(data, text, tuple(mistakes))


def _blot(data: Any, path: tuple[Any, ...]) -> None:
    """Takes the value at `path` out, or the one that stands where there should be room for it."""
    for place, key in enumerate(path, 1):
        inner = data.get(key) if isinstance(data, dict) else data[key]
        if place == len(path) or not isinstance(inner, dict | list):
            data[key] = Unread.VALUE
            return
        data = inner


_PAIR = re.compile(
    rf"[ \t]*(?P<key>(?:{KEY.pattern})(?:[ \t]*\.[ \t]*(?:{KEY.pattern}))*)"
    r"[ \t]*(?P<mark>[=:])[ \t]*(?P<value>.*)"
)
_COMMENT = re.compile(r"[ \t]+#.*$")
_INNER = re.compile(rf"(?P<key>{KEY.pattern})[ \t]*=[ \t]*(?P<value>\d+,\d+|[^\s,=\[\]{{}}\"']+|\"[^\"]*\")")
_REMARK = re.compile(r"[ \t]*(?://|;|--).*")
_TWICE = re.compile(r"Cannot (?:declare|overwrite|mutate|redefine)|Duplicate")
_HIDDEN = (r".*[\x00-\x08\x0b-\x1f\x7f\xa0\u200b\ufeff].*", "a character that cannot be seen is in this line")
_COLON = "a key and its value are joined by =, not by a colon"

_OF_VALUES = (
    _HIDDEN,
    (r"", "the value is missing"),
    (r"(?i:true|yes|on)", "write true, in small letters and without quotes"),
    (r"(?i:false|no|off)", "write false, in small letters and without quotes"),
    (r"None|null|nil", "there is no such value: leave the key out"),
    (r".*[“”„«»‘’].*", 'these quotes are typographic: use the plain ones, "'),
    (r"""(?:"[^"]*"|'[^']*'|[^\s"']+)\s*(?://|;|--).*""", "a comment begins with #"),
    (r'("""|\'{3}).*', "this text over several lines is never closed"),
    (r""""(?:\\.|[^"\\])*|'[^']*""", "the closing quote is missing"),
    (r"""[^"'\[{]+["']""", "the opening quote is missing"),
    (r'.*".*\\.*', r"a backslash in quotes is written twice: \\, or use single quotes: '...'"),
    (r"0\d+", 'a number does not begin with 0: {bare}, or "{value}" if it is a text'),
    (r"[+-]?\d+,\d+", "decimals are written with a point: {point}"),
    (r"[+-]?(?:\.\d+|\d+\.)", "a number has digits on both sides of the point: 0.5"),
    (r"\{.*,\s*\}.*", "no comma before the }"),
    (r"\{[^=]*:.*\}.*", "in { } a key and its value are joined by =, not by a colon"),
    (r"\{[^}]*", "a table in { } stands on one line"),
    (r"\{.*", "a table in { } is { key = value, key = value }, and text stands in quotes"),
    (r"\[[^\]]*", "the ] is missing"),
    (r"\[.*", 'in [ ] the values are separated by commas, and text stands in quotes: ["a", "b"]'),
    (r"""["'].*""", 'one value ends where its quotes end; several are a list: ["a", "b"]'),
    (r".*", 'text stands in quotes: {key} = "{value}"'),
)
_OF_LINES = (
    _HIDDEN,
    (r"(?:<<<<<<<|=======|>>>>>>>).*", "this is left from a merge of two versions: choose one"),
    (r"(?://|;|--|/\*).*", "a comment begins with #"),
    (r"\[[^\]]*", "the ] is missing"),
    (r"\[.*\]\s*[^\]\s#].*", "the line ends after the ]"),
    (r"\[.*", 'a table\'s name is letters, digits, "-" and "_", its parts joined by points: [ports.meters]'),
    (r"[\]}].*", "this closes nothing"),
    (r"[^=:]+=.*", 'a key is letters a to z, digits, "-" and "_"'),
    (r"[^=:]+:.*", _COLON),
    (r".*", "= is missing: a line is key = value"),
)


def _explained(lines: list[str], said: str) -> tuple[Mistake, str | None]:
    """What is wrong, and the text with that value taken out if the rest can then be read."""
    found = re.search(r"at line (\d+), column \d+", said)
    last = int(found[1]) if found else len(lines)  # "at end of document"
    first = next(line for line in range(last - 1, -1, -1) if _parses(lines[:line]))
    before, line = lines[:first], lines[first]
    start = Place(first + 1, len(line) - len(line.lstrip(" \t")) + 1)
    pair = _PAIR.fullmatch(line)
    mended = f'{pair["key"]} = ""' if pair else ""
    if not _parses([mended]):  # the key itself is no TOML
        pair, mended = None, ""
    if _TWICE.match(said):
        path = last_key("\n".join([*before, mended or line]))
        told = Mistake(path, start, _twice("\n".join(before), path, pair is not None))
        mended = ""
    elif pair:
        told = _of_pair(pair, last_key("\n".join([*before, mended])), first + 1)
    else:
        told = Mistake((), start, _hint(_OF_LINES, line.strip(" \t")))
    if _REMARK.fullmatch(line) or (pair and _alone(pair["value"])):
        return told, "\n".join([*before, mended, *lines[first + 1 :]])
    return told, None


def _parses(lines: list[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except _NOT_TOML:
        return False
    return True


def _alone(value: str) -> bool:
    """Whether a broken value ends with its line: no bracket and no long text is left open."""
    long = '"""' in value or "'''" in value
    return not long and value.count("[") == value.count("]") and value.count("{") == value.count("}")


def _twice(before: str, path: Path, is_key: bool) -> str:
    places = positions(before)
    earlier = path
    while earlier and earlier not in places:
        earlier = earlier[:-1]
    if not earlier:
        return "a key stands in it twice"
    line = places[earlier].line
    if earlier == path:
        remedy = "delete one" if is_key else "join the two, or rename one"
        return f"this stands here a second time, first in line {line}: {remedy}"
    return f"{'.'.join(map(str, earlier))} has its value already, in line {line}"


def _of_pair(pair: re.Match[str], path: Path, line: int) -> Mistake:
    """`path` is that of the pair's key."""
    start = pair.start("value") + 1
    if pair["mark"] == ":":
        return Mistake(path, Place(line, start), _COLON)
    flat = pair["value"].startswith("{") and pair["value"].count("{") == 1
    pairs = _INNER.finditer(pair["value"]) if flat else ()
    if inner := next((inner for inner in pairs if not _parses([inner[0]])), None):
        place = Place(line, start + inner.start("value"))
        return Mistake((*path, inner["key"]), place, _of_value(inner["key"], inner["value"]))
    return Mistake(path, Place(line, start), _of_value(pair["key"], pair["value"]))


def _of_value(key: str, value: str) -> str:
    secret = is_secret(key)
    if escaped := re.search(r'"((?:[^"\\]|\\.)*\\x[^"]*)"', value):
        text = re.sub(r"\\x([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), escaped[1])
        octets = text.encode("latin-1", "replace").hex(" ")
        return r"there is no \x in text" + ("" if secret else f': write bytes as {{ hex = "{octets}" }}')
    value = _COMMENT.sub("", value).strip(" \t")
    hint, value = _hint(_OF_VALUES, value), "..." if secret else value
    forms = {"key": key, "value": value, "bare": value.lstrip("0") or "0", "point": value.replace(",", ".")}
    for form, text in forms.items():
        hint = hint.replace(f"{{{form}}}", text)
    return hint


def is_secret(key: str) -> bool:
    """Whether its value must not be repeated: what is told goes into the log, too."""
    return "pass" in key.lower()


def _hint(hints: tuple[tuple[str, str], ...], text: str) -> str:
    return next(hint for pattern, hint in hints if re.fullmatch(pattern, text, re.DOTALL))
