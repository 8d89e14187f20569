"""kind = "tcp" with connect.

What a connection that died has not delivered, and nothing else, is sent again.
"""

import asyncio
import socket

import pytest
from buffer_kit import Buffers
from conftest import Until
from parts_kit import running
from sink_kit import MOST, Sink, Story
from stream_kit import FarEnd, Port, Scale, dialler, up

SEEDS = range(3)
SN, PING = {"hex": "f0 f1 f2 f3 f4 f5"}, {"hex": "e0 e1 e2", "every": "500ms"}


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_byte_arrives_and_twice_only_what_nobody_could_know_of(
    seed: int, free_port: int, until: Until
) -> None:
    story = Story(free_port, seed, registration=SN, heartbeat=PING)
    with Sink(free_port, little=True) as sink:
        await story.unfolds(sink, until)
    received = unknown = 0
    for part, more in zip(story.parts, story.unknown, strict=True):
        begin = story.words.rfind(part, 0, received + len(part))
        assert 0 <= received - begin <= unknown
        received, unknown = begin + len(part), more + (0 if part else unknown)
    assert received == len(story.words)


@pytest.mark.parametrize("seed", SEEDS)
async def test_with_resend_none_no_byte_arrives_twice(seed: int, free_port: int, until: Until) -> None:
    story = Story(free_port, seed, resend="none", registration=SN, heartbeat=PING)
    with Sink(free_port, little=True) as sink:
        await story.unfolds(sink, until)
    received = unknown = 0
    for part, more in zip(story.parts, story.unknown, strict=True):
        begin = story.words.find(part, received)
        assert 0 <= begin - received <= unknown
        received, unknown = begin + len(part), more + (0 if part else unknown)
    assert len(story.words) - received <= unknown


@pytest.mark.parametrize("seed", SEEDS)
async def test_with_resend_all_each_connection_begins_with_a_whole_frame(
    seed: int, free_port: int, until: Until
) -> None:
    words = b"".join(b"%d kg;" % number**3 for number in range(8000))
    story = Story(free_port, seed, words, resend="all", registration=SN, heartbeat=PING)
    with Sink(free_port, little=True) as sink:
        await story.unfolds(sink, until)
    received = 0
    for part in story.parts:
        begin = words.rfind(part, 0, received + len(part))
        assert 0 <= begin <= received
        assert not part or begin == 0 or words[begin - 1 : begin] == b";"
        received = begin + len(part)
    assert received == len(words)
    assert story.link.status()["buffer"]["records"] == 0


async def in_part(link_port: int, port: Port, buffers: Buffers, until: Until) -> bytes:
    """A record of 5000 bytes, of which a few were taken. Returns these."""
    with Sink(link_port, little=True) as sink:
        async with running(dialler(link_port, port, buffers)) as life:
            port.chunks.push(bytes(range(250)) * 20)
            async with sink.visit() as visit:
                while not visit.got:
                    await visit.hears(1000)
                visit.ends(reset=True)
            await until(lambda: life.deaths)
    return bytes(visit.got)


async def test_a_record_that_was_taken_in_part_is_sent_from_its_beginning_after_a_restart(
    free_port: int, until: Until
) -> None:
    port, buffers = Port(), Buffers()
    taken = await in_part(free_port, port, buffers, until)
    assert 0 < len(taken) < 5000
    async with FarEnd(free_port) as far, running(dialler(free_port, port, buffers)):
        await until(lambda: len(far.got) == 5000)


async def test_no_more_than_a_second_of_the_line_is_under_way(free_port: int, until: Until) -> None:
    port = Port()
    link = dialler(free_port, port, heartbeat=PING)
    worst = 0
    with socket.create_server(("127.0.0.1", free_port)) as deaf:
        async with up(link, "up"):
            accepted, _ = deaf.accept()
            for size in (1, 100, 10_000, 100_000) * 300:
                port.chunks.push(bytes(size))
                await asyncio.sleep(0)
                (peer,) = link.status()["peers"]
                worst = max(worst, peer["unacked_bytes"])
        accepted.close()
    assert MOST * 0.9 < worst <= MOST
    assert link.status()["buffer"]["records"] > 100


async def test_on_a_slow_line_a_few_thousand_bytes_may_be_under_way(free_port: int, until: Until) -> None:
    port = Port()
    port.rate = 30.0
    link = dialler(free_port, port)
    with socket.create_server(("127.0.0.1", free_port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        async with up(link, "up"):
            port.chunks.push(bytes(100_000))
            await until(lambda: link.status()["peers"][0]["unacked_bytes"] == 4096)


async def test_a_record_is_confirmed_when_it_was_acknowledged(free_port: int, until: Until) -> None:
    port = Port()
    link = dialler(free_port, port)
    async with FarEnd(free_port) as far, up(link, "up"):
        for number in range(1, 6):
            port.chunks.push(b"12.5 kg")
            await until(lambda: link.status()["confirmed"] == number)  # noqa: B023
        assert (link.status()["sent"], link.status()["buffer"]["records"]) == (5, 0)
        assert far.got == b"12.5 kg" * 5


async def test_who_ends_in_peace_sends_nothing_twice(free_port: int, until: Until) -> None:
    """A far end that talks acknowledges late, up to 40 ms; a reload does not outrun that."""
    port, buffers = Port(), Buffers()
    async with FarEnd(free_port) as far:
        for number in range(1, 4):
            async with up(dialler(free_port, port, buffers), "up"):
                for asked in range(5):
                    port.chunks.push(b"%d?" % number)
                    await until(lambda: far.got.endswith(b"?"))
                    far.clients[-1].write(b"!")
                    await until(lambda: len(port.told) == 5 * number - 4 + asked)  # noqa: B023
                port.chunks.push(b"%d;" % number)
            await until(lambda: far.got.endswith(b";"))
    assert far.got == b"".join(b"%d?" % number * 5 + b"%d;" % number for number in range(1, 4))


async def test_a_heartbeat_is_nothing_that_the_line_has_said(free_port: int, until: Until) -> None:
    port = Port()
    link = dialler(free_port, port, registration=SN, heartbeat=PING)
    words = bytes(range(100)) * 50
    with Sink(free_port, little=True) as sink:
        async with running(link) as life:
            async with sink.visit() as visit:
                while visit.got != b"\xf0\xf1\xf2\xf3\xf4\xf5\xe0\xe1\xe2":
                    await visit.hears(100)
                port.chunks.push(words)
                await until(lambda: 0 < link.status()["peers"][0]["unacked_bytes"] < len(words))
                visit.ends(reset=True)
            await until(lambda: life.deaths)
            death = life.status()["last_death"]
            assert death is not None
            again = death["unacked_bytes"] or 0
            async with sink.visit() as rest:
                while len(rest.line) < again:
                    await rest.hears(1000)
    assert 0 < again < len(words)
    assert rest.line == words[-again:]


async def test_bytes_go_on_in_the_callback_that_brought_them(free_port: int, until: Until) -> None:
    port = Port()
    link = dialler(free_port, port)
    async with FarEnd(free_port), up(link, "up"):
        await until(lambda: link.status()["peers"])
        port.chunks.push(b"12.5 kg")
        assert link.status()["peers"][0]["tx_bytes"] == 7


async def test_where_frames_end_is_looked_after_only_for_resend_all_and_while_the_link_is_there(
    free_port: int,
) -> None:
    port = Scale()
    link = dialler(free_port, port)
    assert port.frames.taps == ()
    link = dialler(free_port, port, resend="all")
    assert len(port.frames.taps) == 1
    del link
    assert port.frames.taps == ()
