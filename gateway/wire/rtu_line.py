"""Hearing a Modbus RTU line as a slave does: the master's requests among all that passes there.

Real devices may share the line, so their requests and answers are told apart from ours (MODBUS over Serial
Line V1.02, 2.4). A frame ends where its own words, or those of the request that it answers, say so, and its
CRC must be right; silences are not to be seen behind USB adapters. What stands behind the head of a frame is
data, even if it looks like a request. So behind garbage, and before the first silence, nothing is believed
until the line falls silent: then a request at the very end is one, because the master waits for its answer.
"""

from collections.abc import Container, Iterator
from typing import Protocol

from .modbus import (
    EXCEPTION,
    MAX_PDU,
    MORE,
    UNKNOWN,
    answer_length,
    answers,
    expected_length,
    is_request,
    request_length,
)
from .rtu import MAX_FRAME, crc, frame
from .rtu_requests import Asked

_SHORTEST = 4  # unit id, function, CRC
_AROUND = 3  # bytes: unit id and CRC
_HEAD = 11  # bytes of a request's PDU that tell its length
READS = 4  # function codes up to this one read: their answers cannot be requests


class Counts(Protocol):
    """What goes wrong on the line."""

    crc: int  # frames with a wrong checksum
    short: int  # noise, shorter than any frame
    echo: int  # answers of ours that came back


def listening_for(ours: Container[int], counts: Counts) -> "Ear":
    """On one open line. `ours` are the units that we answer for, now; it may change."""
    return Ear(ours, counts)


class Ear:
    """Bytes in, the master's requests out, to whichever unit."""

    def __init__(self, ours: Container[int], counts: Counts) -> None:
        self._ours, self._counts = ours, counts
        self._got = bytearray()
        self._lost = True  # nobody knows where the next frame begins
        self._asked: Asked | None = None  # the last request, if it may still be answered by another unit
        self._own = b""  # our last answer, if it cannot be taken for a request when it comes back

    def feed(self, data: bytes) -> Iterator[Asked]:
        got = self._got
        got += data
        while got and not self._lost:
            if self._own and got.startswith(self._own):
                self._counts.echo += 1
                self._cut(len(self._own))
                self._own = b""
                continue
            answer, request = self._answer_end(), self._request_end()
            if self._own.startswith(got) or answer > len(got):
                break
            self._own = b""
            if self._is_answer(answer):
                self._answered(self._cut(answer))
            elif self._is_whole(request):
                yield self._taken(self._cut(request))
            else:
                self._lost = request <= len(got)
                break
        del got[:-MAX_FRAME]

    def silence(self) -> Asked | None:
        """The line is quiet: nothing of this goes on. The request at the end of it, if there is one."""
        got = self._cut(len(self._got))
        self._lost, self._own = False, b""
        for start in range(len(got) - _SHORTEST + 1):
            if self._is_request(got[start:], alone=not start):
                self._count(got[:start])
                return self._taken(got[start:])
        self._count(got)
        return None

    def answer(self, unit: int, pdu: bytes) -> bytes:
        """The frame of an answer that we are about to send."""
        framed = frame(unit, pdu)
        self._own = framed if pdu[0] <= READS or pdu[0] & EXCEPTION else b""
        return framed

    @property
    def unfinished(self) -> bool:
        """A silence would make a difference."""
        return self._lost or bool(self._got)

    @property
    def begun(self) -> bool:
        """It is more than noise may be: somebody speaks."""
        return len(self._got) >= _SHORTEST

    def _cut(self, end: int) -> bytes:
        front = bytes(self._got[:end])
        del self._got[:end]
        return front

    def _taken(self, framed: bytes) -> Asked:
        self._asked = Asked(framed[0], framed[1:-2])
        return self._asked

    def _answered(self, framed: bytes) -> None:
        """If it says the same as the request it may as well be that, repeated, and the answer still comes."""
        if self._asked != (framed[0], framed[1:-2]):
            self._asked = None

    def _answer_end(self) -> int:
        """Where the answer that may come would end: more than has come if it is not whole yet; 0: this is
        not it.
        """
        got, asked = self._got, self._asked
        if asked is None or got[0] != asked.unit or asked.unit == 0 or asked.unit in self._ours:
            return 0
        if len(got) > 1 and got[1] & ~EXCEPTION != asked.pdu[0]:
            return 0
        by_itself, expected = answer_length(got[1:]), expected_length(asked.pdu)
        if by_itself == MORE or (len(got) > 1 and got[1] & EXCEPTION) or expected == UNKNOWN:
            return self._end(by_itself)
        return self._end(expected) if by_itself in (UNKNOWN, expected) else 0

    def _request_end(self) -> int:
        """The same of a request."""
        return self._end(request_length(self._got[1 : 1 + _HEAD]))

    def _end(self, length: int) -> int:
        if length == MORE:
            return len(self._got) + 1
        return length + _AROUND if MORE < length <= MAX_PDU else 0

    def _is_whole(self, end: int) -> bool:
        return 0 < end <= len(self._got) and not crc(self._got[:end])

    def _is_answer(self, end: int) -> bool:
        asked = self._asked
        return self._is_whole(end) and asked is not None and answers(asked.pdu, self._got[1 : end - 2])

    def _is_request(self, framed: bytes, *, alone: bool) -> bool:
        """To us or to all. Where the function does not tell the length, nothing may stand before it."""
        unit, pdu = framed[0], framed[1:-2]
        if unit and unit not in self._ours:
            return False
        return is_request(pdu) and (alone or request_length(pdu) != UNKNOWN) and not crc(framed)

    def _count(self, garbage: bytes) -> None:
        """A whole frame is none: its function does not tell its length."""
        if len(garbage) >= _SHORTEST:
            self._counts.crc += bool(crc(garbage))
        else:
            self._counts.short += bool(garbage)
