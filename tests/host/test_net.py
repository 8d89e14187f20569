"""Sockets on the loopback: how they are tuned, how they fail, how they end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Never

import pytest
from net_kit import BOUNDS, HERE, Foreign, calls, failure, listening, silent

from gateway.contracts import Traced
from gateway.errors import LinkDown, PeerError
from gateway.flow import Fan
from gateway.host import net, tuning
from gateway.host.connection import Connection, reason
from gateway.host.listener import Places
from gateway.policy.liveness import Bounds
from gateway.values import Endpoint

Until = Callable[[Callable[[], object]], Awaitable[None]]
MUCH = 12_000_000  # bytes: more than the kernel and we keep for one connection


class Answering:
    """Somebody to whom we connect."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.endpoint = Endpoint(HERE, server.getsockname()[1])

    @asynccontextmanager
    async def called(self) -> AsyncIterator[Foreign]:
        sock, _ = await asyncio.get_running_loop().sock_accept(self._server)
        with sock:
            yield Foreign(sock)


@pytest.fixture
async def answering() -> AsyncIterator[Answering]:
    with socket.create_server((HERE, 0)) as server:
        server.setblocking(False)
        yield Answering(server)


def connected(
    endpoint: Endpoint, trace: Fan[Traced] | None = None
) -> AbstractAsyncContextManager[Connection]:
    return net.connect(endpoint, BOUNDS, Fan() if trace is None else trace)


# Tuning


async def test_a_dialled_socket_is_tuned_and_does_not_block(answering: Answering) -> None:
    async with net.dial(answering.endpoint, Bounds(5.0)) as (sock, _):
        assert tuning.keepalive(sock) == {"idle_s": 1, "interval_s": 1, "count": 3, "user_timeout_ms": 5000}
        assert not sock.getblocking()


async def test_a_connection_and_a_peer_show_the_options_that_the_kernel_has(
    answering: Answering, free_port: int, until: Until
) -> None:
    expected = {"idle_s": 6, "interval_s": 2, "count": 6, "user_timeout_ms": 20_000}
    async with connected(answering.endpoint) as connection:
        assert connection.status()["keepalive"] == expected
    async with listening(free_port, silent) as listener, calls(free_port):
        await until(lambda: listener.peers)
        (peer,) = listener.peers.values()
        assert peer.status()["keepalive"] == expected


# Dialling


async def test_bytes_go_both_ways_and_are_counted(answering: Answering) -> None:
    async with connected(answering.endpoint) as connection, answering.called() as foreign:
        connection.write(b"ping")
        assert await foreign.hears(4) == b"ping"
        await foreign.say(b"pong!")
        assert await connection.read() == b"pong!"
        status = connection.status()

    assert (status["tx_bytes"], status["rx_bytes"]) == (4, 5)
    assert 0 <= status["silent_s"] < 5
    assert status["address"] == connection.address == str(answering.endpoint)
    assert connection.host == HERE


async def test_each_connection_has_a_number_of_its_own(answering: Answering) -> None:
    async with connected(answering.endpoint) as one, connected(answering.endpoint) as other:
        assert one.number != other.number


async def test_nobody_listening_is_said_in_words(free_port: int) -> None:
    endpoint = Endpoint(HERE, free_port)
    for opening in (net.dial(endpoint, BOUNDS), connected(endpoint)):
        assert await failure(opening) == f"{endpoint}: connection refused: nothing listens there"


async def test_a_connect_that_nobody_answers_is_given_up_in_time() -> None:
    """A full backlog: the kernel drops further connections without a word, as a broken network does."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as held:
        server = held.enter_context(socket.socket())
        server.bind((HERE, 0))
        server.listen(0)
        endpoint = Endpoint(*server.getsockname())
        held.enter_context(socket.create_connection(endpoint))
        begun = loop.time()
        words = await failure(net.dial(endpoint, Bounds(0.3)))

    assert words == f"no answer from {endpoint} within 0.3 s"
    assert loop.time() - begun < 2


UNKNOWN, IMPOSSIBLE = "cannot resolve {}: Name or service not known", '"{}" is no host name'


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".".join(["x" * 60] * 5), UNKNOWN),  # too long to be asked for, so nothing leaves this host
        ("no host", UNKNOWN),
        ("two..dots", IMPOSSIBLE),
        ("x" * 64, IMPOSSIBLE),
    ],
)
async def test_a_name_that_is_none_is_said_in_words(name: str, words: str) -> None:
    for opening in (
        net.dial(Endpoint(name, 1), Bounds(5.0)),
        net.listen(Endpoint(name, 1), Bounds(5.0), Places(1), Fan()),
    ):
        assert await failure(opening) == words.format(name)


async def test_the_first_address_of_a_name_that_answers_is_used(answering: Answering) -> None:
    async with connected(Endpoint("localhost", answering.endpoint.port)) as connection:
        assert connection.address == str(answering.endpoint)


async def test_giving_up_a_connect_leaves_nothing_open(
    descriptors: Callable[[], int], free_port: int, until: Until
) -> None:
    before = descriptors()
    with socket.socket() as server:
        server.bind((HERE, 0))
        server.listen(0)
        endpoint = Endpoint(*server.getsockname())
        with socket.create_connection(endpoint):
            given_up = asyncio.ensure_future(failure(net.dial(endpoint, Bounds(5.0))))
            await until(lambda: descriptors() > before + 2)
            given_up.cancel()
            await asyncio.wait([given_up])
    await failure(net.dial(Endpoint(HERE, free_port), Bounds(5.0)))

    assert descriptors() == before


# How it ends


@pytest.mark.parametrize("opening", ["dial", "connect"])
@pytest.mark.parametrize(
    ("leaving", "end"), [("error", "reset"), ("cancelled", "closed"), ("in peace", "closed")]
)
async def test_leaving_by_an_error_resets_the_connection(
    answering: Answering, opening: str, leaving: str, end: str
) -> None:
    inside = asyncio.Event()

    async def session() -> None:
        async with (
            net.dial(answering.endpoint, BOUNDS) if opening == "dial" else connected(answering.endpoint)
        ):
            inside.set()
            match leaving:
                case "error":
                    raise LinkDown("the broker refused")
                case "cancelled":
                    await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(session())
    async with answering.called() as foreign:
        await inside.wait()
        if leaving == "cancelled":
            task.cancel()
        await asyncio.wait([task])
        assert await foreign.end() == end


async def drained_for_ever(connection: Connection) -> Never:
    while True:
        await connection.drain()
        await asyncio.sleep(0)


async def test_a_peer_that_closes_is_down_after_its_last_words(answering: Answering) -> None:
    async with connected(answering.endpoint) as connection:
        async with answering.called() as foreign:
            await foreign.say(b"last words")
        with pytest.raises(LinkDown):
            await drained_for_ever(connection)
        assert await connection.read() == b"last words"
        for _ in range(2):
            with pytest.raises(LinkDown, match=r"^closed by the peer$"):
                await connection.read()
        with pytest.raises(LinkDown):
            await connection.drain()


async def test_a_peer_that_resets_is_said_in_words(answering: Answering) -> None:
    async with connected(answering.endpoint) as connection:
        async with answering.called() as foreign:
            tuning.reset_on_close(foreign.sock)
        with pytest.raises(LinkDown, match=r"^connection reset by the peer$"):
            await connection.read()


async def test_who_waits_to_write_learns_that_the_peer_has_gone(answering: Answering) -> None:
    async with connected(answering.endpoint) as connection, answering.called() as foreign:
        connection.write(bytes(MUCH))
        draining = asyncio.ensure_future(connection.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        tuning.reset_on_close(foreign.sock)
        foreign.sock.close()
        with pytest.raises(LinkDown):
            await asyncio.wait_for(draining, 30)


async def test_what_was_written_still_goes_out_after_the_block(answering: Answering) -> None:
    async def session() -> None:
        async with connected(answering.endpoint) as connection:
            connection.write(bytes(MUCH))

    task = asyncio.create_task(session())
    async with answering.called() as foreign:
        await task
        assert await foreign.hears(MUCH) == bytes(MUCH)
        assert await foreign.end() == "closed"


async def test_a_connection_that_is_over_leaves_its_descriptor_to_the_next(answering: Answering) -> None:
    loop = asyncio.get_running_loop()
    async with connected(answering.endpoint) as connection, answering.called():
        connection.end(LinkDown("no round trip"))
        near, far = socket.socketpair()  # one of them has the number that has become free
        with near, far:
            events = [asyncio.Event(), asyncio.Event()]
            for sock, event in zip((near, far), events, strict=True):
                loop.add_writer(sock.fileno(), event.set)
            connection.abort()
            connection.close()
            for event in events:
                await asyncio.wait_for(event.wait(), 30)
            for sock in (near, far):
                loop.remove_writer(sock.fileno())


# Flow


async def test_bytes_that_nobody_reads_stay_with_the_peer(answering: Answering, until: Until) -> None:
    async with connected(answering.endpoint) as connection, answering.called() as foreign:
        saying = asyncio.create_task(foreign.say(bytes(MUCH)))
        await until(lambda: connection.rx_bytes >= 64 * 1024)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert connection.rx_bytes < 1024 * 1024
        assert not saying.done()

        got = 0
        while got < MUCH:
            got += len(await connection.read())
        await saying
        assert got == MUCH


async def test_a_peer_that_does_not_read_is_behind_until_it_does(answering: Answering) -> None:
    async with connected(answering.endpoint) as connection, answering.called() as foreign:
        assert connection.offer(b"a" * MUCH)
        assert not connection.offer(b"b")
        draining = asyncio.ensure_future(connection.drain())
        await asyncio.sleep(0)
        assert not draining.done()

        assert await foreign.hears(MUCH) == b"a" * MUCH
        await asyncio.wait_for(draining, 30)
        assert not connection.behind
        assert connection.offer(b"c")
        assert await foreign.hears(1) == b"c"


async def test_what_the_sink_declines_waits_in_order_and_the_sink_with_it(
    answering: Answering, until: Until
) -> None:
    taken: list[bytes] = []
    async with connected(answering.endpoint) as connection, answering.called() as foreign:

        def sink(data: bytes) -> bool:
            taken.extend([data] if data != b"declined" else [])
            return data != b"declined"

        connection.sink = sink
        for data, so_far in ((b"first", 5), (b"declined", 13), (b"later", 18)):
            await foreign.say(data)
            await until(partial(connection_has, connection, so_far))
        assert taken == [b"first"]
        assert await connection.read() == b"declinedlater"
        await foreign.say(b"again")
        await until(lambda: len(taken) == 2)

    assert taken == [b"first", b"again"]


def connection_has(connection: Connection, count: int) -> bool:
    return connection.rx_bytes == count


async def test_a_sink_that_finds_a_broken_protocol_ends_the_connection(answering: Answering) -> None:
    def complains(data: bytes) -> bool:
        raise PeerError("this is not Modbus TCP")

    async with connected(answering.endpoint) as connection, answering.called() as foreign:
        connection.sink = complains
        await foreign.say(b"GET / HTTP/1.1")
        with pytest.raises(PeerError, match="this is not Modbus TCP"):
            await connection.read()
        assert await foreign.end() == "reset"


async def test_a_trace_sees_both_ways_and_costs_nothing_without_a_reader(answering: Answering) -> None:
    trace: Fan[Traced] = Fan()
    async with connected(answering.endpoint, trace) as connection, answering.called() as foreign:
        connection.write(b"unseen")
        await foreign.hears(6)
        assert not connection.traced
        with trace.tap() as tap:
            assert connection.traced
            connection.write(b"out")
            await foreign.hears(3)
            await foreign.say(b"in")
            await connection.read()
            connection.note("rx", "what it means")
            seen = await tap.take()

    assert [(line.way, line.data, line.text) for line in seen] == [
        ("tx", b"out", str(answering.endpoint)),
        ("rx", b"in", str(answering.endpoint)),
        ("rx", b"", "what it means"),
    ]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(110, "x"), "no acknowledgement from the peer"),
        (OSError(113, "x"), "host unreachable"),
        (OSError(101, "x"), "network unreachable"),
        (PermissionError(13, "x"), "permission denied: ports below 1024 need CAP_NET_BIND_SERVICE"),
        (OSError(28, "x"), "no space left on device"),
        (ValueError("something else"), "something else"),
    ],
)
def test_every_reason_is_a_sentence(error: Exception, words: str) -> None:
    assert reason(error) == words
