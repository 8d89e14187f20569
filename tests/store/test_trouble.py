"""A disk or a run directory that lets one down: records stay in memory within their bounds, it is said why,
and everything goes on by itself when it works again.
"""

import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from buffer_kit import rules
from buffers_kit import CLOUD, MEGABYTE, Machine, payloads

from gateway.buffer import IN_MEMORY, Durability, Record
from gateway.errors import LinkDown, StoreError
from gateway.store.buffers import open_file
from gateway.store.disk import File

NUMBERED = [b"%06d" % number for number in range(1, 201)]


class Flaky:
    """A file on a disk that fails when it is told to."""

    def __init__(self, file: File, disk: "Disk") -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> object:
        if name in ("put", "take", "confirm", "drop_oldest", "older_than"):
            self._disk.check()
        return getattr(self._file, name)


class Disk:
    """Full, or broken, while `trouble` is set."""

    trouble: StoreError | None = None

    def open(self, path: Path) -> File:
        self.check()
        return Flaky(open_file(path), self)  # type: ignore[return-value]

    def check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def machine(disk: Disk) -> AsyncIterator[Machine]:
    machine = Machine({CLOUD: rules(64 * MEGABYTE, durability=Durability.CRASH)}, opener=disk.open)
    yield await machine.starts()
    disk.trouble = None
    await machine.buffers.close()
    machine.ends()


def say(machine: Machine, some: Sequence[bytes]) -> None:
    for payload in some:
        machine.say(payload)


def trouble(machine: Machine) -> str | None:
    return machine.cloud.status(machine.time.wall)["trouble"]


@pytest.mark.parametrize("full", [False, True], ids=["broken", "full"])
async def test_while_the_disk_fails_it_goes_on_from_memory_and_says_so(
    machine: Machine, disk: Disk, full: bool, caplog: pytest.LogCaptureFixture
) -> None:
    disk.trouble = StoreError("/state: the disk has an error", full=full)
    say(machine, NUMBERED[:100])
    await machine.waits(6)
    assert trouble(machine) == "/state: the disk has an error"
    assert payloads(await machine.reads()) == NUMBERED[:100]
    say(machine, NUMBERED[100:])
    await machine.waits(6)
    disk.trouble = None
    await machine.waits(3)

    assert trouble(machine) is None
    assert list(machine.state.glob("*.sqlite"))
    assert payloads(await machine.reads()) == NUMBERED
    assert len([record for record in caplog.records if "has an error" in record.getMessage()]) == 1


async def test_what_stands_on_a_disk_that_fails_comes_again_when_it_is_back(
    machine: Machine, disk: Disk
) -> None:
    say(machine, NUMBERED[:100])
    await machine.waits(6)
    disk.trouble = StoreError("/state: the disk has an error")
    say(machine, NUMBERED[100:110])
    await machine.waits(1)
    assert payloads(await machine.reads()) == NUMBERED[100:110]
    disk.trouble = None
    await machine.waits(3)
    with pytest.raises(LinkDown):
        await machine.cloud.read(100, 10)
    await machine.cloud.read(0, 10)

    assert payloads(await machine.reads()) == NUMBERED[:110]
    await machine.crashes()
    assert payloads(await machine.reads()) == NUMBERED[:110]


async def test_what_arrived_while_the_disk_was_away_does_not_come_back_with_it(
    machine: Machine, disk: Disk
) -> None:
    say(machine, NUMBERED[:10])
    await machine.waits(6)
    disk.trouble = StoreError("/state: the disk has an error")
    say(machine, NUMBERED[10:20])
    newer = await machine.reads() or await machine.reads()
    machine.cloud.confirm(newer[-1].number)
    say(machine, NUMBERED[20:30])
    await machine.waits(1)
    disk.trouble = None
    await machine.waits(3)
    await machine.cloud.read(0, 10)

    assert payloads(await machine.reads()) == NUMBERED[:10] + NUMBERED[20:30]


async def test_a_disk_that_cannot_be_had_at_the_start_is_taken_up_when_it_can(
    machine: Machine, disk: Disk
) -> None:
    say(machine, NUMBERED[:50])
    await machine.waits(6)
    await machine.stops()
    disk.trouble = StoreError("/state: the disk is read-only")
    await machine.starts()
    say(machine, NUMBERED[50:60])
    assert payloads(await machine.reads()) == NUMBERED[50:60]
    disk.trouble = None
    await machine.waits(3)
    await machine.cloud.read(0, 10)

    records = await machine.reads()
    assert payloads(records) == NUMBERED[:60]
    assert len({record.seq for record in records}) == 60


async def test_memory_has_its_bound_while_the_disk_is_full_and_every_drop_is_counted(
    machine: Machine, disk: Disk
) -> None:
    disk.trouble = StoreError("/state: the disk is full", full=True)
    for number in range(12_000):
        machine.say(b"%06d" % number + bytes(1000))
        if number % 1000 == 0:
            await machine.waits(0.5)
    assert machine.cloud.held_size <= IN_MEMORY
    disk.trouble = None
    await machine.waits(3)
    records = await machine.reads()

    assert len(records) + machine.cloud.dropped == 12_000
    assert records[-1].payload.startswith(b"011999")


async def test_a_state_directory_that_is_removed_is_made_again(machine: Machine) -> None:
    say(machine, NUMBERED[:50])
    await machine.waits(6)
    shutil.rmtree(machine.state)
    say(machine, NUMBERED[50:])
    await machine.waits(12)

    assert payloads(await machine.reads()) == NUMBERED[50:]
    assert machine.cloud.dropped == 50
    assert trouble(machine) is None
    await machine.crashes(power=True)
    assert payloads(await machine.reads()) == NUMBERED[50:]


async def test_a_run_directory_that_is_removed_costs_nothing_but_the_files(machine: Machine) -> None:
    say(machine, NUMBERED[:50])
    shutil.rmtree(machine.run)
    say(machine, NUMBERED[50:])

    assert payloads(await machine.reads()) == NUMBERED
    await machine.waits(6)
    await machine.stops()
    await machine.starts()
    assert payloads(await machine.reads()) == NUMBERED


async def test_a_directory_that_cannot_be_had_is_told_before_it_is_needed(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    if machine.state.exists():
        shutil.rmtree(machine.state)
    machine.state.write_bytes(b"a file in its place")
    await machine.waits(12)
    assert (trouble(machine) or "").endswith("File exists")
    assert len([record for record in caplog.records if "File exists" in record.getMessage()]) == 1
    machine.state.unlink()
    await machine.waits(3)

    assert trouble(machine) is None


async def test_a_journal_that_cannot_be_had_costs_durability_only(machine: Machine) -> None:
    await machine.stops()
    machine.run.parent.joinpath("file").write_bytes(b"")
    real, machine.run = machine.run, machine.run.parent / "file" / "run"
    await machine.starts()
    say(machine, NUMBERED)
    assert "Not a directory" in (trouble(machine) or "")
    assert payloads(await machine.reads()) == NUMBERED
    await machine.waits(6)
    await machine.crashes()
    machine.run = real

    assert payloads(await machine.reads()) == NUMBERED


async def test_the_same_numbers_are_not_given_again_after_a_journal_was_lost(machine: Machine) -> None:
    say(machine, NUMBERED[:5])
    await machine.waits(1)
    seen: list[Record] = await machine.reads()
    machine.cloud.confirm(seen[-1].number)
    await machine.waits(0.5)
    shutil.rmtree(machine.run)
    await machine.crashes()
    say(machine, NUMBERED[5:10])

    assert min(record.seq for record in await machine.reads()) > max(record.seq for record in seen)
