"""Sockets on the loopback: how they are tuned, how they fail, how they end."""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Never

import pytest

from gateway.contracts import Traced
from gateway.errors import LineDown, LinkDown, PeerError
from gateway.flow import Fan
from gateway.host import net, tuning
from gateway.host.connection import Connection, reason
from gateway.host.listener import Listener, Places
from gateway.policy.liveness import Bounds
from gateway.settings import Endpoint

Until = Callable[[Callable[[], object]], Awaitable[None]]
Peer = Callable[[Connection], Awaitable[object]]
BOUNDS, EIGHT = Bounds(20.0), Places(8)
HERE = "127.0.0.1"
MUCH = 12_000_000  # bytes: more than the kernel and we keep for one connection


class Foreign:
    """The far end of a connection, without anything of ours."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self._loop = sock, asyncio.get_running_loop()

    @property
    def address(self) -> str:
        return str(Endpoint(*self.sock.getsockname()[:2]))

    async def say(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def hears(self, count: int) -> bytes:
        got = bytearray()
        while len(got) < count:
            chunk = await self._loop.sock_recv(self.sock, count - len(got))
            assert chunk, "the connection is over"
            got += chunk
        return bytes(got)

    async def end(self) -> str:
        """How the connection ends, once everything was read: "closed" or "reset"."""
        try:
            async with asyncio.timeout(2):
                while await self._loop.sock_recv(self.sock, 65536):
                    pass
        except ConnectionResetError:
            return "reset"
        return "closed"


@asynccontextmanager
async def calls(port: int, host: str = HERE) -> AsyncIterator[Foreign]:
    """Somebody who connects to us."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        yield Foreign(sock)


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


@asynccontextmanager
async def listening(
    port: int, peer: Peer, *, places: Places = EIGHT, host: str = HERE
) -> AsyncIterator[Listener]:
    async with net.listen(Endpoint(host, port), BOUNDS, places, Fan()) as listener:
        serving = asyncio.create_task(listener.serve(peer))
        try:
            yield listener
        finally:
            serving.cancel()
            await asyncio.wait([serving])
        assert serving.cancelled()
        assert not listener.peers


async def echo(connection: Connection) -> Never:
    while True:
        connection.write(await connection.read())
        await connection.drain()


async def silent(connection: Connection) -> Never:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def failure(opening: AbstractAsyncContextManager[object]) -> str:
    with pytest.raises(LinkDown) as caught:
        async with opening:
            pass
    return str(caught.value)


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
            await asyncio.wait_for(draining, 2)


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
                await asyncio.wait_for(event.wait(), 2)
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
        await asyncio.wait_for(draining, 2)
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


# Listening


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


async def test_nobody_makes_room_who_was_busy_a_moment_ago(free_port: int, until: Until) -> None:
    async with (
        listening(free_port, echo, places=Places(1, drop_idle=60.0)) as listener,
        calls(free_port) as stays,
    ):
        await until(lambda: listener.peers)
        async with calls(free_port) as newcomer:
            assert await newcomer.end() == "closed"
        assert listener.refused == 1
        await stays.say(b"still here")
        assert await stays.hears(10) == b"still here"


async def test_an_old_connection_that_answers_keeps_its_place_from_its_own_host(
    free_port: int, until: Until
) -> None:
    """One that does not is in tests/system/test_deaths.py: that takes a wire to cut."""
    async with (
        listening(free_port, echo, places=Places(1, kick_old=True)) as listener,
        calls(free_port) as stays,
    ):
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

    async with listening(free_port, peer), calls(free_port) as foreign:
        await foreign.end()
        said = foreign.address + words

    (line,) = [record for record in caplog.records if record.getMessage() == said]
    assert (line.levelno, line.exc_info) == (level, None)


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
