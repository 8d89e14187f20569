"""kind = "tcp": raw bytes both ways, whoever dials."""

from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from time import time
from typing import Annotated, ClassVar, Literal, Never

from pydantic import Field

from ..buffer import Buffer, Record, Rules
from ..contracts import Part, Stream, Traced
from ..errors import LineDown
from ..flow import Fan, WhenFull
from ..host.connection import Connection
from ..policy import traffic
from ..policy.ledger import Place
from ..scope import Scope
from ..settings import Buffering, Identity, LinkConfig, Listening, Need, Wiring
from ..status import Life, PartStatus
from ..values import Connect, Duration, Endpoint, Fault, Listen, Octets, PortName, Size
from ._delivery import Delivery, Resend
from ._failover import Failover
from ._frames import FrameEnds
from ._hello import Heart, Heartbeat, filled
from ._listening import Clients
from ._tls import Tls
from ._who_dials import dialled, who_dials

_BEHIND = 64 * 1024  # bytes that a client may be behind before it counts as slow
_LEAST_UNDER_WAY = 4096  # bytes
_DIALLING = ("registration", "heartbeat", "buffer", "resend")  # keys of links that connect


class _Buffering(Buffering):
    """Old bytes without a time are a danger to whoever receives them: a longer `age` is a decision."""

    size: Annotated[Size, Field(ge=16 * 1024)] = 64 * 1024
    age: Annotated[Duration, Field(ge=1)] = 60.0


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
    buffer: Annotated[_Buffering, Field(description='{ size = "64KB", age = "1m" }')] = _Buffering()
    resend: Resend = "unacked"
    tls: Annotated[Tls | None, Field(description='{ ca = "ca.pem" }, or {} to trust the system\'s')] = None

    def faults(self) -> Iterator[Fault]:
        return who_dials(self, _DIALLING)

    @property
    def listens(self) -> Endpoint | None:
        return self.listen

    @property
    def heartbeats(self) -> bool:
        """Its heartbeat comes often enough to tell in time that the far end is dead."""
        return self.heartbeat is not None and self.heartbeat.tells_in_time(self.liveness)

    @property
    def idle_traffic(self) -> traffic.Heartbeat | None:
        return None if self.heartbeat is None else self.heartbeat.traffic(tls=self.tls is not None)

    @property
    def keeps(self) -> Rules | None:
        return self.buffer.rules if self.connect is not None else None

    def needs(self) -> Iterator[Need]:
        yield Need(("port",), self.port, Stream)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        port = wiring.stream(self.port)
        if self.listen is not None:
            return Server(self, port)
        stream = f"port/{self.port}"
        buffer = wiring.buffer(name, {stream: port.chunks})
        frames = FrameEnds(port, buffer, stream) if self.resend == "all" else None
        return Dialler(self, port, buffer, frames, wiring.identity)

    @property
    def shape(self) -> object:
        return super().shape, self.listen is None, self.resend == "all"


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
            config.liveness, config.listen, config, life, self.trace, config.tls
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

    def __init__(
        self, config: Config, port: Stream, buffer: Buffer, frames: FrameEnds | None, identity: Identity
    ) -> None:
        self.config, self._port, self._buffer, self._frames = config, port, buffer, frames
        self._identity = identity
        self.trace: Fan[Traced] = Fan()
        self._failover = Failover()
        self._connection: Connection | None = None
        self._place: Place | None = None  # where the last connection ended, if in the middle of a record
        self._counts: Counter[str] = Counter()

    async def session(self, life: Life, /) -> Never:
        config = self.config
        async with dialled(self.config, self._failover, life, self.trace) as connection:
            if config.registration is not None:
                connection.write(filled(config.registration, self._identity))
            life.up()
            await self._serve(connection)
        raise AssertionError("a scope ends by an error")

    async def _serve(self, connection: Connection) -> Never:
        self._connection = connection
        delivery = self._delivery(connection)
        try:
            await self._talk(connection, delivery)
        except CancelledError:
            await delivery.farewell()
            raise
        finally:
            self._connection = None
            self._place = delivery.end()

    def _delivery(self, connection: Connection) -> Delivery:
        most = max(_LEAST_UNDER_WAY, int(self._port.rate))  # what the line says in a second
        again = self.config.resend != "none"
        return Delivery(connection, self._buffer, most, self._counts, self._place, self._frames, again)

    async def _talk(self, connection: Connection, delivery: Delivery) -> Never:
        heart = self._heart(delivery)
        tell = delivery.tell if heart is None else heart.tell

        def offered(record: Record) -> bool:
            """In the callback that brought it."""
            if (heart and heart.due) or not (data := delivery.at_once(record)):
                return False
            tell(data)
            return True

        self._buffer.offer = offered
        try:
            with heart.beating() if heart else nullcontext():
                async with Scope() as scope:
                    scope.start(self._from_buffer(delivery, tell))
                    await to_line(connection, self._port)
        finally:
            self._buffer.offer = None
        raise AssertionError("a scope ends by an error")

    def _heart(self, delivery: Delivery) -> Heart | None:
        rule = self.config.heartbeat
        return None if rule is None else Heart(rule, filled(rule, self._identity), delivery, self._port)

    async def _from_buffer(self, delivery: Delivery, tell: Callable[[bytes], None]) -> Never:
        while True:
            tell(await delivery.more())

    def status(self) -> PartStatus:
        peers = [self._connection.status()] if self._connection is not None else []
        return {
            **_common(self.config, self._failover.now(self.config.connect or ())),
            "direction": "connect",
            "peers": peers,
            "buffer": self._buffer.status(time()),
            "sent": self._counts["sent"],
            "confirmed": self._counts["confirmed"],
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
