"""kind = "modbus-client": we ask a Modbus TCP server, on behalf of the master on a serial line, and to write
device values into its registers.
"""

from asyncio import Future, get_running_loop
from collections.abc import Collection, Iterator, Mapping
from time import time
from typing import Annotated, ClassVar, Literal, Never

from pydantic import AfterValidator, Field, model_validator

from ..buffer import Buffer, Rules
from ..contracts import Asking, Part, Request, Sampled, Traced
from ..flow import Fan
from ..host.threads import in_thread
from ..policy import traffic
from ..policy.liveness import profile
from ..ports._units import ranges
from ..registers import LAST_ADDRESS, Address, ByteOrder, Offset, PointType, Scale, Source
from ..scope import Scope
from ..settings import Buffering, Claim, LinkConfig, Need, Wiring
from ..status import Life, PartStatus
from ..values import Connect, Endpoint, Fault, Model, PortName
from ..wire.points import Codec, Gives, Table, Unfit, is_string
from ..wire.reads import read_request
from ..wire.writes import MOST
from ._asking import Conversation, Party, asking
from ._failover import Failover
from ._push import Layout, Slot, clashes
from ._pushing import Past, Pushing
from ._remote import Remote, There, unit_faults, unit_ids
from ._tls import Tls

_YEAR_2100 = 4_102_444_800  # seconds since the epoch
_PUSHING = ("unit_id", "keep", "timestamp", "alive", "buffer")  # keys that go with push


class Number(Model):
    """How a number stands in registers, in the words of points."""

    byte_order: ByteOrder = "ABCD"
    scale: Scale = 1
    offset: Offset = 0

    def codec(self, type_name: str) -> Codec:
        return Codec(type=type_name, byte_order=self.byte_order, scale=self.scale, offset=self.offset)


class Target(Number):
    """Where a value goes, and as what."""

    holding: Address | None = None
    coil: Address | None = None
    type: PointType | None = Field(None, description="default: uint16 in registers, bool in a coil")

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, table: object) -> object:
        """DEVICE.POINT without quotes is a table in a table."""
        if isinstance(table, dict) and any(isinstance(value, dict) for value in table.values()):
            raise ValueError('a name with a dot goes into quotes: "DEVICE.POINT" = { holding = ADDRESS }')
        return table

    def faults(self) -> Iterator[Fault]:
        if (self.holding is None) == (self.coil is None):
            yield Fault((), "where does it go? write holding = ADDRESS or coil = ADDRESS")
        elif self.coil is not None:
            for key in sorted(self.model_fields_set - {"coil", "type"}):
                yield Fault((key,), f"{key} does not go with a coil: it is one bit")
            if self.type_name != "bool":
                yield Fault(("type",), f"a coil is one bit: no {self.type}")
        else:
            yield from self._unfit_for_registers()

    def _unfit_for_registers(self) -> Iterator[Fault]:
        if self.type_name == "bool":
            yield Fault(
                ("type",), "a bit of a register cannot be written alone: bools go into coils, or a uint16"
            )
        elif is_string(self.type_name):
            if self.slot("").codec.registers > MOST[Table.HOLDING]:
                yield Fault(("type",), f"one write takes string({2 * MOST[Table.HOLDING]}) at most")
            for key in sorted(self.model_fields_set & {"scale", "offset"}):
                yield Fault((key,), f"{key} does not go with {self.type}")
        yield from _beyond(self.slot(""))

    @property
    def type_name(self) -> str:
        return self.type or ("uint16" if self.coil is None else "bool")

    @property
    def takes(self) -> Collection[Gives]:
        if is_string(self.type_name):
            return (Gives.TEXT,)
        return (Gives.BOOL,) if self.coil is not None else (Gives.NUMBER, Gives.BOOL)

    def slot(self, name: str) -> Slot:
        device, _, point = name.partition(".")
        table, address = (Table.HOLDING, self.holding) if self.coil is None else (Table.COIL, self.coil)
        assert address is not None
        return Slot(name, table, address, self.codec(self.type_name), device, point)


class Timestamp(Number):
    """When the values were read: value = raw * scale + offset seconds since the epoch."""

    holding: Address
    type: Literal["uint32", "uint64", "float64"] = "uint32"

    def faults(self) -> Iterator[Fault]:
        try:
            self.slot.codec.encode(_YEAR_2100)
        except Unfit:
            yield Fault((), f"the time of this century does not fit {self.type} with this scale and offset")
        yield from _beyond(self.slot)

    @property
    def slot(self) -> Slot:
        return Slot("timestamp", Table.HOLDING, self.holding, self.codec(self.type))


class Alive(Model):
    """A register that counts up, from 0 to 65535 and over again."""

    holding: Address

    @property
    def slot(self) -> Slot:
        return Slot("alive", Table.HOLDING, self.holding, Codec())


def _beyond(slot: Slot) -> Iterator[Fault]:
    if slot.end - 1 > LAST_ADDRESS:
        yield Fault(
            (slot.table,),
            f"{slot.codec.type} takes {slot.codec.registers} registers: it would end behind {LAST_ADDRESS}",
        )


def _not_empty(push: dict[str, Target]) -> dict[str, Target]:
    if not push:
        raise ValueError('nothing is pushed: write "DEVICE.POINT" = { holding = ADDRESS }')
    return push


class Config(LinkConfig):
    """[links.NAME] with kind = "modbus-client"."""

    wants: ClassVar[type] = Asking
    kind: Literal["modbus-client"]
    connect: Annotated[Connect, Field(description='the server, such as "10.0.0.7:502"')]
    port: PortName | None = None
    units: Annotated[
        dict[str, There], Field(description='unit ids of the line: "1-9" = {}, "20" = { unit_id = 255 }')
    ] = Field(default_factory=dict)
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    push: Annotated[
        dict[str, Target],
        AfterValidator(_not_empty),
        Field(description='what is written where: "DEVICE.POINT" = { holding = ADDRESS }'),
    ] = Field(default_factory=dict)
    keep: Literal["newest", "all"] = "newest"
    timestamp: Annotated[Timestamp | None, Field(description="{ holding = ADDRESS }")] = None
    alive: Annotated[Alive | None, Field(description="{ holding = ADDRESS }")] = None
    buffer: Annotated[Buffering, Field(description='{ size = "64MB", age = "7d" }')] = Buffering()
    tls: Annotated[Tls | None, Field(description='{ ca = "ca.pem" }, or {} to trust the system\'s')] = None

    def faults(self) -> Iterator[Fault]:
        yield from unit_faults(self.units)
        if self.port is not None and not self.units:
            yield Fault((), "which unit ids are for us? write a table [links.NAME.units]")
        elif self.port is None and self.units:
            yield Fault(("units",), "units goes with port: the line whose master asks")
        yield from self._push_faults()

    def _push_faults(self) -> Iterator[Fault]:
        if not self.push:
            if self.port is None:
                yield Fault((), "what for? write a table [links.NAME.push], or port and [links.NAME.units]")
            for key in _PUSHING:
                if key in self.model_fields_set:
                    yield Fault((key,), f"{key} goes with push")
        for name in self.push:
            if not all(name.partition(".")):
                yield Fault(("push", name), 'a value is named "DEVICE.POINT"')
        if self.keep == "newest":
            for key in sorted(self.model_fields_set & {"timestamp", "buffer"}):
                yield Fault((key,), f'{key} goes with keep = "all"')
        for slot, other in clashes([*self.layout.slots]):
            yield Fault(_key(slot), f"that is the place of {other}")

    @property
    def layout(self) -> Layout:
        points: dict[str, list[Slot]] = {}
        for name, target in self.push.items():
            slot = target.slot(name)
            points.setdefault(slot.device, []).append(slot)
        return Layout(
            points,
            None if self.timestamp is None else self.timestamp.slot,
            None if self.alive is None else self.alive.slot,
        )

    @property
    def idle_traffic(self) -> traffic.Heartbeat:
        return traffic.read(profile(self.liveness.bounds(speaks=True)).heartbeat, tls=self.tls is not None)

    @property
    def keeps(self) -> Rules | None:
        return self.buffer.rules if self.keep == "all" else None

    def samples(self) -> Collection[str]:
        return tuple(dict.fromkeys(source.device for source in self.points()))

    def points(self) -> Iterator[Source]:
        for name, target in self.push.items():
            device, _, point = name.partition(".")
            if device and point:
                yield Source(("push", name), device, point, target.takes)

    @property
    def shape(self) -> object:
        return super().shape, self.keep

    def needs(self) -> Iterator[Need]:
        if self.port is not None:
            yield Need(("port",), self.port, Asking)

    def claims(self) -> Iterator[Claim]:
        if self.port is not None:
            for text, units in ranges(self.units):
                yield Claim(("units", text), self.port, units)

    @property
    def unit_ids(self) -> Mapping[int, int]:
        return unit_ids(self.units)

    def party(self, end: Endpoint) -> Party:
        """Asked for a value that it is given anyway, it has something harmless to answer; else for the first
        holding register of the first of `units`.
        """
        unit, harmless = next(iter(self.unit_ids.values()), 0), read_request(Table.HOLDING, 0, 1)
        if self.push:
            slot = next(self.layout.slots)
            unit, harmless = self.unit_id, read_request(slot.table, slot.address, slot.codec.registers)
        return Party(
            end=end,
            unit=unit,
            harmless=harmless,
            bounds=self.liveness.bounds(speaks=True),
            only_unit=not self.units,
        )

    def build(self, name: str, wiring: Wiring, /) -> Part:
        devices = {device: wiring.device(device) for device in self.samples()}
        if self.keep == "newest":
            return Link(self, devices, None)
        samples = {f"device/{device}": sampled.samples for device, sampled in devices.items()}
        return Link(self, devices, wiring.buffer(name, samples))


def _key(slot: Slot) -> tuple[str, ...]:
    return ("push", slot.name) if slot.device else (slot.name,)


class Link:
    """One server, and a Transactor for the master on `port`.

    Without a `buffer` only the newest value of each point is kept: the devices know it.
    """

    def __init__(self, config: Config, devices: Mapping[str, Sampled], buffer: Buffer | None) -> None:
        self.config, self._devices, self._buffer = config, devices, buffer
        self.trace: Fan[Traced] = Fan()
        self._failover, self._past = Failover(), Past()
        self._remote = Remote()
        self._far: Conversation | None = None

    def ask(self, request: Request, /) -> Future[bytes]:
        return self._remote.ask(request)

    async def session(self, life: Life, /) -> Never:
        config = self.config
        tls = None if config.tls is None else await in_thread(config.tls.for_dialling, f"{life.name}: files")
        async with (
            self._failover.turn(config.connect, life) as end,
            asking(config.party(end), self.trace, tls) as far,
            Scope() as scope,
        ):
            bounds = config.liveness.bounds(speaks=True)
            scope.start(self._failover.preferred(config.connect[0], bounds, config.reconnect))
            life.up()
            self._far = far
            try:
                with self._remote.through(far, config.unit_ids):
                    await self._push(life, far)
            finally:
                self._far = None
        raise AssertionError("a scope ends by an error")

    async def _push(self, life: Life, far: Conversation) -> Never:
        if not self.config.push:
            await get_running_loop().create_future()
        pushing = Pushing(life=life, far=far, layout=self.config.layout, past=self._past)
        if self._buffer is None:
            await pushing.newest(self._devices)
        else:
            await pushing.all(self._buffer)

    def status(self) -> PartStatus:
        config, past = self.config, self._past
        status: PartStatus = {
            "kind": config.kind,
            "direction": "connect",
            "devices": list(self._devices),
            "endpoint": self._failover.now(config.connect),
            "detect_within_s": config.liveness.detect_within,
            "peers": [] if self._far is None else [self._far.status()],
        }
        if config.port is not None:
            status["port"] = config.port
        if config.push:
            status["sent"], status["confirmed"] = past.counts["sent"], past.counts["confirmed"]
            status["refused"] = past.counts["refused"]
        if config.alive is not None:
            status["alive"] = past.alive
        if self._buffer is not None:
            status["buffer"] = self._buffer.status(time())
        return status
