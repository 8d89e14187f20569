"""Blocking calls off the loop."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from gateway.host.threads import in_thread

Until = Callable[[Callable[[], object]], Awaitable[None]]


async def test_the_result_comes_back_and_the_loop_went_on_meanwhile() -> None:
    go_on = threading.Event()
    working = asyncio.ensure_future(
        in_thread(lambda: go_on.wait(5) and threading.current_thread().name, "worker")
    )
    await asyncio.sleep(0)
    assert not working.done()
    go_on.set()

    assert await working == "worker"


async def test_an_error_comes_back_as_it_was_raised() -> None:
    def fails() -> None:
        raise FileNotFoundError("no such device")

    with pytest.raises(FileNotFoundError, match="no such device"):
        await in_thread(fails, "open")


async def test_a_result_that_nobody_waits_for_any_more_goes_to_late(until: Until) -> None:
    begun, go_on = threading.Event(), threading.Event()
    late: list[object] = []

    def opens() -> str:
        begun.set()
        go_on.wait(5)
        return "a descriptor"

    working = asyncio.ensure_future(in_thread(opens, "open", late.append))
    await until(begun.is_set)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert late == []
    go_on.set()
    await until(lambda: late)

    assert late == ["a descriptor"]


async def test_a_result_in_time_does_not_go_to_late() -> None:
    late: list[int] = []

    assert await in_thread(lambda: 5, "quick", late.append) == 5
    await asyncio.sleep(0)
    assert late == []


async def test_an_error_that_nobody_waits_for_any_more_is_nobodys(until: Until) -> None:
    begun, go_on = threading.Event(), threading.Event()
    late: list[object] = []

    def fails() -> None:
        begun.set()
        go_on.wait(5)
        raise OSError

    working = asyncio.ensure_future(in_thread(fails, "abandoned", late.append))
    await until(begun.is_set)
    working.cancel()
    go_on.set()
    await until(lambda: "abandoned" not in [thread.name for thread in threading.enumerate()])
    await asyncio.sleep(0)

    assert late == []


def test_a_call_that_hangs_holds_up_neither_the_loops_end_nor_the_process() -> None:
    go_on = threading.Event()

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_thread(go_on.wait, "hangs"), 0.01)

    asyncio.run(impatient())
    (hanging,) = [thread for thread in threading.enumerate() if thread.name == "hangs"]
    assert hanging.daemon
    go_on.set()
    hanging.join(5)
    assert not hanging.is_alive()
