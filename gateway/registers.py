"""Value types of config keys that speak of Modbus registers: devices read them, links write them; and how a
link names a point of a device.
"""

from collections.abc import Collection
from math import isfinite
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from .wire.points import TYPES, Gives, check_type

LAST_ADDRESS = 65535


def _address(value: int) -> int:
    if 0 <= value <= LAST_ADDRESS:
        return value
    hint = f": manuals write {value} for {(value - 1) % 100_000}" if 100_000 < value <= 465_536 else ""
    raise ValueError(f"an address is 0 to {LAST_ADDRESS}{hint}")


def finite(value: object) -> int | float:
    """ValueError when it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("a number, for example 0.01")
    return value


def _scale(value: object) -> int | float:
    if not (factor := finite(value)):
        raise ValueError("a scale of 0 would make every value the same")
    return factor


Address = Annotated[
    int,
    AfterValidator(_address),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": LAST_ADDRESS}),
]
PointType = Annotated[
    str,
    AfterValidator(check_type),
    WithJsonSchema(
        {"anyOf": [{"enum": list(TYPES[:-1])}, {"type": "string", "pattern": r"^string\(\d{1,3}\)$"}]}
    ),
]
ByteOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]
Scale = Annotated[int | float, PlainValidator(_scale), WithJsonSchema({"type": "number"})]
Offset = Annotated[int | float, PlainValidator(finite), WithJsonSchema({"type": "number"})]
"""value = raw * scale + offset."""


def _deadband(value: object) -> int | float:
    if (number := finite(value)) < 0:
        raise ValueError("a deadband is 0 or more, in the point's unit")
    return number


Deadband = Annotated[int | float, PlainValidator(_deadband), WithJsonSchema({"type": "number", "minimum": 0})]


class Source(NamedTuple):
    """`key` of a link's table names a point of a device, or a value of a port, whose values have to be one of
    `takes`.
    """

    key: tuple[str | int, ...]
    device: str
    point: str
    takes: Collection[Gives]
