"""The mqtt link against a broker that does as it is told."""

import asyncio
import json
import struct
from pathlib import Path

import pytest
from mqtt_kit import Publish, ScriptedBroker, World, free_port, life, running, until

from gateway.contracts import Traced
from gateway.errors import LinkDown

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])


async def refusal(broker: ScriptedBroker, **keys: object) -> LinkDown:
    """How one session ends."""
    async with broker.listening():
        with pytest.raises(LinkDown) as caught:
            await World().link(broker.url, **keys).session(life())
        return caught.value


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
async def test_a_sample_gets_time_and_number_and_says_when_the_clock_was_not_set(retain: bool) -> None:
    world = World()
    async with (
        ScriptedBroker().listening() as broker,
        running(world.link(broker.url, prefix="plant/{hostname}", retain=retain)),
    ):
        world.meter.reads(b'{"values":{"voltage":230.1},"errors":{}}')
        world.meter.reads(b'{"values":{},"errors":{"voltage":"timeout"}}', at=1000.0)
        await until(lambda: len(broker.on("plant/host/device/meter/state")) == 2)
    good, early = map(json.loads, broker.on("plant/host/device/meter/state"))
    assert good == {"ts": "2027-01-15T08:00:00.000Z", "seq": 1, "values": {"voltage": 230.1}, "errors": {}}
    assert (early["seq"], early["clock"], early["errors"]) == (2, "unset", {"voltage": "timeout"})
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
    assert broker.on("gateway/gw/device/meter/available") == []


CONNACKS = {
    ("5", 0x80): ("broker refused: no reason given", 0),
    ("5", 0x84): ('broker refused: it does not speak this version of MQTT: try version = "3.1.1"', 60),
    ("5", 0x01): ('broker refused: it does not speak this version of MQTT: try version = "3.1.1"', 60),
    ("5", 0x85): ("broker refused: client id not allowed", 60),
    ("5", 0x86): ("broker refused: bad user name or password", 60),
    ("5", 0x87): ("broker refused: not authorized", 60),
    ("5", 0x88): ("broker refused: server unavailable", 0),
    ("5", 0x89): ("broker refused: server busy", 0),
    ("5", 0x8A): ("broker refused: banned", 60),
    ("5", 0x8C): ("broker refused: bad authentication method", 60),
    ("5", 0x95): ("broker refused: packet too large", 0),
    ("5", 0x97): ("broker refused: quota exceeded", 0),
    ("5", 0x9A): ("broker refused: it keeps no retained messages", 60),
    ("5", 0x9B): ("broker refused: it does not offer QoS 1", 60),
    ("5", 0x9C): ("broker refused: use another server", 60),
    ("5", 0x9D): ("broker refused: server moved", 60),
    ("5", 0x9F): ("broker refused: connection rate exceeded", 0),
    ("3.1.1", 1): ("what answers there does not accept MQTT 3.1.1", 60),
    ("3.1.1", 2): ("broker refused: client id not allowed", 60),
    ("3.1.1", 3): ("broker refused: server unavailable", 0),
    ("3.1.1", 4): ("broker refused: bad user name or password", 60),
    ("3.1.1", 5): ("broker refused: not authorized", 60),
}


@pytest.mark.parametrize(("version", "code"), CONNACKS)
async def test_each_connack_code_arrives_in_plain_words(version: str, code: int) -> None:
    down = await refusal(ScriptedBroker(connack=code), version=version)
    assert (str(down), down.wait_at_least) == CONNACKS[version, code]


async def test_what_the_broker_adds_in_text_is_passed_on() -> None:
    words = b"licence has ended"
    limits = b"\x1f" + struct.pack("!H", len(words)) + words
    down = await refusal(ScriptedBroker(connack=0x87, limits=limits))
    assert str(down) == "broker refused: not authorized (licence has ended)"


NOT_MQTT = [
    b"\x20\x03\x00\xee\x00",  # no such code
    b"\x20\x05\x00\x00\x02\xff\xff",  # no such property
    b"\x15\x03\x03\x00\x02\x02\x46",  # a TLS alert
    b"\x30\xff\xff\xff\xff\xff",  # a length without end
    b"\x00\x00",
]


@pytest.mark.parametrize("answer", NOT_MQTT)
async def test_an_answer_that_is_no_mqtt_is_told_as_that(answer: bytes) -> None:
    down = await refusal(ScriptedBroker(raw_answer=answer))
    assert (str(down), down.wait_at_least) == ("what answers there does not accept MQTT 5", 60)


async def test_a_broker_that_closes_instead_of_answering_is_told_as_that() -> None:
    broker = ScriptedBroker(connack=None)
    async with broker.listening():
        session = asyncio.create_task(World().link(broker.url).session(life()))
        await until(lambda: broker.connects)
        broker.close()
        with pytest.raises(
            LinkDown, match=r"^the broker did not answer CONNECT for MQTT 5 and closed the connection$"
        ):
            await session


async def test_what_comes_after_connack_and_is_no_mqtt_ends_the_connection() -> None:
    broker = ScriptedBroker()
    async with broker.listening():
        session = asyncio.create_task(World().link(broker.url).session(life()))
        await until(lambda: broker.published)
        broker.garbage(b"\x31\x02\xff\xff")  # a topic longer than its packet
        with pytest.raises(LinkDown, match=r"^the broker sent what is not MQTT$"):
            await session


DISCONNECTS = {
    0x00: ("the broker ended the session: normal disconnection", 0),
    0x8B: ("the broker ended the session: server shutting down", 0),
    0x8E: ("the broker ended the session: another client with the same client_id has connected", 0),
    0x87: ("the broker ended the session: not authorized", 60),
    0x98: ("the broker ended the session: administrative action", 60),
}


@pytest.mark.parametrize("code", DISCONNECTS)
async def test_why_the_broker_ended_the_session_arrives_in_plain_words(code: int) -> None:
    broker = ScriptedBroker()
    async with broker.listening():
        session = asyncio.create_task(World().link(broker.url).session(life()))
        await until(lambda: broker.published)
        broker.send(14, bytes([code]))
        with pytest.raises(LinkDown) as caught:
            await session
    assert (str(caught.value), caught.value.wait_at_least) == DISCONNECTS[code]


async def test_a_second_client_with_our_client_id_is_named_and_left_alone_for_a_minute() -> None:
    broker = ScriptedBroker()
    async with broker.listening(), running(World().link(broker.url, client_id="gw-7")) as diary:
        for sessions in (1, 2):
            await until(lambda now=sessions: len(broker.connects) == now and diary.state == "up")
            broker.send(14, b"\x8e")
            await until(lambda now=sessions: diary.deaths == now)
        assert diary.reason == 'another client uses our client_id "gw-7": give each its own'
        wait = diary.status()["next_try_s"]
        assert wait is not None
        assert 59 < wait <= 90


ASKED = 'again and again: does another client use our client_id "gw-7"?'


@VERSIONS
@pytest.mark.parametrize("end", ["close", "cut"])
async def test_a_broker_that_hangs_up_again_and_again_is_asked_about(version: str, end: str) -> None:
    broker = ScriptedBroker()
    link = World().link
    async with broker.listening(), running(link(broker.url, client_id="gw-7", version=version)) as diary:
        for sessions in (1, 2):
            assert "client_id" not in diary.reason
            await until(lambda now=sessions: len(broker.connects) == now and diary.state == "up")
            getattr(broker, end)()
            await until(lambda now=sessions: diary.deaths == now)
        assert diary.reason.endswith(ASKED)


async def test_a_broker_that_restarts_again_and_again_is_no_sign_of_another_client() -> None:
    broker = ScriptedBroker()
    port = free_port()
    async with running(World().link(f"mqtt://127.0.0.1:{port}")) as diary:
        for _ in range(4):
            async with broker.listening(port):
                await until(lambda: diary.state == "up")
            # Its connections are cut after it has stopped to listen, and one try has failed before it is
            # back.
            tries = diary.attempts + 1
            await until(lambda before=tries: diary.state != "up" and diary.attempts > before)
            assert "client_id" not in diary.reason
    assert diary.deaths == 4


async def test_a_record_stays_until_its_puback_has_come() -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: None if publish.topic.endswith("rx") else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link):
            world.scale.says(b"1", b"2", b"3")
            await until(lambda: len(broker.on("gateway/gw/port/scale/rx")) == 3)
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
        while len(broker.on("gateway/gw/port/scale/rx")) < 300:
            await until(lambda: waiting)
            broker.send_puback(waiting.pop(0))
        while waiting:
            broker.send_puback(waiting.pop(0))
        broker.puback = lambda publish: 0
    assert broker.on("gateway/gw/port/scale/rx") == [b"%d" % number for number in range(300)]
    assert broker.most_in_flight <= min(allowed, 100)


async def test_what_was_not_acknowledged_goes_up_again_in_order_and_with_its_number() -> None:
    world = World()
    rx = "gateway/gw/port/scale/rx"
    broker = ScriptedBroker(cut_after=40, puback=lambda publish: None if publish.payload == b"20" else 0)
    async with broker.listening(), running(world.link(broker.url)) as diary:
        world.scale.says(*(b"%d" % number for number in range(100)))
        await until(lambda: diary.deaths == 1)
        broker.cut_after, broker.puback = None, lambda publish: 0
        await until(lambda: broker.on(rx)[-1:] == [b"99"])
    sent = [int(payload) for payload in broker.on(rx)]
    restart = next(place for place, number in enumerate(sent) if number < place)
    assert sent[:restart] == list(range(restart))
    assert sent[restart:] == list(range(sent[restart], 100))
    assert sent[restart] <= 20 < restart <= sent[restart] + 100
    assert [publish.properties["seq"] for publish in broker.published if publish.payload == b"20"] == [
        "21"
    ] * 2


async def test_a_broken_connection_is_told_in_words() -> None:
    broker = ScriptedBroker()
    async with broker.listening(), running(World().link(broker.url)) as diary:
        await until(lambda: broker.published)
        broker.cut()
        await until(lambda: diary.deaths)
        death = diary.status()["last_death"]
        assert death is not None
        assert death["reason"] == "connection reset by the peer"


async def test_a_refused_record_is_counted_said_once_and_does_not_hold_up_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: 0x87 if publish.topic.endswith("rx") else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link) as diary:
            world.scale.says(b"1", b"2", b"3")
            world.meter.reads(b'{"values":{},"errors":{}}')
            await until(lambda: link.status()["confirmed"] == 1)
            assert link.status()["refused"] == 3
            assert link.status()["buffer"]["records"] == 0
            sentence = "broker refused gateway/gw/port/scale/rx: not authorized"
            assert (diary.state, diary.reason) == ("up", sentence)
            assert [record.message for record in caplog.records] == [f"cloud: {sentence}"]
            broker.puback = lambda publish: 0
            world.scale.says(b"4")
            await until(lambda: link.status()["confirmed"] == 2)
            assert diary.reason == ""


async def test_an_exceeded_quota_keeps_the_record_and_tries_later() -> None:
    world = World()
    broker = ScriptedBroker(puback=lambda publish: 0x97 if publish.payload == b"1" else 0)
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link) as diary:
            world.scale.says(b"1")
            await until(lambda: diary.deaths == 1)
            assert diary.reason == "broker refused gateway/gw/port/scale/rx: quota exceeded"
            assert link.status()["buffer"]["records"] == 1
            broker.puback = lambda publish: 0x10  # no subscribers: a success
            await until(lambda: link.status()["confirmed"] == 1)


async def test_a_record_that_is_larger_than_the_broker_takes_is_left_out() -> None:
    world = World()
    broker = ScriptedBroker(limits=b"\x27" + struct.pack("!L", 300))
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link):
            world.scale.says(b"x" * 300, b"small")
            await until(lambda: link.status()["confirmed"] == 1)
            assert link.status()["refused"] == 1
    assert broker.on("gateway/gw/port/scale/rx") == [b"small"]


async def test_a_broker_without_qos_1_and_without_retain_gets_neither() -> None:
    world = World()
    broker = ScriptedBroker(limits=b"\x24\x00\x25\x00")
    async with broker.listening():
        link = world.link(broker.url)
        async with running(link):
            world.scale.says(*[b"x" * 1000] * 1000)
            await until(lambda: len(broker.on("gateway/gw/port/scale/rx")) == 1000)
            assert link.status()["buffer"]["records"] == 0
    assert {(publish.qos, publish.retain) for publish in broker.published} == {(0, False)}


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
    assert [record.message for record in caplog.records] == [
        f"cloud: message to {topic} not written: {reason}"
    ]


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
