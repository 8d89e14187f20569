"""Registers as values, and values as registers, for gatewayctl read and write: by the words of the config
file for types and byte orders.
"""

from collections.abc import Sequence

from ..wire.points import BYTE_ORDERS, TYPES, Codec, NoReading, Unfit, Value, check_type, is_float, is_string

_SAME_IN_ALL_ORDERS = ("bool",)


def codec(kind: str, byte_order: str = "ABCD") -> Codec:
    """ValueError when there is no such type or byte order."""
    if byte_order not in BYTE_ORDERS:
        raise ValueError(f"a byte order is one of {' '.join(BYTE_ORDERS)}")
    return Codec(type=check_type(kind), byte_order=byte_order)


def values(meant: Codec, words: Sequence[int]) -> list[Value | None]:
    """One after the other. None: these registers are no such value."""
    size = meant.registers
    return [_value(meant, words[at : at + size]) for at in range(0, len(words) - size + 1, size)]


def _value(meant: Codec, words: Sequence[int]) -> Value | None:
    try:
        return meant.value(words)
    except NoReading:
        return None


def all_orders(words: Sequence[int]) -> dict[str, dict[str, list[Value | None]]]:
    """By type and byte order, of each type that these registers are enough for."""
    kinds = [kind for kind in TYPES[:-1] if kind not in _SAME_IN_ALL_ORDERS]
    kinds.append(f"string({2 * len(words)})")
    return {
        kind: {order: values(codec(kind, order), words) for order in BYTE_ORDERS}
        for kind in kinds
        if codec(kind).registers <= len(words)
    }


def encoded(meant: Codec, texts: Sequence[str]) -> list[int]:
    """ValueError, in words, for what does not fit."""
    words: list[int] = []
    for text in texts:
        try:
            words += meant.encode(_meant(meant.type, text))
        except (ValueError, Unfit):
            raise ValueError(f"{text} does not fit {meant.type}") from None
    return words


def _meant(kind: str, text: str) -> Value:
    if is_string(kind):
        return text
    if kind == "bool":
        return bit(text) == 1
    return float(text) if is_float(kind) else int(text, 0)


_BITS: dict[str, int] = {"true": 1, "on": 1, "1": 1, "false": 0, "off": 0, "0": 0}


def bit(text: str) -> int:
    """ValueError when it is neither."""
    if text.lower() not in _BITS:
        raise ValueError(f"{text} is neither true nor false")
    return _BITS[text.lower()]


def word(text: str) -> int:
    """A register, also as 0x1F or below 0. ValueError when it is none."""
    try:
        number = int(text, 0)
    except ValueError:
        number = -1 << 16
    if not -0x8000 <= number <= 0xFFFF:
        raise ValueError(f"{text} is no register: -32768 to 65535, or 0x0 to 0xFFFF; --type for other values")
    return number & 0xFFFF
