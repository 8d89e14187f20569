"""keep = "all": every sample reaches the server, in its order and with its time."""

import struct
from typing import Any

import pytest
from conftest import Until
from parts_kit import running
from push_kit import CLOCK_SET, Plc, World, Written, is_write, up

from gateway.buffer import Buffer, Record
from gateway.links.modbus_client import Link

ALL: dict[str, Any] = {"keep": "all", "alive": {"holding": 99}}


def aside(buffer: Buffer) -> list[Record]:
    """What is set aside from now on."""
    found: list[Record] = []
    buffer.aside = found.append
    return found


def kept(link: Link) -> int:
    records = link.status()["buffer"]["records"]
    assert isinstance(records, int)
    return records


async def test_what_was_sampled_while_the_far_end_was_away_arrives_in_its_order(
    free_port: int, until: Until
) -> None:
    world = World()
    link = world.link(free_port, **ALL)
    async with running(link) as life:
        for turn in range(3):
            for value in range(100 * turn, 100 * turn + 100):
                world.meter.reads(voltage=value)
            assert kept(link) == 100
            async with Plc(free_port) as plc:
                await until(lambda: link.status()["alive"] == 100 * turn + 100)  # noqa: B023
                assert plc.told(100) == [*range(100 * turn, 100 * turn + 100)]
                assert plc.told(99) == [*range(100 * turn + 1, 100 * turn + 101)]
                assert kept(link) == 0
            await until(lambda: life.deaths == turn + 1)  # noqa: B023
    assert [link.status()[key] for key in ("sent", "confirmed", "refused")] == [300, 300, 0]


@pytest.mark.parametrize(
    ("timestamp", "words"),
    [
        ({"holding": 90}, struct.pack(">I", 1_800_000_000)),
        (
            {"holding": 90, "byte_order": "CDAB"},
            struct.pack(">HH", 1_800_000_000 & 0xFFFF, 1_800_000_000 >> 16),
        ),
        ({"holding": 90, "type": "uint64", "scale": 0.001}, struct.pack(">Q", 1_800_000_000_250)),
        ({"holding": 90, "type": "float64"}, struct.pack(">d", 1_800_000_000.25)),
        ({"holding": 90, "offset": 946_684_800}, struct.pack(">I", 1_800_000_000 - 946_684_800)),
    ],
)
async def test_the_time_of_a_sample_goes_with_it(
    timestamp: dict[str, Any], words: bytes, free_port: int, until: Until
) -> None:
    world = World()
    link = world.link(free_port, **ALL, timestamp=timestamp)
    async with Plc(free_port) as plc, up(link):
        world.meter.reads(at=CLOCK_SET + 0.25, voltage=230)
        await until(lambda: link.status()["alive"] == 1)
    assert plc.writes[:2] == [  # the time is there when all values of that time are
        Written(16, 100, (230,)),
        Written(16, 90, struct.unpack(f">{len(words) // 2}H", words)),
    ]


async def test_the_time_shares_a_write_with_the_values_beside_it(free_port: int, until: Until) -> None:
    world = World()
    push = {"main-meter.a": {"holding": 100}, "main-meter.b": {"holding": 200}}
    link = world.link(free_port, push=push, keep="all", timestamp={"holding": 98})
    async with Plc(free_port) as plc, up(link):
        world.meter.reads(a=1, b=2)
        await until(lambda: len(plc.writes) == 2)
    seconds = int(CLOCK_SET)
    assert plc.writes == [Written(16, 200, (2,)), Written(16, 98, (seconds >> 16, seconds & 0xFFFF, 1))]


async def test_nobody_is_told_the_time_of_a_clock_that_was_not_set(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port, **ALL, timestamp={"holding": 90, "offset": -1000})
    buffer = world.buffers.of("plant")
    buffer.keep(Record(0, "device/main-meter", 1, 1000.0, False, b'{"values":{"voltage":230}}'))
    async with Plc(free_port) as plc, up(link):
        await until(lambda: link.status()["confirmed"] == 1)
    assert (plc.told(90), plc.told(91), plc.told(100)) == ([0], [0], [230])


async def test_a_sample_without_a_value_is_written_without_it_and_alive_stops(
    free_port: int, until: Until
) -> None:
    push = {"main-meter.a": {"holding": 1}, "main-meter.b": {"holding": 2}}
    world = World()
    link = world.link(free_port, push=push, **ALL)
    async with Plc(free_port) as plc, running(link) as life:
        world.meter.reads(a=1, b=1)
        world.meter.reads(a=2, errors={"b": "the device has no reading"})
        world.meter.cannot_read("a", "b")
        await until(lambda: life.reason == "not read: main-meter.a: unit 1 does not answer")
        assert plc.writes == [Written(16, 1, (1, 1)), Written(16, 99, (1,)), Written(16, 1, (2,))]
        assert kept(link) == 0
        world.meter.reads(a=3, b=3)
        await until(lambda: link.status()["alive"] == 2 and not life.reason)
    assert [link.status()[key] for key in ("sent", "confirmed", "refused")] == [3, 3, 0]


async def test_a_record_is_kept_until_its_writes_are_answered(free_port: int, until: Until) -> None:
    push = {"main-meter.a": {"holding": 1}, "main-meter.b": {"holding": 5}}
    world = World()
    link = world.link(free_port, push=push, **ALL)
    async with Plc(free_port) as plc, running(link) as life:

        def half(pdu: bytes) -> bytes | None:
            """The second write is done, but its answer is lost with the connection."""
            if not (is_write(pdu) and pdu[2] == 5):
                return None
            plc.does(pdu)
            plc.script = lambda _: None
            plc.hangs_up()
            return b""

        plc.script = half
        world.meter.reads(a=1, b=2)
        world.meter.reads(a=3, b=4)
        await until(lambda: link.status()["alive"] == 2)
        assert life.deaths == 1
    assert (plc.told(1), plc.told(5)) == ([1, 1, 3], [2, 2, 4])


async def test_a_refused_record_is_set_aside_and_the_next_follow(free_port: int, until: Until) -> None:
    push = {"main-meter.a": {"holding": 1}, "main-meter.b": {"holding": 2}}
    world = World()
    link = world.link(free_port, push=push, **ALL)
    quarantine = aside(world.buffers.of("plant"))
    async with Plc(free_port) as plc, up(link) as life:
        plc.script = lambda pdu: b"\x90\x03" if is_write(pdu) and b"\xde\xad" in pdu else None
        world.meter.reads(a=1, b=1)
        world.meter.reads(a=2, b=0xDEAD)
        world.meter.reads(a=3, b=3)
        await until(lambda: link.status()["alive"] == 2)
        assert life.reason == ""
    assert [record.payload for record in quarantine] == [b'{"values": {"a": 2, "b": 57005}}']
    assert [link.status()[key] for key in ("sent", "confirmed", "refused")] == [3, 2, 1]
    assert (plc.told(1), plc.told(2), kept(link)) == ([1, 2, 3], [1, 3], 0)


@pytest.mark.parametrize("code", [0x06, 0x0A, 0x0B])
async def test_a_record_that_is_refused_for_now_is_not_set_aside(
    code: int, free_port: int, until: Until
) -> None:
    world = World()
    link = world.link(free_port, **ALL)
    quarantine = aside(world.buffers.of("plant"))
    async with Plc(free_port) as plc, running(link) as life:
        busy = 2

        def script(pdu: bytes) -> bytes | None:
            nonlocal busy
            busy -= is_write(pdu)
            return bytes((pdu[0] | 0x80, code)) if busy >= 0 and is_write(pdu) else None

        plc.script = script
        for value in (1, 2, 3):
            world.meter.reads(voltage=value)
        await until(lambda: link.status()["alive"] == 3)
        assert life.deaths == 2
    assert (plc.told(100), quarantine) == ([1, 2, 3], [])
    assert [link.status()[key] for key in ("confirmed", "refused")] == [3, 0]


async def test_a_record_that_is_always_refused_for_now_does_not_hold_up_the_others(
    free_port: int, until: Until
) -> None:
    world = World()
    link = world.link(free_port, **ALL)
    quarantine = aside(world.buffers.of("plant"))
    async with Plc(free_port) as plc, running(link) as life:
        plc.script = lambda pdu: b"\x90\x0b" if is_write(pdu) and b"\xde\xad" in pdu else None
        for value in (0xDEAD, 1, 0xDEAD, 2):
            world.meter.reads(voltage=value)
        await until(lambda: link.status()["alive"] == 2)
        assert life.deaths == 4  # two in vain for each of them
    assert (plc.told(100), len(quarantine)) == ([1, 2], 2)


async def test_what_was_kept_of_a_device_that_is_pushed_no_more_is_passed_over(
    free_port: int, until: Until
) -> None:
    world = World()
    link = world.link(free_port, **ALL)
    buffer = world.buffers.of("plant")
    buffer.keep(Record(0, "device/old-meter", 1, CLOCK_SET, True, b'{"values":{"voltage":7}}'))
    world.meter.reads(current=1)  # of a time when another point was pushed
    world.meter.reads(voltage=2)
    async with Plc(free_port) as plc, up(link):
        await until(lambda: link.status()["alive"] == 1)
    assert plc.told(100) == [2]
    assert kept(link) == 0


async def test_alive_waits_for_all_devices(free_port: int, until: Until) -> None:
    push = {"main-meter.voltage": {"holding": 100}, "sub-meter.voltage": {"holding": 200}}
    world = World("sub-meter")
    link = world.link(free_port, push=push, **ALL)
    async with Plc(free_port) as plc, up(link) as life:
        world.meter.reads(voltage=1)
        await until(lambda: life.reason == "not read: sub-meter.voltage: no value yet")
        world.others["sub-meter"].reads(voltage=2)
        await until(lambda: link.status()["alive"] == 1)
        world.others["sub-meter"].cannot_read("voltage")
        world.meter.reads(voltage=3)
        await until(lambda: link.status()["confirmed"] == 3)
        await until(lambda: life.reason == "not read: sub-meter.voltage: unit 1 does not answer")
    assert plc.told(99) == [1]
