"""What config tables share: value types with units, the tables that every link has, the models that kinds
extend.

A kind's own `Config` extends LinkConfig or PortConfig in its own file. Importing such a file must stay cheap:
paho, pyserial and ssl are imported by what `build()` makes, not by the model.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar

from . import _no_plugins  # noqa: F401  # isort: skip  (before pydantic)
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from .buffer import Buffer
from .contracts import Frame, Part, Sampled, Stream, Transactor
from .flow import Fan
from .policy.liveness import NAMED, Bounds
from .policy.traffic import Heartbeat

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


def _detect_within(value: object) -> float:
    return NAMED[value] if isinstance(value, str) and value in NAMED else duration(value)


class Liveness(Model):
    """How long a dead far end may go unseen; every socket option and the watchdog follow from it."""

    detect_within: Annotated[
        float,
        BeforeValidator(_detect_within),
        Field(ge=3, le=3600),
        WithJsonSchema({"type": "string", "examples": ["20s", *NAMED]}),
    ] = NAMED["default"]
    read_stall: Annotated[
        Duration | None,
        Field(ge=3, le=86400, description="how long it may not read; as detect_within by default"),
    ] = None
    expect_data_within: Annotated[
        Duration | None, Field(ge=1, description="it is dead when nothing came for so long; off by default")
    ] = None

    def bounds(self, *, speaks: bool = False) -> Bounds:
        """`speaks`: the protocol has a heartbeat of its own."""
        return Bounds(self.detect_within, self.read_stall, self.expect_data_within, speaks)


class Reconnect(Model):
    """Full jitter: each wait is between nothing and twice the last ceiling, from `first` up to `max`."""

    first: Annotated[Duration, Field(gt=0)] = 1.0
    max: Annotated[Duration, Field(gt=0)] = 60.0
    stable: Duration = 30.0
    prefer_after: Annotated[
        Duration | None,
        Field(gt=0, description="back to the first far end when it could be reached for so long; never"),
    ] = None

    def faults(self) -> Iterator[Fault]:
        if self.first > self.max:
            yield Fault(("first",), "first is longer than max")


class Identity(NamedTuple):
    """Who this gateway is, for {name}, {hostname} and {mac} in texts and topics."""

    name: str
    hostname: str
    mac: str

    def fill(self, text: str) -> str:
        """Other braces are left alone."""
        for key, value in self._asdict().items():
            text = text.replace("{" + key + "}", value)
        return text


class Need(NamedTuple):
    """`key` of a link's table names port `port`, which must offer `contract`."""

    key: tuple[str | int, ...]
    port: str
    contract: type


class PortConfig(Model):
    """What every serial port has. A mode adds its own keys in its own file."""

    offers: ClassVar[Mapping[str, type]]  # role -> contract; the first is the default role
    tty: Annotated[
        str, Field(pattern="^/", description='the path of the line, such as "/dev/serial/by-id/..."')
    ]
    mode: str
    baudrate: Annotated[int, Field(ge=50, le=4_000_000, description="bits per second, such as 9600")]
    format: Annotated[
        str,
        Field(
            pattern=r"^[5-8][NEOMS](1|1\.5|2)$",
            description='data bits, parity N E O M S and stop bits, such as "8E1"',
        ),
    ]
    flow: Literal["none", "rts-cts", "xon-xoff"] = "none"
    dtr: bool | None = None
    rts: bool | None = None
    low_latency: bool = True

    @property
    def contract(self) -> type:
        return self.offers[getattr(self, "role", next(iter(self.offers)))]

    @property
    def shape(self) -> object:
        """While this stays equal, a reload keeps the Port object and only restarts its session."""
        return self.mode, self.contract

    @property
    def line(self) -> str:
        return f"{self.baudrate} {self.format}"

    def build(self, name: str, /) -> Part:
        """The port of this name, a part that offers `contract`. Each mode has its own."""
        raise AssertionError(f"{self.mode} builds nothing")


class LinkTables(Model):
    """The tables that every link has, and [defaults.links]."""

    liveness: Annotated[Liveness, Field(description='{ detect_within = "20s" }')] = Liveness()
    reconnect: Annotated[Reconnect, Field(description='{ first = "1s", max = "60s" }')] = Reconnect()


class LinkConfig(LinkTables):
    """What every link has. A kind adds its own keys in its own file."""

    wants: ClassVar[type]  # the contract of the ports that it uses
    kind: str

    @property
    def listens(self) -> Endpoint | None:
        """The address that this link binds, if it does: no two links may share one."""
        return None

    @property
    def idle_traffic(self) -> Heartbeat | None:
        """What it says by itself while nobody has anything to say; None leaves that to TCP's keep-alive."""
        return None

    def completed(self, ports: Mapping[str, PortConfig], devices: Collection[str]) -> Self:
        """With the defaults filled in that depend on the rest of the file."""
        return self

    def needs(self) -> Iterator[Need]:
        """The ports that this link uses."""
        yield from ()

    def samples(self) -> Collection[str]:
        """The devices whose values this link carries; their key is `devices`."""
        return ()

    @property
    def shape(self) -> object:
        """While this stays equal, a reload keeps the Link object and only restarts its session."""
        return self.kind, tuple(self.needs()), tuple(self.samples())

    def build(self, name: str, wiring: "Wiring", /) -> Part:
        """The link of this name, with what it uses of the others. Each kind has its own."""
        raise AssertionError(f"{self.kind} builds nothing")


class Listening(Model):
    """The keys of links that listen. Each kind has its own default of `max_clients`."""

    max_clients: Annotated[int, Field(ge=1, le=1000)] = 32
    when_full_clients: Literal["drop-idle", "refuse"] = "drop-idle"
    kick_old_client: bool = False


class Wiring(Protocol):
    """What a `build()` may ask the site for.

    The config was cross-checked: asking for the wrong contract is our bug.
    """

    @property
    def identity(self) -> Identity: ...

    def stream(self, port: str, /) -> Stream: ...

    def transactor(self, port: str, /) -> Transactor: ...

    def device(self, name: str, /) -> Sampled: ...

    def buffer(self, link: str, fans: Mapping[str, Fan[Frame] | Fan[bytes]], /) -> Buffer:
        """This link's buffer, filled from `fans` (by stream name, "port/scale") for as long as the link is
        configured.
        """


def unit_range(text: str) -> range:
    """ "5" or "1-31": unit ids on the TCP side, 0..255."""
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not 0 <= first <= last <= 255:
        raise ValueError('unit ids are "5" or "1-31", each 0 to 255')
    return range(first, last + 1)
