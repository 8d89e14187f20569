"""Somebody asks: each request goes to its line, each answer back. A Dialogue has that, and a Client is the
connection around it.

Promises: of a connection that has ended nothing reaches the wire any more. Whoever asks much, or does not
take the answers, is read no further; nobody else waits for that.
"""

from asyncio import Event, Future, TimerHandle, get_running_loop, sleep
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Never, Protocol

from ..contracts import Asker, Rank, Request, Transactor
from ..errors import GatewayError
from ..host.connection import Connection
from ..wire.mbap import Adu
from ..wire.modbus import WRITES, exception
from ._modbus_framings import Framing

_AT_ONCE = 512  # bytes: some forty requests, less than a millisecond of work
_REST = 0.5  # seconds from the first byte of a request until it is whole, or dropped


class Looked(Protocol):
    """What `gatewayctl trace` looks at: a Connection, or the Datagrams of a link."""

    @property
    def traced(self) -> bool: ...

    def note(self, way: str, text: str) -> None: ...


class Dialogue:
    """Requests of one asker are passed on as they come, and answers come back, in any order.

    With a framing that is `one_by_one` a request waits for the answer to the one before. `answered` gets the
    bytes that go back for each request that was not withdrawn, possibly none.
    """

    def __init__(
        self,
        asker: Asker,
        route: Transactor,
        framing: Framing,
        answered: Callable[[Adu, bytes], None],
        looked: Looked,
    ) -> None:
        self._asker, self._route, self._framing = asker, route, framing
        self._answered, self._looked = answered, looked
        self._owed: set[Future[bytes]] = set()
        self.waiting: deque[Adu] = deque()  # for their turn
        self.none_waits = Event()
        self.none_waits.set()

    def ask(self, request: Adu) -> None:
        self._explain("rx", request, request.pdu)
        if self._framing.one_by_one and self._owed:
            self.waiting.append(request)
            self.none_waits.clear()
        else:
            self._pass_on(request)

    def _pass_on(self, request: Adu) -> None:
        rank = Rank.WRITE if request.pdu[0] in WRITES else Rank.READ
        answer = self._route.ask(Request(request.unit, request.pdu, self._asker, rank))
        self._owed.add(answer)
        answer.add_done_callback(partial(self._reply, request))

    def _reply(self, request: Adu, answer: Future[bytes]) -> None:
        self._owed.discard(answer)
        if not answer.cancelled():
            self._pass_back(request, answer)
        if self.waiting:
            self._pass_on(self.waiting.popleft())
            if not self.waiting:
                self.none_waits.set()

    def _pass_back(self, request: Adu, answer: Future[bytes]) -> None:
        match answer.exception():
            case None:
                pdu = answer.result()
            case GatewayError() as error:
                pdu = exception(request.pdu[0], error.modbus)
            case bug:
                raise bug
        data = self._framing.answer(request, pdu)
        self._answered(request, data)
        if data:
            self._explain("tx", request, pdu)

    def _explain(self, way: str, request: Adu, pdu: bytes) -> None:
        """For `gatewayctl trace`: what the bytes before it mean."""
        if self._looked.traced:
            from ..wire.pdus import describe  # loads pymodbus, which nobody else here needs

            text = describe(pdu, answer=way == "tx")
            place = "" if self._framing.one_by_one else f"transaction {request.tid}, "
            self._looked.note(way, f"{place}unit {request.unit}: {text}")

    def end(self) -> None:
        """What has not reached the wire by now never will."""
        self.waiting.clear()
        for answer in tuple(self._owed):
            answer.cancel()


class Client:
    """A connection through which somebody asks; answers go back by `say`."""

    def __init__(
        self, connection: Connection, route: Transactor, framing: Framing, say: Callable[[bytes], None]
    ) -> None:
        self._connection, self._framing, self._say = connection, framing, say
        asker = Asker(connection.host, connection.number)
        self._dialogue = Dialogue(asker, route, framing, self._answered, connection)
        self._in_hand = False  # `serve` has bytes that come before whatever is received now
        self._rest: TimerHandle | None = None  # for the rest of a request

    async def serve(self) -> Never:
        """Until the connection ends."""
        self._connection.sink = self._received
        try:
            while True:
                data = await self._connection.read()  # what `_received` declined
                self._in_hand = True
                self._wait_for_rest()
                for start in range(0, len(data), _AT_ONCE):
                    await self._connection.drain()
                    await self._dialogue.none_waits.wait()
                    self._feed(data[start : start + _AT_ONCE])
                    await sleep(0)
                self._in_hand = False
                self._wait_for_rest()
        finally:
            self._stop_waiting_for_rest()
            self._dialogue.end()

    def _received(self, data: bytes) -> bool:
        """The connection's sink; declines much at once, and while the client does not take its answers."""
        if self._in_hand or self._dialogue.waiting or self._connection.behind or len(data) > _AT_ONCE:
            return False
        self._feed(data)
        return True

    def _feed(self, data: bytes) -> None:
        """PeerError when this is not the framing."""
        for request in self._framing.feed(data):
            self._connection.requests += 1
            self._stop_waiting_for_rest()
            self._dialogue.ask(request)
        self._wait_for_rest()

    def _answered(self, request: Adu, data: bytes) -> None:
        if data:
            self._say(data)

    def _wait_for_rest(self) -> None:
        """Of a request; not while it may have come already and only waits to be fed."""
        if self._in_hand or not self._framing.unfinished:
            self._stop_waiting_for_rest()
        elif self._rest is None:
            self._rest = get_running_loop().call_later(_REST, self._drop)

    def _stop_waiting_for_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _drop(self) -> None:
        self._rest = None
        self._framing.drop()
