"""One MQTT session: what it makes of paho, of a silent far end and of nonsense."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import paho.mqtt.client as paho
import pytest
from mqtt_kit import ScriptedBroker, until
from paho.mqtt.enums import CallbackAPIVersion

from gateway.errors import LinkDown
from gateway.host import net
from gateway.links._paho import Session, connect
from gateway.links._terms import Hello, Publication
from gateway.policy.liveness import Bounds
from gateway.values import endpoint


def hello(address: str, **changed: object) -> Hello:
    host, _, port = address.rpartition(":")
    values: dict[str, object] = {
        "host": host,
        "port": int(port),
        "path": "",
        "tls": None,
        "version": "5",
        "client_id": "gw",
        "username": None,
        "password": None,
        "will": Publication("status", b"offline", retain=True),
        "bounds": Bounds(20.0),
    }
    return Hello(**{**values, **changed})  # type: ignore[arg-type]


@asynccontextmanager
async def open_session(address: str, **changed: object) -> AsyncIterator[Session]:
    how = hello(address, **changed)
    async with net.dial(endpoint(address), how.bounds) as dialled, connect(*dialled, how) as session:
        yield session


def test_paho_still_asks_for_its_socket_where_we_replace_it() -> None:
    """The one private method that _paho.py overrides; everything else is paho's documented interface."""

    class Asked(Exception):
        pass

    class Client(paho.Client):
        def _create_socket_connection(self) -> socket.socket:
            raise Asked

    with pytest.raises(Asked):
        Client(CallbackAPIVersion.VERSION2).connect("127.0.0.1")


async def test_a_broker_that_never_answers_connect_is_given_up() -> None:
    async with ScriptedBroker(connack=None).listening() as broker:
        with pytest.raises(LinkDown) as caught:
            async with open_session(broker.address, bounds=Bounds(3.0)):
                raise AssertionError("it is not open")
    assert str(caught.value) == "the broker did not answer CONNECT for MQTT 5 within 3 s"


async def test_a_broker_that_does_not_answer_pings_is_found_dead() -> None:
    async with ScriptedBroker(deaf_to_pings=True).listening() as broker:
        with pytest.raises(
            LinkDown, match=r"^the broker does not answer: no PINGRESP or PUBACK for 2.\d s$"
        ) as caught:
            async with open_session(broker.address, bounds=Bounds(3.0)) as session:
                await session.run()
    assert caught.value.detected_after is not None
    assert 2.7 <= caught.value.detected_after <= 3


async def test_what_is_sent_at_qos_0_is_no_answer() -> None:
    only_qos_0 = b"\x24\x00"  # Maximum QoS (MQTT 5.0, 3.2.2.3.4)
    async with (
        ScriptedBroker(deaf_to_pings=True, limits=only_qos_0).listening() as broker,
        open_session(broker.address, bounds=Bounds(3.0)) as session,
    ):
        running = asyncio.create_task(session.run())
        while not running.done():
            session.publish(Publication("status", b"still here"))
            await asyncio.wait([running], timeout=0.2)
    with pytest.raises(LinkDown, match="no PINGRESP or PUBACK"):
        running.result()


async def test_pings_keep_an_idle_session_open() -> None:
    async with (
        ScriptedBroker().listening() as broker,
        open_session(broker.address, bounds=Bounds(3.0)) as session,
    ):
        running = asyncio.create_task(session.run())
        await until(lambda: broker.pings >= 2)
        assert not running.done()
        running.cancel()


KINDS = bytes(kind << 4 | flags for kind in range(16) for flags in (0, 2, 3, 11))


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_garbage_ends_a_session_and_never_more_than_that(version: str) -> None:
    """Packets of every kind with nonsense in them, behind a good CONNACK."""
    random = Random(20)
    connack = b"\x20\x03\0\0\0" if version == "5" else b"\x20\x02\0\0"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(connack)
        for _ in range(4):
            body = random.randbytes(random.choice((0, 1, 2, 3, 4, 7, 40)))
            writer.write(bytes([random.choice(KINDS), len(body)]) + body)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _ in range(300):
            with pytest.raises(LinkDown):
                await use(address, version)


async def use(address: str, version: str) -> None:
    async with open_session(address, version=version) as session:
        session.publish(Publication("t", b"x"))
        session.subscribe("t")
        await session.run()
