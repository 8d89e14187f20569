"""A Station on a line in virtual time: the test is the master and the other devices on it, and whoever stands
for our units.

One character takes 1 ms and the gap is 3.5 ms. Checksums are the demo's, which share no code with
`gateway.wire`.
"""

import asyncio
from collections.abc import Callable, Container
from dataclasses import replace
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

from bus_kit import CHARACTER, GAP, ROUNDING, Line, Sent, silent

from gateway.contracts import Request, Traced, Transactor
from gateway.demo.bus import with_crc
from gateway.errors import GatewayError
from gateway.flow import Fan
from gateway.ports._asked import Station, Terms
from gateway.ports._tally import Occupancy, Tally
from gateway.wire import rtu_line

QUIET = 0.05  # seconds
WITHIN = 0.9  # seconds
TERMS = Terms(
    character=CHARACTER,
    gap=GAP,
    quiet=QUIET,
    answer_within=WITHIN,
    says_why=True,
    echo=False,
    held_back=False,
)
READ = bytes.fromhex("03 0000 0002")
VALUES = bytes.fromhex("03 04 0001 0002")
WRITE = bytes.fromhex("06 0010 1234")


def frame(unit: int, pdu: bytes) -> bytes:
    return with_crc(bytes((unit,)) + pdu)


class Answer(NamedTuple):
    """What somebody answers, after so many seconds; None: never anything."""

    outcome: bytes | GatewayError | None
    after: float = 0.0


class Somebody:
    """Stands for units. `asked` is what he was asked, `left` what was withdrawn before he had answered."""

    def __init__(self, answer: Callable[[Request], Answer] | Answer | None = None) -> None:
        self._answer = answer or Answer(VALUES)
        self.asked: list[Request] = []
        self.left: list[Request] = []

    @property
    def pdus(self) -> list[tuple[int, bytes]]:
        return [(request.unit, request.pdu) for request in self.asked]

    def ask(self, request: Request, /) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self.asked.append(request)
        future.add_done_callback(lambda future: self.left.append(request) if future.cancelled() else None)
        outcome, after = self._answer if isinstance(self._answer, Answer) else self._answer(request)
        if outcome is not None:
            loop.call_later(after, self._settle, future, outcome)
        return future

    def _settle(self, future: asyncio.Future[bytes], outcome: bytes | GatewayError) -> None:
        if future.done():
            return
        if isinstance(outcome, bytes):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)


class Panel:
    """`with Panel({1: somebody}) as panel:` the master on the line of a Station, and all else that is on it.

    At the end of the block the gap was kept, and no callback has failed. The line begins silent.
    """

    def __init__(
        self,
        targets: dict[int, Transactor],
        *,
        hearing: ModuleType = rtu_line,
        chunk: int = 1,
        **terms: Any,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.targets, self.terms = targets, replace(TERMS, **terms)
        self.line = Line(silent, chunk)
        self.tally, self.occupancy = Tally(), Occupancy(self._loop.time)
        self.trace: Fan[Traced] = Fan()
        ours: Container[int] = targets
        ear = hearing.listening_for(ours, self.tally)
        self.station = Station(self.line, ear, self.terms, targets, self.tally, self.occupancy, self.trace)
        self.line.sink = self.station.received
        self.spoke_until = self._loop.time()
        self._trouble: list[dict[str, Any]] = []
        self._loop.set_exception_handler(lambda loop, trouble: self._trouble.append(trouble))

    async def says(self, data: bytes) -> None:
        """Until its last character has come."""
        self.spoke_until = self.line.comes(data, self._loop.time())
        await asyncio.sleep(self.spoke_until - self._loop.time())
        await asyncio.sleep(0)

    async def silence(self, seconds: float = 2 * QUIET) -> None:
        await asyncio.sleep(seconds)

    async def hears(self, within: float = 2.0) -> bytes:
        """All that is said to it within that time, from now on."""
        before = len(self.line.sent)
        await asyncio.sleep(within)
        return b"".join(sent.frame for sent in self.line.sent[before:])

    async def asks(self, unit: int, pdu: bytes, within: float = 2.0) -> bytes:
        """What it hears to that."""
        await self.says(frame(unit, pdu))
        return await self.hears(within)

    @property
    def last(self) -> Sent:
        return self.line.sent[-1]

    @property
    def errors(self) -> dict[str, int]:
        """What the tally has counted, without the zeros."""
        names = ("timeout", "crc", "short", "late", "foreign", "echo", "exceptions")
        return {name: count for name in names if (count := getattr(self.tally, name))}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.station.close()
        if error is None:
            assert self.line.shortest_gap >= self.terms.gap - ROUNDING
            assert self.line.collisions == 0
            assert self._trouble == []
