"""What single values of the config file are: durations, sizes, paths, addresses, bytes; and Model, what a
table of them is.

Importing this must stay cheap: every program of ours does it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_interface
from pathlib import Path
from typing import Annotated, NamedTuple, Self, TypeVar

from . import _no_plugins  # noqa: F401  # isort: skip  (before pydantic)
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from .policy.access import Network

T = TypeVar("T")


class Fault(NamedTuple):
    """Something that does not fit; `key` is where, from the table that found it."""

    key: tuple[str | int, ...]
    text: str


def report(title: str, faults: Iterable[Fault]) -> None:
    """ValidationError if there are any, in which each keeps its place."""
    details = [
        InitErrorDetails(type=PydanticCustomError("fault", fault.text), loc=fault.key, input=None)
        for fault in faults
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)


class Model(BaseModel):
    """A table of the config file: frozen, strict, and every unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def faults(self) -> Iterator[Fault]:
        """What does not fit together, of values that are each right."""
        yield from ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        report(type(self).__name__, self.faults())
        return self


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


_BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


def duration(value: object) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d)", value) if isinstance(value, str) else None
    if not found:
        raise ValueError('a time is a number and its unit in quotes: "500ms", "20s", "5m", "2h", "7d"')
    return float(found[1]) * _SECONDS[found[2]]


def _size(value: object) -> int:
    found = re.fullmatch(r"(\d+) ?(B|KB|MB|GB)", value) if isinstance(value, str) else None
    if not found:
        raise ValueError('a size is a number and its unit in quotes: "512B", "64KB", "1MB", "2GB"')
    return int(found[1]) * _BYTES[found[2]]


Duration = Annotated[
    float,
    BeforeValidator(duration),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)? ?(ms|s|m|h|d)$"}),
]


"""Seconds, written as "20s"."""


Size = Annotated[
    int, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": r"^\d+ ?(B|KB|MB|GB)$"})
]


"""Bytes, written as "64KB"."""


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError('a path is text in quotes: "ca.pem"')
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / value


FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]


"""Relative to the config file, which validation gets as `context={"folder": ...}`."""


Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]


"""A list of names, kept as a tuple so that frozen models stay comparable and hashable."""


class Endpoint(NamedTuple):
    """A host and a TCP port. An empty host, when listening, is every address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(value: object, *, need_host: bool = True) -> Endpoint:
    """ "host:port", "[2001:db8::1]:port"; with `need_host=False` also ":port"."""
    found = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})", str(value))
    host = found and (found["v6"] or found["host"])
    if not found or not (host or not need_host):
        raise ValueError('an address is written "10.0.0.5:502"' + ("" if need_host else ' or ":502"'))
    if not 1 <= int(found["port"]) <= 65535:
        raise ValueError("a TCP port is 1 to 65535")
    return Endpoint(host or "", int(found["port"]))


def one_or_more(read: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """Of a text, or of a list of them: the far ends of a link, the preferred one first."""

    def each(value: object) -> tuple[T, ...]:
        written = value if isinstance(value, list) else [value]
        if not written:
            raise ValueError("at least one is needed")
        return tuple(read(one) for one in written)

    return each


ONE_OR_MORE = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
)


Connect = Annotated[tuple[Endpoint, ...], BeforeValidator(one_or_more(endpoint)), ONE_OR_MORE]


Listen = Annotated[
    Endpoint,
    BeforeValidator(lambda value: endpoint(value, need_host=False)),
    WithJsonSchema({"type": "string"}),
]


def network(value: object) -> Network:
    """ "10.0.0.8", "10.0.0.0/8", "2001:db8::/32"; what IPv6 calls ::ffff:10.0.0.8 is 10.0.0.8."""
    if not isinstance(value, str):
        raise ValueError('addresses stand in quotes: "10.0.0.8" or "10.0.0.0/8"')
    try:
        one = ip_interface(value)
    except ValueError:
        raise ValueError('an address is written "10.0.0.8" or "10.0.0.0/8", and never by name') from None
    whole = one.network
    if one.ip != whole.network_address:
        raise ValueError(f'write "{whole}", or for that one address "{one.ip}"')
    if isinstance(whole, IPv6Network) and whole.prefixlen >= 96 and (v4 := whole.network_address.ipv4_mapped):
        return IPv4Network((v4, whole.prefixlen - 96))
    return whole


Networks = Annotated[
    tuple[Annotated[Network, PlainValidator(network), WithJsonSchema({"type": "string"})], ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
]


def _port_name(value: object) -> object:
    if isinstance(value, int):
        raise ValueError("port is the name of a [ports] table; the TCP port goes into listen")
    return value


PortName = Annotated[str, BeforeValidator(_port_name), Field(description="the name of a [ports] table")]


class Octets(Model):
    """Bytes: { text = "..." } (UTF-8) or { hex = "02 03" }."""

    text: str | None = None
    hex: str | None = None

    def faults(self) -> Iterator[Fault]:
        if (self.text is None) == (self.hex is None):
            yield Fault((), 'bytes are written { text = "..." } or { hex = "02 03" }')
        elif self.hex is not None and not re.fullmatch(r"\s*([0-9A-Fa-f]{2}\s*)*", self.hex):
            yield Fault(("hex",), 'pairs of hexadecimal digits: "02 03"')
        elif not self.octets:
            yield Fault((), "at least one byte is needed")

    @property
    def octets(self) -> bytes:
        if self.text is not None:
            return self.text.encode()
        return bytes.fromhex(self.hex or "")


def unit_range(text: str) -> range:
    """ "5" or "1-31": unit ids on the TCP side, 0..255."""
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not 0 <= first <= last <= 255:
        raise ValueError('unit ids are "5" or "1-31", each 0 to 255')
    return range(first, last + 1)
