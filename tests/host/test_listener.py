"""Listening on the loopback: who gets a place, who loses it, and what a client can do to others."""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Never

import pytest
from log_kit import ours
from net_kit import BOUNDS, HERE, Foreign, calls, failure, listening

from gateway.errors import LineDown, LinkDown, PeerError
from gateway.flow import Fan
from gateway.host import net, tuning
from gateway.host.connection import Connection
from gateway.host.listener import Places
from gateway.values import Endpoint

Until = Callable[[Callable[[], object]], Awaitable[None]]


async def echo(connection: Connection) -> Never:
    while True:
        connection.write(await connection.read())
        await connection.drain()


async def test_every_client_is_served_and_leaves_no_trace(free_port: int, until: Until) -> None:
    async with listening(free_port, echo) as listener:
        for _ in range(2):
            async with calls(free_port) as one, calls(free_port) as other:
                await one.say(b"one")
                await other.say(b"other")
                assert (await one.hears(3), await other.hears(5)) == (b"one", b"other")
                assert {peer.address for peer in listener.peers.values()} == {one.address, other.address}
            await until(lambda: not listener.peers)


async def test_one_client_too_many_is_refused_until_there_is_room_again(
    free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(free_port, echo, places=Places(2)) as listener, calls(free_port) as stays:
        async with calls(free_port):
            await until(lambda: len(listener.peers) == 2)
            async with calls(free_port) as too_many:
                assert await too_many.end() == "closed"
                assert f"{too_many.address} refused: max_clients = 2" in caplog.text
            assert listener.refused == 1
        await until(lambda: len(listener.peers) == 1)
        async with calls(free_port) as newcomer:
            for client in (stays, newcomer):
                await client.say(b"served")
                assert await client.hears(6) == b"served"


async def test_who_was_idle_for_longest_makes_room(
    free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    places = Places(2, drop_idle=0.3)
    async with listening(free_port, echo, places=places) as listener, calls(free_port) as idle:
        await until(lambda: len(listener.peers) == 1)
        async with calls(free_port) as busy:
            await until(lambda: min((peer.idle for peer in listener.peers.values()), default=0) > 0.3)
            await busy.say(b"x")
            await busy.hears(1)
            async with calls(free_port) as newcomer:
                await newcomer.say(b"served")
                assert await newcomer.hears(6) == b"served"
                assert await idle.end() == "reset"
                assert {peer.address for peer in listener.peers.values()} == {busy.address, newcomer.address}
            assert f"{idle.address} left: idle for" in caplog.text
        assert listener.refused == 0


@pytest.mark.parametrize(
    "places",
    [Places(1, drop_idle=60.0), Places(1, kick_old=True)],
    ids=["busy a moment ago", "answers, to its own host"],
)
async def test_nobody_makes_room_who_is_still_there(free_port: int, until: Until, places: Places) -> None:
    """One who does not answer is in tests/system/test_ghosts.py: that takes a wire to cut."""
    async with listening(free_port, echo, places=places) as listener, calls(free_port) as stays:
        await until(lambda: listener.peers)
        async with calls(free_port) as newcomer:
            assert await newcomer.end() == "closed"
        assert listener.refused == 1
        await stays.say(b"still here")
        assert await stays.hears(10) == b"still here"


async def test_a_bug_in_one_peer_ends_that_peer_alone(
    free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async def peer(connection: Connection) -> None:
        while (data := await connection.read()) != b"bug":
            connection.write(data)
        raise ZeroDivisionError

    async with listening(free_port, peer) as listener, calls(free_port) as good:
        async with calls(free_port) as bad:
            await bad.say(b"bug")
            assert await bad.end() == "reset"
            assert "internal error, this connection ends" in caplog.text
            assert "ZeroDivisionError" in caplog.text
        await good.say(b"still here")
        assert await good.hears(10) == b"still here"
        assert len(listener.peers) == 1


@pytest.mark.parametrize(
    ("error", "level", "words"),
    [
        (PeerError("no Modbus TCP"), logging.WARNING, ": no Modbus TCP"),
        (LineDown("unplugged"), logging.INFO, " left: unplugged"),
        (LinkDown("no round trip", unacked=5), logging.INFO, " left: no round trip, 5 bytes unacknowledged"),
    ],
)
async def test_a_peer_that_ends_by_an_expected_error_is_one_line_in_the_log(
    free_port: int, caplog: pytest.LogCaptureFixture, error: Exception, level: int, words: str
) -> None:
    caplog.set_level(logging.INFO)

    async def peer(connection: Connection) -> None:
        raise error

    part("links.scada")
    async with listening(free_port, peer), calls(free_port) as foreign:
        await foreign.end()
        said = foreign.address + words

    (line,) = [record for record in ours(caplog) if record.getMessage() == f"links.scada: {said}"]
    assert (line.levelno, line.exc_info) == (level, None)


async def test_who_comes_and_goes_all_the_time_is_told_once(
    free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """Some SCADA systems connect for each poll."""
    caplog.set_level(logging.INFO)
    part("links.scada")
    async with listening(free_port, echo) as listener:
        for _ in range(20):
            async with calls(free_port) as client:
                await client.say(b"x")
                await client.hears(1)
            await until(lambda: not listener.peers)
    came, left = (record.getMessage() for record in ours(caplog))
    assert came.startswith("links.scada: 127.0.0.1:")
    assert came.endswith(" connected")
    assert " left: " in left


async def test_who_is_refused_all_the_time_is_told_once(
    free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    part("links.scada")
    async with listening(free_port, echo, places=Places(1)) as listener, calls(free_port):
        await until(lambda: listener.peers)
        for _ in range(20):
            async with calls(free_port) as client:
                assert await client.end() == "closed"
        assert listener.refused == 20
    (line,) = (record.getMessage() for record in ours(caplog))
    assert line.startswith("links.scada: 127.0.0.1:")
    assert line.endswith(" refused: max_clients = 1")


async def test_a_bug_that_comes_again_with_each_client_is_one_traceback(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def peer(connection: Connection) -> None:
        raise ZeroDivisionError

    async with listening(free_port, peer):
        for _ in range(5):
            async with calls(free_port) as client:
                await client.end()
    assert caplog.text.count("Traceback") == 1


def part(name: str) -> None:
    """The test is this part of a gateway."""
    task = asyncio.current_task()
    assert task is not None
    task.set_name(name)


async def test_a_client_that_was_gone_before_it_was_accepted_harms_nobody(free_port: int) -> None:
    async with net.listen(Endpoint(HERE, free_port), BOUNDS, Places(8), Fan()) as listener:
        for _ in range(3):
            with socket.create_connection((HERE, free_port)) as gone:
                tuning.reset_on_close(gone)
        serving = asyncio.create_task(listener.serve(echo))
        async with calls(free_port) as foreign:
            await foreign.say(b"here")
            assert await foreign.hears(4) == b"here"
        serving.cancel()
        await asyncio.wait([serving])


async def test_when_a_listener_ends_its_peers_end_with_it(free_port: int, until: Until) -> None:
    async with AsyncExitStack() as clients:
        async with listening(free_port, echo) as listener:
            foreigns = [await clients.enter_async_context(calls(free_port)) for _ in range(3)]
            await until(lambda: len(listener.peers) == 3)
        assert [await foreign.end() for foreign in foreigns] == ["closed"] * 3
        with pytest.raises(ConnectionRefusedError):
            await clients.enter_async_context(calls(free_port))


async def test_no_descriptor_stays_open(free_port: int, descriptors: Callable[[], int], until: Until) -> None:
    before = descriptors()
    async with listening(free_port, echo, places=Places(1)) as listener:
        async with calls(free_port), calls(free_port) as refused:
            await refused.end()
        await until(lambda: not listener.peers)
    await until(lambda: descriptors() == before)


async def test_without_a_free_descriptor_it_waits_for_one(
    free_port: int, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening(free_port, echo), calls(free_port):
        held = socket.socket()
        held.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (held.fileno() + 1, hard))
        try:
            await asyncio.get_running_loop().sock_connect(held, (HERE, free_port))
            await until(lambda: "cannot accept" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        late = Foreign(held)
        await late.say(b"late")
        assert await late.hears(4) == b"late"
        held.close()


async def test_an_address_in_use_is_said_in_words(free_port: int) -> None:
    async with net.listen(Endpoint(HERE, free_port), BOUNDS, Places(1), Fan()):
        words = await failure(net.listen(Endpoint(HERE, free_port), BOUNDS, Places(1), Fan()))

    assert words == f"cannot listen on {HERE}:{free_port}: another program uses this address"


async def test_an_address_is_free_again_at_once(free_port: int, until: Until) -> None:
    for _ in range(3):
        async with listening(free_port, echo), calls(free_port) as foreign:
            await foreign.say(b"x")
            await foreign.hears(1)


async def test_an_address_of_another_host_is_said_in_words() -> None:
    words = await failure(net.listen(Endpoint("192.0.2.1", 5020), BOUNDS, Places(1), Fan()))

    assert words == "cannot listen on 192.0.2.1:5020: this host has no such address"


@pytest.mark.parametrize("host", ["", "localhost", "0.0.0.0", HERE])
async def test_whatever_it_listens_on_a_client_has_its_plain_address(
    free_port: int, until: Until, host: str
) -> None:
    async with listening(free_port, echo, host=host) as listener, calls(free_port) as foreign:
        await until(lambda: listener.peers)
        (peer,) = listener.peers.values()
        assert peer.address == foreign.address
        assert peer.host == HERE


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this host has no IPv6")
@pytest.mark.parametrize("host", ["", "::1", "::"])
async def test_an_address_of_ipv6_stands_in_brackets(free_port: int, until: Until, host: str) -> None:
    async with listening(free_port, echo, host=host) as listener, calls(free_port, "::1") as foreign:
        await until(lambda: listener.peers)
        (peer,) = listener.peers.values()
        assert peer.address == foreign.address == f"[::1]:{foreign.sock.getsockname()[1]}"
