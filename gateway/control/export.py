"""A buffer as lines of JSON, oldest first: what `gatewayctl buffer export` writes.

    {"ts":"2026-03-02T14:15:02.500Z","seq":17,"stream":"port/scale","text":"230.1\r\n"}

Promises: nothing is taken away; what comes meanwhile is not part of it; what is delivered or dropped before
its turn is missing. A buffer of gigabytes costs a batch of memory, and the loop a millisecond at a time.
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Sequence

from ..buffer import Buffer, Record
from ..status import timestamp
from .client import encoded

_BATCH = 100  # records
_PIECE = 64 * 1024  # bytes


async def export(buffer: Buffer, send: Callable[[bytes], Awaitable[None]]) -> int:
    """Returns how many records that were."""
    last, after, told = buffer.next_number - 1, 0, 0
    while after < last and (batch := await buffer.browse(after, _BATCH)):
        records = [record for record in batch if record.number <= last]
        for piece in _pieces(records):
            await send(piece)
            await asyncio.sleep(0)  # a socket with room takes it without a turn of the loop
        after, told = batch[-1].number, told + len(records)
    return told


def _pieces(records: Sequence[Record]) -> Iterator[bytes]:
    piece = bytearray()
    for record in records:
        piece += encoded(_told(record))
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _told(record: Record) -> dict[str, object]:
    told: dict[str, object] = {"ts": timestamp(record.at), "seq": record.seq, "stream": record.stream}
    if not record.clock_set:
        told["clock"] = "unset"
    try:
        told["text"] = record.payload.decode()
    except UnicodeDecodeError:
        told["base64"] = b64encode(record.payload).decode()
    return told
