"""Where each key stands in a TOML text that tomllib has accepted.

tomllib itself does not say. The scanner trusts the text to be good TOML and finds exactly the paths that
tomllib finds; it runs only when there is something to report. PURE: text in, values out.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and indexes from the top of the file: ("links", "cloud", "ports", 0)."""


class Place(NamedTuple):
    """Counted from 1, in characters."""

    line: int
    col: int


def nearest(places: Mapping[Path, Place], path: Path) -> Place:
    """Where `path` stands, or the table that it is missing from."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, Place(1, 1))


def positions(text: str) -> dict[Path, Place]:
    """Every path of a text that tomllib accepts, and where it is first written.

    A table stands where its header begins, an array's element where its value does.
    """
    scanner = _Scanner(text)
    offsets = scanner.scan()
    starts = [0, *(newline.end() for newline in re.finditer("\n", scanner.text))]
    lines = {path: bisect_right(starts, offset) for path, offset in offsets.items()}
    return {path: Place(line, offsets[path] - starts[line - 1] + 1) for path, line in lines.items()}


def last_key(text: str) -> Path:
    """The path of the header or the pair that a text ends with."""
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.last


_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_SCALAR = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|[^\s,\]}#]+(?: \d\d:[^\s,\]}#]*)?",  # a date and its time may have a space between them
    re.DOTALL,
)


class _Scanner:
    """One pass over the text; `at` is where it is."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self._at = 0
        self._found: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}  # of arrays of tables
        self.last: Path = ()  # the header or the key of a pair that was scanned last

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_BLANK):
            if self._next("["):
                self.last = table = self._header()
            else:
                self.last = self._pair(table)
        return self._found

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Past what matches; whether there is more text."""
        if found := pattern.match(self.text, self._at):
            self._at = found.end()
        return self._at < len(self.text)

    def _next(self, mark: str) -> bool:
        if not self.text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _keys(self) -> list[tuple[str, int]]:
        """The parts of a dotted key, and where they are."""
        parts: list[tuple[str, int]] = []
        while not parts or self._next("."):
            self._skip(_SPACE)
            start = self._at
            self._skip(KEY)
            word = self.text[start : self._at]
            parts.append((tomllib.loads(f"key = {word}")["key"] if word[0] in "\"'" else word, start))
            self._skip(_SPACE)
        return parts

    def _header(self) -> Path:
        start = self._at - 1
        many = self._next("[")
        path: Path = ()
        names = [name for name, _ in self._keys()]
        for name in names[:-1]:
            path = (*path, name)
            self._found.setdefault(path, start)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        path = (*path, names[-1])
        if many:
            self._found.setdefault(path, start)
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path = (*path, self._lengths[path] - 1)
        self._found[path] = start
        self._next("]]" if many else "]")
        return path

    def _pair(self, path: Path) -> Path:
        for name, start in self._keys():
            path = (*path, name)
            self._found.setdefault(path, start)
        self._next("=")
        self._value(path)
        return path

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        if self._next("["):
            self._array(path)
        elif self._next("{"):
            while self._skip(_BLANK) and not self._next("}"):
                self._pair(path)
                self._skip(_BLANK)
                self._next(",")
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        index = 0
        while self._skip(_BLANK) and not self._next("]"):
            self._found[*path, index] = self._at
            self._value((*path, index))
            self._skip(_BLANK)
            self._next(",")
            index += 1
