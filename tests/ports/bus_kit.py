"""A Bus on a line in virtual time: requests travel, what comes back is written in the test, a referee
watches.

One character takes 1 ms and the gap is 3.5 ms, so that the times in the tests are easy to follow. The answers
are made by the demo's registers and CRC, which share no code with `gateway.wire`.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple, Self

from gateway.contracts import Asker, Rank, Request, Traced
from gateway.demo.bus import with_crc
from gateway.demo.registers import Registers
from gateway.errors import GatewayError, LineDown
from gateway.flow import Fan
from gateway.ports._bus import Bus
from gateway.ports._framing import Framing, Rules
from gateway.ports._tally import Occupancy, Tally
from gateway.wire import rtu

CHARACTER = 0.001  # seconds
GAP = 3.5 * CHARACTER
TURNAROUND = 0.01  # seconds in which the simulated device answers
ROUNDING = 1e-9  # seconds: sums of floats
SOON = 1.1 * CHARACTER  # by which the end of an answer may be read late, so that it is read in fewer pieces

RULES = Rules(
    character=CHARACTER,
    gap=GAP,
    response_timeout=1.0,
    request_timeout=2.5,
    turnaround_delay=0.1,
    late_answer_guard=0.5,
    retries=1,
    queue=16,
    broadcast=False,
    skip_silent=True,
    coalesce=True,
    cache=0.0,
    echo=False,
)


class Coming(NamedTuple):
    """Something that comes back: `after` the end of the request, or of what came before."""

    after: float  # seconds
    data: bytes


Script = Callable[[bytes], Iterable[Coming]]
"""From a request frame to what comes back for it."""

SCADA = Asker("10.0.0.1", 1)


def read(unit: int = 1, address: int = 0, count: int = 2, asker: Asker = SCADA) -> Request:
    return Request(unit, b"\x03" + address.to_bytes(2, "big") + count.to_bytes(2, "big"), asker)


def poll(address: int = 0, device: int = 1) -> Request:
    return read(address=address, asker=Asker("device", device))._replace(rank=Rank.POLL)


def write(unit: int = 1, address: int = 0, value: int = 0x1234, asker: Asker = SCADA) -> Request:
    pdu = b"\x06" + address.to_bytes(2, "big") + value.to_bytes(2, "big")
    return Request(unit, pdu, asker, Rank.WRITE)


def good(request: bytes) -> bytes:
    """The right answer of a device in which each holding register holds 256 * unit + its own address, and
    each input register 0x8000 more.
    """
    words = {address: (request[0] << 8) + address for address in range(256)}
    device = Registers(holding=words, inputs={address: 0x8000 + word for address, word in words.items()})
    return with_crc(request[:1] + device.answer(request[1:-2]))


def values(request: Request) -> bytes:
    """The PDU that `good` answers to this request."""
    return good(with_crc(bytes((request.unit,)) + request.pdu))[1:-2]


def answering(request: bytes) -> list[Coming]:
    return [Coming(TURNAROUND, good(request))]


def silent(request: bytes) -> list[Coming]:
    return []


def spoiled(frame: bytes) -> bytes:
    """The same with a wrong CRC."""
    return frame[:-1] + bytes((frame[-1] ^ 0xFF,))


def in_turn(*scripts: Script) -> Script:
    """One script per request; the last for all that follow."""
    left = list(scripts)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


class Sent(NamedTuple):
    at: float  # when its first character left, loop time
    frame: bytes


class Line:
    """The Wire: what is offered travels, the script's answer arrives `chunk` characters at a time.

    What has come waits in the kernel until it is read, as behind a tty.
    """

    def __init__(self, script: Script, chunk: int) -> None:
        self.sink: Callable[[bytes], None] = lambda data: None
        self.sent: list[Sent] = []
        self.shortest_gap = float("inf")  # seconds from the last byte read, or sent, to the next request
        self.collisions = 0  # requests that began while something was coming
        self.gone = self.stuck = False
        self.discarded = 0
        self._script, self._chunk = script, chunk
        self._loop = asyncio.get_running_loop()
        self._kernel = bytearray()
        self._quiet_since = self._loop.time()
        self._speaks_until = 0.0
        self._resting = False

    # the Wire

    def offer(self, data: bytes, /) -> bool:
        if self.gone:
            raise LineDown("ttyUSB0: unplugged")
        if self.stuck:
            return False
        now = self._loop.time()
        self.shortest_gap = min(self.shortest_gap, now - self._quiet_since)
        self.collisions += now < self._speaks_until
        self.sent.append(Sent(now, data))
        at = self._quiet_since = now + len(data) * CHARACTER
        for coming in self._script(data):
            at += coming.after
            at = self.comes(coming.data, at)
        return True

    def poll(self) -> None:
        if self._kernel and not self.gone:
            data = bytes(self._kernel)
            self._kernel.clear()
            self._quiet_since = self._loop.time()
            self.sink(data)

    def rest(self, seconds: float, /) -> None:
        self._resting = True
        self._loop.call_later(seconds, self._rested)

    def discard_output(self) -> None:
        if self.gone:
            raise LineDown("ttyUSB0: unplugged")
        self.discarded += 1

    # what the test does

    def comes(self, data: bytes, at: float) -> float:
        """`data` begins to travel at `at` (loop time). Returns when it has come."""
        for start in range(0, len(data), self._chunk):
            piece = data[start : start + self._chunk]
            self._loop.call_at(at + (start + len(piece)) * CHARACTER, self._arrive, piece)
        self._loop.call_at(at, self._speaks, at + len(data) * CHARACTER)
        return at + len(data) * CHARACTER

    def came_unseen(self, data: bytes) -> None:
        """It is in the kernel already, and nobody has read it yet: the loop was busy."""
        self._kernel += data

    def _speaks(self, until: float) -> None:
        self._speaks_until = max(self._speaks_until, until)

    def _arrive(self, piece: bytes) -> None:
        self._kernel += piece
        if not self._resting:
            self.poll()

    def _rested(self) -> None:
        self._resting = False
        self.poll()


class Rig:
    """`with Rig(script) as rig:` a Bus on a Line. What every test promises is checked at the end of the
    block: the gap was kept, every asker has its outcome once the bus is closed, and no callback failed.
    """

    def __init__(
        self, script: Script = answering, *, chunk: int = 1, framing: Framing = rtu, **rules: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        self.rules = replace(RULES, **rules)
        self.line = Line(script, chunk)
        self.tally, self.occupancy = Tally(), Occupancy(loop.time)
        self.trace: Fan[Traced] = Fan()
        self.bus = Bus(self.line, framing, self.rules, self.tally, self.occupancy, self.trace)
        self.line.sink = self.bus.received
        self.asked: list[asyncio.Future[bytes]] = []
        self._trouble: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda loop, trouble: self._trouble.append(trouble))

    def ask(self, request: Request) -> asyncio.Future[bytes]:
        answer = self.bus.ask(request)
        self.asked.append(answer)
        return answer

    async def outcome(self, request: Request) -> bytes | type[GatewayError]:
        return await outcome(self.ask(request))

    @property
    def addresses(self) -> list[int]:
        """Of the requests that went over the wire, in order."""
        return [int.from_bytes(sent.frame[2:4], "big") for sent in self.line.sent]

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
        self.bus.close(LineDown("the line was closed"))
        if error is None:
            assert all(answer.done() for answer in self.asked)
            assert self.line.shortest_gap >= self.rules.gap - ROUNDING
            assert self._trouble == []
        for answer in self.asked:
            answer.cancelled() or answer.exception()


async def outcome(answer: asyncio.Future[bytes]) -> bytes | type[GatewayError]:
    """A PDU, or what kind of error it is."""
    try:
        return await answer
    except GatewayError as error:
        return type(error)
