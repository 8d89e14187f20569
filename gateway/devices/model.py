"""[devices.*], [models.*] and their points as they stand in the file, and how a device and its model become
one.

Addresses are kept as they were written. `DeviceConfig.with_model` turns them into those on the wire: a
model's points count from the model's `address_base`, a device's own from its own, or from its model's when it
has none.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    Field,
    PlainValidator,
    WithJsonSchema,
)

from ..contracts import COMMAND_KEYS
from ..registers import LAST_ADDRESS, Address, ByteOrder, Deadband, Offset, PointType, Scale, finite
from ..settings import Publish
from ..values import Duration, Fault, Model, report
from ..wire.points import Codec, Gives, Table, Unfit, is_float, is_integer, is_string, raw_integer
from ..wire.writes import MOST

T = TypeVar("T")
_ONE_REGISTER = ("bool", "int16", "uint16")


def _raw_values(value: object) -> tuple[int | float | str, ...]:
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(item if isinstance(item, str) else finite(item) for item in values)


Limit = Annotated[int | float | None, PlainValidator(finite), WithJsonSchema({"type": "number"})]
"""In the point's unit."""

_SCALAR = {"type": ["number", "string"]}

_LIMITS = frozenset({"min", "max"})
_ALWAYS = frozenset({*Table, "type", "unit", "writable", *_LIMITS})
_ANY_REGISTER = frozenset({"byte_order", "invalid"})
_NUMBER = frozenset({"scale", "offset", "decimals", "deadband"})


class Point(Model):
    """One value of a device: where it is, and how to read what is there."""

    input: Address | None = None
    holding: Address | None = None
    coil: Address | None = None
    discrete_input: Address | None = None
    type: PointType | None = Field(None, description="default: uint16 of a register, bool of a coil")
    byte_order: ByteOrder = "ABCD"
    scale: Scale = 1
    offset: Offset = 0
    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    map: dict[str, str] | None = None
    invalid: Annotated[
        tuple[int | float | str, ...],
        PlainValidator(_raw_values),
        WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}),
    ] = ()
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    deadband: Deadband | None = None
    unit: str | None = None
    writable: Annotated[bool, Field(description="it may be written through MQTT")] = False
    min: Limit = None
    max: Limit = None

    def faults(self) -> Iterator[Fault]:
        yield from self._misplaced() or [*self._misfits()] or self._miswritten()

    @property
    def table(self) -> Table:
        return next(table for table in Table if getattr(self, table) is not None)

    @property
    def address(self) -> int:
        """As it was written; of a device that went through `with_model`: as it is on the wire."""
        address: int = getattr(self, self.table)
        return address

    @property
    def type_name(self) -> str:
        return self.type or ("bool" if self.table.bits else "uint16")

    @property
    def codec(self) -> Codec:
        return Codec(
            type=self.type_name,
            byte_order=self.byte_order,
            scale=self.scale,
            offset=self.offset,
            bit=self.bit,
            map=None if self.map is None else {self._key(key): text for key, text in self.map.items()},
            invalid=tuple(self._mark(mark) for mark in self.invalid),
            decimals=self.decimals,
        )

    def _misplaced(self) -> list[Fault]:
        tables = [table for table in Table if getattr(self, table) is not None]
        match tables:
            case []:
                return [Fault((), f"where is it? write one of {', '.join(Table)} = ADDRESS")]
            case [_]:
                return []
        return [Fault((tables[-1],), f"a point has one address: {' or '.join(tables)}")]

    def _misfits(self) -> Iterator[Fault]:
        if self.table.bits and self.type_name != "bool":
            yield Fault(("type",), f"a {self.table} is one bit: no {self.type}")
        elif self.type == "bool" and not self.table.bits and self.bit is None:
            yield Fault(("type",), "a register has 16 bits: say which one, bit = 0 to 15")
        else:
            what, allowed = self._may_say()
            for key in sorted(self.model_fields_set - allowed - _ALWAYS):
                yield Fault((key,), f"{key} does not go with {what}")
            yield from _unreadable("map", self._key, self.map or ())
            yield from _unreadable("invalid", self._mark, self.invalid)

    def _miswritten(self) -> Iterator[Fault]:
        """What does not fit in how it is written; of a point that can be read."""
        limits = {key: getattr(self, key) for key in sorted(self.model_fields_set & _LIMITS)}
        if not self.writable:
            for key in limits:
                yield Fault((key,), f"{key} limits what may be written: it goes with writable = true")
            return
        if self.table not in MOST:
            yield Fault(("writable",), f"writable does not go with {self.table}: that can only be read")
            return
        if self.codec.registers > MOST[self.table]:
            yield Fault(("type",), f"one write takes string({2 * MOST[self.table]}) at most")
        for text, count in Counter((self.map or {}).values()).items():
            if count > 1:
                yield Fault(("map",), f'which raw value is to be written for "{text}"? there are {count}')
        yield from self._beyond(limits)

    def _beyond(self, limits: Mapping[str, int | float]) -> Iterator[Fault]:
        if self.codec.gives is not Gives.NUMBER:
            for key in limits:
                yield Fault((key,), f"{key} goes with numbers")
            return
        for key, limit in limits.items():
            try:
                self.codec.encode(limit)
            except Unfit as unfit:
                yield Fault((key,), str(unfit))
        if self.min is not None and self.max is not None and self.min > self.max:
            yield Fault(("min",), f"min is more than max: nothing lies between {self.min} and {self.max}")

    def _may_say(self) -> tuple[str, frozenset[str]]:
        """What kind of point this is, and the keys that mean something for it."""
        name = self.type_name
        if self.table.bits:
            return f"a {self.table}: it is one bit", frozenset({"map"})
        if self.bit is not None and name in _ONE_REGISTER:
            return "bit: one bit is no number", _ANY_REGISTER | {"bit", "map"}
        if self.bit is not None:
            others = frozenset(self.model_fields_set) - {"bit"}
            return f"{name}: it is one of the 16 bits of a register", others
        if is_string(name):
            return name, _ANY_REGISTER
        if is_float(name):
            return name, _ANY_REGISTER | _NUMBER
        if self.map is not None:
            return "map, which makes a text of the raw value", _ANY_REGISTER | {"map"}
        return name, _ANY_REGISTER | _NUMBER

    def _key(self, text: str) -> int:
        """A key of `map` as the raw value that it stands for."""
        try:
            number = int(text, 0)
        except ValueError:
            raise ValueError(f'"{text}" is no raw value: write whole numbers, {{ "0" = "off" }}') from None
        if self.table.bits or self.bit is not None:
            if number not in (0, 1):
                raise ValueError(f"a bit is 0 or 1, never {number}")
            return number
        return raw_integer(self.type_name, number)

    def _mark(self, mark: int | float | str) -> int | float | str:
        """A value of `invalid` as the codec meets it. For a bit it is that of the whole register."""
        name = "uint16" if self.type_name == "bool" else self.type_name
        if is_string(name) != isinstance(mark, str):
            raise ValueError(f"{name} is never {mark!r}")
        if isinstance(mark, float) and not is_float(name):
            raise ValueError(f"{mark} is no {name}: a raw value is a whole number")
        return raw_integer(name, mark) if is_integer(name) and isinstance(mark, int) else mark


def _unreadable(where: str, read: Callable[[T], object], values: Iterable[T]) -> Iterator[Fault]:
    for value in values:
        try:
            read(value)
        except ValueError as wrong:
            yield Fault((where,), str(wrong))


Points = dict[str, Point]


class ModelConfig(Model):
    """[models.NAME]: a kind of device, described once."""

    address_base: Literal[0, 1] = 0
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    max_gap: Annotated[int, Field(ge=0, le=124)] = 10
    points: Annotated[Points, Field(description="its points, [models.NAME.points]")]

    def faults(self) -> Iterator[Fault]:
        yield from _misfits(self.points, self.address_base, self.max_registers)


class DeviceConfig(Model):
    """[devices.NAME]. Complete only after `with_model`."""

    port: Annotated[str, Field(description="the name of a [ports] table")]
    unit_id: Annotated[int, Field(ge=1, le=247, description="the address of the device, 1 to 247")]
    model: str | None = None
    poll_interval: Annotated[Duration, Field(gt=0)] = 5.0
    response_timeout: Annotated[
        Duration | None, Field(gt=0, description="of this unit, whoever asks it; as its port by default")
    ] = None
    publish: Annotated[Publish | None, Field(description='{ every = "5m", on_change = true }')] = None
    address_base: Literal[0, 1] = 0
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    max_gap: Annotated[int, Field(ge=0, le=124)] = 10
    points: Points = Field(default_factory=dict)

    @property
    def shape(self) -> object:
        """While this stays equal, a reload keeps the Device object and only restarts its session.

        Links ask only once, when they connect, whether a device takes commands.
        """
        return self.port, bool(self.writable)

    @property
    def writable(self) -> Mapping[str, Point]:
        """Its points that may be written."""
        return {name: point for name, point in self.points.items() if point.writable}

    def faults(self) -> Iterator[Fault]:
        if self.publish and self.publish.every and self.publish.every < self.poll_interval:
            yield Fault(("publish", "every"), "there are no samples that often: see poll_interval")
        if self.model is None:  # else `with_model` knows more
            yield from _misfits(self.points, self.address_base, self.max_registers)

    def with_model(self, model: ModelConfig | None) -> Self:
        """With the model's points and limits beside its own, and all addresses as they are on the wire.

        ValidationError, with places below this device's table, when both together do not fit.
        """
        inherited = ("address_base", "max_registers", "max_gap")
        own = {key: getattr(self, key) for key in inherited if key in self.model_fields_set}
        settings = {key: getattr(model or self, key) for key in inherited} | own
        base, most = settings["address_base"], settings["max_registers"]
        problems = [*_misfits(self.points, base, most)]
        points = _moved(self.points, base)
        if model is not None:
            theirs = {name: point for name, point in model.points.items() if name not in points}
            problems += _misfits(theirs, model.address_base, most)
            points = _moved(theirs, model.address_base) | points
        if not points:
            problems.append(Fault((), "no points: write [devices.NAME.points] or name a model"))
        report("DeviceConfig", problems)
        return self.model_copy(update={**settings, "address_base": 0, "points": points})


def _misfits(points: Points, base: int, max_registers: int) -> Iterator[Fault]:
    for name, point in points.items():
        first, width = point.address - base, point.codec.registers
        where, type_name = ("points", name, point.table), point.type_name
        if point.writable and name in COMMAND_KEYS:
            yield Fault(
                ("points", name), f'"{name}" has a meaning of its own in commands: choose another name'
            )
        if first < 0:
            yield Fault(where, "addresses count from 1 here (address_base = 1): there is no 0")
        elif first + width - 1 > LAST_ADDRESS:
            yield Fault(where, f"{type_name} takes {width} registers: it would end behind {LAST_ADDRESS}")
        elif width > max_registers:
            most = f"one read may fetch {max_registers} (max_registers)"
            yield Fault(where, f"{type_name} takes {width} registers, but {most}")


def _moved(points: Points, base: int) -> Points:
    """Addresses that count from `base` as they are on the wire, where they count from 0."""
    if not base:
        return points
    return {
        name: point.model_copy(update={point.table.value: point.address - base})
        for name, point in points.items()
    }
