"""Talking to systemd: sd_notify(3) datagrams, and the directories that it hands to a service.

Without systemd nothing is sent, and the directories are those of the Filesystem Hierarchy Standard.
"""

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Never


class Notifier:
    """Tells $NOTIFY_SOCKET how the service is; says nothing where there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = re.sub("^@", "\0", environ.get("NOTIFY_SOCKET", ""))  # the abstract namespace
        self._watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 1e6

    def ready(self, text: str) -> None:
        self._send(f"READY=1\nSTATUS={text}")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    async def feed_watchdog(self) -> Never:
        """Proves twice per period that the loop runs."""
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2 if self._watchdog else 3600.0)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK  # nothing waits for a reader that is behind
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sock:
            sock.sendto(text.encode(), self._address)


def state_directory(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("STATE_DIRECTORY", "/var/lib/gateway").partition(":")[0])


def run_directory(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("RUNTIME_DIRECTORY", "/run/gateway").partition(":")[0])


class JournalFormatter(logging.Formatter):
    """`<N>` in front, from which journald takes the priority (sd-daemon(3))."""

    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((n for level, n in self._PRIORITIES if record.levelno >= level), 7)
        text = super().format(record)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def log_to_stderr() -> None:
    """With times on a terminal, for journald otherwise."""
    terminal = os.isatty(2)
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(message)s") if terminal else JournalFormatter()
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
