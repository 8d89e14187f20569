"""Buffers that are kept in memory alone, for whoever needs one and does not test it."""

from collections.abc import Callable, Mapping, Sequence
from math import inf

from gateway.buffer import Buffer, Durability, Record, Rules, Start
from gateway.flow import WhenFull
from gateway.store.buffers import Name

IN_MEMORY = 8 * 1024 * 1024


def rules(
    size: int = IN_MEMORY,
    when_full: WhenFull = WhenFull.DROP_OLDEST,
    durability: Durability = Durability.MEMORY,
    age: float = 1e9,
    spill_after: float = 5.0,
) -> Rules:
    return Rules(size, age, when_full, durability, spill_after)


class Nothing:
    """The Backing of a buffer that has nothing behind it."""

    moving = overhead = disk_records = disk_last = disk_size = 0
    safe = inf
    oldest = None
    trouble = ""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def appended(self) -> None:
        pass

    def confirmed(self) -> None:
        pass

    async def take(self, after: int, most: int) -> Sequence[Record]:
        return []


def in_memory(name: str = "cloud", size: int = IN_MEMORY, first_seq: int = 1) -> Buffer:
    return Buffer(name, rules(size), Nothing(size), Start(1, 0, {}, first_seq), lambda: True)


class Buffers:
    """By link."""

    def __init__(self, first_seq: int = 1, per_link: int = IN_MEMORY) -> None:
        self._first_seq, self._per_link = first_seq, per_link
        self._buffers: dict[str, Buffer] = {}

    def of(self, link: str) -> Buffer:
        if link not in self._buffers:
            self._buffers[link] = in_memory(link, self._per_link, self._first_seq)
        return self._buffers[link]


class Store:
    """By link and kind, as the site wants them."""

    def __init__(self) -> None:
        self.wanted: dict[Name, Rules] = {}
        self.meanwhile: Callable[[], object] = lambda: None  # what happens while it prepares
        self._buffers: dict[Name, Buffer] = {}

    async def prepare(self, wanted: Mapping[Name, Rules], total: int) -> None:
        self.wanted = dict(wanted)
        self.meanwhile()

    def of(self, name: Name) -> Buffer:
        return self._buffers.setdefault(name, in_memory(str(name)))
