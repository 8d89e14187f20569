"""One record as it is kept: the same bytes in RAM, in the journal and on disk, so that moving is copying.

Little endian: magic 4 | size 4, of the whole frame | CRC-32 of all that follows | number 8 | seq 8 |
nanoseconds since the epoch 8 | flags 1 | length of stream 1 | stream, UTF-8 | payload.

Garbage never raises here. A frame that is not whole and undamaged does not exist; `scan` finds those around
it. What a stale frame means is for whoever reads: a frame knows its number and nothing of its place.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from ..buffer import Record

MAGIC = b"\xf5SG1"  # F5 stands in no UTF-8 text; the digit is the version of the format
_HEAD = Struct("<4sII")
_BODY = Struct("<QQQBB")
_CLOCK_SET = 1  # the only flag
SMALLEST = _HEAD.size + _BODY.size  # bytes of a frame beside its stream and payload


class Found(NamedTuple):
    record: Record
    frame: bytes  # as it stood there


def pack(record: Record) -> bytes:
    stream = record.stream.encode()
    seconds, rest = divmod(record.at, 1)  # apart: a float cannot hold today in nanoseconds
    body = (
        _BODY.pack(
            record.number,
            record.seq,
            int(seconds) * 1_000_000_000 + round(rest * 1_000_000_000),
            _CLOCK_SET if record.clock_set else 0,
            len(stream),
        )
        + stream
        + record.payload
    )
    return _HEAD.pack(MAGIC, _HEAD.size + len(body), crc32(body)) + body


def unpack(data: bytes | memoryview, start: int = 0) -> Record | None:
    """The record whose frame begins at `start`; None: no whole undamaged frame there."""
    if len(data) - start < SMALLEST:
        return None
    magic, size, checksum = _HEAD.unpack_from(data, start)
    end, body = start + size, start + _HEAD.size
    if magic != MAGIC or size < SMALLEST or end > len(data):
        return None
    if crc32(memoryview(data)[body:end]) != checksum:
        return None
    number, seq, nanoseconds, flags, length = _BODY.unpack_from(data, body)
    stream = start + SMALLEST
    payload = min(stream + length, end)
    return Record(
        number,
        str(data[stream:payload], "utf-8", "replace"),
        seq,
        nanoseconds / 1_000_000_000,
        bool(flags & _CLOCK_SET),
        bytes(data[payload:end]),
    )


def scan(data: bytes | memoryview) -> Iterator[Found]:
    """Every undamaged frame, in order of place; what is damaged between them is skipped."""
    data = bytes(data)
    start = data.find(MAGIC)
    while start >= 0:
        if (record := unpack(data, start)) is None:
            start = data.find(MAGIC, start + 1)
        else:
            end = start + _HEAD.unpack_from(data, start)[1]
            yield Found(record, data[start:end])
            start = data.find(MAGIC, end)
