"""The one thread in which all disks are waited for.

A daemon thread: a disk that hangs holds up neither the loop nor the end of the process.
"""

import asyncio
import threading
from asyncio import Future
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Job(NamedTuple):
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    outcome: Future[Any]


class Worker:
    """Does one thing after the other. The thread begins with the first of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. It is done even if nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        outcome: Future[T] = loop.create_future()
        self._jobs.put(_Job(work, loop, outcome))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        return await outcome

    def end(self) -> None:
        """Once everything is done that it was given."""
        if self._thread is not None:
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            value, error = None, None
            try:
                value = job.work()
            except Exception as caught:
                error = caught
            with suppress(RuntimeError):  # the loop is closed: nobody is left who could want it
                job.loop.call_soon_threadsafe(_settle, job.outcome, value, error)
            del job, value, error  # nothing is held while it waits


def _settle(outcome: Future[Any], value: object, error: Exception | None) -> None:
    if outcome.done():
        return
    if error is None:
        outcome.set_result(value)
    else:
        outcome.set_exception(error)


def written() -> int | None:
    """Bytes that this thread has had written to disks; None where the kernel does not count."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/thread-self/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.partition(":")[2])
    return None
