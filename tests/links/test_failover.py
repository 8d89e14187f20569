"""A link with several far ends: their order, and the way back to the first."""

import asyncio
import socket
from contextlib import suppress
from time import time

import pytest
from conftest import Until
from mqtt_kit import ScriptedBroker, World
from mqtt_kit import running as running_mqtt
from stream_kit import FarEnd, Port, dialler, up

from gateway.errors import LinkDown
from gateway.links._failover import Failover
from gateway.status import Life

ENDS = ("one", "two", "three")


def diary() -> Life:
    life = Life("links.cloud", "connecting", asyncio.get_running_loop().time, time)
    life.begin()
    return life


async def fails(failover: Failover, down: LinkDown, *, up: bool = False) -> tuple[str, bool, float]:
    """One session: which end it was with, whether the next follows at once, and after how long at least."""
    life = diary()
    tried = ""
    with suppress(LinkDown):
        async with failover.turn(ENDS, life) as tried:
            if up:
                life.up()
            raise down
    return tried, down.at_once, down.wait_at_least


async def test_each_is_tried_in_turn_and_the_wait_comes_after_the_last() -> None:
    failover = Failover()
    tries = [await fails(failover, LinkDown("refused")) for _ in range(6)]
    assert tries == [("one", True, 0), ("two", True, 0), ("three", False, 0)] * 2


async def test_one_that_wants_us_to_stay_away_is_obeyed_once_all_were_tried() -> None:
    failover = Failover()
    assert await fails(failover, LinkDown("not authorized", wait_at_least=60)) == ("one", True, 60)
    assert await fails(failover, LinkDown("refused")) == ("two", True, 0)
    assert await fails(failover, LinkDown("refused")) == ("three", False, 60)
    assert await fails(failover, LinkDown("refused")) == ("one", True, 0)


async def test_after_a_connection_that_was_up_it_begins_with_the_first_again() -> None:
    failover = Failover()
    await fails(failover, LinkDown("refused"))
    assert await fails(failover, LinkDown("reset by the peer"), up=True) == ("two", False, 0)
    assert (await fails(failover, LinkDown("refused")))[0] == "one"


@pytest.fixture
def two_ports() -> tuple[int, int]:
    """TCP ports of 127.0.0.1 that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


async def test_a_tcp_link_takes_the_second_and_goes_back_to_the_first(
    until: Until, two_ports: tuple[int, int]
) -> None:
    first, second = two_ports
    link = dialler(
        first,
        Port(),
        connect=[f"127.0.0.1:{first}", f"127.0.0.1:{second}"],
        reconnect={"first": "10ms", "max": "10ms", "prefer_after": "200ms"},
    )
    async with FarEnd(second), up(link, "up") as life:
        assert link.status()["endpoint"] == f"127.0.0.1:{second}"
        async with FarEnd(first):
            await until(lambda: link.status()["endpoint"] == f"127.0.0.1:{first}" and life.state == "up")
        assert life.deaths == 1


async def test_a_mqtt_link_says_goodbye_to_the_second_broker(
    until: Until, two_ports: tuple[int, int]
) -> None:
    first, second = two_ports
    async with ScriptedBroker().listening(second) as substitute:
        link = World().link(
            [f"mqtt://127.0.0.1:{first}", f"mqtt://127.0.0.1:{second}"],
            reconnect={"first": "10ms", "max": "10ms", "prefer_after": "200ms"},
        )
        async with running_mqtt(link) as life:
            await until(lambda: life.state == "up")
            assert link.status()["endpoint"] == f"mqtt://127.0.0.1:{second}"
            async with ScriptedBroker().listening(first) as preferred:
                await until(lambda: preferred.connects and life.state == "up")
                assert [b'"offline"' in word for word in substitute.on("gateway/gw/status")] == [False, True]
