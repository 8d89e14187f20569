"""What was written shows soon, and nothing older is published after it; in virtual time."""

import asyncio
import json

import pytest
from virtual import in_virtual_time
from writing_kit import Line, in_service, told

from gateway.devices.poller import SOON
from gateway.errors import NoAnswer

RELAY = {"relay": {"coil": 3}}


@in_virtual_time
async def test_a_round_follows_soon_after_a_command_and_the_others_keep_their_time() -> None:
    now = asyncio.get_running_loop().time
    async with in_service(Line(), RELAY, poll_interval="10s") as device:
        with device.frames.tap() as tap:
            await tap.take()
            first = now()
            await asyncio.sleep(3.0)
            await told(device, relay=True)
            written = now()
            (frame,) = await tap.take()
            assert json.loads(frame.data) == {"values": {"relay": True}}
            assert now() == pytest.approx(written + SOON, abs=0.1)
            await tap.take()
            assert now() == pytest.approx(first + 10, abs=0.1)


@in_virtual_time
async def test_one_round_follows_many_commands() -> None:
    async with in_service(Line(), RELAY) as device:
        await asyncio.gather(*(told(device, relay=bool(number % 2)) for number in range(10)))
        await asyncio.sleep(5.0)
        assert device.status()["polls"] == 1
        assert device.newest["relay"].value is True


@in_virtual_time
async def test_no_round_follows_what_did_nothing() -> None:
    line = Line()
    line.refuses[3] = 2
    async with in_service(line, RELAY) as device:
        assert (await told(device, relay=True)).error
        await asyncio.sleep(5.0)
        assert device.status()["polls"] == 0


@in_virtual_time
async def test_a_round_follows_a_write_without_an_answer_which_may_have_been_done() -> None:
    line = Line()
    line.fault = NoAnswer("unit 7 did not answer within 1 s")
    async with in_service(line, RELAY) as device:
        assert (await told(device, relay=True)).error
        line.fault, line.coils[3] = None, 1
        await asyncio.sleep(5.0)
        assert device.newest["relay"].value is True


@in_virtual_time
async def test_a_round_under_way_reads_again_what_was_written_meanwhile() -> None:
    line = Line(latency=1.0)
    points = {"a": {"holding": 1}, "b": {"holding": 500}, "c": {"coil": 3}}
    async with in_service(line, points, poll_interval="1m") as device:
        with device.samples.tap() as tap:
            await tap.take()
            while line.asked[-1].pdu[0] != 1:  # the next round has begun: it reads coils first
                await asyncio.sleep(0.1)
            await asyncio.sleep(1.5)
            await told(device, c=True, b=9)
            line.holding[1] = 7  # not by us: this round has read it already
            (frame,) = await tap.take()
    assert json.loads(frame.data) == {"values": {"c": True, "a": 0, "b": 9}}


@in_virtual_time
async def test_a_value_that_could_not_be_read_again_is_an_error_and_not_the_old_one() -> None:
    line = Line(latency=1.0)
    points = {"a": {"holding": 1}, "b": {"holding": 500}}
    async with in_service(line, points, poll_interval="1m") as device:
        with device.samples.tap() as tap:
            await tap.take()
            asked = len(line.asked)
            while len(line.asked) < asked + 1:  # the next round asks for the first
                await asyncio.sleep(0.1)
            await told(device, a=9)
            while len(line.asked) < asked + 4:  # and for the second, and for the first again
                await asyncio.sleep(0.1)
            line.fault = NoAnswer("unit 7 did not answer within 1 s")
            (frame,) = await tap.take()
    assert json.loads(frame.data) == {
        "values": {"b": 0},
        "errors": {"a": "unit 7 did not answer within 1 s"},
    }
