"""What config tables share: the tables that every link has, the models that kinds extend, and the Wiring.

A kind's own `Config` extends LinkConfig or PortConfig in its own file. Importing such a file must stay cheap:
paho, pyserial and ssl are imported by what `build()` makes, not by the model.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import ceil
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol, Self

from . import _no_plugins  # noqa: F401  # isort: skip  (before pydantic)
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from .buffer import SMALL, Buffer, Durability, Rules
from .contracts import Counted, Frame, Part, Sampled, Stream, Transactor
from .flow import Fan, WhenFull
from .policy.liveness import NAMED, Bounds
from .policy.traffic import Heartbeat
from .registers import Source
from .values import Duration, Endpoint, Fault, Model, Networks, Size, duration
from .wire.points import Gives


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


class Buffering(Model):
    """What a link keeps while its far end is away; each kind of link has its own defaults."""

    size: Annotated[Size, Field(ge=16 * 1024, description="bytes on disk, all included")] = 64 * 1024**2
    age: Annotated[Duration, Field(ge=1, description="what is older is dropped")] = 7 * 86400.0
    when_full: Annotated[WhenFull, Field(strict=False)] = WhenFull.DROP_OLDEST
    durability: Annotated[Durability, Field(strict=False)] = Durability.CRASH
    spill_after: Annotated[
        Duration, Field(ge=1, description="the far end is away: records go to disk after so long")
    ] = 5.0

    def faults(self) -> Iterator[Fault]:
        if self.durability is Durability.POWER and self.size < SMALL:
            yield Fault(("size",), 'with durability = "power" it is at least "1MB"')

    @property
    def rules(self) -> Rules:
        return Rules(self.size, self.age, self.when_full, self.durability, self.spill_after)


class Publish(Model):
    """Which samples of a device, or of a port with values, go up; the status has the newest values."""

    every: Annotated[Duration | None, Field(gt=0, description="at least so often")] = None
    on_change: bool = False

    def faults(self) -> Iterator[Fault]:
        if self.every is None and not self.on_change:
            yield Fault((), "no sample would be published: write every, on_change = true, or both")


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


class Claim(NamedTuple):
    """A link answers the master on `port` for these unit ids; `key` of its table says so."""

    key: tuple[str | int, ...]
    port: str
    units: range


_Delay = Annotated[Duration, Field(le=0.1)]  # RS485_MAX_RTS_DELAY of the kernel


class Rs485(Model):
    """The driver of the tty switches the direction, by RTS."""

    rts_on_send: bool = True
    rts_after_send: Annotated[
        bool | None, Field(description="RTS while others may send; default: the opposite of rts_on_send")
    ] = None
    rx_during_tx: bool = False
    delay_before: _Delay = 0.0
    delay_after: _Delay = 0.0

    def faults(self) -> Iterator[Fault]:
        if self.rts_after_send is self.rts_on_send:
            yield Fault(("rts_after_send",), "as rts_on_send: RTS would never change")
        for key in ("delay_before", "delay_after"):
            if abs(1000 * getattr(self, key) - round(1000 * getattr(self, key))) > 1e-6:
                yield Fault((key,), 'drivers count in whole milliseconds, such as "1ms"')

    @property
    def rts_when_done(self) -> bool:
        return not self.rts_on_send if self.rts_after_send is None else self.rts_after_send


class Direction(Model):
    """The gateway switches it, by a line that is on while we send."""

    rts: bool = False
    gpio: Annotated[
        str | None, Field(pattern=r"^gpiochip\d+:\d{1,5}$", description='such as "gpiochip0:17"')
    ] = None
    inverted: Annotated[bool, Field(description="off while we send")] = False
    delay_before: _Delay = 0.0
    delay_after: _Delay = 0.0

    def faults(self) -> Iterator[Fault]:
        if self.rts is (self.gpio is not None):
            yield Fault((), 'one line switches: rts = true or gpio = "gpiochip0:17"')


_BY_RTS = Direction(rts=True)


class PortConfig(Model):
    """What every serial port has. A mode adds its own keys in its own file."""

    offers: ClassVar[Mapping[str, type]]  # role -> contract; the first is the default role
    tty: Annotated[
        str,
        Field(
            pattern=r"^(/|usb:[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}(:.+)?$)",
            description='the path of the line, such as "/dev/serial/by-id/...", '
            'or its USB adapter, such as "usb:0403:6001:A50285BI"',
        ),
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
    rs485: Annotated[
        Rs485 | None, Field(description="the driver switches who sends; { } has its defaults")
    ] = None
    direction: Annotated[
        Literal["rts"] | Direction | None, Field(description='"rts", or { gpio = "gpiochip0:17" }')
    ] = None

    def faults(self) -> Iterator[Fault]:
        yield from super().faults()
        if self.rs485 is not None and self.direction is not None:
            yield Fault(("direction",), "rs485 lets the driver switch it: one of the two, not both")
        if self.rts_taken:
            if self.flow == "rts-cts":
                yield Fault(("flow",), 'RTS says who sends here: flow is "none" or "xon-xoff" then')
            if self.rts is not None:
                yield Fault(("rts",), "RTS says who sends here: it is not to be set")

    @property
    def turns(self) -> Direction | None:
        """How we switch the direction ourselves, if we do."""
        return _BY_RTS if self.direction == "rts" else self.direction

    @property
    def rts_taken(self) -> bool:
        """RTS switches the direction, whoever does that."""
        return self.rs485 is not None or (self.turns is not None and self.turns.rts)

    @property
    def lead(self) -> float:
        """Seconds between our turn and our first byte."""
        return (self.rs485 or self.turns or _BY_RTS).delay_before

    @property
    def character_bits(self) -> int:
        """With start and stop: what one takes on the wire, at most."""
        return 1 + int(self.format[0]) + (self.format[1] != "N") + ceil(float(self.format[2:]))

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

    @property
    def picks(self) -> Mapping[str, Gives]:
        """The values that it picks from its frames: with some it is Sampled under its own name."""
        return {}

    def busy(self, requests: Iterable[bytes]) -> float:
        """Seconds for which these Modbus requests keep the line busy, if devices answer at once."""
        return 0.0

    def completed(self, response_timeouts: Mapping[int, float]) -> Self:
        """With what the rest of the file says of single units of this line: seconds by unit id."""
        return self

    def needs(self) -> Iterator[Need]:
        """The ports that answer whoever asks on this one."""
        yield from ()

    def answered(self) -> Iterator[tuple[str, range]]:
        """The unit ids for which they do, as they stand in its table `units`."""
        yield from ()

    def build(self, name: str, wiring: "Wiring", /) -> Part:
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
    def udp(self) -> bool:
        """It speaks in datagrams: its addresses are not those of TCP, and at rest it says nothing."""
        return False

    @property
    def connections(self) -> bool:
        """It has some, and their upkeep costs traffic while nobody has anything to say."""
        return not self.udp

    @property
    def idle_traffic(self) -> Heartbeat | None:
        """What it says by itself while nobody has anything to say; None leaves that to TCP's keep-alive."""
        return None

    @property
    def keeps(self) -> Rules | None:
        """What its buffer keeps, and how; None: it has none."""
        return None

    def completed(self, ports: Mapping[str, PortConfig], devices: Collection[str]) -> Self:
        """With the defaults filled in that depend on the rest of the file."""
        return self

    def needs(self) -> Iterator[Need]:
        """The ports that this link uses."""
        yield from ()

    def claims(self) -> Iterator[Claim]:
        """What this link, which is a Transactor then, answers for."""
        yield from ()

    def samples(self) -> Collection[str]:
        """The devices, and ports with values, whose values this link carries.

        Their key is `devices`, or `points` has the keys.
        """
        return ()

    def points(self) -> Iterator[Source]:
        """The points that this link names one by one."""
        yield from ()

    @property
    def shape(self) -> object:
        """While this stays equal, a reload keeps the Link object and only restarts its session."""
        return self.kind, tuple(self.needs()), tuple(self.samples())

    def build(self, name: str, wiring: "Wiring", /) -> Part:
        """The link of this name, with what it uses of the others. Each kind has its own."""
        raise AssertionError(f"{self.kind} builds nothing")


def _not_nobody(networks: Networks) -> Networks:
    if not networks:
        raise ValueError("nobody could connect: without allow everybody may")
    return networks


class Listening(Model):
    """The keys of links that listen. Each kind has its own default of `max_clients`."""

    max_clients: Annotated[int, Field(ge=1, le=1000)] = 32
    when_full_clients: Literal["drop-idle", "refuse"] = "drop-idle"
    kick_old_client: bool = False
    allow: Annotated[
        Networks, AfterValidator(_not_nobody), Field(description='who may connect, such as ["10.0.0.0/8"]')
    ] = ()

    @property
    def places(self) -> int:
        """For how many at once there is room."""
        return self.max_clients


class Wiring(Protocol):
    """What a `build()` may ask the site for.

    The config was cross-checked: asking for the wrong contract is our bug.
    """

    @property
    def identity(self) -> Identity: ...

    def stream(self, port: str, /) -> Stream: ...

    def transactor(self, port: str, /) -> Transactor: ...

    def counted(self, port: str, /) -> Counted:
        """Of the same ports as `transactor`."""

    def uptime(self) -> float:
        """Seconds since the gateway was started."""

    def device(self, name: str, /) -> Sampled:
        """Or of a port with values."""

    def buffer(self, link: str, fans: Mapping[str, Fan[Frame] | Fan[bytes]], /) -> Buffer:
        """This link's buffer, filled from `fans` (by stream name, "port/scale") for as long as the link is
        configured.
        """
