"""kind = "modbus-client" with push: the newest value of each point stands in the server's registers."""

import asyncio
import logging
from time import time

import pytest
from conftest import Until
from log_kit import ours
from parts_kit import running
from push_kit import CLOCK_SET, METER, Plc, World, Written, is_write, up

from gateway.links._pushing import Past, Pushing
from gateway.status import Life

THREE = {
    "main-meter.voltage": {"holding": 100, "type": "float32"},
    "main-meter.current": {"holding": 102, "scale": 0.1},
    "main-meter.energy": {"holding": 104, "type": "uint32", "byte_order": "CDAB"},
}
ALIVE = {"holding": 99}


async def test_values_stand_in_the_registers_as_they_were_asked_for(free_port: int, until: Until) -> None:
    world = World()
    async with Plc(free_port) as plc, up(world.link(free_port, push=THREE)):
        world.meter.reads(voltage=230.1, current=12.34, energy=70_000)
        await until(lambda: len(plc.writes) == 2)
    assert plc.writes == [
        Written(16, 100, (0x4366, 0x199A, 123)),  # neighbours; 103 is nobody's
        Written(16, 104, (0x1170, 0x0001)),
    ]


async def test_bools_go_into_coils_and_neighbours_into_one_write(free_port: int, until: Until) -> None:
    push = {f"main-meter.{name}": {"coil": address} for name, address in (("a", 7), ("b", 8), ("c", 10))}
    world = World()
    async with Plc(free_port) as plc, up(world.link(free_port, push=push)):
        world.meter.reads(a=True, b=False, c=True)
        await until(lambda: len(plc.writes) == 2)
    assert plc.writes == [Written(15, 7, (1, 0)), Written(15, 10, (1,))]


async def test_values_of_several_devices_that_wait_share_a_write(free_port: int, until: Until) -> None:
    push = {"main-meter.voltage": {"holding": 100}, "sub-meter.voltage": {"holding": 101}}
    world = World("sub-meter")
    world.meter.reads(voltage=230)
    world.others["sub-meter"].reads(voltage=231)
    async with Plc(free_port) as plc, up(world.link(free_port, push=push)):
        await until(lambda: plc.writes)
        world.others["sub-meter"].reads(voltage=232)
        await until(lambda: len(plc.writes) == 2)
    assert plc.writes == [Written(16, 100, (230, 231)), Written(16, 101, (232,))]


async def test_each_sample_is_pushed_and_alive_counts_behind_it(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port, alive=ALIVE)
    async with Plc(free_port) as plc, up(link):
        for number in range(1, 4):
            world.meter.reads(voltage=230)
            await until(lambda: link.status()["alive"] == number)  # noqa: B023
    assert plc.writes == [
        written for number in (1, 2, 3) for written in (Written(16, 100, (230,)), Written(16, 99, (number,)))
    ]
    assert [link.status()[key] for key in ("sent", "confirmed", "refused")] == [3, 3, 0]


async def test_the_unit_id_is_the_one_that_is_configured(free_port: int, until: Until) -> None:
    units = set()
    world = World()
    async with Plc(free_port) as plc:
        plc.wrap = lambda tid, unit, pdu: units.add(unit) or b""
        async with running(world.link(free_port, unit_id=17)):
            await until(lambda: units)
    assert units == {17}


# The far end is away


async def test_while_the_far_end_is_away_only_the_newest_value_is_kept(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port)
    async with running(link) as life, Plc(free_port) as plc:
        await until(lambda: life.state == "up")
        world.meter.reads(voltage=1)
        await until(lambda: link.status()["confirmed"] == 1)
        await plc.closes()
        await until(lambda: life.deaths)
        for value in range(2, 100):
            world.meter.reads(voltage=value)
        await plc.opens()
        await until(lambda: link.status()["confirmed"] == 2)
    assert plc.told(100) == [1, 99]


async def test_the_newest_value_is_that_of_each_point(free_port: int, until: Until) -> None:
    push = {"main-meter.a": {"holding": 1}, "main-meter.b": {"holding": 2}}
    world = World()
    link = world.link(free_port, push=push, alive=ALIVE)
    world.meter.reads(a=1, b=1)
    world.meter.reads(a=2, errors={"b": "the device has no reading"})
    async with Plc(free_port) as plc, up(link) as life:
        await until(lambda: link.status()["confirmed"] == 1)
        assert plc.writes == [Written(16, 1, (2, 1))]
        assert (link.status()["alive"], life.reason) == (
            0,
            "not read: main-meter.b: the device has no reading",
        )


async def test_what_was_pushed_before_the_first_connection_is_not_lost(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port)
    async with running(link) as life:
        await until(lambda: life.attempts > 2)
        assert life.reason == f"127.0.0.1:{free_port}: connection refused: nothing listens there"
        world.meter.reads(voltage=230)
        async with Plc(free_port) as plc:
            await until(lambda: plc.told(100) == [230])


async def test_a_server_that_was_restarted_and_has_forgotten_is_told_again(
    free_port: int, until: Until
) -> None:
    world = World()
    async with running(world.link(free_port)) as life:
        async with Plc(free_port) as plc:
            await until(lambda: life.state == "up")
            world.meter.reads(voltage=230)
            await until(lambda: plc.holding == {100: 230})
        async with Plc(free_port) as plc:
            await until(lambda: plc.holding == {100: 230})


async def test_a_value_that_is_not_read_any_more_is_not_told_to_a_new_server(
    free_port: int, until: Until
) -> None:
    push = {"main-meter.a": {"holding": 1}, "main-meter.b": {"holding": 2}}
    world = World()
    link = world.link(free_port, push=push)
    async with running(link) as life:
        async with Plc(free_port):
            await until(lambda: life.state == "up")
            world.meter.reads(a=1, b=1)
            await until(lambda: link.status()["confirmed"] == 1)
            world.meter.reads(a=2, errors={"b": "unit 1 does not answer"})
            await until(lambda: link.status()["confirmed"] == 2)
        async with Plc(free_port) as plc:
            await until(lambda: link.status()["confirmed"] == 3)
            assert plc.holding == {1: 2}


# Values that are not there


async def test_a_value_that_could_not_be_read_is_not_written_and_alive_stops(
    free_port: int, until: Until
) -> None:
    push = {"main-meter.a": {"holding": 1}, "main-meter.b": {"holding": 2}, "main-meter.c": {"holding": 3}}
    world = World()
    link = world.link(free_port, push=push, alive=ALIVE)
    async with Plc(free_port) as plc, up(link) as life:
        world.meter.reads(a=1, b=1, c=1)
        await until(lambda: link.status()["alive"] == 1)
        plc.writes.clear()
        world.meter.reads(a=2, c=2, errors={"b": "the device has no reading"})
        await until(lambda: life.reason == "not read: main-meter.b: the device has no reading")
        assert plc.writes == [Written(16, 1, (2,)), Written(16, 3, (2,))]
        world.meter.cannot_read("a", "b", "c")
        await until(lambda: life.reason == "not read: main-meter.a: unit 1 does not answer")
        assert len(plc.writes) == 2
        world.meter.reads(a=3, b=3, c=3)
        await until(lambda: link.status()["alive"] == 2)
        assert life.reason == ""
        assert plc.told(99) == [2]


async def test_alive_waits_for_all_devices(free_port: int, until: Until) -> None:
    push = {"main-meter.voltage": {"holding": 100}, "sub-meter.voltage": {"holding": 200}}
    world = World("sub-meter")
    link = world.link(free_port, push=push, alive=ALIVE)
    async with Plc(free_port) as plc, up(link) as life:
        world.meter.reads(voltage=1)
        await until(lambda: link.status()["confirmed"] == 1)
        await until(lambda: life.reason == "not read: sub-meter.voltage: no value yet")
        world.others["sub-meter"].reads(voltage=2)
        await until(lambda: link.status()["alive"] == 1)
        world.others["sub-meter"].cannot_read("voltage")
        world.meter.reads(voltage=3)
        await until(lambda: link.status()["confirmed"] == 3)
        assert plc.told(99) == [1]


# Refusals


async def test_a_refused_value_holds_up_no_other_and_is_tried_again_with_the_next_sample(
    free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    link = world.link(free_port, push=THREE, alive=ALIVE)
    async with Plc(free_port, missing=(102,)) as plc, up(link) as life:
        for number in range(1, 4):
            world.meter.reads(voltage=230, current=number, energy=number)
            await until(lambda: plc.told(105) and link.status()["refused"] == number)  # noqa: B023
            assert plc.holding[104] == number
        refused = "not written: main-meter.current (holding 102): exception 02 illegal data address"
        await until(lambda: life.reason == refused)
        assert [line.getMessage() for line in ours(caplog) if line.levelno >= logging.WARNING] == [
            f"the part: {refused}"
        ]
        assert [link.status()[key] for key in ("sent", "confirmed", "alive")] == [3, 0, 0]
        plc.missing = ()
        world.meter.reads(voltage=230, current=4, energy=4)
        await until(lambda: link.status()["alive"] == 1)
        assert (plc.holding[102], life.reason) == (40, "")
    assert not [
        write for write in plc.writes if 103 in range(write.address, write.address + len(write.values))
    ]


async def test_a_register_that_spoils_a_write_for_its_neighbours_is_found_once_a_connection(
    free_port: int, until: Until
) -> None:
    push = {f"main-meter.p{n}": {"holding": n} for n in range(4)}
    world = World()
    link = world.link(free_port, push=push)
    async with Plc(free_port, missing=(1,)) as plc, up(link):
        for number in (1, 2):
            plc.asked.clear()
            world.meter.reads(p0=1, p1=2, p2=3, p3=4)
            await until(lambda: link.status()["refused"] == number)  # noqa: B023
            written = [(pdu[2], pdu[4]) for pdu in plc.asked if is_write(pdu)]
            apart = [(0, 4), (0, 1), (1, 1), (2, 1), (3, 1)] if number == 1 else [(0, 1), (1, 1), (2, 2)]
            assert written == apart
    assert plc.holding == {0: 1, 2: 3, 3: 4}


async def test_a_server_that_refuses_everything_is_asked_as_ever(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port, push=THREE)
    async with Plc(free_port) as plc, up(link) as life:
        plc.script = lambda pdu: bytes((pdu[0] | 0x80, 1)) if is_write(pdu) else None
        world.meter.reads(voltage=230, current=1, energy=1)
        await until(lambda: link.status()["refused"] == 1)
        await until(lambda: "exception 01 illegal function (and 2 more)" in life.reason)
        assert len([pdu for pdu in plc.asked if is_write(pdu)]) == 2
        assert life.deaths == 0


async def test_a_value_that_does_not_fit_is_not_written(free_port: int, until: Until) -> None:
    push = {"main-meter.a": {"holding": 1}, "main-meter.b": {"holding": 2}}
    world = World()
    link = world.link(free_port, push=push, alive=ALIVE)
    async with Plc(free_port) as plc, up(link) as life:
        world.meter.reads(a=70_000, b=7)
        await until(lambda: life.reason == "not written: main-meter.a (holding 1): 70000 does not fit uint16")
        assert plc.writes == [Written(16, 2, (7,))]
        assert [link.status()[key] for key in ("refused", "alive")] == [1, 0]


async def test_a_refused_alive_register_is_said_and_stops_no_value(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port, alive=ALIVE)
    async with Plc(free_port, missing=(99,)) as plc, up(link) as life:
        for number in (1, 2):
            world.meter.reads(voltage=number)
            await until(lambda: link.status()["confirmed"] == number)  # noqa: B023
        await until(lambda: "alive (holding 99): exception 02" in life.reason)
        plc.missing = ()
        world.meter.reads(voltage=3)
        await until(lambda: link.status()["alive"] == 1)
        assert (plc.told(100), life.reason) == ([1, 2, 3], "")


class Willing:
    """The far end of a conversation that takes everything."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    async def ask(self, pdu: bytes) -> bytes:
        self.told.append(pdu)
        return pdu[:5]


async def test_alive_begins_anew_behind_65535(until: Until) -> None:
    world, far = World(), Willing()
    layout = world.link(502, alive=ALIVE).config.layout
    life = Life("links.plant", "connecting", asyncio.get_running_loop().time, time)
    pushing = Pushing(life=life, far=far, layout=layout, past=Past(alive=65_534))  # type: ignore[arg-type]
    session = asyncio.create_task(pushing.newest({METER: world.meter}))
    for number in (1, 2):
        world.meter.reads(voltage=number)
        await until(lambda: len(far.told) == 2 * number)  # noqa: B023
    session.cancel()
    assert [pdu[-2:] for pdu in far.told[1::2]] == [b"\xff\xff", b"\0\0"]


# What is configured


def test_only_a_link_that_keeps_all_has_a_buffer() -> None:
    newest, everything = World().link(502).config, World().link(502, keep="all").config
    assert newest.keeps is None
    assert everything.keeps is not None
    assert (everything.keeps.size, everything.keeps.age) == (64 * 1024**2, 7 * 86400)
    assert newest.shape != everything.shape


def test_another_address_for_the_same_device_needs_no_new_link() -> None:
    one, other = (
        World().link(502, push={"main-meter.voltage": {"holding": n}}, keep="all").config for n in (1, 2)
    )
    assert one.shape == other.shape
    assert list(one.samples()) == [METER]


async def test_after_a_reload_values_go_where_they_are_wanted_now(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port)
    async with Plc(free_port) as plc:
        async with up(link):
            world.meter.reads(voltage=230)
            await until(lambda: plc.told(100) == [230])
        link.config = world.link(free_port, push={"main-meter.voltage": {"holding": 7}}).config
        async with up(link):
            await until(lambda: plc.told(7) == [230])
        assert plc.told(100) == [230]


# What is seen


async def test_the_status_says_what_it_does(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port, alive=ALIVE)
    status = link.status()
    assert (status["kind"], status["direction"], status["devices"], status["peers"]) == (
        "modbus-client",
        "connect",
        [METER],
        [],
    )
    assert (status["endpoint"], status["detect_within_s"]) == (f"127.0.0.1:{free_port}", 3.0)
    assert "buffer" not in status
    async with Plc(free_port), up(link):
        world.meter.reads(at=CLOCK_SET, voltage=230)
        await until(lambda: link.status()["alive"] == 1)
        (peer,) = link.status()["peers"]
        assert (peer["address"], peer["requests"]) == (f"127.0.0.1:{free_port}", 3)  # the first says hello


async def test_a_trace_says_what_is_written(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port)
    async with Plc(free_port), up(link):
        with link.trace.tap() as tap:
            world.meter.reads(voltage=230)
            await until(lambda: link.status()["confirmed"])
            lines = [(line.way, line.text) for line in await tap.take()]
    assert ("tx", "transaction 2, unit 1: write holding 100 = 230") in lines
    assert ("rx", "transaction 2, unit 1: wrote holding 100") in lines
