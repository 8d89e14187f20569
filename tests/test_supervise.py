"""The one loop that restarts: expected losses for ever, our own bugs a few times, in virtual time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Never

import pytest
from virtual import in_virtual_time

from gateway.contracts import Part, Traced
from gateway.errors import Busy, GatewayError, LineDown, LinkDown
from gateway.flow import Fan
from gateway.policy.backoff import Backoff
from gateway.status import Life, PartStatus
from gateway.supervise import BUGS_ARE_FORGOTTEN_AFTER, BUGS_BEFORE_GIVING_UP, supervise

EPOCH = 1_700_000_000.0  # wall time at loop time 0
FIRST, LONGEST, STABLE = 1.0, 60.0, 30.0


class Scripted:
    """A part whose sessions do what `session` returns.

    Up for so many seconds, or never up; then the error.
    """

    config: Any = None

    def __init__(self, error: Exception, *up_for: float | None) -> None:
        self.error, self.up_for = error, list(up_for)
        self.trace: Fan[Traced] = Fan()
        self.began: list[float] = []

    async def session(self, life: Life, /) -> Never:
        loop = asyncio.get_running_loop()
        self.began.append(loop.time())
        lives = self.up_for.pop(0) if self.up_for else None
        if lives is not None:
            life.up()
            await asyncio.sleep(lives)
        raise self.error

    def status(self) -> PartStatus:
        return {}


class Highest(Random):
    """Every delay is as long as it may be."""

    def uniform(self, a: float, b: float) -> float:
        return b


@asynccontextmanager
async def supervised(part: Part) -> AsyncIterator[tuple[Life, asyncio.Task[Never]]]:
    now = asyncio.get_running_loop().time
    life = Life("links.cloud", "connecting", now, lambda: EPOCH + now())
    task = asyncio.create_task(supervise(part, life, Backoff(FIRST, LONGEST, STABLE, Highest())))
    try:
        yield life, task
    finally:
        task.cancel()
        await asyncio.wait([task])


def pauses(part: Scripted) -> list[float]:
    return [later - earlier for earlier, later in zip(part.began, part.began[1:], strict=False)]


# Expected losses


@in_virtual_time
async def test_an_expected_loss_is_tried_again_for_ever_and_ever_more_slowly() -> None:
    part = Scripted(LinkDown("connection refused"))
    async with supervised(part) as (life, task):
        await asyncio.sleep(3600)
        assert not task.done()
        assert life.attempts == len(part.began)

    assert pauses(part)[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("error", [LineDown("no such device"), Busy("too many")])
@in_virtual_time
async def test_any_error_of_ours_is_an_expected_loss(error: GatewayError) -> None:
    async with supervised(Scripted(error)) as (life, task):
        await asyncio.sleep(100)
        assert not task.done()
        assert (life.state, life.reason) == ("waiting", str(error))


@in_virtual_time
async def test_the_delays_start_over_after_a_session_that_was_stable_and_not_after_a_short_one() -> None:
    part = Scripted(LinkDown("reset"), None, None, STABLE - 1, None, STABLE, None)
    async with supervised(part):
        await asyncio.sleep(300)

    assert pauses(part)[:6] == [1, 2, STABLE - 1 + 4, 8, STABLE + 1, 2]


@in_virtual_time
async def test_being_up_counts_from_up_and_not_from_the_beginning_of_the_session() -> None:
    class SlowToCome(Scripted):
        async def session(self, life: Life, /) -> Never:
            await asyncio.sleep(STABLE)
            await super().session(life)

    part = SlowToCome(LinkDown("reset"), 1.0, 1.0)
    async with supervised(part):
        await asyncio.sleep(100)

    assert pauses(part)[:2] == [1 + 1 + STABLE, 1 + 2 + STABLE]


@in_virtual_time
async def test_an_error_may_ask_for_a_longer_wait() -> None:
    part = Scripted(LinkDown("not authorized", wait_at_least=60.0))
    async with supervised(part):
        await asyncio.sleep(200)

    assert pauses(part)[:3] == [60, 60, 60]


# Bugs


@in_virtual_time
async def test_a_bug_is_logged_with_its_traceback_and_the_part_starts_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    part = Scripted(ZeroDivisionError("oops"))
    async with supervised(part) as (life, task):
        await asyncio.sleep(1.5)
        assert not task.done()
        assert life.reason == "internal error: ZeroDivisionError('oops')"

    assert len(part.began) == 2
    assert "Traceback" in caplog.text


@in_virtual_time
async def test_too_many_bugs_end_the_process() -> None:
    part = Scripted(ZeroDivisionError())
    async with supervised(part) as (_, task):
        with pytest.raises(ZeroDivisionError):
            await task

    assert len(part.began) == BUGS_BEFORE_GIVING_UP


@in_virtual_time
async def test_bugs_count_however_long_it_ran_well_before() -> None:
    part = Scripted(ZeroDivisionError(), 10 * BUGS_ARE_FORGOTTEN_AFTER)
    async with supervised(part) as (_, task):
        with pytest.raises(ZeroDivisionError):
            await task

    assert len(part.began) == BUGS_BEFORE_GIVING_UP


@in_virtual_time
async def test_bugs_are_forgotten_in_time() -> None:
    rare = BUGS_ARE_FORGOTTEN_AFTER / (BUGS_BEFORE_GIVING_UP - 1)
    part = Scripted(ZeroDivisionError(), *[rare] * 20)
    async with supervised(part) as (_, task):
        await asyncio.sleep(19 * rare)
        assert not task.done()


# What is said


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@in_virtual_time
async def test_the_same_reason_is_logged_once_until_it_was_up_again(caplog: pytest.LogCaptureFixture) -> None:
    part = Scripted(LinkDown("refused"), None, None, None, 5.0, None)
    async with supervised(part):
        await asyncio.sleep(100)
        assert warnings(caplog) == [
            "links.cloud: refused; next try in 1.0 s",
            "links.cloud: refused; next try in 8.0 s",
        ]
        part.error = LinkDown("no answer")
        await asyncio.sleep(200)

    assert warnings(caplog)[2:] == ["links.cloud: no answer; next try in 60.0 s"]


@in_virtual_time
async def test_cancellation_ends_it_at_once_in_a_session_and_in_a_pause() -> None:
    for up_for in ([1000.0], []):
        async with supervised(Scripted(LinkDown("refused"), *up_for)) as (_, task):
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


# The diary


@in_virtual_time
async def test_the_diary_tells_what_a_technician_asks() -> None:
    part = Scripted(LinkDown("reset by the peer", detected_after=1.23456), 40.0, None, 1000.0)
    async with supervised(part) as (life, _):
        assert life.status()["state"] == "closed"
        await asyncio.sleep(10)
        assert life.status() == {
            "state": "up",
            "since": "2023-11-14T22:13:20.000Z",
            "reason": "",
            "next_try_s": None,
            "attempts": 1,
            "reconnects": 0,
            "deaths": 0,
            "last_death": None,
        }
        await asyncio.sleep(30.75)
        death = {"at": "2023-11-14T22:14:00.000Z", "reason": "reset by the peer", "detected_after_s": 1.235}
        assert life.status() == {
            "state": "waiting",
            "since": "2023-11-14T22:14:00.000Z",
            "reason": "reset by the peer",
            "next_try_s": 0.2,
            "attempts": 0,
            "reconnects": 0,
            "deaths": 1,
            "last_death": death,
        }
        await asyncio.sleep(10)
        status = life.status()
        assert (status["state"], status["attempts"], status["reconnects"]) == ("up", 2, 1)
        assert status["last_death"] == death


@in_virtual_time
async def test_a_pause_and_a_try_are_told_apart() -> None:
    class SlowToFail(Scripted):
        async def session(self, life: Life, /) -> Never:
            await asyncio.sleep(10)
            await super().session(life)

    async with supervised(SlowToFail(LinkDown("refused"))) as (life, _):
        await asyncio.sleep(5)
        assert (life.state, life.reason) == ("connecting", "")
        await asyncio.sleep(5.5)
        status = life.status()
        assert (status["state"], status["reason"], status["next_try_s"]) == ("waiting", "refused", 0.5)
        await asyncio.sleep(1)
        status = life.status()
        assert (status["state"], status["reason"], status["next_try_s"]) == ("connecting", "refused", None)


@in_virtual_time
async def test_while_it_waits_and_tries_it_has_been_away_since_the_loss() -> None:
    part = Scripted(LinkDown("refused"), 40.0)
    async with supervised(part) as (life, _):
        await asyncio.sleep(41)
        assert life.status()["since"] == "2023-11-14T22:14:00.000Z"
        await asyncio.sleep(1000)
        assert life.status()["since"] == "2023-11-14T22:14:00.000Z"


@in_virtual_time
async def test_a_part_that_was_ended_while_up_begins_afresh() -> None:
    now = asyncio.get_running_loop().time
    life = Life("links.cloud", "connecting", now, lambda: EPOCH + now())
    backoff = Backoff(FIRST, LONGEST, STABLE, Highest())
    for part in (Scripted(LinkDown("reset"), 1000.0), Scripted(LinkDown("refused"))):
        task = asyncio.create_task(supervise(part, life, backoff))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])

    assert life.status()["deaths"] == 0
    assert life.status()["reason"] == "refused"
