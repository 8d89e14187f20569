"""The same command twice: it is carried out once, and both are answered."""

import asyncio
import json
from math import inf

from mqtt_kit import VERSIONS, ScriptedBroker, running, until
from set_kit import TOPIC, Plant, Settable, answers, asks_for, give, published
from virtual import in_virtual_time

from gateway.contracts import Outcome
from gateway.links._commands import Commands
from gateway.links._terms import Message


@VERSIONS
async def test_the_same_id_is_carried_out_once_and_answered_twice(version: str) -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker:
        link = plant.link(broker.url, version=version)
        async with running(link):
            await until(lambda: broker.published)
            give(broker, open=True, id="a")
            await until(lambda: answers(broker))
            give(broker, open=True, id="a", mqtt={"dup": True})
            await until(lambda: len(answers(broker)) == 2)
        first, second = answers(broker)
        assert second == first | {"repeated": True}
        assert plant.valve.told == [{"open": True}]
        assert link.status()["commands"] == {"done": 1, "refused": 0, "repeated": 1}


async def test_a_repetition_waits_for_the_first_that_is_still_under_way() -> None:
    plant = Plant()
    plant.valve.slow = True
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, id="a", mqtt={"properties": asks_for("hmi/1", b"1")})
        give(broker, open=True, id="a", mqtt={"properties": asks_for("hmi/2", b"2"), "mid": 2})
        await until(lambda: len(broker.acked) == 2)
        plant.valve.finish("illegal data value (3)")
        await until(lambda: answers(broker, "hmi/1") and answers(broker, "hmi/2"))
    (first,), (second,) = answers(broker, "hmi/1"), answers(broker, "hmi/2")
    assert first["error"] == "illegal data value (3)"
    assert second == first | {"repeated": True}
    assert published(broker, "hmi/2")[0].correlation == b"2"
    assert len(plant.valve.told) == 1


async def test_a_command_under_way_outlives_the_connection_and_is_known_on_the_next() -> None:
    plant = Plant()
    plant.valve.slow = True
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, id="a")
        await until(lambda: plant.valve.told)
        broker.cut()
        await until(lambda: len(broker.subscribed) == 4)
        give(broker, open=True, id="a")
        await until(lambda: broker.acked == [1, 1])
        assert answers(broker) == []
        plant.valve.finish()
        await until(lambda: answers(broker))
    assert answers(broker) == [{"ok": True, "id": "a", "repeated": True, "values": {"open": True}}]
    assert plant.valve.told == [{"open": True}]


async def test_a_command_that_ended_while_the_broker_was_away_is_known_on_the_next_connection() -> None:
    plant = Plant()
    plant.valve.slow = True
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, id="a")
        await until(lambda: plant.valve.told)
        broker.cut()
        plant.valve.finish("illegal data address (2)")
        await until(lambda: len(broker.subscribed) == 4)
        give(broker, open=True, id="a")
        await until(lambda: answers(broker))
    assert answers(broker)[0]["error"] == "illegal data address (2)"
    assert len(plant.valve.told) == 1


async def test_correlation_data_is_the_id_of_a_command_without_one() -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        for correlation in (b"1", b"1", b"2"):
            give(broker, open=True, mqtt={"properties": asks_for("hmi", correlation)})
        give(broker, open=True, id="a", mqtt={"properties": asks_for("hmi", b"1")})
        await until(lambda: len(answers(broker, "hmi")) == 4)
    assert len(plant.valve.told) == 3
    assert [answer.get("repeated", False) for answer in answers(broker, "hmi")].count(True) == 1


async def test_without_any_id_two_commands_are_two() -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        for _ in range(2):
            give(broker, open=True)
        await until(lambda: len(answers(broker)) == 2)
    assert len(plant.valve.told) == 2


async def test_ids_are_told_apart_by_device_and_kind() -> None:
    plant = Plant()
    pump = "gateway/gw/device/pump/set"
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, id=1)
        give(broker, open=True, id="1")
        give(broker, pump, speed=1, id=1)
        await until(lambda: len(answers(broker)) == 2 and answers(broker, f"{pump}/result"))
    assert len(plant.valve.told) == 2
    assert len(plant.pump.told) == 1


async def test_an_id_that_another_command_had_is_refused() -> None:
    plant = Plant()
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, id="a")
        await until(lambda: answers(broker))
        give(broker, open=False, id="a")
        await until(lambda: len(answers(broker)) == 2)
    assert answers(broker)[1] == {"ok": False, "id": "a", "error": "another command had this id"}
    assert plant.valve.told == [{"open": True}]


async def test_what_was_refused_at_once_may_be_tried_again_by_the_same_id() -> None:
    plant = Plant()
    plant.valve.refuses = "busy: 16 commands wait for this device"
    async with ScriptedBroker().listening() as broker, running(plant.link(broker.url)):
        await until(lambda: broker.published)
        give(broker, open=True, id="a")
        await until(lambda: answers(broker))
        plant.valve.refuses = ""
        give(broker, open=True, id="a")
        await until(lambda: len(answers(broker)) == 2)
    assert [answer["ok"] for answer in answers(broker)] == [False, True]


def message(**command: object) -> Message:
    return Message(
        topic=TOPIC,
        payload=json.dumps(command).encode(),
        retained=False,
        repeated=False,
        expires=inf,
        qos=1,
        mid=1,
        answer_to="",
        correlation=b"",
    )


async def obey(commands: Commands, valve: Settable, number: int) -> bool:
    """Whether this command was known before."""
    reply, outcome = commands.take("valve", valve, message(open=True, id=number))
    await outcome
    return reply.repeated


@in_virtual_time
async def test_a_thousand_commands_are_remembered_and_no_more() -> None:
    commands, valve = Commands("cloud", lambda: True), Settable("open")
    for number in range(1001):
        assert not await obey(commands, valve, number)
    assert [await obey(commands, valve, number) for number in (1, 1000, 0)] == [True, True, False]


@in_virtual_time
async def test_a_command_is_remembered_for_ten_minutes() -> None:
    commands, valve = Commands("cloud", lambda: True), Settable("open")
    await obey(commands, valve, 7)
    await asyncio.sleep(590)
    assert await obey(commands, valve, 7)
    await asyncio.sleep(20)
    assert not await obey(commands, valve, 7)
    assert await obey(commands, valve, 7)


@in_virtual_time
async def test_a_command_under_way_is_never_forgotten() -> None:
    commands, valve = Commands("cloud", lambda: True), Settable("open")
    valve.slow = True
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(obey(commands, valve, 0))
        await asyncio.sleep(0)
        valve.slow = False
        for number in range(1, 1100):
            await obey(commands, valve, number)
        again = group.create_task(obey(commands, valve, 0))
        await asyncio.sleep(0)
        valve.finish()
    assert (waiting.result(), again.result()) == (False, True)


@in_virtual_time
async def test_nobody_knows_when_a_command_expires_while_the_clock_is_not_set() -> None:
    commands, valve = Commands("cloud", lambda: False), Settable("open")
    late = message(open=True, expires="2099-01-31T12:00:00Z")
    _, outcome = commands.take("valve", valve, late)
    why = "the clock of the gateway is not set: nobody knows whether it has expired"
    assert await outcome == Outcome(error=why)
    assert valve.told == []
