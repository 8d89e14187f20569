"""The memory of one simulated Modbus device, and how it answers requests.

An implementation of its own, from the specification and not from `gateway.wire`: the far side of a test must
not share the mistakes of the near side. Answers FC 1-6, 15 and 16; exceptions 01 (function), 02 (address), 03
(quantity or length).
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

V = TypeVar("V")

MOST_BITS, MOST_WORDS = 2000, 125  # of one read; MODBUS Application Protocol V1.1b3, 6.1 and 6.3
MOST_WRITTEN_BITS, MOST_WRITTEN_WORDS = 1968, 123  # 6.11 and 6.12


class Illegal(Exception):
    """A request that gets an exception response; `code` is 1, 2 or 3."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Registers:
    """Four tables from address to value. An address that is not in its table does not exist (exception 02).

    Plain dicts, so that a test or the demo may look and change at any time.
    """

    coils: dict[int, bool] = field(default_factory=dict)
    discrete_inputs: dict[int, bool] = field(default_factory=dict)
    holding: dict[int, int] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    writes: int = 0  # requests that changed something

    def answer(self, pdu: bytes) -> bytes:
        """The answer to one request, both as PDU: function code and data."""
        function = _FUNCTIONS.get(pdu[0])
        try:
            if function is None:
                raise Illegal(1)
            return pdu[:1] + function(self, pdu[1:])
        except Illegal as illegal:
            return bytes((pdu[0] | 0x80, illegal.code))
        except KeyError:
            return bytes((pdu[0] | 0x80, 2))
        except struct.error:
            return bytes((pdu[0] | 0x80, 3))


def float_words(value: float) -> tuple[int, int]:
    """float32 as the two registers that most meters show: high word first."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


def words_float(high: int, low: int) -> float:
    """Back again."""
    value: float = struct.unpack(">f", struct.pack(">HH", high, low))[0]
    return value


def _read(body: bytes, most: int) -> range:
    start, count = struct.unpack(">HH", body)
    if not 1 <= count <= most:
        raise Illegal(3)
    return range(start, start + count)


def _read_bits(table: dict[int, bool], body: bytes) -> bytes:
    packed = _packed([table[address] for address in _read(body, MOST_BITS)])
    return bytes((len(packed),)) + packed


def _read_words(table: dict[int, int], body: bytes) -> bytes:
    words = [table[address] for address in _read(body, MOST_WORDS)]
    return struct.pack(f">B{len(words)}H", 2 * len(words), *words)


def _write_coil(registers: Registers, body: bytes) -> bytes:
    address, value = struct.unpack(">HH", body)
    if value not in (0x0000, 0xFF00):
        raise Illegal(3)
    return _store(registers, registers.coils, {address: value == 0xFF00}, body)


def _write_word(registers: Registers, body: bytes) -> bytes:
    address, value = struct.unpack(">HH", body)
    return _store(registers, registers.holding, {address: value}, body)


def _write_coils(registers: Registers, body: bytes) -> bytes:
    start, count, size = struct.unpack(">HHB", body[:5])
    if not 1 <= count <= MOST_WRITTEN_BITS or size != (count + 7) // 8 or len(body) != 5 + size:
        raise Illegal(3)
    bits = {start + bit: bool(body[5 + bit // 8] >> bit % 8 & 1) for bit in range(count)}
    return _store(registers, registers.coils, bits, body)


def _write_words(registers: Registers, body: bytes) -> bytes:
    start, count, size = struct.unpack(">HHB", body[:5])
    if not 1 <= count <= MOST_WRITTEN_WORDS or size != 2 * count or len(body) != 5 + size:
        raise Illegal(3)
    words = struct.unpack(f">{count}H", body[5:])
    return _store(registers, registers.holding, dict(enumerate(words, start)), body)


def _store(registers: Registers, table: dict[int, V], values: dict[int, V], body: bytes) -> bytes:
    if not values.keys() <= table.keys():
        raise Illegal(2)
    table.update(values)
    registers.writes += 1
    return body[:4]


def _packed(bits: Iterable[bool]) -> bytes:
    """Eight coils a byte, the first in the lowest bit."""
    number, count = 0, 0
    for bit in bits:
        number |= bit << count
        count += 1
    return number.to_bytes((count + 7) // 8, "little")


_FUNCTIONS: dict[int, Callable[[Registers, bytes], bytes]] = {
    1: lambda registers, body: _read_bits(registers.coils, body),
    2: lambda registers, body: _read_bits(registers.discrete_inputs, body),
    3: lambda registers, body: _read_words(registers.holding, body),
    4: lambda registers, body: _read_words(registers.inputs, body),
    5: _write_coil,
    6: _write_word,
    15: _write_coils,
    16: _write_words,
}
