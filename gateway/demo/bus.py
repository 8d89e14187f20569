"""An RS-485 bus with Modbus RTU slaves on it, and the referee: it counts what the master does wrong.

Promises: a slave hears a request when its last character has travelled, and answers `turnaround` later. The
end of an answer is taken before its last character is handed over and the start of a request when it is seen
here, so a gap is never counted shorter than it was. With `strict`, a request inside the silence is lost, as
strict slaves lose it. `fault` may spoil any answer; units that are not in `slaves` are silent.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from .line import Line, Wire

UNPACED_SILENCE = 0.01  # seconds that end a broken request where characters take no time


class Slave(Protocol):
    """Anything that answers a request PDU with an answer PDU."""

    def answer(self, pdu: bytes, /) -> bytes: ...


class Reply(NamedTuple):
    """What goes on the wire instead of a good answer."""

    data: bytes  # a whole frame with CRC; b"" is silence
    delay: float = 0.0  # seconds beyond the turnaround
    rest: bytes = b""  # comes `pause` seconds after that
    pause: float = 0.0


Fault = Callable[[bytes, bytes], Reply]
"""From the request and its good answer, both whole frames, to what is sent."""


@dataclass
class Count:
    """What the referee saw."""

    requests: int = 0  # good ones
    answers: int = 0
    bad_crc: int = 0
    short_gaps: int = 0  # requests less than 3.5 characters after the last frame's end
    overlaps: int = 0  # bytes while a request was being answered
    pauses: int = 0  # more than 1.5 characters of nothing inside a request
    shortest_gap: float = float("inf")  # seconds

    def __sub__(self, earlier: "Count") -> "Count":
        """What came since `earlier`; the shortest gap is that of all time."""
        since = {name: value - getattr(earlier, name) for name, value in vars(self).items()}
        return Count(**since | {"shortest_gap": self.shortest_gap})


class Bus(Line):
    """The line. Look at `count`, `seen`, `broken` and `slaves` at any time; set `fault` at any time."""

    def __init__(
        self,
        slaves: Mapping[int, Slave],
        wire: Wire | None = None,
        *,
        turnaround: float | None = None,
        strict: bool = False,
        fault: Fault | None = None,
        link: Path | None = None,
    ) -> None:
        super().__init__(wire or Wire(), link)
        self.slaves = slaves
        self.fault = fault
        self.strict = strict
        self.turnaround = self.wire.silence if turnaround is None else turnaround
        self.count = Count()
        self.seen: deque[bytes] = deque(maxlen=10_000)  # good requests, whole frames, oldest first
        self.broken: deque[bytes] = deque(maxlen=100)  # what was counted in `bad_crc`
        self._request = b""
        self._heard_until = 0.0  # when the last character heard has ended
        self._ended = float("-inf")  # the last frame on the wire, ours or theirs
        self._lost = False  # inside a request that no slave listens to

    def heard(self, data: bytes, now: float) -> None:
        if self.speaking(now) or (self._heard_until > now and not self._request):
            self.count.overlaps += 1  # two talk at once: nobody understands either
            self._lost = True
        elif not self._request and not self._lost:
            self._begins(now)
        elif now > self._heard_until + self.wire.pause and self.wire.baudrate:
            self.count.pauses += 1
        self._heard_until = max(now, self._heard_until) + len(data) * self.wire.character
        self._request += data
        self.alarm = self._heard_until + (self.wire.silence or UNPACED_SILENCE)
        if not self._lost and crc_fits(self._request):
            self._complete(self._request)

    def alarmed(self, now: float) -> None:
        """Silence without a good CRC: what was heard so far is no request."""
        if not self._lost:
            self.count.bad_crc += 1
            self.broken.append(self._request)
        self._request, self._lost = b"", False
        self._ended = max(self._ended, self._heard_until)

    def said(self, now: float) -> None:
        self._ended = now

    def _begins(self, now: float) -> None:
        gap = now - self._ended
        self.count.shortest_gap = min(self.count.shortest_gap, gap)
        if gap < self.wire.silence and self.wire.baudrate:
            self.count.short_gaps += 1
            self._lost = self.strict

    def _complete(self, request: bytes) -> None:
        self._request, self.alarm, self._ended = b"", None, self._heard_until
        self.count.requests += 1
        self.seen.append(request)
        unit, pdu = request[0], request[1:-2]
        if unit == 0:
            for slave in self.slaves.values():
                slave.answer(pdu)
        elif unit in self.slaves:
            answer = with_crc(request[:1] + self.slaves[unit].answer(pdu))
            reply = self.fault(request, answer) if self.fault else Reply(answer)
            self.count.answers += bool(reply.data)
            at = self._heard_until + self.turnaround + reply.delay
            self.say(reply.data, at)
            self.say(reply.rest, at + len(reply.data) * self.wire.character + reply.pause)


def good(request: bytes, answer: bytes) -> Reply:
    """No fault."""
    return Reply(answer)


def silent(request: bytes, answer: bytes) -> Reply:
    """The answer never comes."""
    return Reply(b"")


def bad_crc(request: bytes, answer: bytes) -> Reply:
    """The answer is whole, but its CRC is wrong."""
    return Reply(answer[:-1] + bytes((answer[-1] ^ 0xFF,)))


def late(seconds: float) -> Fault:
    """The answer comes that much later than the turnaround."""
    return lambda request, answer: Reply(answer, seconds)


def garbage(noise: bytes) -> Fault:
    """`noise` comes right before the answer."""
    return lambda request, answer: Reply(noise + answer)


def cut(length: int) -> Fault:
    """Only the first bytes of the answer come."""
    return lambda request, answer: Reply(answer[:length])


def split(length: int, pause: float) -> Fault:
    """After the first bytes of the answer nothing comes for so many seconds."""
    return lambda request, answer: Reply(answer[:length], 0.0, answer[length:], pause)


def mixed(seed: int, *faults: tuple[float, Fault]) -> Fault:
    """Of all answers such a share has that fault, and none has two; the same ones for the same `seed`."""
    drawn = random.Random(seed)
    shares, kinds = [share for share, _ in faults], [fault for _, fault in faults]

    def spoiled(request: bytes, answer: bytes) -> Reply:
        (fault,) = drawn.choices([*kinds, good], [*shares, 1 - sum(shares)])
        return fault(request, answer)

    return spoiled


def sometimes(every: int, fault: Fault) -> Fault:
    """Each `every`th answer has the fault, the first time the `every`th."""
    count = 0

    def spoiled(request: bytes, answer: bytes) -> Reply:
        nonlocal count
        count += 1
        return fault(request, answer) if count % every == 0 else Reply(answer)

    return spoiled


def only(unit: int, fault: Fault) -> Fault:
    """Only the answers of `unit` have the fault."""
    return lambda request, answer: fault(request, answer) if request[0] == unit else Reply(answer)


def _crc_row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


_CRC = tuple(_crc_row(value) for value in range(256))


def crc16(data: bytes) -> int:
    """MODBUS over Serial Line V1.02, 6.2.2; the low byte travels first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def crc_fits(frame: bytes) -> bool:
    """Whether this is a whole frame: unit, function and a good CRC."""
    return len(frame) >= 4 and crc16(frame) == 0


def with_crc(frame: bytes) -> bytes:
    return frame + crc16(frame).to_bytes(2, "little")
