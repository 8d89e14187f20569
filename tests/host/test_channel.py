"""The socket as paho has it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from gateway.host.channel import Channel
from gateway.host.watch import Watch
from gateway.policy.liveness import Bounds

MUCH = bytes(range(256)) * 16_000  # 4 MB: far more than the kernel takes at once


class Ends(NamedTuple):
    channel: Channel
    far: socket.socket
    readable: asyncio.Event

    async def comes(self) -> bytes:
        """What paho would read now."""
        await self.readable.wait()
        self.readable.clear()
        return self.channel.recv(1 << 20)


@asynccontextmanager
async def ends() -> AsyncIterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near:
        near.connect(server.getsockname())
        far, _ = server.accept()
        near.setblocking(False)
        far.setblocking(False)
        channel, readable = Channel(near, Watch(near, Bounds(20.0))), asyncio.Event()
        channel.attach(readable.set, lambda down: None)
        try:
            with far:
                yield Ends(channel, far, readable)
        finally:
            channel.release()


async def test_a_send_takes_everything_and_all_of_it_arrives_in_order() -> None:
    async with ends() as (channel, far, _):
        assert channel.send(MUCH) == len(MUCH)
        assert channel.send(b"end") == 3
        got = b""
        while len(got) < len(MUCH) + 3:
            got += await asyncio.get_running_loop().sock_recv(far, 1 << 20)
        await channel.drained()
        assert got == MUCH + b"end"
        assert channel.status()["tx_bytes"] == len(got)


async def test_what_one_turn_of_the_loop_sends_leaves_together() -> None:
    async with ends() as (channel, far, _):
        for piece in (b"one ", b"two ", b"three"):
            channel.send(piece)
        with pytest.raises(BlockingIOError):
            far.recv(100)
        await channel.drained()
        assert far.recv(100) == b"one two three"


async def test_drained_waits_until_the_kernel_has_it_all() -> None:
    async with ends() as (channel, far, _):
        channel.send(MUCH)
        waiting = asyncio.ensure_future(channel.drained())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        while not waiting.done():
            await asyncio.get_running_loop().sock_recv(far, 1 << 20)


async def test_small_reads_are_served_from_one_large_one_and_pending_tells_of_the_rest() -> None:
    async with ends() as (channel, far, readable):
        far.send(b"abcdef")
        await readable.wait()
        assert [channel.recv(1), channel.recv(2)] == [b"a", b"bc"]
        assert channel.pending
        assert channel.recv(100) == b"def"
        assert not channel.pending
        with pytest.raises(BlockingIOError):
            channel.recv(1)
        assert channel.status()["rx_bytes"] == 6


async def test_the_error_that_ended_the_connection_is_kept_in_words() -> None:
    async with ends() as both:
        both.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        both.far.close()
        with pytest.raises(ConnectionResetError):
            await both.comes()
        assert str(both.channel.trouble) == "connection reset by the peer"


async def test_an_end_without_an_error_is_no_trouble() -> None:
    async with ends() as both:
        both.far.close()
        assert await both.comes() == b""
        assert both.channel.trouble is None


async def test_sending_into_a_broken_connection_never_raises() -> None:
    async with ends() as (channel, far, _):
        far.close()
        for _ in range(3):
            channel.send(b"x" * 1000)
            await channel.drained()
        assert str(channel.trouble) in ("connection reset by the peer", "connection closed by the peer")


async def test_what_paho_closes_stays_open_until_it_is_released() -> None:
    async with ends() as (channel, far, _):
        channel.send(b"last word")
        channel.close()
        await channel.drained()
        assert far.recv(100) == b"last word"
        channel.release()
        assert await asyncio.get_running_loop().sock_recv(far, 100) == b""
