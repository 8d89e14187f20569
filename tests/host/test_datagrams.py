"""UDP sockets: whom an answer goes to and from where, what a flood does, and what errors are told as."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
from net_kit import HERE, failure

from gateway.contracts import Traced
from gateway.errors import LinkDown
from gateway.flow import Fan
from gateway.host import datagrams, net
from gateway.host.datagrams import Datagrams, Origin, Received
from gateway.host.listener import Places
from gateway.policy.liveness import Bounds
from gateway.values import Endpoint

WITHIN = 5.0  # seconds for a name
NOWHERE = "203.0.113.1"  # RFC 5737: nobody has it
AT_ONCE = 16  # datagrams


@contextmanager
def caller(port: int, host: str = HERE) -> Iterator[socket.socket]:
    """It hears only what comes from the very address that it speaks to."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((host, port))
        yield sock


async def heard(sock: socket.socket) -> bytes:
    async with asyncio.timeout(30):
        return await asyncio.get_running_loop().sock_recv(sock, 65536)


@asynccontextmanager
async def serving(opened: Datagrams, received: Received) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(opened.serve(received))
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, LinkDown):
            await task


@asynccontextmanager
async def echoing(
    port: int, host: str = HERE, trace: Fan[Traced] | None = None
) -> AsyncIterator[list[Origin]]:
    """Says back what it hears; who it was."""
    origins: list[Origin] = []
    async with datagrams.bound(Endpoint(host, port), WITHIN, trace or Fan()) as opened:

        def received(data: bytes, origin: Origin) -> None:
            origins.append(origin)
            assert opened.send(data[::-1], origin)

        async with serving(opened, received):
            yield origins


# Who is answered, and from where


@pytest.mark.parametrize("host", [HERE, "::1", "localhost"])
async def test_an_answer_goes_to_whoever_asked(host: str, free_port: int) -> None:
    async with echoing(free_port, host) as origins:
        far = HERE if host == "localhost" else host
        with caller(free_port, far) as one, caller(free_port, far) as other:
            one.send(b"one")
            other.send(b"other")
            assert (await heard(one), await heard(other)) == (b"eno", b"rehto")
            addresses = [str(Endpoint(*sock.getsockname()[:2])) for sock in (one, other)]
    assert [origin.address for origin in origins] == addresses
    assert origins[0].peer != origins[1].peer


async def test_datagrams_of_one_source_have_equal_peers(free_port: int) -> None:
    async with echoing(free_port) as origins:
        with caller(free_port) as sock:
            for _ in range(3):
                sock.send(b"x")
                await heard(sock)
    assert len({origin.peer for origin in origins}) == 1


@pytest.mark.parametrize(
    ("host", "asked"),
    [("", HERE), ("", "127.0.0.5"), ("", "::1"), ("0.0.0.0", HERE), ("0.0.0.0", "127.0.0.5"), ("::", "::1")],
)
async def test_who_hears_all_addresses_answers_from_the_one_that_was_asked(
    host: str, asked: str, free_port: int
) -> None:
    async with echoing(free_port, host), asyncio.timeout(30):
        with caller(free_port, asked) as sock:
            sock.send(b"from there")
            assert await heard(sock) == b"ereht morf"


async def test_an_ipv4_source_is_told_as_such_by_a_socket_that_hears_both(free_port: int) -> None:
    async with echoing(free_port, "") as origins:
        with caller(free_port) as sock:
            sock.send(b"x")
            await heard(sock)
            assert origins[0].address == f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("size", [0, 1, 260, 65507])
async def test_a_datagram_is_whole_whatever_its_size(size: int, free_port: int) -> None:
    async with echoing(free_port):
        with caller(free_port) as sock:
            sock.send(bytes(size))
            assert await heard(sock) == bytes(size)


async def test_both_ways_are_traced(free_port: int) -> None:
    trace: Fan[Traced] = Fan()
    async with echoing(free_port, trace=trace):
        with trace.tap() as tap, caller(free_port) as sock:
            sock.send(b"ab")
            await heard(sock)
            lines = [(line.way, line.data, line.text) for line in await tap.take()]
            address = f"127.0.0.1:{sock.getsockname()[1]}"
    assert lines == [("rx", b"ab", address), ("tx", b"ba", address)]


# Much at once


async def test_of_a_flood_a_few_are_taken_at_a_time_by_no_task(free_port: int) -> None:
    got: list[bytes] = []
    async with datagrams.bound(Endpoint(HERE, free_port), WITHIN, Fan()) as opened:
        with caller(free_port) as sock:
            for number in range(100):
                sock.send(bytes((number,)))
        async with serving(opened, lambda data, origin: got.append(data)):
            tasks, before = len(asyncio.all_tasks()), 0
            while len(got) < 100:
                await asyncio.sleep(0)
                assert len(got) - before <= AT_ONCE
                assert len(asyncio.all_tasks()) == tasks
                before = len(got)
    assert got == [bytes((number,)) for number in range(100)]


class Stuffed(socket.socket):
    """The kernel has no room for what it sends."""

    def sendmsg(self, *arguments: Any) -> int:
        raise BlockingIOError(errno.EAGAIN, "full")


async def test_what_the_kernel_has_no_room_for_is_lost_and_that_is_told() -> None:
    with Stuffed(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert not Datagrams(sock, Fan()).send(b"x", Origin((HERE, 9)))


# What goes wrong


async def test_an_answer_that_cannot_be_sent_is_no_reason_to_hear_no_more(free_port: int) -> None:
    got: list[bytes] = []
    async with (
        datagrams.bound(Endpoint(HERE, free_port), WITHIN, Fan()) as opened,
        serving(opened, lambda data, origin: got.append(data)),
    ):
        with caller(free_port) as sock:
            assert not opened.send(bytes(65508), Origin(sock.getsockname()))  # longer than UDP can
            assert not opened.send(b"x", Origin((NOWHERE, 9)))  # from 127.0.0.1 there is no way
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                gone.bind((HERE, 0))
                nobody = Origin(gone.getsockname())
            assert opened.send(b"x", nobody)  # his host says that nothing listens
            sock.send(b"y")
            async with asyncio.timeout(30):
                while not got:
                    await asyncio.sleep(0)
    assert got == [b"y"]


@pytest.mark.parametrize("host", [HERE, "", NOWHERE])
async def test_an_address_that_cannot_be_had_is_told_in_the_words_of_tcp(host: str, free_port: int) -> None:
    endpoint = Endpoint(host, free_port)
    with socket.create_server((HERE, free_port)):
        as_tcp = await failure(net.listen(endpoint, Bounds(20.0), Places(1), Fan()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HERE, free_port))
        assert await failure(datagrams.bound(endpoint, WITHIN, Fan())) == as_tcp
    assert as_tcp.startswith(f"cannot listen on {endpoint}: ")


async def test_tcp_and_udp_have_ports_of_their_own(free_port: int) -> None:
    with socket.create_server((HERE, free_port)):
        async with echoing(free_port):
            with caller(free_port) as sock:
                sock.send(b"ab")
                assert await heard(sock) == b"ba"


async def test_a_name_that_nobody_knows_is_told() -> None:
    endpoint = Endpoint("no-such-host.invalid", 502)
    told = f"cannot resolve {endpoint.host}"
    assert (await failure(datagrams.bound(endpoint, WITHIN, Fan()))).startswith(told)
    assert (await failure(datagrams.connected(endpoint, WITHIN, Fan()))).startswith(told)


async def test_a_bug_of_the_receiver_comes_out(free_port: int) -> None:
    def received(data: bytes, origin: Origin) -> None:
        raise ZeroDivisionError

    async with datagrams.bound(Endpoint(HERE, free_port), WITHIN, Fan()) as opened:
        with caller(free_port) as sock:
            sock.send(b"x")
        with pytest.raises(ZeroDivisionError):
            await opened.serve(received)


async def test_nothing_is_left_open(free_port: int, descriptors: Any) -> None:
    before = descriptors()
    async with echoing(free_port):
        assert descriptors() == before + 1
        await failure(datagrams.bound(Endpoint(HERE, free_port), WITHIN, Fan()))
    async with datagrams.connected(Endpoint(HERE, free_port), WITHIN, Fan()):
        pass
    assert descriptors() == before


# One far end


async def test_a_connected_one_hears_and_tells_its_far_end_alone(free_port: int) -> None:
    got: list[bytes] = []
    trace: Fan[Traced] = Fan()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.setblocking(False)
        far.bind((HERE, free_port))
        async with (
            datagrams.connected(Endpoint(HERE, free_port), WITHIN, trace) as opened,
            serving(opened, lambda data, origin: got.append(data)),
        ):
            with trace.tap() as tap:
                assert opened.send(b"hello")
                assert [line.text for line in await tap.take()] == [f"127.0.0.1:{free_port}"]
            data, ours = await asyncio.get_running_loop().sock_recvfrom(far, 100)
            assert data == b"hello"
            with caller(ours[1]) as stranger:
                stranger.send(b"not for you")
            far.sendto(b"for you", ours)
            async with asyncio.timeout(30):
                while not got:
                    await asyncio.sleep(0)
    assert got == [b"for you"]


async def test_a_far_end_where_nothing_listens_is_down(free_port: int) -> None:
    async with datagrams.connected(Endpoint(HERE, free_port), WITHIN, Fan()) as opened:
        opened.send(b"x")
        with pytest.raises(LinkDown, match=r"^connection refused: nothing listens there$"):
            async with asyncio.timeout(30):
                await opened.serve(lambda data, origin: None)


async def test_that_is_known_to_whoever_sends_before_it_is_heard(free_port: int) -> None:
    async with datagrams.connected(Endpoint(HERE, free_port), WITHIN, Fan()) as opened:
        assert opened.send(b"x")
        assert not opened.send(b"x")
        with pytest.raises(LinkDown, match="nothing listens there"):
            await opened.serve(lambda data, origin: None)


async def test_a_far_end_without_a_way_is_down() -> None:
    with pytest.raises(LinkDown, match=r"^255\.255\.255\.255:502: permission denied"):
        async with datagrams.connected(Endpoint("255.255.255.255", 502), WITHIN, Fan()):
            pass
