"""A Modbus TCP connection on which we ask: one question at a time, each with a transaction id of its own.

Promises: what `ask` returns is the answer to this very question, perhaps a Modbus exception. While nothing
is asked, a harmless read finds out whether the far program still answers: its kernel would do so for it. When
it answers nothing at all for too long, the connection ends.
"""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Never

from ..contracts import Traced
from ..errors import LinkDown, PeerError
from ..flow import Fan
from ..host.connection import Connection
from ..host.net import connect
from ..host.tls import Context
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
    """Whom we ask, and what, if there is nothing else to ask: any answer to `harmless` is a sign of life.

    Where `unit` is all that we want, a gateway that cannot reach it is of no use.
    """

    end: Endpoint
    unit: int
    harmless: bytes
    bounds: Bounds
    only_unit: bool = True


class _Question(NamedTuple):
    tid: int
    unit: int
    pdu: bytes
    answer: Future[bytes]


@asynccontextmanager
async def asking(
    party: Party, trace: Fan[Traced], tls: Context | None = None
) -> AsyncIterator["Conversation"]:
    """Dialled, and it has answered once. LinkDown when that fails, and out of the block when it ends."""
    async with connect(party.end, party.bounds, trace, tls) as connection:
        conversation = Conversation(connection, party)
        try:
            async with Scope() as scope:
                scope.start(conversation.listen())
                await conversation.greet()
                scope.start(conversation.watch())
                scope.start(conversation.stay_in_touch())
                yield conversation
        finally:
            conversation.close()


class Conversation:
    """`ask` and `tell` are all that its users need; the rest is what `asking` needs."""

    def __init__(self, connection: Connection, party: Party) -> None:
        self._connection, self._party = connection, party
        self._now = asyncio.get_running_loop().time
        self._echo = Echo(party.bounds, self._now())
        self._tid = 0
        self._waiting: deque[_Question] = deque()
        self._asked: _Question | None = None  # whose answer may come

    def ask(self, pdu: bytes, unit: int | None = None) -> Future[bytes]:
        """The answer PDU, perhaps an exception. In the order of the calls.

        Cancelling it withdraws the question: if it is out already, the next one waits for it no longer.
        """
        question = self._question(pdu, self._party.unit if unit is None else unit)
        question.answer.add_done_callback(lambda _: self._over(question))
        self._waiting.append(question)
        self._go_on()
        return question.answer

    def tell(self, pdu: bytes, unit: int) -> None:
        """It may be answered or not: nobody waits for that."""
        self._say(self._question(pdu, unit))

    def _question(self, pdu: bytes, unit: int) -> _Question:
        self._tid = self._tid % 0xFFFF + 1
        return _Question(self._tid, unit, pdu, asyncio.get_running_loop().create_future())

    def _over(self, question: _Question) -> None:
        if self._asked is question:
            self._asked = None
            self._go_on()

    def _go_on(self) -> None:
        while self._asked is None and self._waiting:
            question = self._waiting.popleft()
            if not question.answer.done():
                self._asked = question
                self._say(question)

    def _say(self, question: _Question) -> None:
        self._connection.requests += 1
        self._connection.write(mbap.encode(question.tid, question.unit, question.pdu))
        self._explain("tx", question.tid, question.unit, question.pdu)

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
        if (code := refusal(answer)) in NO_WAY_THERE and self._party.only_unit:
            raise LinkDown(f"unit {self._party.unit} of {self._party.end}: {exception_text(code)}")

    async def listen(self) -> Never:
        """Answers that nobody waits for are passed over."""
        decoder = mbap.Decoder()
        while True:
            for adu in decoder.feed(await self._connection.read()):
                self._explain("rx", adu.tid, adu.unit, adu.pdu)
                if self._asked is not None and not self._asked.answer.done() and adu.tid == self._asked.tid:
                    self._take(adu, self._asked)

    def _take(self, adu: mbap.Adu, question: _Question) -> None:
        """Its unit id tells nothing more: gateways that translate ours do not all translate it back."""
        if not answers(question.pdu, adu.pdu):
            raise PeerError("the server's answer does not fit the question")
        self._echo.heard(self._now())
        question.answer.set_result(adu.pdu)

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

    def close(self) -> None:
        """The connection has ended: whoever still waits learns it."""
        for question in (self._asked, *self._waiting):
            if question is not None and not question.answer.done():
                question.answer.set_exception(LinkDown(f"{self._party.end}: the connection has ended"))
        self._waiting.clear()

    def _explain(self, way: str, tid: int, unit: int, pdu: bytes) -> None:
        """For `gatewayctl trace`: what the bytes before it mean."""
        if self._connection.traced:
            from ..wire.pdus import describe  # loads pymodbus, which nobody else here needs

            text = describe(pdu, answer=way == "rx")
            self._connection.note(way, f"transaction {tid}, unit {unit}: {text}")
