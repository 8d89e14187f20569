"""Records whose content follows from their number, and the file that they are put into."""

import os
from collections.abc import Callable
from pathlib import Path

import gateway
from gateway.buffer import Record
from gateway.store.cold import Cold
from gateway.store.frames import pack

STREAM = "port/scale"
RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # for what is a model and syncs a lot
# For children that import this module.
ENVIRON = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{Path(gateway.__file__).parents[1]}"}


def kept(number: int, size: int = 200, at: float | None = None, clock_set: bool = True) -> Record:
    payload = (b"%08d " % number * (size // 9 + 1))[:size]
    return Record(number, STREAM, number, float(number) if at is None else at, clock_set, payload)


def frames(first: int, last: int, size: int = 200) -> list[tuple[int, bytes]]:
    return [(number, pack(kept(number, size))) for number in range(first, last + 1)]


def fill(cold: Cold, first: int, last: int, size: int = 200) -> None:
    """In transactions of 100, as a spill does it."""
    for start in range(first, last + 1, 100):
        end = min(start + 99, last)
        cold.put(frames(start, end, size), 0)


def everything(cold: Cold, after: int = 0) -> list[Record]:
    found: list[Record] = []
    while more := cold.take(found[-1].number if found else after, 100, 1 << 20):
        found += more
    return found


def numbers(cold: Cold) -> list[int]:
    return [record.number for record in everything(cold)]


def is_true(found: list[Record]) -> bool:
    """In order, each once, nothing that was never put."""
    order = [record.number for record in found]
    return order == sorted(set(order)) and all(
        record == kept(record.number, len(record.payload)) for record in found
    )


def filled(path: Path, last: int = 10_000) -> None:
    cold = Cold.open(path)
    fill(cold, 1, last)
    cold.close()


def rewrite(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def asides(path: Path) -> list[str]:
    return sorted(name.name.removeprefix(path.name) for name in path.parent.glob("*damaged-?"))
