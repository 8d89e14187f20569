"""kind = "serial": two lines joined, that come and go, and of which one may be slow."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Until
from parts_kit import Instrument, Wires, another_pty, held, running
from pydantic import ValidationError

from gateway.demo.line import Lines
from gateway.flow import WhenFull
from gateway.links.serial import Cable, Config
from gateway.ports import raw
from gateway.show.closeup import closeup
from gateway.show.picture import Look
from gateway.status import Life

MEGABYTE = 1 << 20
JOINED = {"kind": "serial", "ports": ["one", "two"]}


def port(line: Instrument, **keys: Any) -> raw.Port:
    table = {"mode": "raw", "tty": line.tty, "baudrate": 115200, "format": "8N1"}
    return raw.Port(raw.Config.model_validate(table | keys))


def cable(one: raw.Port, two: raw.Port) -> Cable:
    link = Config.model_validate(JOINED).build("through", Wires(one=one, two=two))
    assert isinstance(link, Cable)
    return link


class Joined(NamedTuple):
    lines: Lines
    one: Instrument
    two: Instrument
    ports: tuple[raw.Port, raw.Port]
    link: Cable
    life: Life

    def say(self, line: Instrument, data: bytes) -> None:
        self.lines.call(lambda: line.say(data, 0.0))

    def listens(self, line: Instrument, listens: bool) -> None:
        self.lines.call(lambda: setattr(line, "deaf", not listens))

    def both_open(self) -> bool:
        return self.life.state == "up" and self.one.opened and self.two.opened

    def passed(self, name: str, what: str) -> int:
        number: int = dict(self.link.status()["ways"][name])[what]  # type: ignore[assignment]
        return number


@pytest.fixture
def instruments(tmp_path: Path) -> Iterator[tuple[Lines, Instrument, Instrument]]:
    one, two = Instrument(tmp_path / "one"), Instrument(tmp_path / "two")
    with Lines(one, two) as lines:
        yield lines, one, two


@asynccontextmanager
async def joined(
    instruments: tuple[Lines, Instrument, Instrument], until: Until, **keys: Any
) -> AsyncIterator[Joined]:
    lines, one, two = instruments
    ports = port(one), port(two, **keys)
    link = cable(*ports)
    async with running(ports[0]), running(ports[1]), running(link) as life:
        all_of_it = Joined(lines, one, two, ports, link, life)
        await until(all_of_it.both_open)
        yield all_of_it


async def told(line: Instrument, count: int) -> bytes:
    async with asyncio.timeout(30):
        while len(line.told) < count:
            await asyncio.sleep(0.005)
    return bytes(line.told)


async def test_every_byte_of_each_goes_to_the_other(
    instruments: tuple[Lines, Instrument, Instrument], until: Until
) -> None:
    there, back = os.urandom(2 * MEGABYTE), os.urandom(2 * MEGABYTE)
    async with joined(instruments, until, baudrate=9600, format="7E1") as through:
        through.say(through.one, there)
        through.say(through.two, back)
        assert await told(through.two, len(there)) == there
        assert await told(through.one, len(back)) == back
        await until(lambda: through.passed("one", "bytes") == len(there))
        await until(lambda: through.passed("two", "bytes") == len(back))
        assert through.passed("one", "dropped_bytes") == through.passed("two", "dropped_bytes") == 0


async def test_the_slower_line_stops_the_reading_of_the_other_even_while_somebody_else_keeps_up(
    instruments: tuple[Lines, Instrument, Instrument], until: Until
) -> None:
    said = os.urandom(2 * MEGABYTE)
    heard = bytearray()
    async with joined(instruments, until) as through:
        everything = through.ports[0].chunks
        with everything.tap(rule=WhenFull.BLOCK, offer=lambda chunk: not heard.extend(chunk)):
            through.listens(through.two, False)
            through.say(through.one, said)
            await held(through.one, through.ports[0])
            assert through.passed("one", "waiting_bytes") < 256 * 1024
            assert len(heard) < MEGABYTE
            through.listens(through.two, True)
            assert await told(through.two, len(said)) == said
            assert bytes(heard) == said
        assert through.passed("one", "waiting_bytes") == 0


async def test_what_one_says_while_the_other_is_away_is_dropped_and_counted_and_never_kept(
    instruments: tuple[Lines, Instrument, Instrument], until: Until
) -> None:
    async with joined(instruments, until) as through:
        through.lines.call(through.two.unplug)
        await until(lambda: through.life.state == "waiting")
        through.say(through.one, b"nobody hears this")
        await until(lambda: through.passed("one", "dropped_bytes") == 17)
        through.lines.call(through.two.plug)
        await until(through.both_open)
        through.say(through.one, b"but this")
        assert await told(through.two, 8) == b"but this"
        assert through.passed("one", "bytes") == 8


async def test_what_waits_for_a_line_that_is_lost_is_dropped_and_counted_too(
    instruments: tuple[Lines, Instrument, Instrument], until: Until
) -> None:
    async with joined(instruments, until) as through:
        through.listens(through.two, False)
        through.say(through.one, os.urandom(MEGABYTE))
        await held(through.one, through.ports[0])
        through.lines.call(through.two.unplug)
        await until(lambda: through.passed("one", "dropped_bytes") > 64 * 1024)
        await until(lambda: through.ports[0].status()["rx_bytes"] == MEGABYTE)
        await until(lambda: through.passed("one", "waiting_bytes") == 0)
        assert through.passed("one", "bytes") + through.passed("one", "dropped_bytes") == MEGABYTE


async def test_what_the_lost_line_said_before_still_reaches_a_slow_one(
    instruments: tuple[Lines, Instrument, Instrument], until: Until
) -> None:
    said = os.urandom(32 * 1024)
    async with joined(instruments, until) as through:
        through.listens(through.two, False)
        through.say(through.one, said)
        await until(lambda: through.ports[0].status()["rx_bytes"] == len(said))
        with another_pty():
            through.lines.call(through.one.unplug)
            await until(lambda: through.life.state == "waiting")
            through.listens(through.two, True)
            assert await told(through.two, len(said)) == said


async def test_status_says_which_line_is_away_and_counts_each_time(
    instruments: tuple[Lines, Instrument, Instrument], until: Until
) -> None:
    async with joined(instruments, until) as through:
        for time, name in enumerate(("one", "two"), 1):
            line = getattr(through, name)
            through.lines.call(line.unplug)
            await until(lambda: through.life.state == "waiting")
            assert through.life.reason.startswith(f"{name}: ")
            assert through.life.status()["deaths"] == time
            through.lines.call(line.plug)
            await until(through.both_open)
            assert (through.life.reason, through.life.status()["reconnects"]) == ("", time)
        assert "two" in str(through.life.status()["last_death"])


async def test_trace_shows_what_goes_which_way(
    instruments: tuple[Lines, Instrument, Instrument], until: Until
) -> None:
    async with joined(instruments, until) as through:
        with through.link.trace.tap() as trace:
            through.say(through.one, b"ping")
            assert [(one.data, one.text) for one in await trace.take()] == [(b"ping", "one to two")]
            through.say(through.two, b"pong")
            assert [(one.data, one.text) for one in await trace.take()] == [(b"pong", "two to one")]


async def test_it_begins_without_its_lines_and_says_so(tmp_path: Path, until: Until) -> None:
    one, two = Instrument(tmp_path / "one"), Instrument(tmp_path / "two")
    one.unplug()
    two.unplug()
    with Lines(one, two) as lines:
        ports = port(one), port(two)
        async with running(ports[0]), running(ports[1]), running(cable(*ports)) as life:
            away = f"one: no such device {one.tty}; two: no such device {two.tty}"
            await until(lambda: (life.state, life.reason) == ("waiting", away))
            assert life.status()["deaths"] == 0
            lines.call(one.plug)
            await until(lambda: life.reason == f"two: no such device {two.tty}")
            lines.call(two.plug)
            await until(lambda: life.state == "up")


async def test_a_cable_that_is_taken_away_holds_no_line(
    instruments: tuple[Lines, Instrument, Instrument], until: Until
) -> None:
    lines, one, two = instruments
    ports = port(one), port(two)
    link = cable(*ports)
    async with running(ports[0]), running(ports[1]):
        async with running(link) as life:
            await until(lambda: life.state == "up" and one.opened and two.opened)
            two.deaf = True
            lines.call(lambda: one.say(os.urandom(MEGABYTE), 0.0))
            await held(one, ports[0])
        await until(lambda: ports[0].status()["rx_bytes"] == MEGABYTE)
        assert link.status()["ways"]["one"]["waiting_bytes"] == 0


def test_a_cable_has_two_ends() -> None:
    for ports in ([], ["one"], ["one", "one"], ["one", "two", "three"]):
        with pytest.raises(ValidationError, match="two different ports"):
            Config.model_validate({"kind": "serial", "ports": ports})


def test_gatewayctl_shows_both_ways() -> None:
    one = {"bytes": 2048, "dropped_bytes": 17, "waiting_bytes": 0}
    two = {"bytes": 0, "dropped_bytes": 0, "waiting_bytes": 5}
    link = {"kind": "serial", "endpoint": "one - two", "state": "up", "ways": {"one": one, "two": two}}
    lines = [" ".join(line.split()) for line in closeup({"links": {"through": link}}, Look(0.0))]
    assert lines[1:] == [
        "kind serial, joins one - two",
        "from one 2 KB, 17 B dropped while the other line was away",
        "from two 0 B, 5 B waiting",
    ]
