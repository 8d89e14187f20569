"""Commands for devices through MQTT: who gets them, how they are answered, and what is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from log_kit import ours
from mqtt_kit import VERSIONS, ScriptedBroker, running, until
from set_kit import RESULT, TOPIC, Plant, answers, asks_for, give, published

PUMP = "gateway/gw/device/pump/set"
WORKS = {"ok": True, "values": {"open": True}}


@VERSIONS
async def test_a_command_is_carried_out_acknowledged_and_answered(version: str) -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url, version=version)):
        await until(lambda: broker.published)
        give(broker, open=True, level=7, id="a-1", mqtt={"mid": 9})
        await until(lambda: answers(broker))
    assert plant.valve.told == [{"open": True, "level": 7}]
    assert list(plant.valve.told[0]) == ["open", "level"]
    assert broker.acked == [9]
    (answer,) = published(broker)
    assert (answer.qos, answer.retain, answer.correlation) == (1, False, b"")
    assert answers(broker) == [{"ok": True, "id": "a-1", "values": {"open": True, "level": 7}}]


async def test_only_devices_of_this_link_with_something_to_write_are_subscribed() -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        assert broker.subscribed == [TOPIC, PUMP]
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url, devices=["pump"])):
        await until(lambda: broker.published)
        assert broker.subscribed == [PUMP]
        assert all(connect.clean for connect in broker.connects)


async def test_an_answer_goes_where_the_request_wants_it_with_its_correlation_data() -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, mqtt={"properties": asks_for("hmi/7/answers", b"\x00\xff7")})
        give(broker, open=False, mqtt={"properties": asks_for("hmi/8/answers"), "mid": 2})
        await until(lambda: answers(broker, "hmi/8/answers"))
    (first,), (second,) = published(broker, "hmi/7/answers"), published(broker, "hmi/8/answers")
    assert (first.qos, first.retain, first.correlation, first.properties) == (1, False, b"\x00\xff7", {})
    assert second.correlation == b""
    assert answers(broker, "hmi/7/answers") == [WORKS]
    assert answers(broker) == []


@pytest.mark.parametrize("topic", ["hmi/#", "hmi/+/x"])
async def test_an_answer_that_cannot_go_there_goes_to_the_result_topic(topic: str) -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, mqtt={"properties": asks_for(topic, b"7")})
        await until(lambda: answers(broker))
    assert published(broker)[0].correlation == b"7"


async def test_why_a_device_did_not_do_it_is_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    plant = Plant()
    plant.valve.slow = True
    async with ScriptedBroker().listening() as broker:
        link = plant.link(broker.url)
        async with running(link):
            await until(lambda: broker.published)
            for number in range(3):
                give(broker, open=True, id=number)
            await until(lambda: len(plant.valve.told) == 3)
            plant.valve.finish("unit 5 did not answer within 1 s")
            plant.valve.finish("illegal data address (2)")
            plant.valve.finish()
            await until(lambda: len(answers(broker)) == 3)
        why = "unit 5 did not answer within 1 s"
        assert answers(broker)[0] == {"ok": False, "id": 0, "error": why, "errors": {"open": why}}
        assert answers(broker)[1]["error"] == "illegal data address (2)"
        assert link.status()["commands"] == {"done": 1, "refused": 2, "repeated": 0}
    assert [record.message for record in ours(caplog)] == [
        f"cloud: command for valve not carried out: {why}"  # and a minute later the next
    ]


NOT_JSON = 'a command is a JSON object such as {"relay":true}'
NO_COMMANDS: dict[str, tuple[bytes, str]] = {
    "text": (b"on", NOT_JSON),
    "half an object": (b'{"open":', NOT_JSON),
    "no UTF-8": (b'{"open":"\xff"}', NOT_JSON),
    "a list": (b"[1]", NOT_JSON),
    "a number": (b"1", NOT_JSON),
    "a deep one": (b"[" * 8000, NOT_JSON),
    "no point": (b"{}", f"it names no point: {NOT_JSON}"),
    "only an id": (b'{"id":7}', f"it names no point: {NOT_JSON}"),
    "a point twice": (b'{"open":true,"open":false}', "it says something twice"),
    "no number": (b'{"level":NaN}', "NaN is no number"),
    "an id that is none": (b'{"open":true,"id":[7]}', "id is a text or a whole number"),
    "an id that is a bool": (b'{"open":true,"id":true}', "id is a text or a whole number"),
    "an empty id": (b'{"open":true,"id":""}', "id is a text or a whole number"),
    "much": (b'{"open":"' + b"x" * 9000 + b'"}', "a command has 8192 bytes at most"),
    "no time": (b'{"open":true,"expires":"soon"}', 'expires is a time such as "2027-01-31T12:00:00Z"'),
    "a number as time": (b'{"open":true,"expires":17}', 'expires is a time such as "2027-01-31T12:00:00Z"'),
    "a local time": (
        b'{"open":true,"expires":"2027-01-31T12:00:00"}',
        'expires is a time such as "2027-01-31T12:00:00Z"',
    ),
}


@pytest.mark.parametrize("case", NO_COMMANDS)
async def test_what_is_no_command_is_refused_and_the_next_is_carried_out(case: str) -> None:
    payload, reason = NO_COMMANDS[case]
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        broker.message(TOPIC, payload, mid=1)
        give(broker, open=True, mqtt={"mid": 2})
        await until(lambda: len(answers(broker)) == 2)
        assert broker.acked == [1, 2]
    assert [answer["error"] for answer in answers(broker) if not answer["ok"]] == [reason]
    assert plant.valve.told == [{"open": True}]


OLD: dict[str, dict[str, Any]] = {
    "it was retained, so nobody knows how old it is": {"retain": True},
    "it is a repetition of one that was received before": {"dup": True},
    "it has expired": {"properties": b"\x02\x00\x00\x00\x00"},
}


@pytest.mark.parametrize("reason", OLD)
async def test_an_old_command_is_not_carried_out_and_an_answer_says_why(reason: str) -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, mqtt=OLD[reason])
        await until(lambda: answers(broker))
        assert broker.acked == [1]
    assert answers(broker) == [{"ok": False, "error": reason}]
    assert plant.valve.told == []


@pytest.mark.parametrize("reason", set(OLD) - {"it is a repetition of one that was received before"})
async def test_the_answer_to_an_old_command_has_its_id(reason: str) -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, id="a", mqtt=OLD[reason])
        await until(lambda: answers(broker))
    assert answers(broker) == [{"ok": False, "id": "a", "error": reason}]


async def test_clearing_a_retained_command_is_no_command() -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        broker.message(TOPIC, b"", mid=1)
        give(broker, open=True, mqtt={"mid": 2})
        await until(lambda: answers(broker))
        assert broker.acked == [1, 2]
    assert answers(broker) == [WORKS]


@VERSIONS
async def test_a_command_may_say_itself_until_when_it_is_good(version: str) -> None:
    plant = Plant()
    now = datetime.now(UTC)
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url, version=version)):
        await until(lambda: broker.published)
        give(broker, open=True, id=1, expires=(now - timedelta(seconds=1)).isoformat())
        give(broker, open=True, id=2, expires=(now + timedelta(minutes=1)).isoformat())
        await until(lambda: len(answers(broker)) == 2)
        (expires,) = plant.valve.expires
        assert expires == pytest.approx(asyncio.get_running_loop().time() + 60, abs=15)
    by_id = {answer["id"]: answer for answer in answers(broker)}
    assert by_id[1] == {"ok": False, "id": 1, "error": "it has expired"}
    assert by_id[2]["ok"] is True
    assert plant.valve.told == [{"open": True}]


async def test_the_sooner_of_two_ends_counts() -> None:
    plant = Plant()
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, expires=later, mqtt={"properties": b"\x02\x00\x00\x00\x3c"})
        await until(lambda: answers(broker))
        (expires,) = plant.valve.expires
        assert expires <= asyncio.get_running_loop().time() + 60


async def test_a_slow_device_does_not_delay_commands_for_another() -> None:
    plant = Plant()
    plant.valve.slow = True
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        for number in range(30):
            give(broker, open=True, id=number, mqtt={"mid": number + 1})
        give(broker, PUMP, speed=3, mqtt={"mid": 99})
        await until(lambda: answers(broker, f"{PUMP}/result"))
        await until(lambda: len(broker.acked) == 31)  # taken, though nothing has been done of them yet
        assert answers(broker) == []
        assert len(plant.valve.told) == 30
        for _ in range(30):
            plant.valve.finish()
        await until(lambda: len(answers(broker)) == 30)
    assert plant.pump.told == [{"speed": 3}]


async def test_a_flood_is_answered_one_by_one_in_bounded_memory() -> None:
    plant = Plant()
    plant.valve.refuses = "busy: 16 commands wait for this device"
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        broker.puback = lambda publish: None  # it takes no answers for now
        for _ in range(500):
            give(broker, open=True, mqtt={"qos": 0})
        give(broker, PUMP, speed=3, mqtt={"mid": 2})
        await until(lambda: plant.pump.told)
        sent = len(answers(broker))
        broker.puback = lambda publish: 0
        for publish in tuple(broker.published):
            if publish.mid:
                broker.send_puback(publish.mid)
        await until(lambda: answers(broker, f"{PUMP}/result"))
        told = answers(broker)
    assert sent <= 100  # the window of everything that is under way
    assert 64 <= len(told) <= 500
    assert all(answer == {"ok": False, "error": plant.valve.refuses} for answer in told)


async def test_answers_that_the_broker_refuses_are_said_and_end_with_the_next_that_it_takes() -> None:
    plant = Plant()
    broker = ScriptedBroker(puback=lambda publish: 0x87 if publish.topic.startswith("hmi/") else 0)
    async with broker.listening(), running(plant.link(broker.url)) as diary:
        await until(lambda: broker.published)
        give(broker, open=True, mqtt={"properties": asks_for("hmi/1")})
        await until(lambda: diary.reason)
        assert diary.reason == f"broker refused answers to {TOPIC}: not authorized"
        give(broker, open=True, mqtt={"mid": 2})
        await until(lambda: not diary.reason)


async def test_a_refused_subscription_is_said() -> None:
    plant = Plant()
    async with (
        ScriptedBroker(suback=0x87).listening() as broker,
        running(plant.link(broker.url, devices=["valve"])) as diary,
    ):
        await until(lambda: diary.reason)
        assert diary.reason == f"broker refused {TOPIC}: not authorized"


async def test_nothing_is_answered_on_a_topic_that_is_a_command_topic_for_ever() -> None:
    """An answer is no command, and what refuses it is not answered there again."""
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, mqtt={"properties": asks_for(PUMP)})
        await until(lambda: broker.on(PUMP))
        broker.message(PUMP, broker.on(PUMP)[0], mid=2)  # the broker brings it to whoever subscribes
        await until(lambda: plant.pump.told)
        await until(lambda: answers(broker, f"{PUMP}/result"))
    assert len(broker.on(PUMP)) == 1
    assert RESULT not in {publish.topic for publish in broker.published}
