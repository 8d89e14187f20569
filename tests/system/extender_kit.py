"""Two gateways back to back over TCP, as a cable extender, and instruments that talk at its ends."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ledger_kit import line
from parts_kit import Instrument, another_pty
from system_kit import Daemon, eventually, raw_port, table

from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines

BEFORE = 0.5  # seconds: what was said so shortly before a line was pulled may have been on the wire
AFTER = 0.2  # seconds: and what was said while it was being opened


class Paced(Instrument):
    """Says much, at so many bytes a second, 0 for as many as are read. It waits while they are not."""

    def __init__(self, link: Path, rate: float) -> None:
        super().__init__(link)
        self._rate = rate
        self._rest = memoryview(b"")
        self._piece = 65536 if not rate else 1024  # bytes

    def begin(self, data: bytes) -> None:
        self._rest = memoryview(data)
        self._go_on(time.monotonic())

    def said(self, now: float) -> None:
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        piece, self._rest = bytes(self._rest[: self._piece]), self._rest[self._piece :]
        self.say(piece, now + len(piece) / self._rate if self._rate else now)


class Counting(Instrument):
    """Says numbered lines, one every 5 ms, while it may and somebody has its tty open, and remembers when."""

    def __init__(self, link: Path) -> None:
        super().__init__(link)
        self.times: list[float] = []  # by number - 1
        self.talking = False
        self.alarm = time.monotonic()

    def alarmed(self, now: float) -> None:
        self.alarm = now + 0.005
        if self.opened and self.talking:
            self.times.append(time.monotonic())
            self.say(line(len(self.times)), now)


def talk(*instruments: Counting, yes: bool = True) -> None:
    for each in instruments:
        each.talking = yes


class Extender(NamedTuple):
    near: Daemon
    far: Daemon

    @property
    def up(self) -> bool:
        """The far end's client taps the line a moment after it is there: its first look says so."""
        open_ = all(daemon.part("ports.line")["state"] == "open" for daemon in self)
        return open_ and self.near.part("links.cable")["state"] == "up" and self._has_client

    @property
    def _has_client(self) -> bool:
        return bool(self.far.part("links.cable")["peers"])


@contextmanager
def extender(one: Instrument, other: Instrument, **keys: object) -> Iterator[Extender]:
    """Between the ttys of these, whose Lines run. `keys`: of the ports."""
    tcp_port = free_port()
    far = raw_port("line", other.tty, **keys) + table(
        "links.cable", kind="tcp", listen=f"127.0.0.1:{tcp_port}", port="line"
    )
    near = raw_port("line", one.tty, **keys) + table(
        "links.cable",
        kind="tcp",
        connect=f"127.0.0.1:{tcp_port}",
        port="line",
        buffer={"when_full": "block"},  # as a cable with flow control
    )
    with Daemon(far) as there, Daemon(near) as here:
        both = Extender(here, there)
        eventually(lambda: both.up and one.opened and other.opened)
        yield both


class Pull(NamedTuple):
    """A line was away from `began` to `ended`, monotonic."""

    began: float
    ended: float

    def excuses(self, at: float) -> bool:
        return self.began - BEFORE <= at <= self.ended + AFTER


def pulled(lines: Lines, instrument: Instrument, daemon: Daemon, deaths: int) -> Pull:
    """Out, and in again as another pty. The status says so, and this is its so-manieth death."""
    lines.call(instrument.unplug)
    began = time.monotonic()
    away = daemon.comes_to("ports.line", "waiting")
    assert instrument.tty in away["reason"]
    assert (away["deaths"], away["last_death"]["reason"]) == (deaths, f"{instrument.tty}: unplugged")
    with another_pty():
        lines.call(instrument.plug)
    daemon.comes_to("ports.line", "open")
    assert daemon.part("ports.line")["reconnects"] == deaths
    eventually(lambda: instrument.opened)
    return Pull(began, time.monotonic())


def judged(said: Counting, heard: Instrument, pulls: list[Pull]) -> list[int]:
    """The numbers that did not arrive, all of them excused; nothing came twice, or out of order."""
    told = bytes(heard.told)
    came = [int(number) for number in re.findall(rb"N(\d{6})\r\n", told)]
    assert came == sorted(set(came))
    assert set(came) <= set(range(1, len(said.times) + 1))
    broken = re.sub(rb"N\d{6}\r\n", b"", told)
    assert len(broken) <= 2 * len(line(1)) * len(pulls), broken
    missing = sorted(set(range(1, len(said.times) + 1)) - set(came))
    lost = [number for number in missing if not any(pull.excuses(said.times[number - 1]) for pull in pulls)]
    assert lost == []
    return missing


def pull_and_replug(folder: Path, seconds: float) -> None:
    """Each end in turn, every 3 s, while both talk."""
    one, other = Counting(folder / "one"), Counting(folder / "other")
    pulls: list[Pull] = []
    with Lines(one, other) as lines, extender(one, other, baudrate=115200) as both:
        lines.call(lambda: talk(one, other))
        ends = [(one, both.near), (other, both.far)]
        began = time.monotonic()
        while (turn := len(pulls)) * 3 < seconds:
            time.sleep(max(0.0, began + 1 + 3 * turn - time.monotonic()))
            pulls.append(pulled(lines, *ends[turn % 2], deaths=turn // 2 + 1))
        time.sleep(1)
        lines.call(lambda: talk(one, other, yes=False))
        for said, heard in ((one, other), (other, one)):
            eventually(lambda said=said, heard=heard: heard.told.endswith(line(len(said.times))))
        for daemon in both:
            assert daemon.part("links.cable")["deaths"] == 0
            assert "Traceback" not in daemon.log
            assert daemon.log.count("unplugged; next try") == daemon.part("ports.line")["deaths"]
    for said, heard in ((one, other), (other, one)):
        print(f"{len(said.times)} lines said, {len(judged(said, heard, pulls))} of them lost at pulls")


def send_both_ways(folder: Path, data: bytes, rate: float, within: float) -> None:
    """Of these bytes one end says the first half, the other the second; `rate` in bytes a second."""
    one, other = Paced(folder / "one", rate), Paced(folder / "other", rate)
    half = len(data) // 2
    with Lines(one, other) as lines, extender(one, other, baudrate=921600) as both:
        lines.call(lambda: one.begin(data[:half]))
        lines.call(lambda: other.begin(data[half:]))
        eventually(lambda: len(other.told) >= half and len(one.told) >= half, within)
        assert other.told == data[:half]
        assert one.told == data[half:]
        for daemon in both:
            port, link = daemon.part("ports.line"), daemon.part("links.cable")
            assert (port["rx_bytes"], port["tx_bytes"]) == (half, half)
            assert (port["dropped_bytes"], link["deaths"]) == (0, 0)
