"""The mqtt link and its broker: how it begins and stops, what it says on which topic."""

import asyncio
import json
from pathlib import Path

import pytest
from mqtt_kit import CLOCK_SET, VERSIONS, Publish, ScriptedBroker, World, life, running, until

from gateway.contracts import Traced
from gateway.errors import LinkDown


@VERSIONS
async def test_a_connection_begins_with_a_clean_start_a_will_and_a_birth(version: str) -> None:
    world = World()
    async with (
        ScriptedBroker().listening() as broker,
        running(world.link(broker.url, version=version, client_id="{name}-1")) as diary,
    ):
        await until(lambda: broker.published)
        connect, birth = broker.connects[0], broker.published[0]
        assert diary.state == "up"
    assert (connect.version, connect.clean, connect.client_id) == (5 if version == "5" else 4, True, "gw-1")
    assert connect.will is not None
    assert (connect.will.topic, connect.will.qos, connect.will.retain) == ("gateway/gw/status", 1, True)
    assert json.loads(connect.will.payload)["state"] == "offline"
    assert (birth.topic, birth.qos, birth.retain) == ("gateway/gw/status", 1, True)
    assert json.loads(birth.payload)["state"] == "online"


@VERSIONS
async def test_a_clean_stop_says_offline_and_then_disconnects(version: str) -> None:
    async with ScriptedBroker().listening() as broker:
        async with running(World().link(broker.url, version=version)):
            await until(lambda: broker.published)
        await until(lambda: broker.disconnects)
        last = broker.published[-1]
    assert (last.topic, last.retain) == ("gateway/gw/status", True)
    assert json.loads(last.payload) == {"state": "offline", "reason": "stopped"}
    assert broker.disconnects == [b""]  # reason 0: the broker forgets the will


async def test_the_default_client_id_fits_what_3_1_1_promises_and_differs_per_link() -> None:
    world = World("a-very-long-name-of-a-gateway")
    async with ScriptedBroker().listening() as broker, running(world.link(broker.url)):
        await until(lambda: broker.connects)
    assert len(broker.connects[0].client_id) == 23
    assert broker.connects[0].client_id.startswith("a-very-long-na-")


async def test_frames_go_up_as_bytes_with_seq_and_ts() -> None:
    world = World()
    async with ScriptedBroker().listening() as broker, running(world.link(broker.url)):
        world.scale.says(b"\x02 12.5 kg\x03", b"\xff\x00")
        await until(lambda: len(broker.on("gateway/gw/port/scale/rx")) == 2)
    first, second = broker.published[-3:-1]
    assert (first.payload, second.payload) == (b"\x02 12.5 kg\x03", b"\xff\x00")
    assert first.properties == {"seq": "1", "ts": "2027-01-15T08:00:00.000Z"}
    assert second.properties["seq"] == "2"


@VERSIONS
async def test_frames_go_up_as_json_text_or_base64(version: str) -> None:
    world = World()
    async with (
        ScriptedBroker().listening() as broker,
        running(world.link(broker.url, version=version, payload="json")),
    ):
        world.scale.says('12.5 "kg" °'.encode(), b"\xff\x00")
        await until(lambda: len(broker.on("gateway/gw/port/scale/rx")) == 2)
    text, binary = map(json.loads, broker.on("gateway/gw/port/scale/rx"))
    assert text == {"ts": "2027-01-15T08:00:00.000Z", "seq": 1, "text": '12.5 "kg" °'}
    assert binary == {"ts": "2027-01-15T08:00:00.000Z", "seq": 2, "base64": "/wA="}


@pytest.mark.parametrize("retain", [False, True])
async def test_a_sample_gets_time_and_number(retain: bool) -> None:
    world = World()
    async with (
        ScriptedBroker().listening() as broker,
        running(world.link(broker.url, prefix="plant/{hostname}", retain=retain)),
    ):
        world.meter.reads(b'{"values":{"voltage":230.1},"errors":{}}')
        world.meter.reads(b'{"values":{},"errors":{"voltage":"timeout"}}', at=CLOCK_SET + 3600)
        await until(lambda: len(broker.on("plant/host/device/meter/state")) == 2)
    good, bad = map(json.loads, broker.on("plant/host/device/meter/state"))
    assert good == {"ts": "2027-01-15T08:00:00.000Z", "seq": 1, "values": {"voltage": 230.1}, "errors": {}}
    assert (bad["ts"], bad["seq"]) == ("2027-01-15T09:00:00.000Z", 2)
    assert bad["errors"] == {"voltage": "timeout"}
    assert [publish.retain for publish in broker.published if publish.topic.endswith("state")] == [retain] * 2


async def test_what_is_known_of_a_device_is_told_at_the_start_and_again_when_it_changes() -> None:
    world = World()
    topic = "gateway/gw/device/meter/available"
    world.meter.present = b"online"
    async with ScriptedBroker().listening() as broker, running(world.link(broker.url)):
        await until(lambda: broker.on(topic) == [b"online"])
        world.meter.is_now(b"offline")
        await until(lambda: broker.on(topic) == [b"online", b"offline"])
    assert all(publish.retain for publish in broker.published if publish.topic == topic)


async def test_nothing_is_said_of_a_device_before_anything_is_known() -> None:
    world = World()
    async with ScriptedBroker().listening() as broker, running(world.link(broker.url)):
        world.scale.says(b"1")
        await until(lambda: broker.on("gateway/gw/port/scale/rx"))


async def test_the_trace_shows_what_goes_up_and_what_comes_down() -> None:
    world = World()
    async with ScriptedBroker().listening() as broker:
        link = world.link(broker.url, allow_tx=["scale"])
        with link.trace.tap() as tap:
            async with running(link):
                await until(lambda: broker.published)
                world.scale.says(b"12 kg")
                await until(lambda: broker.on("gateway/gw/port/scale/rx"))
                broker.message("gateway/gw/port/scale/tx", b"ZERO")
                await until(lambda: broker.acked)
            seen: list[Traced] = await tap.take()
    assert [(entry.way, entry.text) for entry in seen] == [
        ("tx", "publish gateway/gw/status"),
        ("tx", "publish gateway/gw/port/scale/rx"),
        ("rx", "message gateway/gw/port/scale/tx"),
        ("tx", "publish gateway/gw/status"),
    ]
    assert [entry.data for entry in seen[1:3]] == [b"12 kg", b"ZERO"]


async def test_status_shows_the_connection_as_the_kernel_has_it() -> None:
    world = World()
    async with ScriptedBroker().listening() as broker:
        link = world.link(broker.url, liveness={"detect_within": "20s"})
        assert link.status()["peers"] == []
        async with running(link):
            await until(lambda: broker.published)
            record = link.status()
            (peer,) = record["peers"]
    assert (record["kind"], record["direction"], record["endpoint"]) == ("mqtt", "connect", broker.url)
    assert (record["ports"], record["devices"], record["detect_within_s"]) == (["scale"], ["meter"], 20.0)
    assert peer["address"] == broker.address
    assert peer["keepalive"]["user_timeout_ms"] == 20000
    assert peer["tx_bytes"] > 0
    assert peer["rx_bytes"] > 0
    assert broker.connects[0].keepalive == 10
    assert link.status()["peers"] == []


async def test_a_stop_while_the_window_is_full_still_ends_in_time() -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: None)
    async with broker.listening():
        loop = asyncio.get_running_loop()
        async with running(world.link(broker.url)):
            world.scale.says(*[b"x"] * 300)
            await until(lambda: broker.in_flight == 100)
            begun = loop.time()
        assert loop.time() - begun < 3.0
    assert len(broker.published) == 100


async def test_a_broker_that_dies_during_the_goodbye_does_not_hold_up_the_stop() -> None:
    broker = ScriptedBroker()

    def die(publish: Publish) -> int:
        if b"offline" in publish.payload:
            broker.cut()
        return 0

    broker.puback = die
    # which sees to it that the stop was not forgotten
    async with broker.listening(), running(World().link(broker.url)):
        await until(lambda: broker.published)
    assert b"offline" in broker.published[-1].payload


async def test_the_password_is_read_again_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "mqtt.password"
    file.write_text("old\n")
    async with ScriptedBroker().listening() as broker:
        link = World().link(broker.url, tmp_path, username="site7", password_file="mqtt.password")
        async with running(link):
            await until(lambda: broker.published)
            file.write_text("new\r\nsecond line\n")
            broker.cut()
            await until(lambda: len(broker.connects) == 2)
    assert [(connect.username, connect.password) for connect in broker.connects] == [
        ("site7", b"old"),
        ("site7", b"new"),
    ]


async def test_an_unreadable_password_is_told_with_its_file(tmp_path: Path) -> None:
    async with ScriptedBroker().listening() as broker:
        link = World().link(broker.url, tmp_path, username="site7", password_file="mqtt.password")
        with pytest.raises(LinkDown) as caught:
            await link.session(life())
    assert str(caught.value) == f"cannot read {tmp_path}/mqtt.password: no such file or directory"
    assert caught.value.wait_at_least == 0
    assert broker.connects == []


async def test_a_plain_password_and_a_username_without_one_are_sent_as_they_are() -> None:
    async with ScriptedBroker().listening() as broker:
        async with running(World().link(broker.url, username="site7", password="s3cret")):
            await until(lambda: broker.connects)
        async with running(World().link(broker.url, username="site7", version="3.1.1")):
            await until(lambda: len(broker.connects) == 2)
    assert [connect.password for connect in broker.connects] == [b"s3cret", None]
