"""What must not leave the house: the passwords of a config file, found in its text, and taken out of every
text.

It works on files that are no TOML, too: with a mistake in it, a file is what support wants to see. Where a
value ends is then a guess, and too much is taken rather than too little. Remarks lose what follows a word
such as "password". Names of users, and of files and credentials that hold a secret, may stay.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote, unquote

REMOVED = "(removed)"
_SHORT = 4  # characters; less than that is taken out of other texts only where it stands alone
_SHORTEST = 2
_WORDS = r"passw|passphrase|pwd|secret|token|psk|api_?key"
_NAMES = ("_file", "_credential")  # of what holds a secret
_KEY = re.compile(r"""["']?(?P<key>[\w.-]+)["']?[ \t]*[=:][ \t]*""")
_ENDS = r"(?=[ \t]*(?:[,}\]#\r\n]|\Z))"
_VALUE = re.compile(
    rf""""{{3}}.*?(?:"{{3,5}}|\Z)|'{{3}}.*?(?:'{{3,5}}|\Z)"""
    rf"""|"(?:\\.|[^"\\\r\n])*"{_ENDS}|'[^'\r\n]*'{_ENDS}|\[[^\]]*(?:\]|\Z)|[^\r\n]*""",
    re.DOTALL,
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ELSEWHERE = (  # each with what stays, and the secret
    re.compile(r"""(//[^\s"'/@:]*:)([^\s"']+)(?=@)"""),  # scheme://user:secret@host
    re.compile(r"""((?:^|(?<=[\s"'=,\[(]))[^\s"'/@:=,\[(]+:)([^\s"'@/][^\s"']*)(?=@[\w\[])""", re.MULTILINE),
    re.compile(rf"""([?&;][\w.-]*(?:{_WORDS})[\w.-]*=)([^&;\s"'#]+)""", re.IGNORECASE),
    re.compile(
        rf"""(#[^\r\n]*?(?:{_WORDS})\w*)(?!\w|["'}}]|[ \t]*[=:])([^\r\n]*\w[^\r\n]*)""", re.IGNORECASE
    ),
)
_PRIVATE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)


class Secrets:
    """Those that are known so far. `learn` all of them before the first text is cleaned."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, values: Iterable[str]) -> None:
        for value in values:
            if len(value) >= _SHORT or (len(value) >= _SHORTEST and value.isalnum()):
                self._known.add(value)
        self._pattern = None

    def learn(self, text: str) -> str:
        """Of a config file. Returns it without them."""
        for start, end in reversed(list(_values(text))):
            if self._takes(text[start:end]):
                text = text[:start] + REMOVED + text[end:]
        for pattern in _ELSEWHERE:
            text = pattern.sub(self._removed, text)
        return text

    def _takes(self, written: str) -> bool:
        """Whether this value has to go. Variables alone may stay: what fills them in has to go."""
        variables = _VARIABLE.findall(written)
        self.add(self._environ.get(name, "") for name in variables)
        if not _VARIABLE.sub("", written).strip("\"' \t"):
            return False
        self.add(_VARIABLE.sub(self._filled, meant) for meant in _spellings(written))
        self.add(_spellings(written))
        return True

    def _filled(self, found: re.Match[str]) -> str:
        return self._environ.get(found[1], found[0])

    def _removed(self, found: re.Match[str]) -> str:
        if found[1][0] != "#" and not _VARIABLE.fullmatch(found[2]) and found[2] != REMOVED:
            self.add((found[2], unquote(found[2])))
        return found[1] + (" " if found[1][0] == "#" else "") + REMOVED

    def cleaned(self, text: str) -> str:
        """Without any of them, however it is spelled there."""
        if self._pattern is None:
            forms = {form for value in self._known for form in _forms(value)}
            patterns = (_pattern(form) for form in sorted(forms, key=len, reverse=True))
            self._pattern = re.compile("|".join(patterns) or r"(?!)")
        text = _PRIVATE.sub(REMOVED, text)
        return self._pattern.sub(REMOVED, text)

    def clean(self, document: Any) -> Any:
        """The same of what will be JSON."""
        match document:
            case str():
                return self.cleaned(document)
            case bool() | None:
                return document
            case int() | float():
                return document if len(str(document)) < _SHORT else self._number(document)
            case dict():
                return {self.cleaned(str(key)): self.clean(value) for key, value in document.items()}
        return [self.clean(value) for value in document]

    def _number(self, number: float) -> float | str:
        text = self.cleaned(str(number))
        return number if text == str(number) else text


def _values(text: str) -> Iterator[tuple[int, int]]:
    """Where what stands under the keys of secrets begins and ends."""
    done = 0
    for key in _KEY.finditer(text):
        if key.start() >= done and _is_secret(key["key"]):
            value = _VALUE.match(text, key.end())
            assert value is not None  # it may be empty
            done = value.end()
            if value[0].strip():
                yield value.span()


def _is_secret(key: str) -> bool:
    name = key.rpartition(".")[2].lower()
    if name.endswith(_NAMES):
        return False
    return bool(name == "pass" or re.search(_WORDS, name) or get_close_matches(name, ["password"], 1, 0.75))


def _spellings(written: str) -> Iterator[str]:
    """What a value in a file means, or, where that is no TOML, may have been meant to."""
    try:
        value = tomllib.loads(f"x = {written.strip()}")["x"]
    except (tomllib.TOMLDecodeError, RecursionError):
        for text in (written, written.partition("#")[0]):
            yield from (text.strip(), text.strip(" \t\r\n\"'[]{}"))
        yield from re.findall(r"""["']([^"'\r\n]+)["']""", written)
    else:
        yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case list():
            for one in value:
                yield from _texts(one)
        case dict():
            yield from _texts(list(value.values()))
        case _:
            yield str(value)


def _forms(value: str) -> set[str]:
    """As programs write it: plain, in JSON and TOML, as Python shows it, in a URL."""
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        quote(value),
        quote(value, safe=""),
    }


def _pattern(form: str) -> str:
    return re.escape(form) if len(form) >= _SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
