"""In which reads the points of a device are fetched. Pure decisions.

A second read costs 20 characters: request 8, frame of the answer 5, twice 3.5 of silence (and the device's
thinking). A register read and thrown away costs 2. So neighbours share a read across a gap of up to 10
registers, which is the default of `max_gap`; a larger one is right for a device that thinks long. Bits count
as sixteenths of a register in every limit. A point is never split over two reads.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..wire.points import Codec, Table
from ..wire.reads import read_request
from .model import DeviceConfig

_BITS = 16


class Slot(NamedTuple):
    """A point's place: its first register (or bit) on the wire, and what to make of it."""

    name: str
    address: int
    codec: Codec

    @property
    def end(self) -> int:
        return self.address + self.codec.registers


@dataclass(frozen=True, slots=True)
class Read:
    """One request: `count` registers (or bits) of `table`, and the points in them, by address.

    `whole`: the device refused it in parts too, so splitting does not help.
    """

    table: Table
    points: tuple[Slot, ...]
    whole: bool = False

    @property
    def address(self) -> int:
        return self.points[0].address

    @property
    def count(self) -> int:
        return max(slot.end for slot in self.points) - self.address

    @property
    def request(self) -> bytes:
        """Its PDU."""
        return read_request(self.table, self.address, self.count)

    def __str__(self) -> str:
        return f"{self.table} {self.address}..{self.address + self.count - 1}"


def plan(config: DeviceConfig) -> tuple[Read, ...]:
    """The reads of one round. Of a config that went through `with_model`."""
    return tuple(read for table in Table for read in _of_table(config, table))


def split(read: Read) -> tuple[Read, ...]:
    """What to ask instead of a read that was refused as a whole: its runs without gaps, or else its halves.

    The read alone when there is no place where it can be cut.
    """
    runs = [*_runs(read.points, read.count, 0)]
    if len(runs) == 1:
        runs = _halves([*_runs(read.points, read.count, -1)])
    if read.whole or len(runs) == 1:
        return (read,)
    return tuple(Read(read.table, run) for run in runs)


Run = tuple[Slot, ...]


def _of_table(config: DeviceConfig, table: Table) -> Iterator[Read]:
    unit = _BITS if table.bits else 1
    slots = [
        Slot(name, point.address, point.codec)
        for name, point in config.points.items()
        if point.table is table
    ]
    slots.sort(key=lambda slot: (slot.address, slot.end))
    for run in _runs(slots, config.max_registers * unit, config.max_gap * unit):
        yield Read(table, run)


def _runs(slots: Iterable[Slot], most: int, max_gap: int) -> Iterator[Run]:
    """Sorted slots, at most `most` registers together and `max_gap` between two; -1: only overlaps."""
    run: list[Slot] = []
    end = 0
    for slot in slots:
        if run and (slot.address - end > max_gap or slot.end - run[0].address > most):
            yield tuple(run)
            run = []
        end = max(end, slot.end) if run else slot.end
        run.append(slot)
    if run:
        yield tuple(run)


def _halves(pieces: Sequence[Run]) -> list[Run]:
    middle = len(pieces) // 2
    return [sum(half, ()) for half in (pieces[:middle], pieces[middle:]) if half]
