"""A Modbus TCP connection on which we ask: one question at a time, each with a transaction id of its own.

Promises: what `ask` returns is the answer to this very question, perhaps a Modbus exception. One that does
not come in time ends the connection, so that it can never be taken for the next one's. While nothing is
asked, a harmless read finds out whether the far program still answers: its kernel would do so for it.
"""

import asyncio
from asyncio import Future
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Never

from ..contracts import Traced
from ..errors import LinkDown, PeerError
from ..flow import Fan
from ..host.connection import Connection
from ..host.net import connect
from ..policy.liveness import Bounds, Echo, profile
from ..scope import Scope
from ..status import PeerStatus
from ..values import Endpoint
from ..wire import mbap
from ..wire.modbus import answers
from ..wire.reads import exception_text
from ..wire.writes import refusal

NO_WAY_THERE = (0x0A, 0x0B)  # said by gateways: the unit that they stand for cannot be reached


@dataclass(frozen=True, kw_only=True)
class Party:
    """Whom we ask, and what, if there is nothing else to ask: any answer to `harmless` is a sign of life."""

    end: Endpoint
    unit: int
    harmless: bytes
    bounds: Bounds


@asynccontextmanager
async def asking(party: Party, trace: Fan[Traced]) -> AsyncIterator["Conversation"]:
    """Dialled, and it has answered once. LinkDown when that fails, and out of the block when it ends."""
    async with connect(party.end, party.bounds, trace) as connection, Scope() as scope:
        conversation = Conversation(connection, party)
        scope.start(conversation.listen())
        await conversation.greet()
        scope.start(conversation.watch())
        scope.start(conversation.stay_in_touch())
        yield conversation


class Conversation:
    """`ask` is all that its users need; the rest are siblings that `asking` starts."""

    def __init__(self, connection: Connection, party: Party) -> None:
        self._connection, self._party = connection, party
        self._now = asyncio.get_running_loop().time
        self._echo = Echo(party.bounds, self._now())
        self._turn = asyncio.Lock()
        self._tid = 0
        self._question = b""
        self._answer: Future[bytes] | None = None  # to the question under way

    async def ask(self, pdu: bytes) -> bytes:
        """The answer PDU, perhaps an exception. In the order of the calls."""
        async with self._turn:
            self._tid = self._tid % 0xFFFF + 1
            self._question, self._answer = pdu, asyncio.get_running_loop().create_future()
            self._connection.requests += 1
            self._connection.write(mbap.encode(self._tid, self._party.unit, pdu))
            self._explain("tx", self._tid, pdu)
            try:
                return await self._answer
            finally:
                self._answer = None

    async def greet(self) -> None:
        """Until it has answered: its kernel accepts connections for a frozen program, too."""
        within = profile(self._party.bounds).connect_timeout
        try:
            async with asyncio.timeout(within):
                answer = await self.ask(self._party.harmless)
        except TimeoutError:
            raise LinkDown(
                f"{self._party.end} accepts connections, but gave no answer in {within:g} s"
            ) from None
        if (code := refusal(answer)) in NO_WAY_THERE:
            raise LinkDown(f"unit {self._party.unit} of {self._party.end}: {exception_text(code)}")

    async def listen(self) -> Never:
        """Answers that nobody waits for are passed over."""
        decoder = mbap.Decoder()
        while True:
            for adu in decoder.feed(await self._connection.read()):
                self._explain("rx", adu.tid, adu.pdu)
                if self._answer is not None and not self._answer.done() and adu.tid == self._tid:
                    self._take(adu, self._answer)

    def _take(self, adu: mbap.Adu, answer: Future[bytes]) -> None:
        """Its unit id tells nothing more: gateways that translate ours do not all translate it back."""
        if not answers(self._question, adu.pdu):
            raise PeerError("the server's answer does not fit the question")
        self._echo.heard(self._now())
        answer.set_result(adu.pdu)

    async def watch(self) -> Never:
        """Raises when it has not answered for too long."""
        while True:
            if silence := self._echo.silence(self._now()):
                why = f"the server does not answer: nothing for {silence:.1f} s"
                raise self._connection.watch.unanswered(silence, why)
            await asyncio.sleep(profile(self._party.bounds).tick)

    async def stay_in_touch(self) -> Never:
        """Asks when nobody else has for a while."""
        while True:
            if self._echo.ask(self._now()):
                await self.ask(self._party.harmless)
            await asyncio.sleep(profile(self._party.bounds).tick)

    def status(self) -> PeerStatus:
        return self._connection.status()

    def _explain(self, way: str, tid: int, pdu: bytes) -> None:
        """For `gatewayctl trace`: what the bytes before it mean."""
        if self._connection.traced:
            from ..wire.pdus import describe  # loads pymodbus, which nobody else here needs

            text = describe(pdu, answer=way == "rx")
            self._connection.note(way, f"transaction {tid}, unit {self._party.unit}: {text}")
