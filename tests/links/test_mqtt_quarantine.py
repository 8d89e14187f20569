"""What mosquitto does not take is set aside, and all the rest arrives."""

import json
from pathlib import Path

import pytest
from mqtt_kit import VERSIONS, World, mosquitto, running, subscriber, until

pytestmark = pytest.mark.needs("mosquitto")
RX, STATE = "gateway/gw/port/scale/rx", "gateway/gw/device/meter/state"


def sample(number: int, size: int = 0) -> bytes:
    return json.dumps({"values": {"number": number, "text": "x" * size}}).encode()


def numbers(received: list[tuple[str, str]]) -> list[int]:
    return [json.loads(payload)["values"]["number"] for topic, payload in received if topic == STATE]


async def test_a_forbidden_topic_and_large_records_hold_up_nothing_else(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite #\ntopic deny {RX}\n")
    acl.chmod(0o644)
    world = World()
    rules = ("allow_anonymous true", f"acl_file {acl}", "message_size_limit 2000")
    async with mosquitto(tmp_path, *rules) as broker, subscriber(broker.port, "gateway/gw/#") as received:
        link = world.link(f"mqtt://127.0.0.1:{broker.port}")
        for number in range(100):
            world.scale.says(b"%d" % number)
            world.meter.reads(sample(number, size=3000 if number % 10 == 3 else 0))
        async with running(link) as diary:
            await until(lambda: link.status()["buffer"]["records"] == 0)
            assert diary.deaths == 0
            assert diary.reason == f"broker refused {RX}: not authorized; set aside"
        await until(lambda: numbers(received())[-1:] == [99])
        arrived = numbers(received())
    assert arrived == [number for number in range(100) if number % 10 != 3]
    aside = [record.payload for record in world.aside]
    assert [data for data in aside if len(data) < 100] == [b"%d" % number for number in range(100)]
    assert len(aside) == link.status()["refused"] == 110


@VERSIONS
async def test_a_packet_larger_than_the_broker_takes_is_set_aside_whatever_it_says_of_that(
    tmp_path: Path, version: str
) -> None:
    """In CONNACK it says so under MQTT 5; under 3.1.1 it hangs up."""
    world = World()
    rules = ("allow_anonymous true", "max_packet_size 2000")
    async with mosquitto(tmp_path, *rules) as broker, subscriber(broker.port, STATE) as received:
        link = world.link(f"mqtt://127.0.0.1:{broker.port}", version=version)
        for number in range(100):
            world.meter.reads(sample(number, size=3000 if number == 50 else 0))
        async with running(link) as diary:
            await until(lambda: link.status()["buffer"]["records"] == 0)
            assert diary.deaths in ([0] if version == "5" else [3, 4])
        await until(lambda: numbers(received())[-1:] == [99])
        arrived = numbers(received())
    assert [*dict.fromkeys(arrived)] == [number for number in range(100) if number != 50]
    assert [record.seq for record in world.aside] == [51]
