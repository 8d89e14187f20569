"""kind = "modbus-server": they ask, we answer from one or several lines."""

from asyncio import Future, sleep
from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar, Literal, Never

from pydantic import Field

from ..contracts import Asker, Part, Rank, Request, Traced, Transactor
from ..errors import GatewayError
from ..flow import Fan
from ..host.connection import Connection
from ..ports._route import Route, Way
from ..settings import LinkConfig, Listening, Need, Wiring
from ..status import Life, PartStatus
from ..values import Endpoint, Fault, Listen, Model, PortName, unit_range
from ..wire import mbap
from ..wire.modbus import WRITES, exception
from ._listening import Clients

_AT_ONCE = 512  # bytes: some forty requests, less than a millisecond of work


class Target(Model):
    """Where a range of TCP unit ids leads: the first of them is unit `first` on the line."""

    port: PortName
    first: Annotated[int, Field(ge=1, le=247, description="the unit id on the line of the first of them")]


class Config(LinkConfig, Listening):
    """[links.NAME] with kind = "modbus-server"."""

    wants: ClassVar[type] = Transactor
    kind: Literal["modbus-server"]
    listen: Annotated[Listen, Field(description='address and TCP port, such as "0.0.0.0:502"')]
    port: PortName | None = None
    units: dict[str, str | Target] | None = None
    default_unit_id: Annotated[int, Field(ge=1, le=247)] | None = None

    def faults(self) -> Iterator[Fault]:
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
    def listens(self) -> Endpoint:
        return self.listen

    @property
    def shape(self) -> object:
        return super().shape, self.units, self.default_unit_id

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
        return Link(self, Route(ways, self.default_unit_id))


class Link:
    """Many clients; what each asks goes to the line by unit id and comes back with its own transaction id."""

    def __init__(self, config: Config, route: Transactor) -> None:
        self.config, self._route = config, route
        self.trace: Fan[Traced] = Fan()
        self._clients = Clients()

    async def session(self, life: Life, /) -> Never:
        config = self.config
        async with self._clients.listening(
            config.liveness, config.listen, config, life, self.trace
        ) as listener:
            await listener.serve(self._serve)

    async def _serve(self, connection: Connection) -> Never:
        client = Client(connection, self._route)
        connection.sink = client.received
        try:
            await client.serve()
        finally:
            client.leave()

    def status(self) -> PartStatus:
        ports = dict.fromkeys(need.port for need in self.config.needs())
        return {
            "kind": self.config.kind,
            "endpoint": str(self.config.listen),
            "ports": list(ports),
            "detect_within_s": self.config.liveness.detect_within,
            **self._clients.status(),
        }


class Client:
    """One connection that asks.

    Requests are passed on as they come; answers go back as they come, in any order.
    """

    def __init__(self, connection: Connection, route: Transactor) -> None:
        self._connection, self._route = connection, route
        self._asker = Asker(connection.host, connection.number)
        self._decoder = mbap.Decoder()
        self._owed: set[Future[bytes]] = set()
        self._in_hand = False  # `serve` has bytes that come before whatever is received now

    def received(self, data: bytes) -> bool:
        """The connection's sink; declines much at once, and while the client does not take its answers."""
        if self._in_hand or self._connection.behind or len(data) > _AT_ONCE:
            return False
        self.feed(data)
        return True

    async def serve(self) -> Never:
        """What `received` declined, with the others in between."""
        while True:
            data = await self._connection.read()
            self._in_hand = True
            for start in range(0, len(data), _AT_ONCE):
                await self._connection.drain()
                self.feed(data[start : start + _AT_ONCE])
                await sleep(0)
            self._in_hand = False

    def feed(self, data: bytes) -> None:
        """PeerError when this is not Modbus TCP."""
        for tid, unit, pdu in self._decoder.feed(data):
            self._connection.requests += 1
            self._explain("rx", tid, unit, pdu)
            rank = Rank.WRITE if pdu[0] in WRITES else Rank.READ
            answer = self._route.ask(Request(unit, pdu, self._asker, rank))
            self._owed.add(answer)
            answer.add_done_callback(partial(self._reply, tid, unit, pdu[0]))

    def _reply(self, tid: int, unit: int, function: int, answer: Future[bytes]) -> None:
        self._owed.discard(answer)
        if answer.cancelled():
            return
        match answer.exception():
            case None:
                pdu = answer.result()
            case GatewayError() as error:
                pdu = exception(function, error.modbus)
            case bug:
                raise bug
        if pdu:
            self._connection.write(mbap.encode(tid, unit, pdu))
            self._explain("tx", tid, unit, pdu)

    def _explain(self, way: str, tid: int, unit: int, pdu: bytes) -> None:
        """For `gatewayctl trace`: what the bytes before it mean."""
        if self._connection.traced:
            from ..wire.pdus import describe  # loads pymodbus, which nobody else here needs

            text = describe(pdu, answer=way == "tx")
            self._connection.note(way, f"transaction {tid}, unit {unit}: {text}")

    def leave(self) -> None:
        """What has not reached the wire yet never will."""
        for answer in tuple(self._owed):
            answer.cancel()
