"""What a connection knows of the bytes that it was given: which the kernel has, and which have arrived."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from net_kit import BOUNDS, HERE

from gateway.errors import LinkDown
from gateway.flow import Fan
from gateway.host import net
from gateway.host.connection import Connection
from gateway.settings import Endpoint

Until = Callable[[Callable[[], object]], Awaitable[None]]


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, socket.socket]]:
    """To somebody whose kernel takes a few thousand bytes, and who reads when told to."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        server.bind((HERE, 0))
        server.listen()
        async with net.connect(Endpoint(*server.getsockname()), BOUNDS, Fan()) as connection:
            far, _ = server.accept()
            with far:
                yield connection, far


async def test_what_the_far_end_has_acknowledged_is_counted(until: Until) -> None:
    async with connected() as (connection, far):
        assert (connection.given, connection.taken, connection.acked) == (0, 0, 0)
        connection.write(b"12.5 kg")
        assert (connection.given, connection.taken) == (7, 7)
        await until(lambda: connection.acked == 7)
        connection.write(bytes(10_000))
        await until(lambda: connection.acked > 7)
        assert connection.acked < connection.taken == 10_007
        far.setblocking(False)
        got = 0
        while got < 10_007:
            got += len(await asyncio.get_running_loop().sock_recv(far, 10_000))
        await until(lambda: connection.acked == 10_007)


@pytest.mark.parametrize("how", ["reset", "closed", "aborted by us"])
async def test_that_is_known_when_the_connection_is_over(how: str, until: Until) -> None:
    async with connected() as (connection, far):
        connection.write(bytes(10_000))
        await until(lambda: connection.acked)
        await asyncio.sleep(0.05)  # an acknowledgement is held back for 40 ms
        acked = connection.acked
        if how == "aborted by us":
            connection.end(LinkDown("no round trip for 18.5 s"))
        else:
            if how == "reset":
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            with pytest.raises(LinkDown):
                await connection.read()
        assert connection.over
        assert 0 < acked < 10_000
        assert connection.acked == acked
        connection.close()
        assert connection.acked == acked


async def test_what_the_kernel_did_not_take_any_more_has_not_arrived(until: Until) -> None:
    async with connected() as (connection, far):
        connection.write(b"before")
        await until(lambda: connection.acked == 6)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        connection.write(b"after")
        assert connection.over
        assert (connection.taken, connection.acked) == (6, 6)
        connection.write(b"too late")
        assert (connection.taken, connection.acked) == (6, 6)


async def test_what_waits_with_us_has_not_been_taken(until: Until) -> None:
    async with connected() as (connection, _):
        connection.write(bytes(20_000_000))
        assert connection.acked <= connection.taken < connection.given == 20_000_000
        taken = connection.taken
        await until(lambda: connection.acked)
        assert connection.taken >= taken
