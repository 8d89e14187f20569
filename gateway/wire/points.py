"""What registers mean: types, byte orders, scale, bit, map, and the raw values that mean "no reading".

Promises: 64-bit integers stay exact; scaling is decimal, as manuals mean it (2301 * 0.1 is 230.1); a float32
is the shortest number that is this float32 (230.1, not 230.10000610351562). What is not a number is never a
value: NoReading says why. On the way back nothing is cut to size: Unfit says what does not fit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from struct import error, pack, unpack


class Table(StrEnum):
    """The four address spaces of a device, by the words of the config file."""

    COIL = "coil"
    DISCRETE_INPUT = "discrete_input"
    HOLDING = "holding"
    INPUT = "input"

    @property
    def bits(self) -> bool:
        """An address is one bit, not a register of 16."""
        return self in (Table.COIL, Table.DISCRETE_INPUT)


class NoReading(ValueError):
    """The registers were read, but what they hold is no value; the text says why."""


class Unfit(ValueError):
    """A value that registers of this type cannot hold; the text says why."""


class Gives(StrEnum):
    """What the values of a point are."""

    BOOL = "bool"
    NUMBER = "number"
    TEXT = "text"


Value = bool | int | float | str
_INTEGERS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
_FLOATS = {"float32": "f", "float64": "d"}
_STRUCT = _INTEGERS | _FLOATS | {"bool": "H"}
TYPES = ("bool", *_INTEGERS, *_FLOATS, "string(N)")
LONGEST_STRING = 250  # bytes: 125 registers, the most that one read can fetch
_LONGEST_TOLD = 40  # characters
BYTE_ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
_WORDS_REVERSED, _BYTES_SWAPPED = ("CDAB", "DCBA"), ("BADC", "DCBA")


def check_type(name: str) -> str:
    """Returns `name`; ValueError when it is no type."""
    length = _string_length(name)
    if name == "string" or (length is not None and not 1 <= length <= LONGEST_STRING):
        raise ValueError(
            f"write string(N), where N is its length in bytes, 1 to {LONGEST_STRING}: string(16)"
        )
    if length is None and name not in _STRUCT:
        raise ValueError(f"a type is one of {' '.join(TYPES)}")
    return name


def is_integer(name: str) -> bool:
    return name in _INTEGERS


def is_float(name: str) -> bool:
    return name in _FLOATS


def is_string(name: str) -> bool:
    return _string_length(name) is not None


def raw_integer(name: str, number: int) -> int:
    """`number` as the integer type `name` reads it; ValueError when it never does.

    Manuals give "no reading" as a bit pattern, so 0x8000 of an int16 is accepted and becomes -32768.
    """
    size = 16 * Codec(type=name).registers
    lowest, beyond = (-1 << size - 1, 1 << size - 1) if name.startswith("i") else (0, 1 << size)
    if not lowest <= number < 1 << size:
        raise ValueError(f"{number} is no {name}: {lowest} to {beyond - 1}")
    return number if number < beyond else number - (1 << size)


def _string_length(name: str) -> int | None:
    found = re.fullmatch(r"string\((\d{1,4})\)", name)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How one point's registers become a value.

    In this order: the raw value by `type` and `byte_order`; `invalid` raw values are no reading; `bit` of it;
    `map` to a text (a number without one becomes its digits, so that the value is always a text); otherwise
    raw * `scale` + `offset`, rounded to `decimals` (0: a whole number).
    """

    type: str = "uint16"
    byte_order: str = "ABCD"
    scale: int | float = 1
    offset: int | float = 0
    bit: int | None = None
    map: Mapping[int, str] | None = None
    invalid: Sequence[int | float | str] = ()
    decimals: int | None = None

    @property
    def registers(self) -> int:
        """How many registers it takes; of a coil or discrete input: bits."""
        length = _string_length(self.type)
        if length is not None:
            return (length + 1) // 2
        return {"h": 1, "i": 2, "q": 4, "f": 2, "d": 4}[_STRUCT[self.type].lower()]

    @property
    def gives(self) -> Gives:
        if self.map is not None or is_string(self.type):
            return Gives.TEXT
        return Gives.BOOL if self.bit is not None or self.type == "bool" else Gives.NUMBER

    def value(self, registers: Sequence[int]) -> Value:
        """The value that exactly `self.registers` registers (or one coil, as 0 or 1) hold.

        NoReading when they hold none.
        """
        raw = self._raw(registers)
        if raw in self.invalid:
            raise NoReading(f"the device has no reading (raw value {raw})")
        if isinstance(raw, str):
            return raw
        if self.bit is not None:
            raw = int(raw) >> self.bit & 1
        if self.map is not None:
            return self.map.get(int(raw), str(int(raw)))
        if self.bit is not None or self.type == "bool":
            return bool(raw)
        return self._rounded(self._scaled(raw))

    def encode(self, value: Value) -> tuple[int, ...]:
        """The registers that hold `value`, or come nearest to it: the way back of type, byte order, scale,
        offset and map. A point with `bit` has a `mask` instead.

        Unfit when they cannot hold it, or what they would hold means "no reading".
        """
        words = self._words(self._packed(value))
        if self.invalid and self._raw(words) in self.invalid:
            raise Unfit(f"{_told(value)} would be read as no value at all (invalid)")
        return words

    def mask(self, value: Value) -> tuple[int, int]:
        """The AND and the OR mask that give `bit` this value and leave the others of its register alone.

        Unfit when it is no value of a bit.
        """
        assert self.bit is not None
        if self.map is None and not isinstance(value, bool):
            raise Unfit(f"{_told(value)} is no bool")
        (bit,) = self._words(pack(">H", 1 << self.bit))
        return bit ^ 0xFFFF, bit if (value if self.map is None else self._unmapped(value)) else 0

    def _words(self, octets: bytes) -> tuple[int, ...]:
        """Whole registers, as the device orders them; `octets` begin with the most significant one."""
        order = "<" if self.byte_order in _BYTES_SWAPPED else ">"
        words: tuple[int, ...] = unpack(f"{order}{len(octets) // 2}H", octets)
        return words[::-1] if self.byte_order in _WORDS_REVERSED else words

    def _packed(self, value: Value) -> bytes:
        """Whole registers, most significant byte first."""
        if (length := _string_length(self.type)) is not None:
            return _text(value, length).ljust(2 * self.registers, b"\0")
        if self.map is not None:
            return pack(">" + _STRUCT[self.type], self._unmapped(value))
        if isinstance(value, str) or (self.type == "bool" and not isinstance(value, bool)):
            raise Unfit(f"{_told(value)} is no {self.type}")
        try:
            raw = self._unscaled(value)
            if isfinite(raw):
                return pack(">" + _STRUCT[self.type], raw)
        except (error, OverflowError, ValueError):  # ValueError: not a number
            pass
        raise Unfit(f"{_told(value)} does not fit {self.type}")

    def _unmapped(self, value: Value) -> int:
        """The raw value with this text, or this raw value itself, if it has a text."""
        for raw, text in (self.map or {}).items():
            if value == text or (value == raw and not isinstance(value, bool)):
                return raw
        raise Unfit(f"{_told(value)} is none of {', '.join((self.map or {}).values())}")

    def _unscaled(self, value: int | float) -> int | float:
        number = int(value) if isinstance(value, bool) else value
        if not is_integer(self.type) and self.scale == 1 and self.offset == 0:
            return number
        raw = (Decimal(repr(number)) - Decimal(repr(self.offset))) / Decimal(repr(self.scale))
        return int(raw.to_integral_value()) if is_integer(self.type) else float(raw)

    def _raw(self, registers: Sequence[int]) -> int | float | str:
        words = reversed(registers) if self.byte_order in _WORDS_REVERSED else registers
        order = "<" if self.byte_order in _BYTES_SWAPPED else ">"
        octets = b"".join(pack(order + "H", word) for word in words)
        length = _string_length(self.type)
        if length is not None:
            return octets[:length].decode(errors="replace").strip("\0 ")
        raw: int | float = unpack(">" + _STRUCT[self.type], octets)[0]
        if not isfinite(raw):
            raise NoReading("not a number" if raw != raw else "an infinite number")
        return _shortest(octets, raw) if self.type == "float32" else raw

    def _scaled(self, raw: int | float) -> int | float:
        if self.scale == 1 and self.offset == 0:
            return raw
        if isinstance(raw, int) and isinstance(self.scale, int) and isinstance(self.offset, int):
            return raw * self.scale + self.offset
        scaled = float(Decimal(repr(raw)) * Decimal(repr(self.scale)) + Decimal(repr(self.offset)))
        if not isfinite(scaled):
            raise NoReading(f"raw value {raw} is too large for its scale")
        return scaled

    def _rounded(self, value: int | float) -> int | float:
        if self.decimals is None:
            return value
        return round(value, self.decimals) if self.decimals else round(value)


def _text(value: Value, length: int) -> bytes:
    if not isinstance(value, str):
        raise Unfit(f"{_told(value)} is no text")
    try:
        octets = value.encode()
    except UnicodeEncodeError:  # JSON can write half of a character
        raise Unfit(f"{_told(value)} is no text that UTF-8 can hold") from None
    if len(octets) > length:
        raise Unfit(f"{_told(value)} is longer than {length} bytes")
    return octets


def _told(value: Value) -> str:
    """For one sentence: as JSON has it, but a text in single quotes, and nothing longer than it can bear."""
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}..."


def _shortest(octets: bytes, value: float) -> float:
    """The number with the fewest digits that is the same float32."""
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        if pack(">f", short) == octets:
            return short
    return float(f"{value:.9g}")
