"""What comes down through MQTT, and reaches the line once or not at all."""

import pytest
from log_kit import ours
from mqtt_kit import VERSIONS, ScriptedBroker, World, running, until


@VERSIONS
async def test_tx_is_written_where_allowed_and_acknowledged_after_the_write(version: str) -> None:
    world = World()
    async with (
        ScriptedBroker().listening() as broker,
        running(world.link(broker.url, version=version, allow_tx=["scale"])),
    ):
        await until(lambda: broker.published)
        assert broker.subscribed == ["gateway/gw/port/scale/tx"]
        broker.message("gateway/gw/port/scale/tx", b"ZERO\r\n", mid=7)
        broker.message("gateway/gw/port/scale/tx", b"TARE\r\n", qos=0)
        broker.message("gateway/gw/port/scale/tx", b"", mid=8)
        await until(lambda: broker.acked == [7, 8])
    assert world.scale.written == [b"ZERO\r\n", b"TARE\r\n"]


async def test_nothing_is_subscribed_where_nothing_is_allowed() -> None:
    async with ScriptedBroker().listening() as broker, running(World().link(broker.url)):
        await until(lambda: broker.published)
        broker.message("gateway/gw/port/scale/tx", b"uninvited", mid=9)
        await until(lambda: broker.acked == [9])
    assert broker.subscribed == []


REFUSED = {
    "it was retained, so nobody knows how old it is": {"retain": True},
    "it is a repetition of one that was received before": {"dup": True},
    "it has expired": {"properties": b"\x02\x00\x00\x00\x00"},
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_old_commands_never_reach_the_line(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    topic = "gateway/gw/port/scale/tx"
    async with ScriptedBroker().listening() as broker, running(world.link(broker.url, allow_tx=["scale"])):
        await until(lambda: broker.published)
        broker.message(topic, b"OPEN VALVE", mid=1, **REFUSED[reason])  # type: ignore[arg-type]
        broker.message(topic, b"fresh", mid=2, properties=b"\x02\x00\x00\x00\x3c")
        await until(lambda: broker.acked == [1, 2])
    assert world.scale.written == [b"fresh"]
    assert [record.message for record in ours(caplog)] == [f"cloud: message to {topic} not written: {reason}"]


async def test_a_command_for_a_line_that_is_away_is_dropped_not_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.scale.away = True
    async with ScriptedBroker().listening() as broker, running(world.link(broker.url, allow_tx=["scale"])):
        await until(lambda: broker.published)
        broker.message("gateway/gw/port/scale/tx", b"OPEN VALVE")
        await until(lambda: broker.acked == [1])
        world.scale.away = False
    assert world.scale.written == []
    assert "not written: no such device /dev/ttyUSB0" in caplog.text


async def test_a_refused_subscription_is_said_and_the_telemetry_goes_on() -> None:
    world = World()
    async with (
        ScriptedBroker(suback=0x87).listening() as broker,
        running(world.link(broker.url, allow_tx=["scale"])) as diary,
    ):
        world.scale.says(b"1")
        await until(lambda: broker.on("gateway/gw/port/scale/rx") and diary.reason)
        assert diary.state == "up"
        assert diary.reason == "broker refused gateway/gw/port/scale/tx: not authorized"
