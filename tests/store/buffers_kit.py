"""Buffers on real files, driven step by step: time passes when it is told to, and a crash is a copy of the
files as they stand.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from buffer_kit import rules

from gateway.buffer import Buffer, Durability, Record, Rules
from gateway.contracts import Frame
from gateway.store.buffers import Buffers, Name, open_file
from gateway.store.clock import Clock
from gateway.store.disk import File

CLOUD = Name("cloud", "mqtt")
MEGABYTE = 1024 * 1024
RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # for what syncs a lot


Damage = Callable[[Sequence[Path]], None]


class Time:
    """`now` never jumps, `wall` may."""

    def __init__(self) -> None:
        self.now, self.wall = 1000.0, 1.8e9
        self.is_set = True

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


class Machine:
    """One after the other, processes that have the same two folders."""

    def __init__(
        self,
        wanted: dict[Name, Rules] | None = None,
        total: int = 1 << 30,
        opener: Callable[[Path], File] = open_file,
    ) -> None:
        self.time = Time()
        self.wanted = {CLOUD: rules(64 * MEGABYTE, durability=Durability.CRASH)} if wanted is None else wanted
        self.total, self._opener = total, opener
        self._folder = Path(tempfile.mkdtemp(dir=RAM))
        self._lives = 0
        self.state, self.run = self._folder / "state", self._folder / "run"

    async def starts(self) -> "Machine":
        time = self.time
        clock = Clock(
            lambda: time.now, lambda: time.wall, lambda: time.is_set, 1_000_000_000 * (self._lives + 1)
        )
        self.buffers = Buffers(self.state, self.run, clock, self._opener)
        await self.buffers.prepare(self.wanted, self.total)
        return self

    @property
    def cloud(self) -> Buffer:
        return self.buffers.of(CLOUD)

    def say(self, payload: bytes, stream: str = "port/scale") -> None:
        self.cloud.append(stream, Frame(self.time.wall, payload))

    async def waits(self, seconds: float) -> None:
        """In steps of half a second, in each of which it does what is due."""
        for _ in range(max(1, round(seconds * 2))):
            self.time.passes(0.5)
            await self.buffers.tend()
            await turn()

    async def reads(self, after: int = 0, most: int = 1_000_000) -> list[Record]:
        """All that can be read behind that position."""
        found: list[Record] = []
        while len(found) < most and (more := await self.cloud.browse(after, min(100, most - len(found)))):
            found += more
            after = more[-1].number
        return found

    async def crashes(self, power: bool = False, damage: Damage | None = None) -> "Machine":
        """The process is gone at once; with `power`, so is what was in memory of the kernel.

        `damage` may do to its files what it likes.
        """
        await turn()
        self._lives += 1
        copy = self._folder / f"life-{self._lives}"
        shutil.copytree(self.state, copy / "state") if self.state.exists() else None
        if not power and self.run.exists():
            shutil.copytree(self.run, copy / "run")
        await self.buffers.close()
        self.state, self.run = copy / "state", copy / "run"
        if damage is not None:
            damage([path for path in sorted(copy.rglob("*")) if path.is_file()])
        return await self.starts()

    async def stops(self) -> None:
        await self.buffers.close()
        self._lives += 1

    def ends(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def on_disk(self) -> int:
        """Bytes in the state folder."""
        return sum(path.stat().st_size for path in self.state.rglob("*") if path.is_file())


async def turn() -> None:
    """What was put off to the next turn of the loop is done."""
    for _ in range(3):
        await asyncio.sleep(0)


def payloads(records: Sequence[Record]) -> list[bytes]:
    return [record.payload for record in records]
