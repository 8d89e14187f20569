"""Which addresses of which table a request touches (MODBUS Application Protocol V1.1b3, chapter 6)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .points import Table


class Span(NamedTuple):
    """Neighbours. A request may well ask for some beyond 65535."""

    table: Table
    addresses: range


class _Place(NamedTuple):
    """Where in the PDU the first address stands, and how many there are."""

    table: Table
    first: int
    many: int | None = None  # None: one


_PLACES: Mapping[int, Sequence[_Place]] = {
    1: (_Place(Table.COIL, 1, 3),),
    2: (_Place(Table.DISCRETE_INPUT, 1, 3),),
    3: (_Place(Table.HOLDING, 1, 3),),
    4: (_Place(Table.INPUT, 1, 3),),
    5: (_Place(Table.COIL, 1),),
    6: (_Place(Table.HOLDING, 1),),
    15: (_Place(Table.COIL, 1, 3),),
    16: (_Place(Table.HOLDING, 1, 3),),
    22: (_Place(Table.HOLDING, 1),),
    23: (_Place(Table.HOLDING, 1, 3), _Place(Table.HOLDING, 5, 7)),
}


def touched(pdu: bytes) -> Sequence[Span]:
    """By a request that `check_request` takes.

    None where its code has no addresses: such name files, queues, objects, or what their maker likes.
    """
    return [Span(place.table, _neighbours(pdu, place)) for place in _PLACES.get(pdu[0], ())]


def _neighbours(pdu: bytes, place: _Place) -> range:
    first = _word(pdu, place.first)
    return range(first, first + (1 if place.many is None else _word(pdu, place.many)))


def _word(pdu: bytes, at: int) -> int:
    return pdu[at] << 8 | pdu[at + 1]
