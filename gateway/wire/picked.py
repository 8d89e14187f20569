"""Numbers and texts picked from a frame of text by regular expressions.

Promises: what is no number is never a value, NoReading says why; scaling is decimal, as `points` has it. A
frame longer than LONGEST is not searched at all: its beginning alone could end in the middle of a number, and
a search must never take long. Must not know where a frame came from, nor whether it is whole.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import NamedTuple

from .points import Gives, NoReading, Value

LONGEST = 1024  # bytes
_LONGEST_NUMBER = 32  # characters
_LONGEST_TOLD = 40
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_QUIET = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)  # escapes and character classes
_REPEATED_GROUP = re.compile(r"\)(?:[*+]|\{\d*,\})")


def pattern(regex: str) -> re.Pattern[str]:
    """ValueError, in words, when it is none that can be used here.

    A group that repeats without end can take longer than the gateway lives: (a+)+ tries all ways to cut 30
    letters, 2^29. One that repeats a number of times, {3}, is as fast as it is long.
    """
    try:
        found = re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    if found.groups != 1:
        raise ValueError(f"one group, ( ), is what is picked; here are {found.groups}: (?: ) is none")
    if _REPEATED_GROUP.search(_QUIET.sub("-", regex)):
        raise ValueError("a group that repeats without end may search for ever: write how often, ( ){1,8}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """How one value stands in a frame: the group of `regex`, where that first fits.

    Of a number: blanks in it do not count ("-  12.5"); then number * `scale` + `offset`, rounded to
    `decimals` (0: a whole number). A `type` "int" stays exact, however long it is.
    """

    regex: re.Pattern[str]
    type: str = "float"  # "float", "int" or "text"
    scale: int | float = 1
    offset: int | float = 0
    decimals: int | None = None

    @property
    def gives(self) -> Gives:
        return Gives.TEXT if self.type == "text" else Gives.NUMBER

    def value(self, text: str) -> Value | None:
        """None: it does not stand in this text. NoReading: what stands there is no such value."""
        found = self.regex.search(text)
        if found is None or found[1] is None:
            return None
        if self.type == "text":
            return found[1].strip("\0 \t\r\n")
        return self._number("".join(found[1].split()))

    def _number(self, digits: str) -> int | float:
        form = _INTEGER if self.type == "int" else _NUMBER
        if len(digits) > _LONGEST_NUMBER or not form.fullmatch(digits):
            raise NoReading(f"no number: {digits[:_LONGEST_TOLD]!r}")
        number = self._scaled(digits)
        if isinstance(number, float) and not isfinite(number):
            raise NoReading(f"{digits} is too large")
        if self.decimals is None:
            return number
        return round(number, self.decimals) if self.decimals else round(number)

    def _scaled(self, digits: str) -> int | float:
        if self.type == "int" and isinstance(self.scale, int) and isinstance(self.offset, int):
            return int(digits) * self.scale + self.offset
        if not isfinite(float(digits)):
            return float(digits)
        return float(Decimal(digits) * Decimal(repr(self.scale)) + Decimal(repr(self.offset)))


class Picked(NamedTuple):
    """What stands in one frame: values, and why others that stand there are none."""

    values: Mapping[str, Value]
    errors: Mapping[str, str]


def picked(picks: Mapping[str, Pick], frame: bytes) -> Picked:
    """By name. Bytes are characters as they are (Latin-1), so that no frame is unreadable."""
    values: dict[str, Value] = {}
    errors: dict[str, str] = {}
    text = frame.decode("latin-1") if len(frame) <= LONGEST else ""
    for name, pick in picks.items() if text else ():
        try:
            if (value := pick.value(text)) is not None:
                values[name] = value
        except NoReading as none:
            errors[name] = str(none)
    return Picked(values, errors)
