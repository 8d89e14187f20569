"""All buffers: which link has which, within one bound, and the one task that tends them.

Promises: a buffer belongs to its link's name and kind, and outlives both: what a link that has left the
config did not deliver is kept until somebody clears it. All of them together stay within `total` on disk and
32 MB in memory: else the largest loses its oldest.
"""

import asyncio
import logging
from asyncio import Event
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Never
from urllib.parse import quote, unquote

from ..buffer import Buffer, Durability, Record, Rules
from ..errors import StoreError
from ..flow import WhenFull
from . import numbers
from .clock import Clock
from .disk import Disk, File
from .keeper import Keeper
from .worker import Worker

IN_MEMORY = 32 * 1024 * 1024  # bytes of all buffers
_LOOK = 0.5  # seconds
_TRIED_AGAIN = 60.0  # seconds
_FOREVER = 1e9  # seconds
_REFUSED = Rules(4 * 1024 * 1024, _FOREVER, WhenFull.DROP_OLDEST, Durability.CRASH, 5.0)
_LEFT = Rules(1 << 40, _FOREVER, WhenFull.DROP_OLDEST, Durability.CRASH, 5.0)
log = logging.getLogger(__name__)


class Name(NamedTuple):
    """Whose records: they are of use to a link of this kind only."""

    link: str
    kind: str

    def __str__(self) -> str:
        return f"{self.link}.{self.kind}"


def refused(link: str) -> Name:
    """What nobody would take of this link: its quarantine."""
    return Name(link, "refused")


def open_file(path: Path) -> File:
    """SQLite, which costs 2 MB of memory: a gateway that has nothing on disk does without."""
    from .cold import Cold

    return Cold.open(path)


class Buffers:
    """`state` and `run` are folders of our own."""

    def __init__(
        self, state: Path, run: Path, clock: Clock, opener: Callable[[Path], File] = open_file
    ) -> None:
        self._state, self._run, self._clock, self._opener = state, run, clock, opener
        self._worker = Worker("disks")
        self._keepers: dict[Name, Keeper] = {}
        self._wanted: Mapping[Name, Rules] = {}
        self._total = 0
        self._seqs: dict[str, dict[str, int]] | None = None  # reserved; None before they are known
        self._next_save = 0.0
        self._aside: list[tuple[Name, Record]] = []
        self._wake = Event()

    async def prepare(self, wanted: Mapping[Name, Rules], total: int) -> None:
        """Exactly these are `wanted` from now on, each with its rules; what others hold is kept."""
        if self._seqs is None:
            self._seqs = await self._worker.do(self._load)
        self._wanted, self._total = wanted, total
        for name in (*wanted, *await self._worker.do(self._left)):
            if name not in self._keepers:
                await self._begin(name)
        for name, rules in wanted.items():
            self._keepers[name].obey(rules)
        await self._reserve()

    def of(self, name: Name) -> Buffer:
        """One of those that are wanted, or hold something."""
        return self._keepers[name].buffer

    def names(self) -> list[Name]:
        return sorted(self._keepers)

    def written_today(self, name: Name) -> int | None:
        """Bytes that it had written to the disk since midnight UTC; None where the kernel does not count."""
        return self._keepers[name].disk.written_today

    def is_wanted(self, name: Name) -> bool:
        return name in self._wanted

    async def run(self) -> Never:
        """Tends them. Nothing that goes wrong with a disk ends this."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._wake.wait()
            self._wake.clear()
            await self.tend()

    async def tend(self) -> None:
        """Does what is due."""
        for keeper in list(self._keepers.values()):
            await keeper.tend()
        await self._put_aside()
        await self._bound()
        await self._forget()
        await self._reserve()

    async def close(self) -> None:
        """The end in good order: everything goes to disk, and numbers go on where they are."""
        await self._put_aside()
        for keeper in self._keepers.values():
            await keeper.close()
        for name, keeper in self._keepers.items():
            self._reserved()[str(name)] = dict(keeper.buffer.seqs)
        with suppress(StoreError):
            await self._worker.do(partial(numbers.save, self._state / _NUMBERS, self._reserved()))
        self._worker.end()

    async def _begin(self, name: Name) -> None:
        rules = self._wanted.get(name, _REFUSED if name == refused(name.link) else _LEFT)
        file = quote(str(name), safe="")
        keeper = Keeper(
            f"links.{name.link if name in self._wanted else name}",
            rules,
            Disk(self._state / f"{file}{_FILE}", self._opener, self._worker),
            self._run / f"{file}{_JOURNAL}",
            self._clock,
            self._wake.set,
        )
        buffer = await keeper.begin(self._reserved().get(str(name), {}))
        buffer.aside = partial(self._set_aside, refused(name.link))
        self._keepers[name] = keeper

    def _left(self) -> list[Name]:
        """What earlier processes have left in both folders. Blocks."""
        found = {path.name.removesuffix(_FILE) for path in _files(self._state, _FILE)}
        found |= {path.name.removesuffix(f"{_JOURNAL}.0") for path in _files(self._run, f"{_JOURNAL}.0")}
        return sorted(Name(*unquote(name).rpartition(".")[::2]) for name in found if "." in name)

    def _set_aside(self, name: Name, record: Record) -> None:
        self._aside.append((name, record))
        self._wake.set()

    async def _put_aside(self) -> None:
        while self._aside:
            name, record = self._aside[0]
            if name not in self._keepers:
                await self._begin(name)
            self._keepers[name].buffer.keep(record)
            del self._aside[0]

    async def _bound(self) -> None:
        keepers = self._keepers.values()
        if (held := sum(keeper.buffer.held_size for keeper in keepers) - IN_MEMORY) > 0:
            max(keepers, key=lambda keeper: keeper.buffer.held_size).buffer.drop_held(held)
        if self._total and (size := sum(keeper.buffer.size for keeper in keepers) - self._total) > 0:
            await max(keepers, key=lambda keeper: keeper.buffer.size).make_room(size)

    async def _forget(self) -> None:
        """Those that nobody wants, nobody fills any more and that hold nothing."""
        for name in [name for name in self._keepers if name not in self._wanted]:
            buffer = self._keepers[name].buffer
            if not buffer.records and not buffer.is_fed:
                await self._keepers.pop(name).close()

    # Sequence numbers

    def _load(self) -> dict[str, dict[str, int]]:
        try:
            return numbers.load(self._state / _NUMBERS)
        except StoreError as error:
            log.error("%s; sequence numbers begin by the clock", error)
            return {}

    def _reserved(self) -> dict[str, dict[str, int]]:
        return {} if self._seqs is None else self._seqs

    async def _reserve(self) -> None:
        """Numbers ahead of those that were given, before they run short."""
        short = dict(self._short())
        if not short or self._clock.now() < self._next_save:
            return
        known = self._reserved()
        reserved = known | {name: known.get(name, {}) | streams for name, streams in short.items()}
        try:
            await self._worker.do(partial(numbers.save, self._state / _NUMBERS, reserved))
            self._seqs = reserved
        except StoreError as error:
            log.error("%s; sequence numbers may be given again after a power cut", error)
            self._next_save = self._clock.now() + _TRIED_AGAIN

    def _short(self) -> Iterator[tuple[str, dict[str, int]]]:
        for name, keeper in self._keepers.items():
            known = self._reserved().get(str(name), {})
            streams = {
                stream: seq + numbers.AHEAD
                for stream, seq in keeper.buffer.seqs.items()
                if seq + numbers.AHEAD // 2 > known.get(stream, 0)
            }
            if streams:
                yield str(name), streams


def _files(folder: Path, suffix: str) -> list[Path]:
    with suppress(OSError):
        return [path for path in folder.iterdir() if path.name.endswith(suffix)]
    return []


_NUMBERS = "numbers"
_FILE = ".sqlite"
_JOURNAL = ".journal"
