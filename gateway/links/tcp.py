"""kind = "tcp": raw bytes both ways, whoever dials."""

from collections.abc import Iterator
from contextlib import suppress
from time import time
from typing import Annotated, ClassVar, Literal, Never

from pydantic import Field

from ..buffer import Buffer
from ..contracts import Part, Stream, Traced
from ..errors import LineDown
from ..flow import Fan, WhenFull
from ..host.connection import Connection
from ..host.net import connect
from ..scope import Scope
from ..settings import Connect, Endpoint, Fault, LinkConfig, Listen, Need, PortName, Wiring
from ..status import Life, PartStatus
from ._listening import Clients

_BEHIND = 64 * 1024  # bytes that a client may be behind before it counts as slow
_BATCH = 64  # records


class Config(LinkConfig):
    """[links.NAME] with kind = "tcp"."""

    wants: ClassVar[type] = Stream
    kind: Literal["tcp"]
    listen: Listen | None = None
    connect: Connect | None = None
    port: PortName
    max_clients: Annotated[int, Field(ge=1, le=1000)] = 1

    def faults(self) -> Iterator[Fault]:
        if self.listen is not None and self.connect is not None:
            yield Fault(("connect",), "a link listens or connects, not both")
        elif self.listen is None and self.connect is None:
            yield Fault((), 'who dials? write listen = "address:port" or connect = "host:port"')
        if self.connect is not None and "max_clients" in self.model_fields_set:
            yield Fault(("max_clients",), "max_clients goes with listen")

    @property
    def listens(self) -> Endpoint | None:
        return self.listen

    def needs(self) -> Iterator[Need]:
        yield Need(("port",), self.port, Stream)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        port = wiring.stream(self.port)
        if self.listen is not None:
            return Server(self, port)
        return Dialler(self, port, wiring.buffer(name, {f"port/{self.port}": port.chunks}))

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
            config, config.listen, config.max_clients, life, self.trace
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
        return {**_common(self.config), **self._clients.status()}


class Dialler:
    """One connection out; what the line says while the far end is away waits in the link's buffer."""

    def __init__(self, config: Config, port: Stream, buffer: Buffer) -> None:
        self.config, self._port, self._buffer = config, port, buffer
        self.trace: Fan[Traced] = Fan()
        self._connection: Connection | None = None
        self._sent = 0

    async def session(self, life: Life, /) -> Never:
        config = self.config
        assert config.connect is not None
        async with connect(config.connect, config.liveness.detect_within, self.trace) as connection:
            self._connection = connection
            life.up()
            try:
                async with Scope() as scope:
                    scope.start(self._from_buffer(connection))
                    await to_line(connection, self._port)
            finally:
                self._connection = None
        raise AssertionError

    async def _from_buffer(self, connection: Connection) -> Never:
        position = 0
        while True:
            records = await self._buffer.read(position, _BATCH)
            for record in records:
                connection.write(record.payload)
            position = records[-1].number
            await connection.drain()
            self._buffer.confirm(position)
            self._sent += len(records)

    def status(self) -> PartStatus:
        peers = [self._connection.status()] if self._connection is not None else []
        return {
            **_common(self.config),
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


def _common(config: Config) -> PartStatus:
    return {
        "kind": config.kind,
        "port": config.port,
        "endpoint": str(config.listen or config.connect),
        "detect_within_s": config.liveness.detect_within,
    }
