"""Which registers and coils of the far end are written, and in which writes. Pure decisions.

Promises: neighbours go in one write, as far as one write reaches; a register that nobody named is never
written, so a gap, or a value that is missing this time, begins another write; a value is never split.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..wire.points import Codec, Table
from ..wire.writes import MOST, write_request

Words = Sequence[int]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one value goes, and as what. `device` and `point` are "" for what is not of a device."""

    name: str  # "main-meter.voltage", "timestamp", "alive"
    table: Table
    address: int
    codec: Codec
    device: str = ""
    point: str = ""

    @property
    def end(self) -> int:
        return self.address + self.codec.registers

    def __str__(self) -> str:
        return f"{self.name} ({span(self.table, self.address, self.codec.registers)})"


class Layout(NamedTuple):
    """Everything that one link writes."""

    points: Mapping[str, Sequence[Slot]]  # by device
    timestamp: Slot | None = None
    alive: Slot | None = None

    @property
    def slots(self) -> Iterator[Slot]:
        for slots in self.points.values():
            yield from slots
        yield from filter(None, (self.timestamp, self.alive))


@dataclass(frozen=True, slots=True)
class Write:
    """One request: neighbouring slots with their words, by address."""

    content: Mapping[Slot, Words]

    @property
    def pdu(self) -> bytes:
        first = next(iter(self.content))
        return write_request(
            first.table, first.address, [word for words in self.content.values() for word in words]
        )

    @property
    def alone(self) -> "tuple[Write, ...]":
        """The same, each value in a write of its own."""
        return tuple(Write({slot: words}) for slot, words in self.content.items())


def plan(
    content: Mapping[Slot, Words], apart: Collection[Slot] = (), last: Slot | None = None
) -> list[Write]:
    """By address; what is `apart` shares no write with others, and the write with `last` ends the list."""
    writes = [
        Write({slot: content[slot] for slot in run}) for run in _runs(sorted(content, key=_place), apart)
    ]
    return sorted(writes, key=lambda write: last in write.content)


def _place(slot: Slot) -> tuple[str, int]:
    return slot.table, slot.address


def _runs(slots: Sequence[Slot], apart: Collection[Slot]) -> Iterator[Sequence[Slot]]:
    run: list[Slot] = []
    for slot in slots:
        if run and not _joins(run, slot, apart):
            yield run
            run = []
        run.append(slot)
    if run:
        yield run


def _joins(run: Sequence[Slot], slot: Slot, apart: Collection[Slot]) -> bool:
    first, before = run[0], run[-1]
    return (
        slot.table is first.table
        and slot.address == before.end
        and slot.end - first.address <= MOST[slot.table]
        and slot not in apart
        and before not in apart
    )


def clashes(slots: Collection[Slot]) -> Iterator[tuple[Slot, Slot]]:
    """Each slot that lies on an earlier one, with that."""
    taken: list[Slot] = []
    for slot in slots:
        on = (other for other in taken if other.table is slot.table)
        if other := next((o for o in on if slot.address < o.end and o.address < slot.end), None):
            yield slot, other
        taken.append(slot)


def span(table: Table, address: int, count: int) -> str:
    """ "holding 100..101"."""
    return f"{table} {address}" + (f"..{address + count - 1}" if count > 1 else "")
