"""What the gateway says of itself in registers, for a PLC to watch: layout 1, as the README has it.

Each line has a block, 1000 registers from the next one, and in it a register for each unit id. Of a number in
two registers the high word comes first. Functions 3 and 4 read the same; function 2 has the bits among them,
at the same addresses. Nothing can be written.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..errors import Refused
from .modbus import check_request, exception

LAYOUT = 1
APART = 1000  # registers from one line's block to the next, and from 0 to the first
MOST_LINES = 64
_UNITS = 100  # where in its block the units of a line begin, with unit id 0
_UNIT_IDS = 248
_STATES = {None: 0, True: 1, False: 2}  # never asked, answers, is silent
_BITS, _REGISTERS = 2, (3, 4)
_ILLEGAL_ADDRESS = 2


class Counts(NamedTuple):
    """What one line has done and counted since the gateway was started."""

    open: bool
    busy: int  # percent of the time
    queue: int  # requests that wait
    requests: int
    answers: int
    timeouts: int
    crc: int
    short: int
    late: int
    foreign: int
    echo: int
    exceptions: int
    units: Mapping[int, bool]  # of each that was asked: it answers


class _Area(NamedTuple):
    """Registers without a gap."""

    first: int
    words: list[int]
    bits: int  # so many of them, from the first on, are bits


Lines = Sequence[Callable[[], Counts]]


def answer(pdu: bytes, uptime: float, lines: Lines) -> bytes:
    """To a request; `uptime` in seconds. Refused (01) and BadRequest (03), too, are answers."""
    check_request(pdu)
    function = pdu[0]
    if function != _BITS and function not in _REGISTERS:
        raise Refused(f"function {function} does not read the gateway's own registers")
    start, count = pdu[1] << 8 | pdu[2], pdu[3] << 8 | pdu[4]
    area = _area(start, uptime, lines)
    there = area.words[: area.bits] if function == _BITS else area.words
    wanted = there[start - area.first :][:count]
    if len(wanted) < count:
        return exception(function, _ILLEGAL_ADDRESS)
    data = _in_bits(wanted) if function == _BITS else _in_words(wanted)
    return bytes((function, len(data))) + data


def _area(address: int, uptime: float, lines: Lines) -> _Area:
    """Where this address is."""
    number, place = divmod(address, APART)
    if not number:
        return _Area(0, _head(uptime, [line() for line in lines]), bits=0)
    if number > len(lines):
        return _Area(address, [], bits=0)
    line, first = lines[number - 1](), APART * number
    if place < _UNITS:
        return _Area(first, _block(line), bits=1)
    return _Area(first + _UNITS, _units(line.units), bits=_UNIT_IDS)


def _head(uptime: float, lines: Sequence[Counts]) -> list[int]:
    silent = sum(not answers for line in lines for answers in line.units.values())
    return [LAYOUT, len(lines), *_long(int(uptime)), sum(line.open for line in lines), silent, 0, 0]


def _block(line: Counts) -> list[int]:
    counts = (line.requests, line.answers, line.timeouts, line.crc, line.short)
    rarer = (line.late, line.foreign, line.echo, line.exceptions)
    silent = sum(not answers for answers in line.units.values())
    words = [line.open, line.busy, line.queue, len(line.units), silent, 0]
    return words + [word for count in (*counts, *rarer) for word in _long(count)]


def _units(known: Mapping[int, bool]) -> list[int]:
    return [_STATES[known.get(unit)] for unit in range(_UNIT_IDS)]


def _long(count: int) -> tuple[int, int]:
    """It begins anew at 2**32."""
    return count >> 16 & 0xFFFF, count & 0xFFFF


def _in_words(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(2, "big") for word in words)


def _in_bits(words: Sequence[int]) -> bytes:
    """Those are 1 whose register is 1; the first is the lowest bit of the first byte."""
    bits = sum((word == 1) << place for place, word in enumerate(words))
    return bits.to_bytes((len(words) + 7) // 8, "little")
