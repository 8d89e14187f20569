"""Modbus ASCII: frames in hex with LRC, and finding the one answer to one request in whatever a line brings.

MODBUS over Serial Line V1.02, 2.5.2: ":", then unit id, PDU and LRC as two hex digits each, CR LF; at most
513 characters. A ":" begins a frame wherever it stands. What we send has upper case digits, both are read.
"""

import re
from functools import lru_cache

from .modbus import EXCEPTION, UNKNOWN, answers, expected_length

MAX_FRAME = 513
CHARACTER_BITS = 10  # start, 7 data, parity, stop; or 8 data without parity
_SHORTEST = 9  # unit id, function and LRC
_EXCEPTION_FRAME = 11
_OCTETS = re.compile(rb"(?:[0-9A-Fa-f]{2}){3,255}")
_HEAD = 4  # digits of unit id and function


def lrc(data: bytes) -> int:
    """The two's complement of the sum. Over all octets of a frame, its LRC included, it is 0."""
    return -sum(data) & 0xFF


def frame(unit: int, pdu: bytes) -> bytes:
    octets = bytes((unit,)) + pdu
    return b":%b%02X\r\n" % (octets.hex().upper().encode(), lrc(octets))


encode = lru_cache(maxsize=1024)(frame)  # for requests: the same few are polled for ever


def decode(digits: bytes) -> bytes | None:
    """Unit id and PDU from what stands between ":" and CR LF; None when it is no frame with a good LRC."""
    if _OCTETS.fullmatch(digits) is None:
        return None
    octets = bytes.fromhex(digits.decode())
    return octets[:-1] if lrc(octets) == 0 else None


def answer_size(request: bytes) -> int:
    """Characters that the answer takes at most."""
    length = expected_length(request)
    return MAX_FRAME if length == UNKNOWN else _characters(length)


def _characters(pdu_length: int) -> int:
    return 2 * (pdu_length + 2) + 3


def answer_to(unit: int, request: bytes) -> "Answer":
    return Answer(unit, request)


class Answer:
    """Collects characters until they hold the answer to one request.

    What is no frame is skipped; frames of other units or functions are counted in `foreign` and waited past.
    `echoed` tells that the line gave the request itself back. Silence inside a frame breaks it off.
    """

    def __init__(self, unit: int, request: bytes) -> None:
        self._unit, self._request = unit, request
        self._echo = request if request[0] <= 4 else None  # the answer to a write is its echo
        self._good_head = b"%02X%02X" % (unit, request[0])
        self._exception_head = b"%02X%02X" % (unit, request[0] | EXCEPTION)
        self._got = bytearray()  # a frame from its ":" on
        self._noise = 0  # characters
        self.foreign = 0
        self.echoed = False
        self.broken = False  # a frame from the right unit and function had a wrong LRC, or no end

    def feed(self, data: bytes) -> bytes | None:
        """The answer's PDU once it is complete."""
        self._got += data
        while (end := self._got.find(b"\n")) >= 0:
            line = bytes(self._got[: end + 1])
            del self._got[: end + 1]
            pdu = self._ended(line)
            if pdu is not None:
                return pdu
        start = self._got.rfind(b":")
        if start < 0 or len(self._got) - start >= MAX_FRAME:
            start = len(self._got)
        self._noise += start
        del self._got[:start]
        return None

    def silence(self) -> None:
        """Nothing has come for as long as may pass between two characters: no more of this frame will."""
        self.broken = self.broken or self._is_ours(self._got[1:])
        self._noise += len(self._got)
        self._got.clear()

    @property
    def ends_by_silence(self) -> bool:
        return bool(self._got)

    @property
    def heard(self) -> int:
        """Characters that came and belong to no whole frame."""
        return self._noise + len(self._got)

    @property
    def begun(self) -> bool:
        """What came may be the beginning of the answer."""
        digits = bytes(self._got[1 : 1 + _HEAD]).upper()
        heads = self._good_head, self._exception_head
        return self.broken or (bool(self._got) and any(head.startswith(digits) for head in heads))

    @property
    def missing(self) -> int:
        """How many characters must come at least before anything more can be said."""
        head = bytes(self._got[1 : 1 + _HEAD]).upper()
        whole = _SHORTEST
        if head == self._exception_head:
            whole = _EXCEPTION_FRAME
        elif head == self._good_head and (length := expected_length(self._request)) != UNKNOWN:
            whole = _characters(length)
        return max(1, whole - len(self._got))

    def _ended(self, line: bytes) -> bytes | None:
        """The PDU if what ends with this line is the answer."""
        noise, colon, digits = line.rpartition(b":")
        frame = decode(digits[:-2]) if colon and digits.endswith(b"\r\n") else None
        if frame is None:
            self._noise += len(line)
            self.broken = self.broken or (bool(colon) and self._is_ours(digits))
            return None
        self._noise += len(noise)
        unit, pdu = frame[0], frame[1:]
        if unit == self._unit and pdu == self._echo and not self.echoed:
            self.echoed = True
        elif unit == self._unit and answers(self._request, pdu):
            return pdu
        else:
            self.foreign += 1
        return None

    def _is_ours(self, digits: bytes | bytearray) -> bool:
        return bytes(digits[:_HEAD]).upper() in (self._good_head, self._exception_head)
