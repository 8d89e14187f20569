"""kind = "tcp": raw bytes both ways, whoever dials."""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from time import time
from typing import Annotated, ClassVar, Literal, Never

from pydantic import Field

from ..buffer import Buffer
from ..contracts import Part, Stream, Traced
from ..errors import LineDown
from ..flow import Fan, WhenFull
from ..host.connection import Connection
from ..host.net import connect
from ..policy import traffic
from ..policy.liveness import profile
from ..scope import Scope
from ..settings import (
    Connect,
    Endpoint,
    Fault,
    Identity,
    LinkConfig,
    Listen,
    Listening,
    Need,
    Octets,
    PortName,
    Wiring,
)
from ..status import Life, PartStatus
from ._failover import Failover
from ._hello import Heart, Heartbeat, filled
from ._listening import Clients

_BEHIND = 64 * 1024  # bytes that a client may be behind before it counts as slow
_BATCH = 64  # records
_DIALLING = frozenset({"registration", "heartbeat"})  # keys of links that connect


class Config(LinkConfig, Listening):
    """[links.NAME] with kind = "tcp"."""

    wants: ClassVar[type] = Stream
    kind: Literal["tcp"]
    listen: Listen | None = None
    connect: Connect | None = None
    port: PortName
    max_clients: Annotated[int, Field(ge=1, le=1000)] = 1
    registration: Annotated[Octets | None, Field(description='{ text = "SN-0042" }')] = None
    heartbeat: Annotated[Heartbeat | None, Field(description='{ text = "PING", every = "30s" }')] = None

    def faults(self) -> Iterator[Fault]:
        if self.listen is not None and self.connect is not None:
            yield Fault(("connect",), "a link listens or connects, not both")
        elif self.listen is None and self.connect is None:
            yield Fault((), 'who dials? write listen = "address:port" or connect = "host:port"')
        if self.connect is not None:
            for key in Listening.model_fields.keys() & self.model_fields_set:
                yield Fault((key,), f"{key} goes with listen")
        elif self.listen is not None:
            for key in _DIALLING & self.model_fields_set:
                yield Fault((key,), f"{key} goes with connect")

    @property
    def listens(self) -> Endpoint | None:
        return self.listen

    @property
    def heartbeats(self) -> bool:
        """Its heartbeat comes often enough to tell in time that the far end is dead."""
        enough = profile(self.liveness.bounds()).heartbeat
        return self.heartbeat is not None and self.heartbeat.every <= enough

    @property
    def idle_traffic(self) -> traffic.Heartbeat | None:
        if self.heartbeat is None:
            return None
        return traffic.packet(len(self.heartbeat.octets), self.heartbeat.every)

    def needs(self) -> Iterator[Need]:
        yield Need(("port",), self.port, Stream)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        port = wiring.stream(self.port)
        if self.listen is not None:
            return Server(self, port)
        buffer = wiring.buffer(name, {f"port/{self.port}": port.chunks})
        return Dialler(self, port, buffer, wiring.identity)

    @property
    def shape(self) -> object:
        return super().shape, self.listen is None


class Server:
    """Clients come and go, and each gets what the line says from then on.

    Nothing is kept for the next visitor.
    """

    def __init__(self, config: Config, port: Stream) -> None:
        self.config, self._port = config, port
        self.trace: Fan[Traced] = Fan()
        self._clients = Clients()

    async def session(self, life: Life, /) -> Never:
        config = self.config
        assert config.listen is not None
        async with self._clients.listening(
            config.liveness, config.listen, config, life, self.trace
        ) as listener:
            await listener.serve(self._serve)

    async def _serve(self, connection: Connection) -> Never:
        async with Scope() as scope:
            scope.start(self._from_line(connection))
            await to_line(connection, self._port)
        raise AssertionError  # neither way ends but by an error

    async def _from_line(self, connection: Connection) -> Never:
        """A client that is behind loses its own bytes, never the others'; alone, it holds the line."""
        with self._port.chunks.tap(_BEHIND, WhenFull.BLOCK, connection.offer) as tap:
            while True:
                for chunk in await tap.take():
                    connection.write(chunk)
                await connection.drain()

    def status(self) -> PartStatus:
        return {**_common(self.config, str(self.config.listen)), **self._clients.status()}


class Dialler:
    """One connection out; what the line says while the far end is away waits in the link's buffer."""

    def __init__(self, config: Config, port: Stream, buffer: Buffer, identity: Identity) -> None:
        self.config, self._port, self._buffer, self._identity = config, port, buffer, identity
        self.trace: Fan[Traced] = Fan()
        self._failover = Failover()
        self._connection: Connection | None = None
        self._sent = 0

    async def session(self, life: Life, /) -> Never:
        config = self.config
        assert config.connect is not None
        bounds = config.liveness.bounds(speaks=config.heartbeats)
        async with (
            self._failover.turn(config.connect, life) as end,
            connect(end, bounds, self.trace) as connection,
            Scope() as scope,
        ):
            scope.start(self._failover.preferred(config.connect[0], bounds, config.reconnect))
            if config.registration is not None:
                connection.write(filled(config.registration, self._identity))
            life.up()
            await self._serve(connection, scope)
        raise AssertionError("a scope ends by an error")

    async def _serve(self, connection: Connection, scope: Scope) -> Never:
        self._connection = connection
        heart = self._heart(connection)
        try:
            with heart.beating() if heart is not None else nullcontext():
                scope.start(self._from_buffer(connection, heart))
                await to_line(connection, self._port)
        finally:
            self._connection = None

    def _heart(self, connection: Connection) -> Heart | None:
        rule = self.config.heartbeat
        if rule is None:
            return None
        return Heart(rule, filled(rule, self._identity), connection, self._port, self._buffer)

    async def _from_buffer(self, connection: Connection, heart: Heart | None) -> Never:
        position = 0
        while True:
            records = await self._buffer.read(position, _BATCH)
            data = b"".join(record.payload for record in records)
            if heart is None:
                connection.write(data)
            else:
                heart.write(data, last=len(records) < _BATCH)
            position = records[-1].number
            await connection.drain()
            self._buffer.confirm(position)
            self._sent += len(records)
            if heart is not None:
                heart.taken()

    def status(self) -> PartStatus:
        peers = [self._connection.status()] if self._connection is not None else []
        return {
            **_common(self.config, self._failover.now(self.config.connect or ())),
            "direction": "connect",
            "peers": peers,
            "buffer": self._buffer.status(time()),
            "sent": self._sent,
        }


async def to_line(connection: Connection, port: Stream) -> Never:
    """What nobody can take, because the line is away, is dropped and counted there, never kept for later."""
    connection.sink = port.offer
    while True:
        data = await connection.read()  # what the line did not take at once
        with suppress(LineDown):
            await port.send(data)


def _common(config: Config, endpoint: str) -> PartStatus:
    return {
        "kind": config.kind,
        "port": config.port,
        "endpoint": endpoint,
        "detect_within_s": config.liveness.detect_within,
    }
