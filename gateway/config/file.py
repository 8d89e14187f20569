"""One TOML file, and what is wrong with it.

Where a key stands is looked up only when there is something to tell.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..toml import Path, Place, nearest, positions
from . import syntax
from .syntax import Unread

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A line for people: `gateway.toml:14:1: ports.meters.baudrat: unknown key, did you mean "baudrate"?`"""

    file: str  # as it was named by whoever asked
    line: int = 0  # from 1; 0: it is about the file as a whole
    col: int = 0
    path: Path = ()
    text: str
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        parts = (where, "warning" if self.warning else "", spelled(self.path), self.text)
        return ": ".join(part for part in parts if part)


def spelled(path: Path) -> str:
    """A key as TOML writes it; which element of a list is meant, the position says."""
    names = (part for part in path if isinstance(part, str))
    return ".".join(name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"' for name in names)


class File:
    """`data` has environment variables filled in, and Unread.VALUE where a value could not be read.

    Of each key only the first fault is kept: what follows from it would only hide it.
    """

    def __init__(self, name: str, text: str, environ: Mapping[str, str]) -> None:
        read = syntax.read(text)
        self._name, self._text, self._mistakes = name, read.text, read.mistakes
        self._faults: dict[Path, str] = {mistake.path: "" for mistake in read.mistakes}
        self._doubts: dict[Path, str] = {}
        self._unread: set[Path] = set()
        self.data: dict[str, Any] | None = None
        if read.data is not None:
            self.data = self._filled(read.data, (), environ)

    def fault(self, path: Path, text: str) -> None:
        if path not in self._unread:
            self._faults.setdefault(path, text)

    def doubt(self, path: Path, text: str) -> None:
        self._doubts.setdefault(path, text)

    @property
    def good(self) -> bool:
        return not self._faults

    def problems(self) -> list[Problem]:
        """From the top of the file down."""
        told = [self._problem(mistake.path, mistake.text, mistake.place) for mistake in self._mistakes]
        told += self._placed(self._faults, warning=False)
        return sorted(told, key=_place)

    def warnings(self) -> list[Problem]:
        return sorted(self._placed(self._doubts, warning=True), key=_place)

    def _placed(self, found: Mapping[Path, str], *, warning: bool) -> Iterator[Problem]:
        places = positions(self._text) if any(found.values()) else {}
        for path, text in found.items():
            if text:  # else it is a mistake, and its place is known
                yield self._problem(path, text, nearest(places, path), warning=warning)

    def _problem(self, path: Path, text: str, place: Place, *, warning: bool = False) -> Problem:
        return Problem(file=self._name, line=place.line, col=place.col, path=path, text=text, warning=warning)

    def _filled(self, value: Any, path: Path, environ: Mapping[str, str]) -> Any:
        match value:
            case str() if "${" in value:
                missing = [name for name in _VARIABLE.findall(value) if name not in environ]
                if missing:
                    self.fault(path, f"the environment variable {missing[0]} is not set")
                    self._unread.add(path)
                    return Unread.VALUE
                return _VARIABLE.sub(lambda found: environ[found[1]], value)
            case dict():
                return {key: self._filled(inner, (*path, key), environ) for key, inner in value.items()}
            case list():
                return [self._filled(inner, (*path, place), environ) for place, inner in enumerate(value)]
            case Unread():
                self._unread.add(path)
        return value


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line, problem.col
