"""A link that pushes to a foreign server: pymodbus finds in its registers what the devices read."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Until
from parts_kit import running
from push_kit import CLOCK_SET, World
from upstream_kit import Taken, Upstream

PUSH: dict[str, Any] = {
    "main-meter.voltage": {"holding": 100, "type": "float32"},
    "main-meter.energy": {"holding": 102, "type": "uint64"},
    "main-meter.balance": {"holding": 110, "type": "int32"},
    "main-meter.load": {"holding": 120, "type": "int16", "scale": 0.1},
    "main-meter.relay": {"coil": 3},
}
VALUES: dict[str, Any] = {
    "voltage": 230.1,
    "energy": 2**60 + 1,
    "balance": -70_000,
    "load": -12.3,
    "relay": True,
}


@pytest.fixture
def upstream(free_port: int) -> Iterator[Upstream]:
    with Upstream(free_port) as server:
        yield server


async def test_pymodbus_has_what_was_pushed(upstream: Upstream, until: Until) -> None:
    world = World()
    link = world.link(upstream.tcp_port, push=PUSH, alive={"holding": 99})
    async with running(link):
        world.meter.reads(**VALUES)
        await until(lambda: link.status()["alive"] == 1)

        def found() -> list[Any]:
            where = ((100, "FLOAT32"), (102, "UINT64"), (110, "INT32"), (120, "INT16"), (99, "UINT16"))
            return [upstream.number(*place) for place in where] + [upstream.coil(3)]

        read = await asyncio.to_thread(found)
    assert read == [pytest.approx(230.1), 2**60 + 1, -70_000, -123, 1, True]
    assert sorted((write.function, write.address, len(write.values)) for write in upstream.taken) == [
        (15, 3, 1),
        (16, 99, 1),
        (16, 100, 6),
        (16, 110, 2),
        (16, 120, 1),
    ]


async def test_a_register_that_pymodbus_has_not_does_not_stop_the_others(
    upstream: Upstream, until: Until
) -> None:
    push = {f"main-meter.p{address}": {"holding": address} for address in (198, 199, 200, 201)}
    world = World()
    link = world.link(upstream.tcp_port, push=push)
    async with running(link) as life:
        world.meter.reads(p198=1, p199=2, p200=3, p201=4)
        await until(lambda: "exception 02 illegal data address (and 1 more)" in life.reason)
    assert {(write.address, write.values) for write in upstream.taken} == {(198, (1,)), (199, (2,))}


async def test_a_restart_of_pymodbus_loses_no_sample(upstream: Upstream, until: Until) -> None:
    world = World()
    link = world.link(
        upstream.tcp_port,
        push={"main-meter.voltage": {"holding": 100}},
        keep="all",
        timestamp={"holding": 98},
    )
    async with running(link) as life:
        for number in range(1, 301):
            world.meter.reads(at=CLOCK_SET + number, voltage=number)
            if number == 100:
                await until(lambda: len(upstream.taken) > 20)
                await asyncio.to_thread(upstream.stop)
                await until(lambda: life.deaths)
            if number == 200:
                await asyncio.to_thread(upstream.start)
        await until(lambda: link.status()["confirmed"] == 300)
    seen = [write.values for write in upstream.taken]
    times = [high << 16 | low for high, low, _ in seen]
    assert [value for _, _, value in dict.fromkeys(seen)] == [*range(1, 301)]
    assert [time - CLOCK_SET for time in dict.fromkeys(times)] == [*range(1, 301)]
    assert len(seen) - len(set(seen)) <= 1  # sent again, because its answer was lost
    assert Taken(16, 98, seen[0]) == upstream.taken[0]
