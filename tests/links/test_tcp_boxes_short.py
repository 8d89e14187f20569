"""kind = "tcp" with short: connects when data comes, leaves when there is no more, and loses none of it."""

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from conftest import Until
from pydantic import ValidationError
from sink_kit import Sink
from stream_kit import FarEnd, Port, Scale, dialler, up

from gateway.links.tcp import Config
from gateway.site import at_work

SHORT = {"short": "1s"}


async def test_it_connects_when_data_comes_and_leaves_when_there_is_none_for_so_long(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = dialler(free_port, port, registration={"text": "SN "}, **SHORT)
    async with FarEnd(free_port) as far, up(link, "idle") as life:
        assert (far.clients, link.status()["peers"]) == ([], [])
        for words in (b"first", b"second"):
            far.got.clear()
            port.chunks.push(words)
            await until(lambda: far.got == b"SN " + words)  # noqa: B023
            assert life.state == "up"
            began = asyncio.get_running_loop().time()
            await until(lambda: life.state == "idle")
            assert asyncio.get_running_loop().time() - began > 0.9
            assert link.status()["buffer"]["records"] == 0
        assert len(far.clients) == 2
        assert (life.deaths, life.status()["last_death"]) == (0, None)


async def test_while_it_is_idle_its_status_says_so_and_counts_as_healthy(free_port: int) -> None:
    link = dialler(free_port, Port(), **SHORT)
    async with up(link, "idle") as life:
        record = {**link.status(), **life.status()}
        assert (record["reason"], record["next_try_s"]) == ("connects when data comes", None)
        assert at_work({"links": {"collector": record}})


async def test_the_first_packet_waits_until_the_far_end_can_be_had(free_port: int, until: Until) -> None:
    port = Port()
    link = dialler(free_port, port, **SHORT)
    async with up(link, "idle") as life:
        port.chunks.push(b"first")
        await until(lambda: life.attempts > 2)
        assert life.deaths == 0
        async with FarEnd(free_port) as far:
            await until(lambda: far.got == b"first")
            await until(lambda: life.state == "idle")


async def test_what_the_far_end_says_reaches_the_line_and_keeps_the_connection(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = dialler(free_port, port, **SHORT)
    async with FarEnd(free_port) as far, up(link, "idle"):
        port.chunks.push(b"?")
        await until(lambda: far.got == b"?")
        for number in range(6):
            far.clients[0].write(b"!")
            await until(lambda: len(port.told) == number + 1)  # noqa: B023
            await asyncio.sleep(0.25)
        assert len(link.status()["peers"]) == 1


async def test_a_far_end_that_has_all_and_hangs_up_is_no_loss(free_port: int, until: Until) -> None:
    port = Port()
    link = dialler(free_port, port, **SHORT)
    async with FarEnd(free_port) as far, up(link, "idle") as life:
        for words in (b"one", b"two"):
            far.got.clear()
            port.chunks.push(words)
            await until(lambda: far.got == words)  # noqa: B023
            far.clients[-1].close()
            await until(lambda: life.state == "idle")
        assert life.deaths == 0


async def test_what_one_that_dies_has_not_got_brings_the_next_connection(
    free_port: int, until: Until
) -> None:
    port = Port()
    link = dialler(free_port, port, **SHORT)
    with Sink(free_port) as sink:
        async with up(link, "idle") as life:
            port.chunks.push(b"one")
            async with sink.visit() as first:
                while first.got != b"one":
                    await first.hears(100)
                first.ends(reset=True)
                port.chunks.push(b"two")
            async with sink.visit() as second:
                while second.got != b"two":
                    await second.hears(100)
                await until(lambda: life.state == "idle")
            assert life.deaths == 1


async def test_whenever_data_comes_none_of_it_is_lost_and_none_comes_twice(
    free_port: int, until: Until
) -> None:
    """Also in the moment in which it leaves."""
    port, random, said = Scale(), Random(7), bytearray()
    link = dialler(free_port, port, packet=True, **SHORT)
    async with FarEnd(free_port) as far, up(link, "idle") as life:
        for number in range(12):
            words = f"{number};".encode()
            said += words
            port.says(words)
            async with asyncio.timeout(30):
                while life.state != "idle":
                    if (peers := link.status()["peers"]) and peers[0]["silent_s"] >= 0.9:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(
                                until(lambda: life.state == "idle"), random.uniform(0, 0.1)
                            )
                        break
                    await asyncio.sleep(0.01)
        await until(lambda: far.got == said)
        assert life.deaths == 0


def test_at_rest_it_costs_nothing() -> None:
    table = {"kind": "tcp", "port": "scale", "connect": "10.0.0.5:4001"}
    assert Config.model_validate(table).connections
    assert not Config.model_validate(table | SHORT).connections


@pytest.mark.parametrize(
    ("keys", "where", "complaint"),
    [
        ({"listen": ":1"} | SHORT, "short", "short goes with connect"),
        ({"connect": "a:1", "heartbeat": {"text": "P"}} | SHORT, "heartbeat", "does not go with short"),
        ({"connect": "a:1", "idle_timeout": "5s"} | SHORT, "idle_timeout", "does not go with short"),
        ({"connect": "a:1", "short": "500ms"}, "short", "greater than"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_the_right_key(
    keys: dict[str, Any], where: str, complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        Config.model_validate({"kind": "tcp", "port": "scale"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [(where,)]
