"""kind = "modbus-server": they ask, we answer from one or several lines, whoever dials."""

from collections.abc import Collection, Iterator
from typing import Annotated, ClassVar, Literal, Never

from pydantic import BeforeValidator, Field

from ..contracts import Part, Traced, Transactor
from ..flow import Fan
from ..host import datagrams
from ..host.connection import Connection
from ..policy import traffic
from ..policy.liveness import profile
from ..ports._own import Own
from ..ports._route import Route, Way
from ..ports._units import ON_A_LINE, Target, needs, range_faults, ranges, target_faults, ways
from ..settings import Identity, LinkConfig, Listening, Need, Wiring
from ..status import Life, PartStatus
from ..values import Connect, Endpoint, Fault, Listen, Octets, PortName
from ..wire.own_registers import MOST_LINES
from ._access import Access, ClientsAccess, Guard, clients_faults
from ._answering import Client
from ._datagrams import Counts, Sources
from ._failover import Failover
from ._hello import Heartbeat
from ._listening import Clients
from ._modbus_framings import FRAMINGS, Framing
from ._tls import Tls
from ._voice import Registration, Voice
from ._who_dials import dialled, over_udp, who_dials

_DIALLING = ("registration", "heartbeat", "ignore")  # keys of links that connect
_Words = Annotated[
    tuple[Octets, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]


class Config(LinkConfig, Listening):
    """[links.NAME] with kind = "modbus-server"."""

    wants: ClassVar[type] = Transactor
    kind: Literal["modbus-server"]
    listen: Annotated[Listen | None, Field(description='address and TCP port, such as "0.0.0.0:502"')] = None
    connect: Connect | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    framing: Literal["mbap", "rtu"] = "mbap"
    port: PortName | None = None
    units: dict[str, str | Target] | None = None
    default_unit_id: Annotated[int, Field(ge=1, le=247)] | None = None
    own_unit_id: Annotated[
        int | None, Field(ge=1, le=255, description="who asks it reads the gateway's own counters")
    ] = None
    broadcast_reply: Literal["none", "echo"] = "none"
    registration: Annotated[Registration | None, Field(description='{ text = "SN-0042" }')] = None
    heartbeat: Annotated[Heartbeat | None, Field(description='{ text = "PING", every = "30s" }')] = None
    ignore: Annotated[_Words, Field(description='[{ text = "PONG" }]')] = ()
    tls: Annotated[Tls | None, Field(description='{ ca = "ca.pem" }, or {} to trust the system\'s')] = None
    access: Access = "read-write"
    clients: ClientsAccess = Field(default_factory=dict)

    def faults(self) -> Iterator[Fault]:
        yield from (over_udp if self.udp else who_dials)(self, _DIALLING)
        if self.port is not None and self.units is not None:
            yield Fault(("port",), "a link has port or units, not both")
        elif self.port is None and not self.units:
            yield Fault((), 'which line? write port = "NAME", or a table [links.NAME.units]')
        yield from range_faults(self.units or {})
        yield from target_faults(self.units or {})
        yield from clients_faults(self.clients)
        if self.connect is not None and "clients" in self.model_fields_set:
            yield Fault(("clients",), "clients goes with listen; access holds for whom we dial, too")
        yield from self._special_ids({unit for _, units in ranges(self.units or {}) for unit in units})

    def _special_ids(self, taken: Collection[int]) -> Iterator[Fault]:
        """Who is meant by 0, 255 and our own unit id; `units` has a line for each that is `taken`."""
        default, own = self.default_unit_id, self.own_unit_id
        if self.units and default is not None and default not in taken:
            yield Fault(("default_unit_id",), f"units has no line for {default}")
        if own is not None and own in taken:
            yield Fault(("own_unit_id",), f"units has a line for {own}")
        elif own is not None and default is not None and own in (default, 255):
            yield Fault(("own_unit_id",), f"{own} is what default_unit_id is about")
        elif own is not None and len(self.lines) > MOST_LINES:
            yield Fault(("own_unit_id",), f"there are registers for {MOST_LINES} lines")
        if self.broadcast_reply == "echo" and self.framing == "rtu":
            yield Fault(("broadcast_reply",), 'a broadcast is never answered with framing = "rtu"')
        elif self.broadcast_reply == "echo" and (default is not None or 0 in taken):
            yield Fault(("broadcast_reply",), "unit 0 is one device here: nothing is broadcast")

    @property
    def listens(self) -> Endpoint | None:
        return self.listen

    @property
    def udp(self) -> bool:
        return self.transport == "udp"

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
        ends = self.listen is None, self.udp
        special = self.default_unit_id, self.own_unit_id, self.broadcast_reply
        return super().shape, self.units, special, ends, self.access, self.clients

    def needs(self) -> Iterator[Need]:
        if self.port is not None:
            yield Need(("port",), self.port, Transactor)
        yield from needs(self.units or {})

    def build(self, name: str, wiring: Wiring, /) -> Part:
        leading = ways(self.units or {}, wiring.transactor)
        if self.port is not None:
            line = wiring.transactor(self.port)
            leading |= {unit: Way(line, unit) for unit in ON_A_LINE}
        route: Transactor = Route(leading, self.default_unit_id, confirms=self.broadcast_reply == "echo")
        if self.own_unit_id is not None:
            route = Own(route, self.own_unit_id, map(wiring.counted, sorted(self.lines)), wiring.uptime)
        guard = Guard(f"links.{name}", route, self.access, self.clients)
        if self.listen is None:
            return Dialler(self, guard, wiring.identity)
        return UdpServer(self, guard) if self.udp else Server(self, guard)

    @property
    def lines(self) -> tuple[str, ...]:
        """The ports, each once."""
        return tuple(dict.fromkeys(need.port for need in self.needs()))

    def framed(self) -> Framing:
        """For one connection, or for all datagrams."""
        return FRAMINGS[self.framing]([word.octets for word in self.ignore])


class Server:
    """Many clients; what each asks goes to the line by unit id and comes back to it alone."""

    def __init__(self, config: Config, guard: Guard) -> None:
        self.config, self._guard = config, guard
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
        await Client(connection, self._guard, self.config.framed(), connection.write).serve()

    def status(self) -> PartStatus:
        return {**_common(self.config, str(self.config.listen), self._guard), **self._clients.status()}


class UdpServer:
    """The same without connections: whoever asks is known by the address and port of his datagrams."""

    def __init__(self, config: Config, guard: Guard) -> None:
        self.config, self._guard = config, guard
        self.trace: Fan[Traced] = Fan()
        self._counts = Counts()
        self._sources: Sources | None = None

    async def session(self, life: Life, /) -> Never:
        config = self.config
        assert config.listen is not None
        within = profile(config.liveness.bounds()).connect_timeout
        async with datagrams.bound(config.listen, within, self.trace) as socket:
            sources = Sources(config.listen, config, self._guard, config.framed(), socket, self._counts)
            self._sources = sources
            life.up(state="listening")
            try:
                await socket.serve(sources.received)
            finally:
                self._sources = None
                sources.end()

    def status(self) -> PartStatus:
        return {
            **_common(self.config, f"udp {self.config.listen}", self._guard),
            **self._counts.status(),
            "direction": "listen",
            "peers": list(self._sources.peers()) if self._sources is not None else [],
        }


class Dialler:
    """One connection out, through which the far end asks as if it had dialled itself."""

    def __init__(self, config: Config, guard: Guard, identity: Identity) -> None:
        self.config, self._guard, self._identity = config, guard, identity
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
                await Client(connection, self._guard, config.framed(), voice.say).serve()
        finally:
            self._connection = None

    def status(self) -> PartStatus:
        peers = [self._connection.status()] if self._connection is not None else []
        endpoint = self._failover.now(self.config.connect or ())
        return {**_common(self.config, endpoint, self._guard), "direction": "connect", "peers": peers}


def _common(config: Config, endpoint: str, guard: Guard) -> PartStatus:
    return {
        "kind": config.kind,
        "endpoint": endpoint,
        "ports": list(config.lines),
        "detect_within_s": None if config.udp else config.liveness.detect_within,
        "denied": guard.denied,
    }
