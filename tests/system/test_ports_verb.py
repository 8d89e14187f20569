"""gatewayctl ports against the real gatewayd: its lines, who has them, and what is said when it is gone."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from system_kit import Daemon, eventually, raw_port

PATTERN = "usb:0403:6001:NOBODY"


@contextmanager
def pty() -> Iterator[str]:
    """A line that we hold open ourselves, too."""
    master, slave = os.openpty()
    try:
        yield os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def listed(daemon: Daemon) -> dict[str, Any]:
    done = daemon.ctl("--json", "ports")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def rows(daemon: Daemon) -> dict[str, Any]:
    return {row["port"]: row for row in listed(daemon)["ttys"] if row["port"]}


def test_each_configured_line_is_told_with_who_has_it_and_why_it_is_not_open() -> None:
    with pty() as tty, Daemon(raw_port("scale", tty) + raw_port("meter", PATTERN)) as daemon:
        eventually(lambda: rows(daemon)["scale"]["state"] == "open")
        found = rows(daemon)
        scale, meter = found["scale"], found["meter"]
        programs = {one["pid"]: one for one in scale["holders"]}
        assert (scale["tty"], scale["present"]) == (tty, True)
        assert programs.keys() == {daemon.pid, os.getpid()}
        assert programs[daemon.pid]["how"][0] == "open"
        assert (meter["tty"], meter["present"], meter["state"]) == (PATTERN, False, "waiting")
        assert meter["reason"] == f"no adapter {PATTERN} is plugged in"
        assert f"(pid {daemon.pid})" in daemon.ctl("ports").stdout


def test_without_the_daemon_nothing_is_configured_and_it_says_so() -> None:
    with pty() as tty, Daemon(raw_port("scale", tty)) as daemon:
        assert daemon.stop() == 0
        assert not rows(daemon)
        assert listed(daemon)["daemon"] is False
        assert "it is not known which of them are configured" in daemon.ctl("ports").stdout
