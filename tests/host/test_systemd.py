"""What systemd is told, and what it tells."""

import asyncio
import logging
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from virtual import in_virtual_time

from gateway.host.systemd import JournalFormatter, Notifier, run_directory, state_directory

Until = Callable[[Callable[[], object]], Awaitable[None]]


class Systemd:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.sock.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = []
        while True:
            try:
                text = self.sock.recv(4096).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in text.splitlines()))


@pytest.fixture(params=["plain", "with @ in it", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    address = {
        "plain": str(tmp_path / "notify"),
        "with @ in it": str(tmp_path / "user@1000"),
        "abstract": f"@gateway-test-{os.getpid()}",
    }[request.param]
    far_end = Systemd(address)
    yield far_end
    far_end.sock.close()


def test_the_states_of_the_service_are_told(systemd: Systemd) -> None:
    notifier = Notifier(systemd.environ)
    notifier.ready("2 ports, 3 links")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.stopping()

    ready, reloading, stopping = systemd.heard()
    assert ready == {"READY": "1", "STATUS": "2 ports, 3 links"}
    assert reloading.pop("RELOADING") == "1"
    assert before <= int(reloading.pop("MONOTONIC_USEC")) <= after
    assert not reloading
    assert stopping == {"STOPPING": "1"}


def test_the_watchdog_is_fed_twice_per_period(systemd: Systemd) -> None:
    @in_virtual_time
    async def a_minute() -> None:
        feeding = asyncio.create_task(
            Notifier({**systemd.environ, "WATCHDOG_USEC": "20000000"}).feed_watchdog()
        )
        await asyncio.sleep(59)
        feeding.cancel()

    a_minute()
    assert systemd.heard() == [{"WATCHDOG": "1"}] * 6


def test_without_systemd_nothing_is_told_and_nothing_fails() -> None:
    @in_virtual_time
    async def an_hour() -> None:
        notifier = Notifier({})
        notifier.ready("")
        feeding = asyncio.create_task(notifier.feed_watchdog())
        await asyncio.sleep(3600.5)
        assert not feeding.done()
        feeding.cancel()

    an_hour()


def test_a_systemd_that_is_behind_stops_nobody(systemd: Systemd) -> None:
    notifier = Notifier(systemd.environ)
    for number in range(2000):  # far more than its queue takes
        notifier.ready(str(number))

    assert 0 < len(systemd.heard()) < 2000


@pytest.mark.parametrize("address", ["/nowhere/at/all", "x" * 200])
def test_a_systemd_that_is_not_there_is_no_reason_to_stop(address: str) -> None:
    Notifier({"NOTIFY_SOCKET": address}).ready("")


@pytest.mark.parametrize(
    ("directory", "variable", "without"),
    [
        (state_directory, "STATE_DIRECTORY", "/var/lib/gateway"),
        (run_directory, "RUNTIME_DIRECTORY", "/run/gateway"),
    ],
)
def test_a_directory_is_the_first_that_systemd_made_or_the_standard_one(
    directory: Callable[[dict[str, str]], Path], variable: str, without: str
) -> None:
    assert directory({}) == Path(without)
    assert directory({variable: "/x/gateway:/x/other"}) == Path("/x/gateway")


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 3), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_the_journal_gets_a_priority_on_every_line(level: int, priority: int) -> None:
    record = logging.LogRecord("gateway", level, "", 0, "%s\nsecond", ("first",), None)

    assert JournalFormatter().format(record) == f"<{priority}>first\n<{priority}>second"


LOG = """
import logging
from gateway.host.systemd import log_to_stderr
log_to_stderr()
logging.warning("hello")
"""


def test_the_journal_gets_priorities() -> None:
    done = subprocess.run([sys.executable, "-c", LOG], stderr=subprocess.PIPE, check=True)

    assert done.stderr == b"<4>hello\n"


def test_a_terminal_gets_times() -> None:
    ours, terminal = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", LOG], stderr=terminal, check=True)
        date, clock, level, text = os.read(ours, 1000).decode().split()
    finally:
        os.close(ours)
        os.close(terminal)

    assert (level, text) == ("WARNING", "hello")
    time.strptime(f"{date} {clock.partition(',')[0]}", "%Y-%m-%d %H:%M:%S")
