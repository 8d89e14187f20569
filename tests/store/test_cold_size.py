"""Records on disk: a bound holds for all bytes at any moment, and what a record costs."""

import random
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from cold_kit import RAM, fill, frames, kept

from gateway.store.cold import Cold
from gateway.store.disk import BATCH, OVERHEAD
from gateway.store.frames import pack

MB = 1 << 20
SIZES = {
    "11": [11],
    "200": [200],
    "a page": [960],
    "half a row": [17_000],
    "two rows": [60_000],
    "all": [0, 200, 3000, 40_000],
}


def batches(sizes: list[int], dice: random.Random) -> Iterator[list[tuple[int, bytes]]]:
    """Full ones, and between them some small ones, so that each finds another WAL."""
    batch: list[tuple[int, bytes]] = []
    number = size = 0
    most = BATCH
    while True:
        number += 1
        frame = pack(kept(number, dice.choice(sizes)))
        if batch and size + len(frame) > most:
            yield batch
            batch, size = [], 0
            most = BATCH if dice.random() < 0.5 else dice.randrange(1, 20_000)
        batch.append((number, frame))
        size += len(frame)


def on_disk(place: Path) -> int:
    return sum(file.stat().st_size for file in place.iterdir())


@pytest.mark.parametrize("bound", [MB, 4 * MB], ids=["1 MB", "4 MB"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_whoever_makes_room_before_each_put_never_has_more_on_the_disk(bound: int, sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory(dir=RAM) as folder:
        place = Path(folder)
        cold = Cold.open(place / "q")
        most, put = 0, 0
        for batch in islice(batches(sizes, random.Random(bound)), 80):
            new = sum(len(frame) for _, frame in batch)
            if (too_much := cold.size + new - (bound - OVERHEAD)) > 0:
                cold.drop_oldest(too_much)
            assert cold.size + new <= bound - OVERHEAD
            most = max(most, on_disk(place))
            cold.put(batch, 0)
            most = max(most, on_disk(place))  # the WAL stays as large as it was within the call
            put += new
        assert put > bound
        assert cold.confirmed > 0
        assert bound - 2 * BATCH < most <= bound
        cold.close()


def test_to_confirm_all_at_once_needs_no_more_than_a_put() -> None:
    with tempfile.TemporaryDirectory(dir=RAM) as folder:
        cold = Cold.open(Path(folder, "q"))
        for batch in islice(batches([200], random.Random(2)), 300):
            cold.put(batch, 0)
        size = cold.size
        cold.confirm(cold.last)
        assert size > 32 * MB
        assert on_disk(Path(folder)) <= size + OVERHEAD
        cold.close()


def written() -> int:
    with open("/proc/self/io") as io:
        return int(next(line for line in io if line.startswith("write_bytes")).split()[1])


def test_what_a_record_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed; on a disk of RAM nothing is written."""
    cold = Cold.open(tmp_path / "q")
    start, clock = written(), time.perf_counter()
    fill(cold, 1, 20_000)
    filling = time.perf_counter() - clock
    middle, clock = written(), time.perf_counter()
    found = 0
    while batch := cold.take(found, 100, 1 << 20):
        found = batch[-1].number
        if found % 5_000 == 0:
            cold.confirm(found)
    draining = time.perf_counter() - clock
    end = written()
    cold.put(new := frames(20_001, 21_000), 0)
    clock = time.perf_counter()
    cold.put([(number + 1000, frame) for number, frame in new], 0)
    thousand = time.perf_counter() - clock
    cold.close()
    per_record = [(middle - start) / 20_000, (end - middle) / 20_000]
    with capsys.disabled():
        print(
            "\ncold, 200-byte records, 100 per commit: {:.0f} bytes written per record, {:.0f} on drain; "
            "put {:.1f} us per record, take of 100 {:.2f} ms, put of 1000 {:.1f} ms".format(
                *per_record, filling / 20_000 * 1e6, draining / 200 * 1e3, thousand * 1e3
            )
        )
    assert found == 20_000
    assert per_record[0] < 200 * 7
