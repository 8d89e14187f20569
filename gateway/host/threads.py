"""Blocking calls off the loop, in threads that nobody has to wait for.

A name lookup or an open() may hang for minutes. A daemon thread is simply abandoned then: it cannot hold up a
deadline, a reload or the end of the process, as a thread of the loop's executor would.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T], name: str, late: Callable[[T], None] | None = None) -> T:
    """What `function` returns or raises. When the caller is cancelled first, its result goes to `late`."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if not outcome.done():
            if error is None:
                outcome.set_result(value)  # type: ignore[arg-type]
            else:
                outcome.set_exception(error)
        elif error is None and late is not None:
            late(value)  # type: ignore[arg-type]

    def work() -> None:
        value, error = None, None
        try:
            value = function()
        except Exception as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left who could want it
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await outcome
