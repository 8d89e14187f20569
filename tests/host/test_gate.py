"""Who may come in by address, on a listener of the loopback, where each 127.x.x.x is an address too."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Never

import pytest
from log_kit import ours
from net_kit import HERE, Foreign, calls, listening
from virtual import in_virtual_time

from gateway.host.connection import Connection
from gateway.host.gate import Gate
from gateway.host.listener import Places
from gateway.values import network

Until = Callable[[Callable[[], object]], Awaitable[None]]


def ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return socket.has_dualstack_ipv6()
    except OSError:
        return False


def allowing(*addresses: str, most: int = 8) -> Places:
    return Places(most, allow=[network(text) for text in addresses])


async def echo(connection: Connection) -> Never:
    while True:
        connection.write(await connection.read())
        await connection.drain()


async def served(client: Foreign) -> bool:
    await client.say(b"x")
    return await client.hears(1) == b"x"


async def closed(client: Foreign) -> bool:
    return await client.end() == "closed"


async def test_who_is_not_allowed_is_sent_away_and_counted(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(free_port, echo, places=allowing("10.0.0.0/8")) as listener:
        async with calls(free_port) as stranger:
            assert await closed(stranger)
        assert (listener.gate.not_allowed, listener.refused) == (1, 0)
    assert f"127.0.0.1 refused on {HERE}:{free_port}: allow does not name it" in caplog.text


@pytest.mark.parametrize("allow", ["127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"])
async def test_who_is_allowed_is_served(free_port: int, allow: str) -> None:
    places = allowing("10.0.0.0/8", allow)
    async with listening(free_port, echo, places=places) as listener, calls(free_port) as known:
        assert await served(known)
        assert listener.gate.not_allowed == 0


@pytest.mark.skipif(not ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(
    ("allow", "four", "six"),
    [
        ("127.0.0.1", True, False),
        ("::1", False, True),
        ("0.0.0.0/0", True, False),
        ("::/0", False, True),
        ("::ffff:0:0/96", True, False),
    ],
)
async def test_on_one_socket_for_both_each_family_goes_by_its_own_addresses(
    allow: str, four: bool, six: bool
) -> None:
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]  # free on every address
    async with listening(port, echo, places=allowing(allow), host=""):
        for host, allowed in ((HERE, four), ("::1", six)):
            async with calls(port, host) as client:
                assert await (served if allowed else closed)(client)


async def test_strangers_take_no_place_from_whoever_is_allowed(free_port: int, until: Until) -> None:
    places = Places(1, drop_idle=0.0, kick_old=True, allow=[network("127.0.0.1")])
    async with listening(free_port, echo, places=places) as listener, calls(free_port) as known:
        assert await served(known)
        async with AsyncExitStack() as strangers:
            for number in range(50):
                sock = strangers.enter_context(socket.socket())
                sock.setblocking(False)
                sock.bind((f"127.0.1.{number}", 0))
                await asyncio.get_running_loop().sock_connect(sock, (HERE, free_port))
                assert await closed(Foreign(sock))
        assert await served(known)
        assert (listener.gate.not_allowed, listener.refused) == (50, 0)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in ours(caplog) if record.levelno == logging.WARNING]
    return [line.split()[1] for line in lines if "allow does not name it" in line]


@in_virtual_time
async def test_a_scanner_is_one_line_in_the_log_until_it_was_quiet_for_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate("0.0.0.0:502", [network("10.0.0.0/8")])
    for _ in range(1000):
        assert not gate.admits("192.168.0.9")
        await asyncio.sleep(30)
    assert not gate.admits("[2001:db8::9]")
    assert told(caplog) == ["192.168.0.9", "[2001:db8::9]"]
    await asyncio.sleep(600)
    assert not gate.admits("192.168.0.9")
    assert told(caplog)[2:] == ["192.168.0.9"]
    assert gate.not_allowed == 1002


async def test_a_thousand_scanners_are_no_thousand_lines(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate("0.0.0.0:502", [network("10.0.0.0/8")])
    for number in range(1000):
        gate.admits(f"192.168.{number // 250}.{number % 250}")
    assert gate.not_allowed == 1000
    assert 1 < len(told(caplog)) < 100


async def test_who_was_gone_before_we_could_see_who_it_is_is_not_let_in() -> None:
    assert not Gate("0.0.0.0:502", [network("0.0.0.0/0")]).admits("?")
    assert Gate("0.0.0.0:502", []).admits("?")
