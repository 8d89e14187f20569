"""A link that pushes and a server that dies, hangs, answers wrongly, or is one of several."""

import asyncio
import socket
from typing import Any

import pytest
from conftest import Until
from parts_kit import running
from push_kit import METER, Plc, World, adu, is_write, up


@pytest.fixture
def two_ports() -> tuple[int, int]:
    """TCP ports of 127.0.0.1 that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


@pytest.mark.parametrize("keep", ["newest", "all"])
async def test_a_write_whose_answer_is_lost_is_sent_again_on_a_new_connection(
    keep: str, free_port: int, until: Until
) -> None:
    world = World()
    link = world.link(free_port, keep=keep)
    async with Plc(free_port) as plc, up(link) as life:

        def swallow(pdu: bytes) -> bytes | None:
            if is_write(pdu):
                plc.does(pdu)
                plc.script = lambda _: None
                return b""
            return None

        plc.script = swallow
        world.meter.reads(voltage=230)
        await until(lambda: plc.told(100) == [230, 230])
        await until(lambda: link.status()["confirmed"] == 1)
        assert (life.deaths, plc.accepted) == (1, 2)
        death = life.status()["last_death"]
        assert death is not None
        assert death["reason"].startswith("the server does not answer: nothing for ")
        assert death["detected_after_s"] is not None


async def test_an_answer_with_another_transaction_id_is_passed_over(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port, keep="all")
    async with Plc(free_port) as plc, up(link) as life:
        strange: list[int] = []

        def wrap(tid: int, unit: int, pdu: bytes) -> bytes:
            if is_write(pdu) and not strange:
                strange.append(tid)
                return adu(tid - 1, unit, pdu) + adu(tid + 1, unit, b"\x90\x02")
            return adu(tid, unit, pdu)

        plc.wrap = wrap
        for value in (1, 2):
            world.meter.reads(voltage=value)
        await until(lambda: strange)
        await asyncio.sleep(0.05)
        assert [link.status()[key] for key in ("sent", "confirmed", "refused")] == [1, 0, 0]
        await until(lambda: link.status()["confirmed"] == 2)
        assert life.deaths == 1
    assert plc.told(100) == [1, 1, 2]


async def test_answers_that_nobody_asked_for_do_no_harm(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port)
    async with Plc(free_port) as plc, up(link) as life:
        plc.wrap = lambda tid, unit, pdu: adu(7, 9, b"\x83\x02") + adu(tid, unit, pdu) + adu(tid, unit, pdu)
        for value in (1, 2, 3):
            world.meter.reads(voltage=value)
            await until(lambda: link.status()["confirmed"] == value)  # noqa: B023
        assert (plc.told(100), life.deaths) == ([1, 2, 3], 0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x06\x00\x64\x00\x01", "the server's answer does not fit the question"),
        (b"\x10\x00\x64\x00\x02", "the server's answer does not fit the question"),
        (b"\x8f\x02", "the server's answer does not fit the question"),
    ],
)
async def test_a_server_that_answers_something_else_is_hung_up_on(
    answer: bytes, reason: str, free_port: int, until: Until
) -> None:
    world = World()
    link = world.link(free_port)
    async with Plc(free_port) as plc, up(link) as life:
        plc.script = lambda pdu: answer if is_write(pdu) and life.deaths == 0 else None
        world.meter.reads(voltage=230)
        await until(lambda: link.status()["confirmed"] == 1)
        death = life.status()["last_death"]
        assert death is not None
        assert (life.deaths, death["reason"]) == (1, reason)


async def test_what_is_no_modbus_tcp_ends_the_connection(free_port: int, until: Until) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", free_port)
    async with server, running(World().link(free_port)) as life:
        await until(lambda: life.reason == "this is not Modbus TCP: the protocol id is not 0")


async def test_a_program_that_hangs_is_found_although_its_kernel_lives_and_nothing_is_pushed(
    free_port: int, until: Until
) -> None:
    async with Plc(free_port) as plc, up(World().link(free_port)) as life:
        await until(lambda: len(plc.asked) >= 3)  # at rest something harmless is asked
        assert set(plc.asked) == {b"\x03\x00\x64\x00\x01"}
        assert life.deaths == 0
        plc.script = lambda pdu: b""
        await until(lambda: life.deaths)
        death = life.status()["last_death"]
        assert death is not None
        assert "the server does not answer" in death["reason"]
        assert 2.5 < (death["detected_after_s"] or 0.0) < 3.5


async def test_only_coils_are_harmless_to_ask_for_too(free_port: int, until: Until) -> None:
    link = World().link(free_port, push={"main-meter.relay": {"coil": 7}})
    async with Plc(free_port) as plc, up(link):
        assert plc.asked == [b"\x01\x00\x07\x00\x01"]


async def test_a_server_that_lets_nobody_read_is_alive_all_the_same(free_port: int, until: Until) -> None:
    world = World()
    link = world.link(free_port)
    async with Plc(free_port) as plc:
        plc.script = lambda pdu: b"\x83\x01" if pdu[0] == 3 else None
        async with up(link):
            world.meter.reads(voltage=230)
            await until(lambda: plc.told(100) == [230])


# Several far ends


async def test_the_second_is_taken_while_the_first_is_away_and_told_everything(
    two_ports: tuple[int, int], until: Until
) -> None:
    first, second = two_ports
    world = World()
    link = world.link(first, second)
    plc = Plc(first)
    await plc.opens()
    async with up(link), Plc(second) as substitute:
        world.meter.reads(voltage=230)
        await until(lambda: plc.told(100) == [230])
        await plc.closes()
        await until(lambda: substitute.told(100) == [230])
        assert link.status()["endpoint"] == f"127.0.0.1:{second}"


async def test_one_that_accepts_and_never_answers_is_passed_over(
    two_ports: tuple[int, int], until: Until
) -> None:
    first, second = two_ports
    world = World()
    world.meter.reads(voltage=230)
    async with Plc(first) as frozen, Plc(second) as plc:
        frozen.script = lambda pdu: b""
        async with running(world.link(first, second)) as life:
            await until(lambda: plc.told(100) == [230])
            assert (life.deaths, frozen.writes) == (0, [])


@pytest.mark.parametrize("code", [0x0A, 0x0B])
async def test_a_gateway_that_cannot_reach_the_unit_is_passed_over(
    code: int, two_ports: tuple[int, int], until: Until
) -> None:
    first, second = two_ports
    world = World()
    async with Plc(first) as gateway:
        gateway.script = lambda pdu: bytes((pdu[0] | 0x80, code))
        async with running(world.link(first)) as life:
            await until(lambda: life.reason.startswith(f"unit 1 of 127.0.0.1:{first}: exception {code:02X}"))
        async with Plc(second), running(world.link(first, second)) as life:
            await until(lambda: life.state == "up")


async def test_it_goes_back_to_the_first(two_ports: tuple[int, int], until: Until) -> None:
    first, second = two_ports
    keys: dict[str, Any] = {"reconnect": {"first": "10ms", "max": "10ms", "prefer_after": "200ms"}}
    link = World().link(first, second, **keys)
    async with Plc(second), up(link) as life:
        assert link.status()["endpoint"] == f"127.0.0.1:{second}"
        async with Plc(first):
            await until(lambda: link.status()["endpoint"] == f"127.0.0.1:{first}" and life.state == "up")
        assert link.status()["devices"] == [METER]
