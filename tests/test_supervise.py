"""The one loop that restarts: expected losses for ever, our own bugs a few times, in virtual time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Never

import pytest
from log_kit import ours
from virtual import in_virtual_time

from gateway.contracts import Part, Traced
from gateway.errors import Busy, GatewayError, LineDown, LinkDown, Rest
from gateway.flow import Fan
from gateway.policy.backoff import EARLY_TRY_WITHIN, Backoff
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
async def supervised(
    part: Part, way_back: asyncio.Event | None = None, longest: float = LONGEST
) -> AsyncIterator[tuple[Life, asyncio.Task[Never]]]:
    now = asyncio.get_running_loop().time
    life = Life("links.cloud", "connecting", now, lambda: EPOCH + now())
    backoff = Backoff(FIRST, longest, STABLE, Highest())
    task = asyncio.create_task(supervise(part, life, backoff, way_back))
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
async def test_an_error_may_ask_for_a_longer_wait_and_each_time_for_a_longer_one() -> None:
    part = Scripted(LinkDown("not authorized", wait_at_least=60.0))
    async with supervised(part):
        await asyncio.sleep(1000)

    assert pauses(part)[:3] == [90, 180, 360]


# The network is back


class Network(asyncio.Event):
    """What supervision listens to."""

    def is_back(self) -> None:
        self.set()
        self.clear()


@in_virtual_time
async def test_a_wait_ends_early_when_the_network_is_back() -> None:
    network = Network()
    part = Scripted(LinkDown("network unreachable"))
    async with supervised(part, network) as (life, _):
        await asyncio.sleep(100)
        assert life.status()["next_try_s"] == 23.0
        network.is_back()
        await asyncio.sleep(0)
        assert life.status()["next_try_s"] == EARLY_TRY_WITHIN
        assert (life.state, life.reason) == ("waiting", "network unreachable")
        part.up_for = [1000.0]
        await asyncio.sleep(EARLY_TRY_WITHIN + 1)
        assert life.state == "up"

    assert part.began == [0, 1, 3, 7, 15, 31, 63, 100 + EARLY_TRY_WITHIN]


@in_virtual_time
async def test_however_often_the_network_is_back_there_is_one_early_try_and_the_backoff_stays() -> None:
    network = Network()
    part = Scripted(LinkDown("network unreachable"))
    async with supervised(part, network):
        await asyncio.sleep(20)
        for _ in range(40):
            network.is_back()
            await asyncio.sleep(0.1)
        await asyncio.sleep(80)

    assert part.began == [0, 1, 3, 7, 15, 20 + EARLY_TRY_WITHIN, 25 + 16, 41 + 32]


@in_virtual_time
async def test_a_try_that_comes_soon_anyway_is_not_put_off() -> None:
    network = Network()
    part = Scripted(LinkDown("network unreachable"))
    async with supervised(part, network):
        for _ in range(40):
            await asyncio.sleep(0.125)
            network.is_back()
        await asyncio.sleep(5)

    assert part.began[:4] == [0, 1, 3, 7]


@in_virtual_time
async def test_who_is_refused_waits_its_time_whatever_the_network_does() -> None:
    network = Network()
    part = Scripted(LinkDown("not authorized", wait_at_least=60.0))
    async with supervised(part, network) as (life, _):
        await asyncio.sleep(10)
        network.is_back()
        await asyncio.sleep(0)
        assert life.status()["next_try_s"] == 50 + EARLY_TRY_WITHIN
        await asyncio.sleep(300)

    assert pauses(part) == [60 + EARLY_TRY_WITHIN, 180]


@in_virtual_time
async def test_who_is_not_waiting_is_left_alone() -> None:
    class SlowToFail(Scripted):
        async def session(self, life: Life, /) -> Never:
            await asyncio.sleep(10)
            await super().session(life)

    network = Network()
    part = SlowToFail(LinkDown("no answer"))
    async with supervised(part, network) as (life, _):
        while len(part.began) < 6:
            await asyncio.sleep(0.25)
            if life.state != "waiting":
                network.is_back()

    assert part.began == [10, 21, 33, 47, 65, 91]


@in_virtual_time
async def test_another_far_end_is_tried_without_a_wait_also_in_the_moment_when_the_network_is_back() -> None:
    network = Network()

    class TwoEnds(Scripted):
        """After the first the second is tried at once, and the wait is behind that."""

        async def session(self, life: Life, /) -> Never:
            first = len(self.began) % 2 == 0
            self.error = LinkDown("refused", at_once=first)
            if first:
                network.set()
            else:
                network.clear()
            await super().session(life)

    part = TwoEnds(LinkDown(""))
    async with supervised(part, network):
        await asyncio.sleep(40)

    assert part.began == [0, 0, 1, 1, 3, 3, 7, 7, 15, 15, 31, 31]


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


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged since it was last asked: "WARNING refused; ..."."""
    caplog.set_level(logging.INFO)

    def lines() -> list[str]:
        new = [f"{record.levelname} {record.getMessage()}" for record in ours(caplog)]
        caplog.clear()
        return [line.replace("links.cloud: ", "") for line in new]

    return lines


Log = Callable[[], list[str]]


@in_virtual_time
async def test_of_the_tries_that_fail_the_first_is_told_and_then_one_a_minute(log: Log) -> None:
    class Moody(Scripted):
        """Each time for another reason."""

        async def session(self, life: Life, /) -> Never:
            self.error = LinkDown(f"reason {len(self.began)}")
            await super().session(life)

    async with supervised(Moody(LinkDown(""))) as (life, _):
        await asyncio.sleep(0.5)
        assert log() == ["WARNING reason 0; next try in 1.0 s"]
        await asyncio.sleep(62)
        assert log() == []
        assert life.reason == "reason 5"
        await asyncio.sleep(130)
        assert log() == [
            "WARNING reason 6; away for 63 s; next try in 60.0 s",
            "WARNING reason 7; away for 123 s; next try in 60.0 s",
            "WARNING reason 8; away for 183 s; next try in 60.0 s",
        ]


@in_virtual_time
async def test_even_the_quickest_tries_fill_no_log(log: Log) -> None:
    async with supervised(Scripted(LinkDown("no such device")), longest=FIRST):
        await asyncio.sleep(3600 - 0.5)

    assert len(log()) == 60


@in_virtual_time
async def test_each_loss_and_each_return_is_told(log: Log) -> None:
    part = Scripted(LinkDown("reset"), None, 5.0, 1000.0)
    async with supervised(part):
        await asyncio.sleep(500)
        assert log() == [
            "WARNING reset; next try in 1.0 s",
            "INFO up after 1.0 s",
            "WARNING reset; next try in 2.0 s",
            "INFO up again after 2.0 s",
        ]


@in_virtual_time
async def test_who_comes_up_at_once_says_only_that(log: Log) -> None:
    async with supervised(Scripted(LinkDown("reset"), 1000.0)):
        await asyncio.sleep(500)

    assert log() == ["INFO up"]


@in_virtual_time
async def test_a_line_that_flaps_is_told_once_a_minute(log: Log) -> None:
    flaps = [0.5] * 100
    async with supervised(Scripted(LinkDown("input/output error"), *flaps, 1000.0), longest=FIRST):
        await asyncio.sleep(75)
        assert log() == [
            "INFO up",
            "WARNING input/output error; next try in 1.0 s",
            "INFO up again after 1.0 s",
            "WARNING input/output error; away for 60 s; next try in 1.0 s",
            "INFO up again after 61.0 s",
        ]
        await asyncio.sleep(200)
        assert log()[-1] == "INFO up again after 121.0 s"


@in_virtual_time
async def test_what_was_up_only_for_a_moment_and_stays_away_is_told_within_a_minute(log: Log) -> None:
    async with supervised(Scripted(LinkDown("reset"), 100.0, 0.5)):
        await asyncio.sleep(102.5)
        assert log() == ["INFO up", "WARNING reset; next try in 1.0 s", "INFO up again after 1.0 s"]
        await asyncio.sleep(90)
        assert log() == ["WARNING reset; away for 64 s; next try in 60.0 s"]


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
    part = Scripted(LinkDown("reset by the peer", detected_after=1.23456, unacked=12), 40.0, None, 1000.0)
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
        death = {
            "at": "2023-11-14T22:14:00.000Z",
            "reason": "reset by the peer",
            "detected_after_s": 1.235,
            "unacked_bytes": 12,
        }
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


class Visitor(Scripted):
    """Its fourth session is up for 5 seconds and has nothing more to do then."""

    async def session(self, life: Life, /) -> Never:
        self.error = Rest("no byte") if len(self.began) == 3 else LinkDown("no answer")
        await super().session(life)


@in_virtual_time
async def test_a_part_that_rests_is_no_loss_does_not_wait_and_fails_like_new_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    part = Visitor(LinkDown("no answer"), None, None, None, 5.0)
    async with supervised(part) as (life, _):
        await asyncio.sleep(14)
        assert pauses(part) == [1.0, 2.0, 4.0, 5.0, 1.0]
        assert (life.deaths, life.status()["last_death"], life.up_since) == (0, None, None)
        assert life.attempts == 2
    assert not [record for record in ours(caplog) if "no byte" in record.getMessage()]
