"""Hearing a Modbus ASCII line as a slave does: the master's requests among all that passes there.

As `rtu_line`, but simpler: a ":" begins a frame wherever it stands, and CR LF ends it (MODBUS over Serial
Line V1.02, 2.5.2).
"""

from collections.abc import Container, Iterator

from .ascii import MAX_FRAME, decode, frame
from .modbus import EXCEPTION, answers, is_request
from .rtu_line import READS, Counts
from .rtu_requests import Asked


def listening_for(ours: Container[int], counts: Counts) -> "Ear":
    """On one open line. `ours` are the units that we answer for, now; it may change."""
    return Ear(ours, counts)


class Ear:
    """Characters in, the master's requests out, to whichever unit."""

    def __init__(self, ours: Container[int], counts: Counts) -> None:
        self._ours, self._counts = ours, counts
        self._got = bytearray()  # a frame from its ":" on
        self._asked: Asked | None = None  # the last request, if it may still be answered by another unit
        self._own = b""  # our last answer, if it cannot be taken for a request when it comes back

    def feed(self, data: bytes) -> Iterator[Asked]:
        got = self._got
        got += data
        while (end := got.find(b"\n") + 1) > 0:
            line = bytes(got[:end])
            del got[:end]
            if (asked := self._ended(line)) is not None:
                yield asked
        start = got.rfind(b":")
        del got[: len(got) if start < 0 or len(got) - start >= MAX_FRAME else start]

    def silence(self) -> None:
        """Nothing has come for as long as may pass between two characters: no more of this frame will."""
        self._counts.short += bool(self._got)
        self._got.clear()

    def answer(self, unit: int, pdu: bytes) -> bytes:
        """The frame of an answer that we are about to send."""
        framed = frame(unit, pdu)
        self._own = framed if pdu[0] <= READS or pdu[0] & EXCEPTION else b""
        return framed

    @property
    def unfinished(self) -> bool:
        """A frame has begun."""
        return bool(self._got)

    @property
    def begun(self) -> bool:
        """Somebody speaks."""
        return bool(self._got)

    def _ended(self, line: bytes) -> Asked | None:
        """The request, if what ends with this line is one."""
        _, colon, rest = line.rpartition(b":")
        octets = decode(rest[:-2]) if colon and rest.endswith(b"\r\n") else None
        own, self._own = self._own, b""
        if octets is None:
            self._counts.crc += bool(colon)
            self._counts.short += not colon
            return None
        if own == colon + rest:
            self._counts.echo += 1
            return None
        unit, pdu = octets[0], octets[1:]
        if self._is_answer(unit, pdu) or not is_request(pdu):
            return None
        self._asked = Asked(unit, pdu)
        return self._asked

    def _is_answer(self, unit: int, pdu: bytes) -> bool:
        """Of another unit to what it was asked last."""
        asked = self._asked
        if asked is None or unit != asked.unit or unit == 0 or unit in self._ours:
            return False
        if not answers(asked.pdu, pdu):
            return False
        if pdu != asked.pdu:  # or it may as well be the request, repeated, and the answer still comes
            self._asked = None
        return True
