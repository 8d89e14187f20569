"""Timers of microseconds."""

import asyncio
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.host.loop import new_event_loop

TRIES = 20


def lateness(seconds: float) -> list[float]:
    """How long after its time a timer rings, in seconds, of some."""

    async def measure() -> list[float]:
        loop = asyncio.get_running_loop()
        found = []
        for _ in range(TRIES):
            rung = asyncio.Event()
            due = loop.time() + seconds
            loop.call_at(due, rung.set)
            await rung.wait()
            found.append(loop.time() - due)
        return found

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(measure())


@pytest.mark.parametrize("seconds", [0.0003, 0.0013, 0.00175, 0.0041, 0.0302])
def test_a_timer_never_rings_early(seconds: float) -> None:
    """How late it may be is measured by the bench: 115200 Bd suffers first."""
    assert all(late > -1e-6 for late in lateness(seconds))


@pytest.mark.parametrize("registered", [lambda sock: sock, lambda sock: sock.fileno()], ids=["socket", "fd"])
def test_readers_and_writers_come_and_go_by_object_and_by_descriptor(
    registered: Callable[[socket.socket], object],
) -> None:
    near, far = socket.socketpair()

    async def use() -> list[str]:
        loop, seen = asyncio.get_running_loop(), list[str]()
        what: Any = registered(near)
        done = asyncio.Event()
        loop.add_writer(what, lambda: (seen.append("writable"), loop.remove_writer(what)))
        loop.add_reader(what, lambda: (seen.append(near.recv(9).decode()), done.set()))
        far.send(b"one")
        await done.wait()
        assert loop.remove_reader(what)
        assert not loop.remove_reader(what)
        far.send(b"two")
        await asyncio.sleep(0)
        return sorted(seen)

    with near, far, asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(use()) == ["one", "writable"]


def test_an_object_that_was_closed_before_it_was_removed_is_gone_all_the_same() -> None:
    async def use() -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        keeper = near.dup()  # as long as it is open the kernel goes on reporting
        loop.add_reader(near, lambda: None)
        near.close()
        assert loop.remove_reader(near)
        far.close()
        keeper.close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(use())


def test_a_reader_that_never_rests_keeps_nothing_else_from_its_turn() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        reader, writer = os.pipe()
        os.write(writer, b"x")
        loop.add_reader(reader, lambda: None)
        try:
            async with asyncio.timeout(30):
                await asyncio.sleep(0.01)
                await asyncio.to_thread(lambda: None)
        finally:
            loop.remove_reader(reader)
            os.close(reader)
            os.close(writer)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(scenario())


def test_a_bug_in_a_reader_is_told_and_the_loop_goes_on() -> None:
    async def scenario() -> list[dict[str, Any]]:
        loop, told, calls = asyncio.get_running_loop(), list[dict[str, Any]](), list[bytes]()
        loop.set_exception_handler(lambda loop, context: told.append(context))
        reader, writer = os.pipe()
        done = asyncio.Event()

        def broken() -> None:
            calls.append(os.read(reader, 1))
            if len(calls) == 2:
                done.set()
            raise ZeroDivisionError

        loop.add_reader(reader, broken)
        try:
            os.write(writer, b"xy")
            await done.wait()
        finally:
            loop.remove_reader(reader)
            os.close(reader)
            os.close(writer)
        return told

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        told = runner.run(scenario())
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError] * 2


def test_reading_and_writing_one_descriptor_are_apart() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        with near, far:
            come, writable = asyncio.Event(), asyncio.Event()
            loop.add_reader(near.fileno(), come.set)
            loop.add_writer(near.fileno(), writable.set)
            await writable.wait()
            assert not come.is_set()
            assert loop.remove_writer(near.fileno())
            far.send(b"x")
            await come.wait()
            assert loop.remove_reader(near.fileno())

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("within", [0.005, 5.0])
def test_bytes_wake_it_at_once_however_long_it_would_have_waited(within: float) -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        reader, writer = os.pipe()
        come = asyncio.Event()
        loop.add_reader(reader, come.set)
        timer = loop.call_later(within, come.set)
        begun = loop.time()
        loop.call_later(0.001, os.write, writer, b"x")
        try:
            await come.wait()
            return loop.time() - begun
        finally:
            timer.cancel()
            loop.remove_reader(reader)
            os.close(reader)
            os.close(writer)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert min(runner.run(scenario()) for _ in range(5)) < 0.004


def test_it_still_waits_where_select_cannot_see_its_descriptor() -> None:
    """select() knows 1024 descriptors: behind them the loop is only less precise."""
    held: list[int] = []
    try:
        while not held or held[-1] < 1024:
            held.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(ValueError, match="out of range"):
            select.select([held[-1]], [], [], 0)
        assert all(late > -0.001 for late in lateness(0.002))
    except OSError:
        pytest.skip("this user may not open 1024 files")
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_it_lowers_the_timer_slack_of_its_thread() -> None:
    new_event_loop().close()

    assert Path("/proc/self/timerslack_ns").read_text() == "1\n"
