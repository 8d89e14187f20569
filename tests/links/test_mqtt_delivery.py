"""What the mqtt link sends, sends again, confirms and sets aside."""

import asyncio
import struct

import pytest
from log_kit import ours
from mqtt_kit import Publish, ScriptedBroker, World, life, running, until

from gateway.errors import LinkDown

RX = "gateway/gw/port/scale/rx"


async def test_a_record_stays_until_its_puback_has_come() -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: None if publish.topic.endswith("rx") else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link):
            world.scale.says(b"1", b"2", b"3")
            await until(lambda: len(broker.on(RX)) == 3)
            assert link.status()["buffer"]["records"] == 3
            first, second, third = (
                publish.mid for publish in broker.published if publish.topic.endswith("rx")
            )
            broker.send_puback(second)
            broker.send_puback(first)
            await until(lambda: link.status()["confirmed"] == 2)
            assert link.status()["buffer"]["records"] == 1
            broker.send_puback(third)
            await until(lambda: link.status()["buffer"]["records"] == 0)
    assert link.status()["sent"] == 3


@pytest.mark.parametrize("allowed", [1, 7, 100, 250])
async def test_no_more_is_on_its_way_than_the_broker_takes_and_our_own_window(allowed: int) -> None:
    world = World()
    waiting: list[int] = []

    def later(publish: Publish) -> None:
        waiting.append(publish.mid)

    limits = b"\x21" + struct.pack("!H", allowed)
    broker = ScriptedBroker(limits=limits, puback=later)
    async with broker.listening(), running(world.link(broker.url)):
        world.scale.says(*(b"%d" % number for number in range(300)))
        while len(broker.on(RX)) < 300:
            await until(lambda: waiting)
            broker.send_puback(waiting.pop(0))
        while waiting:
            broker.send_puback(waiting.pop(0))
        broker.puback = lambda publish: 0
    assert broker.on(RX) == [b"%d" % number for number in range(300)]
    assert broker.most_in_flight <= min(allowed, 100)


async def test_what_was_not_acknowledged_goes_up_again_in_order_and_with_its_number() -> None:
    world = World()
    broker = ScriptedBroker(cut_after=40, puback=lambda publish: None if publish.payload == b"20" else 0)
    async with broker.listening(), running(world.link(broker.url)) as diary:
        world.scale.says(*(b"%d" % number for number in range(100)))
        await until(lambda: diary.deaths == 1)
        broker.cut_after, broker.puback = None, lambda publish: 0
        await until(lambda: broker.on(RX)[-1:] == [b"99"])
    sent = [int(payload) for payload in broker.on(RX)]
    restart = next(place for place, number in enumerate(sent) if number < place)
    assert sent[:restart] == list(range(restart))
    assert sent[restart:] == list(range(sent[restart], 100))
    assert sent[restart] <= 20 < restart <= sent[restart] + 100
    assert [publish.properties["seq"] for publish in broker.published if publish.payload == b"20"] == [
        "21"
    ] * 2


async def test_a_refused_record_has_its_tries_and_is_set_aside_while_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: 0x87 if publish.topic == RX else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link) as diary:
            world.scale.says(b"1", b"2", b"3")
            world.meter.reads(b'{"values":{},"errors":{}}')
            await until(lambda: link.status()["confirmed"] == 1)
            refused = f"broker refused {RX}: not authorized; "
            assert (diary.state, diary.reason) == ("up", refused + "tried again")
            assert (link.status()["refused"], link.status()["buffer"]["records"]) == (0, 4)
            assert ours(caplog) == []

            await until(lambda: link.status()["buffer"]["records"] == 0)
            assert [record.payload for record in world.aside] == [b"1", b"2", b"3"]
            assert link.status()["refused"] == 3
            assert (diary.state, diary.reason) == ("up", refused + "set aside")
            assert broker.on(RX) == [b"1", b"2", b"3", b"1", b"1", b"2", b"3"]

            world.scale.says(b"4", b"5")
            await until(lambda: link.status()["refused"] == 5)
            assert [record.message for record in ours(caplog)] == [f"cloud: {refused}set aside"]
            broker.puback = lambda publish: 0
            world.scale.says(b"6")
            await until(lambda: link.status()["confirmed"] == 2)
            assert diary.reason == ""


async def test_what_is_refused_for_a_moment_arrives_in_order_and_nothing_is_set_aside() -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: 0x83 if publish.topic == RX else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link) as diary:
            world.scale.says(b"1", b"2", b"3")
            await until(lambda: "tried again" in diary.reason)
            broker.puback = lambda publish: 0
            world.scale.says(b"4")
            await until(lambda: link.status()["confirmed"] == 4)
            assert diary.reason == ""
    assert broker.on(RX)[-4:] == [b"1", b"2", b"3", b"4"]
    assert (world.aside, link.status()["refused"]) == ([], 0)


async def test_what_is_refused_after_a_restart_of_the_session_is_not_tried_for_so_long_again() -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: 0x87 if publish.topic == RX else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link) as diary:
            world.scale.says(b"1")
            world.meter.reads(b"{}")
            await until(lambda: world.aside)
            broker.cut()
            await until(lambda: diary.deaths)
            world.scale.says(b"2")
            await until(lambda: len(world.aside) == 2)
    assert broker.on(RX) == [b"1", b"1", b"1", b"2"]


async def test_a_broker_that_suddenly_takes_nothing_at_all_is_left_alone_and_everything_is_kept() -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: 0x87)
    async with broker.listening():
        link = world.link(broker.url)
        world.scale.says(b"1", b"2")
        world.meter.reads(b"{}")
        with pytest.raises(LinkDown) as caught:
            await link.session(life())
        assert str(caught.value) == "broker refused everything: not authorized"
        assert caught.value.wait_at_least == 60
        assert (world.aside, link.status()["buffer"]["records"]) == ([], 3)
        broker.puback = lambda publish: 0
        async with running(link):
            await until(lambda: link.status()["buffer"]["records"] == 0)
    assert broker.on(RX)[-2:] == [b"1", b"2"]


async def test_availability_that_is_refused_is_said_and_not_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    topic = "gateway/gw/device/meter/available"
    broker = ScriptedBroker(puback=lambda publish: 0x87 if publish.topic == topic else 0)
    async with broker.listening(), running(world.link(broker.url)) as diary:
        await until(lambda: broker.published)
        world.meter.is_now(b"online")
        await until(lambda: diary.reason)
        assert (diary.state, diary.reason) == ("up", f"broker refused {topic}: not authorized")
        broker.puback = lambda publish: 0
        world.meter.is_now(b"offline")
        await until(lambda: not diary.reason)
    assert broker.on(topic) == [b"online", b"offline"]
    assert [record.message for record in ours(caplog)] == [f"cloud: broker refused {topic}: not authorized"]


async def test_an_exceeded_quota_keeps_the_record_and_tries_later() -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: 0x97 if publish.payload == b"1" else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link) as diary:
            world.scale.says(b"1")
            await until(lambda: diary.deaths == 1)
            assert diary.reason == f"broker refused {RX}: quota exceeded"
            assert link.status()["buffer"]["records"] == 1
            broker.puback = lambda publish: 0x10  # no subscribers: a success
            await until(lambda: link.status()["confirmed"] == 1)
    assert world.aside == []


async def test_a_record_that_is_larger_than_the_broker_takes_is_set_aside_at_once() -> None:
    world = World()
    broker = ScriptedBroker(limits=b"\x27" + struct.pack("!L", 300))
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link) as diary:
            world.scale.says(b"x" * 300)
            await until(lambda: world.aside)
            assert (
                diary.reason
                == f"broker refused {RX}: 375 bytes are more than the 300 that it takes; set aside"
            )
            world.scale.says(b"small")
            await until(lambda: link.status()["confirmed"] == 1)
            assert (link.status()["refused"], diary.reason) == (1, "")
    assert [record.payload for record in world.aside] == [b"x" * 300]
    assert broker.on(RX) == [b"small"]


async def test_a_record_that_the_broker_finds_too_large_is_set_aside_at_once() -> None:
    """Mosquitto with `message_size_limit` does it by a code that MQTT 5.0 has for other packets only."""
    world = World()
    broker = ScriptedBroker(puback=lambda publish: 0x95 if publish.payload == b"large" else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link):
            world.scale.says(b"large", b"small")
            await until(lambda: link.status()["confirmed"] == 1)
    assert [record.payload for record in world.aside] == [b"large"]
    assert broker.on(RX) == [b"large", b"small"]


async def test_a_broker_without_qos_1_and_without_retain_gets_neither() -> None:
    world = World()
    broker = ScriptedBroker(limits=b"\x24\x00\x25\x00")
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link):
            world.scale.says(*[b"x" * 1000] * 1000)
            await until(lambda: len(broker.on(RX)) == 1000)
            assert link.status()["buffer"]["records"] == 0
    assert {(publish.qos, publish.retain) for publish in broker.published} == {(0, False)}


class Squeamish:
    """Hangs up as soon as it sees that payload: 3.1.1 has no other word."""

    def __init__(self, poison: bytes, *, goodbye: int | None = None) -> None:
        self.broker = ScriptedBroker(puback=self._take)
        self._poison, self._goodbye = poison, goodbye

    def _take(self, publish: Publish) -> int | None:
        if publish.payload != self._poison:
            return 0
        if self._goodbye is not None:
            self.broker.send(14, bytes([self._goodbye]))
        self.broker.close()
        return None


@pytest.mark.parametrize(("version", "goodbye"), [("3.1.1", None), ("5", None), ("5", 0x81), ("5", 0x95)])
async def test_a_record_at_which_the_broker_hangs_up_is_found_and_set_aside(
    version: str, goodbye: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    world, squeamish = World(), Squeamish(b"poison", goodbye=goodbye)
    async with squeamish.broker.listening() as broker:
        link = world.link(broker.url, version=version)
        numbers = [b"%d" % number for number in range(100)]
        world.scale.says(*numbers[:50], b"poison", *numbers[50:])
        async with running(link) as diary:
            await until(lambda: diary.deaths == 2)
            assert diary.reason.endswith("right after record 51 of port/scale (6 bytes)")
            assert world.aside == []
            await until(lambda: link.status()["confirmed"] >= 100)
            assert diary.deaths == 3
            assert (diary.state, diary.reason) == ("up", "")
    assert [(record.seq, record.payload) for record in world.aside] == [(51, b"poison")]
    assert link.status()["refused"] == 1
    arrived = [payload for payload in broker.on(RX) if payload != b"poison"]
    assert [*dict.fromkeys(arrived)] == numbers
    assert broker.on(RX).count(b"poison") == 3
    told = "cloud: 3 connections ended right after record 51 of port/scale (6 bytes); set aside"
    assert [record.message for record in ours(caplog)].count(told) == 1


async def test_the_right_one_is_found_though_the_broker_acknowledges_late() -> None:
    """What went together then goes one by one, and together again afterwards."""
    world, loop = World(), asyncio.get_running_loop()
    late: list[asyncio.TimerHandle] = []

    def take(publish: Publish) -> None:
        if publish.payload != b"poison":
            late.append(loop.call_later(0.02, broker.send_puback, publish.mid))
            return
        broker.close()
        for answer in late:
            answer.cancel()

    broker = ScriptedBroker(puback=take)
    async with broker.listening():
        link = world.link(broker.url, version="3.1.1")
        world.scale.says(*(b"%d" % number for number in range(8)), b"poison", b"9")
        async with running(link) as diary:
            await until(lambda: link.status()["buffer"]["records"] == 0)
            assert diary.deaths == 4
            assert [record.payload for record in world.aside] == [b"poison"]
            world.scale.says(b"10", b"11")
            await until(lambda: broker.in_flight == 2)


async def test_a_broker_that_hangs_up_at_another_record_each_time_loses_none() -> None:
    world = World()
    broker = ScriptedBroker(cut_after=3)  # the birth and two records
    async with broker.listening():
        link = world.link(broker.url, version="3.1.1")
        world.scale.says(*(b"%d" % number for number in range(6)))
        async with running(link) as diary:
            await until(lambda: diary.deaths)
            broker.cut_after = None
            await until(lambda: link.status()["buffer"]["records"] == 0)
    assert world.aside == []


async def test_a_backlog_goes_up_at_its_rate_and_what_comes_meanwhile_waits_behind_it() -> None:
    world = World()
    now = asyncio.get_running_loop().time
    async with ScriptedBroker().listening() as broker:
        link = world.link(broker.url, replay_rate=100)
        world.scale.says(*[b"old"] * 50)
        async with running(link):
            await until(lambda: broker.on(RX))
            begun = now()
            world.scale.says(*[b"new"] * 500)
            await until(lambda: len(broker.on(RX)) == 550)
            lasted = now() - begun
    assert broker.on(RX) == [b"old"] * 50 + [b"new"] * 500
    assert 0.4 < lasted < 5.0  # of 50 records a hundredth of a second each, and nothing for the others
