"""kind = "tcp": raw bytes both ways, whoever dials."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Never

from pydantic import Field

from ..buffer import Rules
from ..contracts import Part, Stream, Traced, Tunable
from ..flow import Fan, WhenFull
from ..host.connection import Connection
from ..policy import traffic
from ..policy.liveness import profile
from ..scope import Scope
from ..settings import Buffering, LinkConfig, Listening, Need, Wiring
from ..status import Life, PartStatus
from ..values import Connect, Duration, Endpoint, Fault, Listen, Octets, PortName, Size
from ._boxes import box_faults, common
from ._delivery import Resend
from ._dialler import Dialler
from ._frames import Ends, FrameEnds, WholeFrames, octets, said, taking
from ._hello import Heartbeat
from ._idle import hangs_up
from ._listening import Clients
from ._meanwhile import Meanwhile, OnConnect
from ._seats import Seats, unheard
from ._tapping import Onlookers
from ._telnet import Terminal, telnet_faults
from ._tls import Tls
from ._to_line import to_line
from ._udp import UdpDialler, UdpServer
from ._who_dials import who_dials

_BEHIND = 64 * 1024  # bytes that a client may be behind before it counts as slow
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
    resend: Annotated[Resend | None, Field(description='"unacked", and with packet "all"')] = None
    packet: Annotated[bool, Field(description="each frame of the port in a TCP segment of its own")] = False
    idle_timeout: Annotated[
        Duration | None, Field(ge=1, description="no byte either way for so long: it is closed; never")
    ] = None
    short: Annotated[
        Duration | None, Field(ge=1, description="connects when data comes, leaves after so long without")
    ] = None
    transport: Literal["tcp", "udp"] = "tcp"
    on_connect: Annotated[
        OnConnect, Field(description="what the line said while nobody was connected: forget, or tell")
    ] = "clear"
    tls: Annotated[Tls | None, Field(description='{ ca = "ca.pem" }, or {} to trust the system\'s')] = None
    tap: Annotated[bool, Field(description="clients see both ways of the line, and write nothing")] = False
    telnet: Annotated[bool, Field(description="clients speak telnet")] = False
    rfc2217: Annotated[bool, Field(description="clients speak telnet, and set the line by RFC 2217")] = False
    readers: Annotated[
        int, Field(ge=0, le=1000, description="so many more clients may look on; they write and set nothing")
    ] = 0

    def faults(self) -> Iterator[Fault]:
        yield from who_dials(self, _DIALLING)
        yield from box_faults(self)
        yield from telnet_faults(self)
        if self.tap and self.connect is not None:
            yield Fault(("tap",), "tap goes with listen")

    @property
    def listens(self) -> Endpoint | None:
        return self.listen

    @property
    def heartbeats(self) -> bool:
        """Its heartbeat comes often enough to tell in time that the far end is dead."""
        return self.heartbeat is not None and self.heartbeat.tells_in_time(self.liveness)

    @property
    def idle_traffic(self) -> traffic.Heartbeat | None:
        if self.speaks_telnet:
            return traffic.nop(self.nop_every, tls=self.tls is not None)
        return None if self.heartbeat is None else self.heartbeat.traffic(tls=self.tls is not None)

    @property
    def speaks_telnet(self) -> bool:
        return self.telnet or self.rfc2217

    @property
    def nop_every(self) -> float:
        """Seconds."""
        return profile(self.liveness.bounds()).heartbeat

    @property
    def places(self) -> int:
        return self.max_clients + self.readers

    @property
    def keeps(self) -> Rules | None:
        return self.buffer.rules if self.connect is not None and not self.udp else None

    @property
    def connections(self) -> bool:
        """A short one has none while nobody has anything to say."""
        return not self.udp and self.short is None

    @property
    def udp(self) -> bool:
        return self.transport == "udp"

    def needs(self) -> Iterator[Need]:
        yield Need(("port",), self.port, Stream)

    def build(self, name: str, wiring: Wiring, /) -> Part:
        port = wiring.stream(self.port)
        if self.udp:
            return UdpServer(self, port) if self.listen else UdpDialler(self, port, wiring.identity)
        if self.listen is not None:
            return Server(self, port)
        stream = f"port/{self.port}"
        buffer = wiring.buffer(name, {stream: said(port, self.packet)})
        frames: Ends | None = None
        if self.again == "all":
            frames = WholeFrames() if self.packet else FrameEnds(port, buffer, stream)
        return Dialler(self, port, buffer, frames, wiring.identity)

    @property
    def again(self) -> Resend:
        """What a new connection goes on with."""
        return self.resend or ("all" if self.packet else "unacked")

    @property
    def shape(self) -> object:
        return super().shape, self.listen is None, self.again == "all", self.packet, self.udp


class Server:
    """Clients come and go, and each gets what the line says from then on.

    With on_connect = "keep" the first also gets what it said while nobody was there.
    """

    def __init__(self, config: Config, port: Stream) -> None:
        self.config, self._port = config, port
        self.trace: Fan[Traced] = Fan()
        self._clients, self._meanwhile = Clients(), Meanwhile()
        self._onlookers, self._seats = Onlookers(port), Seats()

    async def session(self, life: Life, /) -> Never:
        config = self.config
        assert config.listen is not None
        with self._meanwhile.kept(said(self._port, config.packet), config.on_connect):
            async with self._clients.listening(
                *(config.liveness, config.listen, config, life, self.trace, config.tls),
                speaks=config.speaks_telnet,
            ) as listener:
                await listener.serve(self._until_idle)

    async def _until_idle(self, connection: Connection) -> None:
        async with Scope() as scope:
            scope.start(hangs_up(connection, self.config.idle_timeout))
            await (self._onlookers.serve if self.config.tap else self._serve)(connection)

    async def _serve(self, connection: Connection) -> Never:
        config, port = self.config, self._port
        with self._seats.taken(config.max_clients) as writes:
            if config.speaks_telnet:
                assert isinstance(port, Tunable)
                terminal = Terminal(connection, port, com_port=config.rfc2217, may_write=writes)
                await terminal.serve(self._from_line, config.nop_every)
            async with Scope() as scope:
                scope.start(self._from_line(connection))
                await (to_line(connection, port) if writes else unheard(connection))
        raise AssertionError  # neither way ends but by an error

    async def _from_line(self, connection: Connection | Terminal) -> Never:
        """A client that is behind loses its own bytes, never the others'; alone, it holds the line."""
        fan: Fan[Any] = said(self._port, self.config.packet)
        with (
            self._meanwhile.visited() as kept,
            fan.tap(_BEHIND, WhenFull.BLOCK, taking(connection.offer, self.config.packet)) as tap,
        ):
            for data in kept:
                connection.write(data)
            while True:
                for piece in await tap.take():
                    connection.write(octets(piece))
                await connection.drain()

    def status(self) -> PartStatus:
        status: PartStatus = {**common(self.config, str(self.config.listen)), **self._clients.status()}
        if self.config.tap:
            status["tap"] = self._onlookers.status()
        if self.config.readers:
            status["readers"] = self._seats.readers
        return status
