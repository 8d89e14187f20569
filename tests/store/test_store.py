"""All buffers on real files: what each durability survives, its bounds, and what becomes of the rest."""

import asyncio
import shutil
from collections.abc import AsyncIterator

import pytest
from buffer_kit import rules
from buffers_kit import CLOUD, MEGABYTE, Machine, Name, payloads, turn

from gateway.buffer import Durability
from gateway.flow import WhenFull
from gateway.store.buffers import refused

NUMBERED = [b"%06d" % number for number in range(1, 1001)]
LARGE = 64 * MEGABYTE


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    machine = Machine()
    yield await machine.starts()
    await machine.buffers.close()
    machine.ends()


async def with_durability(machine: Machine, durability: Durability, size: int = LARGE) -> None:
    machine.wanted = {CLOUD: rules(size, durability=durability, age=7 * 86400)}
    await machine.buffers.prepare(machine.wanted, 1 << 30)


# What it survives


async def test_what_was_appended_a_moment_ago_survives_the_end_of_the_process(machine: Machine) -> None:
    for payload in NUMBERED[:100]:
        machine.say(payload)
    await machine.crashes()

    records = await machine.reads()
    assert payloads(records) == NUMBERED[:100]
    assert len({record.seq for record in records}) == 100


async def test_what_was_confirmed_does_not_come_back_and_its_numbers_do_not_either(machine: Machine) -> None:
    for payload in NUMBERED[:100]:
        machine.say(payload)
    records = await machine.reads()
    machine.cloud.confirm(records[89].number)
    await machine.crashes()
    machine.say(b"next")

    after = await machine.reads()
    assert payloads(after) == [*NUMBERED[90:100], b"next"]
    assert [record.seq for record in after] == [records[89].seq + n for n in range(1, 12)]


async def test_all_confirmed_and_killed_it_goes_on_with_the_next_number(machine: Machine) -> None:
    machine.say(b"one")
    (record,) = await machine.reads()
    machine.cloud.confirm(record.number)
    await machine.crashes()
    machine.say(b"two")

    (again,) = await machine.reads()
    assert again.seq == record.seq + 1


async def test_a_stream_that_was_silent_for_a_whole_life_goes_on_with_its_next_number(
    machine: Machine,
) -> None:
    machine.say(b"a", stream="port/quiet")
    (record,) = await machine.reads()
    machine.cloud.confirm(record.number)
    await machine.stops()
    await machine.starts()
    machine.say(b"b", stream="port/scale")
    await machine.crashes()
    machine.say(b"c", stream="port/quiet")

    assert (await machine.reads())[-1].seq == record.seq + 1


async def test_while_it_is_confirmed_in_time_nothing_is_written_to_the_disk(machine: Machine) -> None:
    machine.say(b"first")  # a new stream: its numbers are reserved
    await machine.waits(1)
    numbers = (machine.state / "numbers").stat()
    for payload in NUMBERED:
        machine.say(payload)
        machine.cloud.confirm((await machine.reads())[-1].number)
        await machine.waits(0.5)

    assert [path.name for path in machine.state.iterdir()] == ["numbers"]
    assert (machine.state / "numbers").stat() == numbers


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
async def test_an_outage_longer_than_spill_after_goes_to_disk(machine: Machine, power: bool) -> None:
    for payload in NUMBERED[:50]:
        machine.say(payload)
    await machine.waits(6)
    for payload in NUMBERED[50:60]:
        machine.say(payload)
    await machine.crashes(power=power)

    assert payloads(await machine.reads()) == NUMBERED[: 50 if power else 60]


async def test_a_stop_in_good_order_takes_everything_to_the_disk(machine: Machine) -> None:
    for payload in NUMBERED[:10]:
        machine.say(payload)
    await machine.stops()
    assert not list(machine.run.iterdir())
    await machine.starts()
    machine.say(b"next")

    records = await machine.reads()
    assert payloads(records) == [*NUMBERED[:10], b"next"]
    assert records[-1].seq == records[-2].seq + 1


async def test_power_is_on_disk_before_it_can_be_read(machine: Machine) -> None:
    await with_durability(machine, Durability.POWER)
    for payload in NUMBERED[:99]:
        machine.say(payload)
    assert await machine.reads() == []
    await machine.waits(1)
    assert payloads(await machine.reads()) == NUMBERED[:99]
    await machine.crashes(power=True)

    assert payloads(await machine.reads()) == NUMBERED[:99]


async def test_after_a_power_cut_numbers_jump_forward(machine: Machine) -> None:
    for payload in NUMBERED[:10]:
        machine.say(payload)
    seen = await machine.reads()
    await machine.waits(1)
    machine.cloud.confirm(seen[-1].number)
    await machine.crashes(power=True)
    machine.say(b"next")

    (record,) = await machine.reads()
    assert record.seq > seen[-1].seq


async def test_memory_leaves_nothing_behind(machine: Machine) -> None:
    await with_durability(machine, Durability.MEMORY)
    machine.say(b"one")
    assert payloads(await machine.reads()) == [b"one"]
    await machine.waits(60)
    await machine.crashes()

    assert await machine.reads() == []


async def test_memory_takes_up_what_another_durability_has_left_and_keeps_none_of_it(
    machine: Machine,
) -> None:
    machine.say(b"on disk")
    await machine.waits(6)
    machine.say(b"in the journal")
    machine.wanted = {CLOUD: rules(LARGE, durability=Durability.MEMORY)}
    await machine.crashes()
    assert payloads(await machine.reads()) == [b"on disk", b"in the journal"]
    assert not list(machine.run.iterdir())
    machine.cloud.confirm((await machine.reads())[-1].number)
    await machine.waits(6)

    assert [path.name for path in machine.state.iterdir()] == ["numbers"]


@pytest.mark.parametrize("durability", [Durability.CRASH, Durability.POWER])
async def test_another_durability_counts_at_once(machine: Machine, durability: Durability) -> None:
    await with_durability(machine, Durability.MEMORY)
    machine.say(b"one")
    await with_durability(machine, durability)
    machine.say(b"two")
    await machine.crashes()
    await machine.waits(1)

    assert payloads(await machine.reads()) == [b"one", b"two"]


async def test_a_small_buffer_goes_to_disk_only_at_a_stop(machine: Machine) -> None:
    await with_durability(machine, Durability.CRASH, size=64 * 1024)
    for payload in NUMBERED:
        machine.say(payload)
    await machine.waits(60)
    assert not list(machine.state.glob("*.sqlite"))
    await machine.crashes()
    assert payloads(await machine.reads()) == NUMBERED
    await machine.stops()
    shutil.rmtree(machine.run)
    await machine.starts()

    assert payloads(await machine.reads()) == NUMBERED


# Order and bounds


async def test_new_records_wait_behind_those_on_disk(machine: Machine) -> None:
    for start in range(0, 1000, 100):
        for payload in NUMBERED[start : start + 100]:
            machine.say(payload)
        await machine.waits(3)

    assert payloads(await machine.reads()) == NUMBERED


async def test_two_may_read_at_once_what_is_on_disk(machine: Machine) -> None:
    for payload in NUMBERED:
        machine.say(payload)
    await machine.waits(6)
    both = await asyncio.gather(machine.reads(), machine.reads(after=7), machine.reads())

    assert [payloads(records) for records in both] == [NUMBERED, NUMBERED[7:], NUMBERED]


async def test_the_file_goes_when_everything_in_it_has_arrived(machine: Machine) -> None:
    for payload in NUMBERED:
        machine.say(payload)
    await machine.waits(6)
    assert list(machine.state.glob("*.sqlite"))
    machine.cloud.confirm((await machine.reads())[-1].number)
    await machine.waits(8)

    assert [path.name for path in machine.state.iterdir()] == ["numbers"]
    assert machine.cloud.records == 0


@pytest.mark.parametrize("when_full", WhenFull)
async def test_it_never_has_more_on_disk_than_its_size(machine: Machine, when_full: WhenFull) -> None:
    machine.wanted = {CLOUD: rules(2 * MEGABYTE, when_full, Durability.CRASH)}
    await machine.buffers.prepare(machine.wanted, 1 << 30)
    said = [b"%06d" % number + bytes(1000) for number in range(4000)]
    for at, payload in enumerate(said):
        machine.say(payload)
        if at % 50 == 0:
            await machine.waits(0.5)
            assert machine.on_disk() <= 2 * MEGABYTE + 1000
    kept = payloads(await machine.reads())

    assert len(kept) + machine.cloud.dropped == len(said)
    assert kept == (said[-len(kept) :] if when_full is WhenFull.DROP_OLDEST else said[: len(kept)])
    assert len(kept) > 800


async def test_all_together_stay_within_their_total(machine: Machine) -> None:
    other = Name("other", "mqtt")
    machine.wanted = {name: rules(64 * MEGABYTE, durability=Durability.CRASH) for name in (CLOUD, other)}
    await machine.buffers.prepare(machine.wanted, 4 * MEGABYTE)
    for number in range(8000):
        machine.buffers.of(CLOUD if number % 8 else other).append("port/scale", bytes(1000))
        if number % 50 == 0:
            await machine.waits(0.5)
    await machine.waits(1)

    cloud, small = machine.cloud, machine.buffers.of(other)
    assert cloud.size + small.size <= 4 * MEGABYTE + 64 * 1024
    assert cloud.dropped
    assert not small.dropped
    assert machine.on_disk() <= 6 * MEGABYTE


async def test_what_is_too_old_is_dropped_in_memory_and_on_disk(machine: Machine) -> None:
    machine.wanted = {CLOUD: rules(LARGE, durability=Durability.CRASH, age=60)}
    await machine.buffers.prepare(machine.wanted, 1 << 30)
    machine.say(b"on disk")
    await machine.waits(30)
    machine.say(b"later")
    assert payloads(await machine.reads()) == [b"on disk", b"later"]
    await machine.waits(31)
    assert payloads(await machine.reads()) == [b"later"]
    await machine.waits(30)

    assert await machine.reads() == []
    assert machine.cloud.dropped == 2


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_a_jump_of_the_clock_loses_nothing(machine: Machine, jump: float) -> None:
    machine.wanted = {CLOUD: rules(LARGE, durability=Durability.CRASH, age=600)}
    await machine.buffers.prepare(machine.wanted, 1 << 30)
    for payload in NUMBERED[:10]:
        machine.say(payload)
    await machine.waits(6)
    machine.time.wall += jump
    for payload in NUMBERED[10:20]:
        machine.say(payload)
    await machine.waits(6)

    records = await machine.reads()
    assert payloads(records) == NUMBERED[:20]
    assert [record.seq - records[0].seq for record in records] == list(range(20))


# What nobody wants, or nobody takes


async def test_what_a_link_left_behind_is_kept_and_found_again(machine: Machine) -> None:
    machine.say(b"one")
    machine.wanted = {}
    await machine.buffers.prepare({}, 1 << 30)
    await machine.waits(6)
    await machine.stops()
    await machine.starts()

    assert machine.buffers.names() == [CLOUD]
    assert payloads(await machine.reads()) == [b"one"]
    machine.cloud.clear()
    await machine.waits(1)
    assert machine.buffers.names() == []


async def test_a_link_of_another_kind_does_not_get_the_records_of_its_namesake(machine: Machine) -> None:
    machine.say(b"json")
    raw = Name("cloud", "tcp")
    await machine.buffers.prepare({raw: rules(durability=Durability.CRASH)}, 1 << 30)

    assert await machine.buffers.of(raw).browse(0, 10) == []
    assert payloads(await machine.cloud.browse(0, 10)) == [b"json"]


async def test_a_record_that_was_set_aside_keeps_its_seq_and_survives(machine: Machine) -> None:
    machine.say(b"refused")
    (record,) = await machine.reads()
    machine.cloud.set_aside(record)
    machine.cloud.confirm(record.number)
    await machine.waits(1)
    await machine.crashes()

    (kept,) = await machine.buffers.of(refused("cloud")).browse(0, 10)
    assert kept._replace(number=0) == record._replace(number=0)
    assert await machine.reads() == []
    await turn()


async def test_what_arrived_out_of_its_turn_does_not_go_to_disk_and_does_not_come_again(
    machine: Machine,
) -> None:
    for payload in NUMBERED[:20]:
        machine.say(payload)
    for record in (await machine.reads())[10:15]:
        machine.cloud.deliver(record.number)
    await machine.waits(6)

    assert payloads(await machine.reads()) == NUMBERED[:10] + NUMBERED[15:20]
    assert machine.cloud.records == 15
    machine.cloud.confirm(10)
    assert machine.cloud.confirmed == 15
    await machine.crashes()
    assert payloads(await machine.reads()) == NUMBERED[15:20]
