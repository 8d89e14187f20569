"""Why a connection of the mqtt link ended, or was never had, in words that help."""

import asyncio
import struct

import pytest
from mqtt_kit import VERSIONS, ScriptedBroker, World, free_port, life, running, until

from gateway.errors import LinkDown


async def refusal(broker: ScriptedBroker, **keys: object) -> LinkDown:
    """How one session ends."""
    async with broker.listening():
        with pytest.raises(LinkDown) as caught:
            await World().link(broker.url, **keys).session(life())
        return caught.value


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


async def test_a_broken_connection_is_told_in_words() -> None:
    broker = ScriptedBroker()
    async with broker.listening(), running(World().link(broker.url)) as diary:
        await until(lambda: broker.published)
        broker.cut()
        await until(lambda: diary.deaths)
        death = diary.status()["last_death"]
        assert death is not None
        assert death["reason"] == "connection reset by the peer"
