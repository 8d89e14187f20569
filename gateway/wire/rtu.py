"""Modbus RTU: frames with CRC, and finding the one answer to one request in whatever a line brings.

MODBUS over Serial Line V1.02, 2.5.1: unit id, PDU, CRC-16 (polynomial 0xA001, low byte first); at most 256
bytes. Frames are found by their length and CRC, not by silences: behind a USB adapter those are not to be
seen.
"""

from functools import lru_cache

from .modbus import EXCEPTION, MAX_PDU, MORE, UNKNOWN, answer_length, answers, expected_length

MAX_FRAME = 256
_SHORTEST = 5  # an exception: unit id, function, code, CRC
_AROUND = 3  # bytes: unit id and CRC
CHARACTER_BITS = 11  # start, 8 data, parity or a second stop, stop


def gap(baudrate: int) -> float:
    """t3.5 in seconds, the silence between frames.

    3.5 characters, above 19200 Bd fixed at 1.75 ms (2.5.1.1).
    """
    return 3.5 * CHARACTER_BITS / baudrate if baudrate <= 19200 else 0.00175


def _table() -> tuple[int, ...]:
    def one(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
        return value

    return tuple(one(value) for value in range(256))


_CRC = _table()


def crc(data: bytes | bytearray) -> int:
    """CRC-16/MODBUS. Over a whole frame, its CRC included, it is 0."""
    value, table = 0xFFFF, _CRC
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value


def frame(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + crc(body).to_bytes(2, "little")


encode = lru_cache(maxsize=1024)(frame)  # for requests: the same few are polled for ever


def answer_size(request: bytes) -> int:
    """Characters that the answer takes at most."""
    length = expected_length(request)
    return MAX_FRAME if length == UNKNOWN else length + _AROUND


def answer_to(unit: int, request: bytes) -> "Answer":
    return Answer(unit, request)


class Answer:
    """Collects bytes until they hold the answer to one request.

    Garbage is skipped at any offset; frames of other units or functions are counted in `foreign` and waited
    past. `echoed` tells that the line gave the request itself back.
    """

    def __init__(self, unit: int, request: bytes) -> None:
        self._unit, self._request = unit, request
        self._echo = encode(unit, request) if request[0] <= 4 else None  # the answer to a write is its echo
        self._got = bytearray()
        self._expected = expected_length(request)  # of the PDU
        self.foreign = 0
        self.echoed = False

    def feed(self, data: bytes) -> bytes | None:
        """The answer's PDU once it is complete."""
        got = self._got
        got += data
        if self._echo is not None and got.startswith(self._echo):
            self.echoed = True
            del got[: len(self._echo)]
        if len(got) < _SHORTEST:
            return None
        if len(got) == self._expected + _AROUND and self._is_answer(0, len(got)):
            return bytes(got[1:-2])
        return self._search()

    def silence(self) -> bytes | None:
        """The line has gone quiet: that ends an answer whose length nobody knows."""
        end = len(self._got)
        for start in range(end - _SHORTEST + 2):
            if self._got[start] == self._unit and self._is_answer(start, end):
                return bytes(self._got[start + 1 : end - 2])
        return None

    @property
    def ends_by_silence(self) -> bool:
        return self._expected == UNKNOWN and answer_length(self._request[:2]) == UNKNOWN

    @property
    def heard(self) -> int:
        """Bytes that came and belong to no whole frame."""
        return len(self._got)

    @property
    def begun(self) -> bool:
        """What came may be the beginning of the answer."""
        got, function = self._got, self._request[0]
        last = len(got) - 1
        return any(
            got[at] == self._unit and (at == last or got[at + 1] & ~EXCEPTION == function)
            for at in range(len(got))
        )

    @property
    def missing(self) -> int:
        """How many bytes must come at least before anything more can be said: the function, then the rest."""
        got = self._got
        if len(got) < 2 or got[0] != self._unit or self._expected == UNKNOWN:
            return 1
        expected = _SHORTEST if got[1] & EXCEPTION else self._expected + _AROUND
        return max(1, expected - len(got))

    @property
    def broken(self) -> bool:
        """It has come in full length, from the right unit and function, and its CRC is wrong."""
        got = self._got
        if len(got) < _SHORTEST or got[0] != self._unit or got[1] & 0x7F != self._request[0]:
            return False
        length = self._length(0)
        whole = MORE < length <= len(got) - _AROUND
        return whole and self._expected in (UNKNOWN, length, len(got) - _AROUND)

    def _search(self) -> bytes | None:
        """The answer at any offset; on the way, whole frames of others are taken out."""
        got, start = self._got, 0
        while start <= len(got) - _SHORTEST:
            length = self._length(start)
            end = start + length + _AROUND
            if self._is_ours(start, length) and (length <= MORE or end > len(got)):
                break  # what has come behind its head is data, even if it looks like a frame
            if not MORE < length <= MAX_PDU or end > len(got) or crc(got[start:end]):
                start += 1
                continue
            if self._is_answer(start, end):
                return bytes(got[start + 1 : end - 2])
            self.foreign += 1
            del got[:end]
            start = 0
        if len(got) > 2 * MAX_FRAME:
            del got[:-MAX_FRAME]
        return None

    def _length(self, start: int) -> int:
        """Of the PDU that begins behind a unit id here, by its own words or by the request's."""
        length = answer_length(self._got[start + 1 : start + 1 + MAX_PDU])
        return self._expected if length == UNKNOWN and self._has_head(start) else length

    def _is_ours(self, start: int, length: int) -> bool:
        """What begins here has the unit and the function of the answer, and may have its length."""
        return self._has_head(start) and length <= MAX_PDU and self._expected in (UNKNOWN, length)

    def _has_head(self, start: int) -> bool:
        return self._got[start] == self._unit and self._got[start + 1] == self._request[0]

    def _is_answer(self, start: int, end: int) -> bool:
        got = self._got[start:end]
        return got[0] == self._unit and answers(self._request, got[1:-2]) and not crc(got)
