"""kind = "modbus-server": they ask, we answer from one or several lines, whoever dials."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Never

from pydantic import BeforeValidator, Field

from ..contracts import Part, Traced, Transactor
from ..flow import Fan
from ..host.connection import Connection
from ..policy import traffic
from ..ports._route import Route, Way
from ..settings import Identity, LinkConfig, Listening, Need, Wiring
from ..status import Life, PartStatus
from ..values import Connect, Endpoint, Fault, Listen, Model, Octets, PortName, unit_range
from ._answering import Client
from ._failover import Failover
from ._hello import Heartbeat
from ._listening import Clients
from ._modbus_framings import FRAMINGS, Framing
from ._tls import Tls
from ._voice import Registration, Voice
from ._who_dials import dialled, who_dials

_DIALLING = ("registration", "heartbeat", "ignore")  # keys of links that connect
_Words = Annotated[
    tuple[Octets, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]


class Target(Model):
    """Where a range of TCP unit ids leads: the first of them is unit `first` on the line."""

    port: PortName
    first: Annotated[int, Field(ge=1, le=247, description="the unit id on the line of the first of them")]


class Config(LinkConfig, Listening):
    """[links.NAME] with kind = "modbus-server"."""

    wants: ClassVar[type] = Transactor
    kind: Literal["modbus-server"]
    listen: Annotated[Listen | None, Field(description='address and TCP port, such as "0.0.0.0:502"')] = None
    connect: Connect | None = None
    framing: Literal["mbap", "rtu"] = "mbap"
    port: PortName | None = None
    units: dict[str, str | Target] | None = None
    default_unit_id: Annotated[int, Field(ge=1, le=247)] | None = None
    registration: Annotated[Registration | None, Field(description='{ text = "SN-0042" }')] = None
    heartbeat: Annotated[Heartbeat | None, Field(description='{ text = "PING", every = "30s" }')] = None
    ignore: Annotated[_Words, Field(description='[{ text = "PONG" }]')] = ()
    tls: Annotated[Tls | None, Field(description='{ ca = "ca.pem" }, or {} to trust the system\'s')] = None

    def faults(self) -> Iterator[Fault]:
        yield from who_dials(self, _DIALLING)
        if self.port is not None and self.units is not None:
            yield Fault(("port",), "a link has port or units, not both")
        elif self.port is None and not self.units:
            yield Fault((), 'which line? write port = "NAME", or a table [links.NAME.units]')
        taken: dict[int, str] = {}
        for text, target in (self.units or {}).items():
            try:
                units = unit_range(text)
            except ValueError as wrong:
                yield Fault(("units", text), str(wrong))
                continue
            if clash := next((taken[unit] for unit in units if unit in taken), None):
                yield Fault(("units", text), f'overlaps "{clash}"')
            taken |= dict.fromkeys(units, text)
            first = target.first if isinstance(target, Target) else units.start
            last = first + len(units) - 1
            if not 1 <= first <= last <= 247:
                span = f"{first}" if first == last else f"{first} to {last}"
                yield Fault(("units", text), f"on the line that would be {span}: 1 to 247 exist there")
        if self.units and self.default_unit_id is not None and self.default_unit_id not in taken:
            yield Fault(("default_unit_id",), f"units has no line for {self.default_unit_id}")

    @property
    def listens(self) -> Endpoint | None:
        return self.listen

    @property
    def heartbeats(self) -> bool:
        """Its heartbeat comes often enough to tell in time that the far end is dead."""
        return self.heartbeat is not None and self.heartbeat.tells_in_time(self.liveness)

    @property
    def idle_traffic(self) -> traffic.Heartbeat | None:
        if self.heartbeat is None:
            return None
        prefix = self.registration.octets if self.registration and self.registration.each else b""
        return self.heartbeat.traffic(tls=self.tls is not None, prefix=len(prefix))

    @property
    def shape(self) -> object:
        return super().shape, self.units, self.default_unit_id, self.listen is None

    def needs(self) -> Iterator[Need]:
        if self.port is not None:
            yield Need(("port",), self.port, Transactor)
        for text, target in (self.units or {}).items():
            if isinstance(target, Target):
                yield Need(("units", text, "port"), target.port, Transactor)
            else:
                yield Need(("units", text), target, Transactor)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        ways: dict[int, Way] = {}
        if self.port is not None:
            line = wiring.transactor(self.port)
            ways = {unit: Way(line, unit) for unit in range(1, 248)}
        for text, target in (self.units or {}).items():
            units = unit_range(text)
            port, first = (target.port, target.first) if isinstance(target, Target) else (target, units.start)
            line = wiring.transactor(port)
            ways |= {unit: Way(line, first + place) for place, unit in enumerate(units)}
        route = Route(ways, self.default_unit_id)
        return Server(self, route) if self.listen is not None else Dialler(self, route, wiring.identity)

    def framed(self) -> Framing:
        """For one connection."""
        return FRAMINGS[self.framing]([word.octets for word in self.ignore])


class Server:
    """Many clients; what each asks goes to the line by unit id and comes back to it alone."""

    def __init__(self, config: Config, route: Transactor) -> None:
        self.config, self._route = config, route
        self.trace: Fan[Traced] = Fan()
        self._clients = Clients()

    async def session(self, life: Life, /) -> Never:
        config = self.config
        assert config.listen is not None
        async with self._clients.listening(
            config.liveness, config.listen, config, life, self.trace, config.tls
        ) as listener:
            await listener.serve(self._serve)

    async def _serve(self, connection: Connection) -> Never:
        await Client(connection, self._route, self.config.framed(), connection.write).serve()

    def status(self) -> PartStatus:
        return {**_common(self.config, str(self.config.listen)), **self._clients.status()}


class Dialler:
    """One connection out, through which the far end asks as if it had dialled itself."""

    def __init__(self, config: Config, route: Transactor, identity: Identity) -> None:
        self.config, self._route, self._identity = config, route, identity
        self.trace: Fan[Traced] = Fan()
        self._failover = Failover()
        self._connection: Connection | None = None

    async def session(self, life: Life, /) -> Never:
        async with dialled(self.config, self._failover, life, self.trace) as connection:
            await self._serve(connection, life)
        raise AssertionError("a scope ends by an error")

    async def _serve(self, connection: Connection, life: Life) -> Never:
        config = self.config
        voice = Voice(connection, config.registration, config.heartbeat, self._identity)
        self._connection = connection
        try:
            with voice.speaking():
                life.up()
                await Client(connection, self._route, config.framed(), voice.say).serve()
        finally:
            self._connection = None

    def status(self) -> PartStatus:
        peers = [self._connection.status()] if self._connection is not None else []
        endpoint = self._failover.now(self.config.connect or ())
        return {**_common(self.config, endpoint), "direction": "connect", "peers": peers}


def _common(config: Config, endpoint: str) -> PartStatus:
    return {
        "kind": config.kind,
        "endpoint": endpoint,
        "ports": list(dict.fromkeys(need.port for need in config.needs())),
        "detect_within_s": config.liveness.detect_within,
    }
