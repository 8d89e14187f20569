"""What a minute is too short for (`make soak`): two hundred random deaths, and no death where there is none.

SOAK_DEATHS (200) is how many, SOAK_SECONDS (150) how long nothing may happen, and how long others may take to
notice anything. Each test prints its table.
"""

import asyncio
import os
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import count, product
from statistics import mean

import pytest
from deaths_kit import Case, Death, Kind, Outcome, Traffic, as_table
from lab_kit import GIVE_UP, Lab, Program, lab
from programs_kit import gatewayd, plain_paho, ser2net
from wires_kit import TOOLS, Wires, wires

DEATHS = int(os.environ.get("SOAK_DEATHS", "200"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "150"))
BOUNDS = (3, 5, 10, 20, 30)
WIRE = (Death.BOTH, Death.OURS, Death.THEIRS, Death.MAPPING)  # what happens to one wire alone
PHASE = 10.0  # seconds within which all of them happen
UNDISTURBED = (Traffic.IDLE, Traffic.STEADY, Traffic.PEER)  # nobody writes late where nothing is cut
DEFAULT = 20  # seconds, `detect_within` of whoever does not set it
PATIENCE = max(SECONDS, DEFAULT + GIVE_UP)  # seconds
pytestmark = [
    pytest.mark.soak,
    pytest.mark.needs("mosquitto", *TOOLS),
    pytest.mark.timeout(SECONDS + 180),
]


Show = Callable[[str], None]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Prints a table that everybody shall see, also when all is well."""

    def past_the_capture(table: str) -> None:
        with capsys.disabled():
            print("\n" + table)

    return past_the_capture


# ---------------------------------------------------------------- every death in time


def test_random_deaths_are_found_in_time(show: Show) -> None:
    ports = count(10_000)
    cases = [
        Case(
            random.choice(list(Kind)),
            BOUNDS[number % len(BOUNDS)],
            random.choice(list(Traffic)),
            random.choice(WIRE),
            next(ports),
        )
        for number in range(DEATHS)
    ]
    with wires() as made:
        outcomes = asyncio.run(_each_at_its_time(cases, made))
    show(by_bound(outcomes))
    wrong = [outcome for outcome in outcomes if list(outcome.faults(""))]
    assert not wrong, "\n" + as_table(wrong)


async def _each_at_its_time(cases: list[Case], made: Wires) -> list[Outcome]:
    async with lab(cases, made, gatewayd) as running:
        return await asyncio.gather(*(_dies_some_time(running, case) for case in cases))


async def _dies_some_time(running: Lab, case: Case) -> Outcome:
    await asyncio.sleep(random.uniform(1.0, 1.0 + PHASE))
    assert case.death is not None
    (outcome,) = await running.die(case.death, [case], random.uniform(0.1, case.bound))
    return outcome


def by_bound(outcomes: list[Outcome]) -> str:
    """Seconds to the report; apart, the cases whose bound is longer by rule."""
    rows = [f"{'T':>3}{'deaths':>8}{'max':>8}{'mean':>8}{'late':>6}"]
    for exception, bound in product((False, True), BOUNDS):
        ours = [one for one in outcomes if (one.case.hears_a_deaf_peer, one.case.bound) == (exception, bound)]
        times = [one.found.after for one in ours if one.found is not None]
        late = sum(one.found is None or one.found.after > one.case.may_take for one in ours)
        if times:
            row = f"{bound:>3}{len(ours):8}{max(times):8.2f}{mean(times):8.2f}{late:6}"
            rows.append(row + ("  ours lost, and a peer talks that we may not ask" if exception else ""))
    return "\n".join(rows)


# ---------------------------------------------------------------- no death where there is none


def test_no_healthy_link_is_taken_for_dead(show: Show) -> None:
    assert not _killed(product(Kind, [3, 5], UNDISTURBED), thin=False, show=show)


def test_no_link_that_loses_fifteen_percent_each_way_is_taken_for_dead(show: Show) -> None:
    assert not _killed(product(Kind, [10, 20], UNDISTURBED), thin=True, show=show)


def test_with_a_heartbeat_five_seconds_are_enough_for_a_link_that_loses_fifteen_percent_each_way(
    show: Show,
) -> None:
    """But for bad luck: some six transmissions fit, and each fails with 28 %.

    All of them did in 3 of 10,000 heartbeats (measured); that twice among so few links would be a fault.
    """
    assert (
        len(_killed(product([kind for kind in Kind if kind.asks], [5], UNDISTURBED), thin=True, show=show))
        <= 1
    )


def _killed(rows: Iterable[tuple[Kind, int, Traffic]], *, thin: bool, show: Show) -> list[str]:
    ports = count(10_000)
    cases = [Case(*row, None, next(ports)) for row in rows]
    with wires() as made:
        killed = asyncio.run(_stand(cases, made, thin=thin))
    show(f"{len(cases)} links, {SECONDS:g} s, killed: {killed or 'none'}")
    return killed


async def _stand(cases: list[Case], made: Wires, *, thin: bool) -> list[str]:
    async with lab(cases, made, gatewayd) as running:
        if thin:
            made.thin_out(case.port for case in cases)
        began = running.program.at
        await asyncio.sleep(SECONDS)
        found = [(case, running.found(case, began)) for case in cases]
    return [f"{case.kind}, T = {case.bound}, {case.traffic}: {death}" for case, death in found if death]


# ---------------------------------------------------------------- beside what else there is


def test_others_take_longer(show: Show) -> None:
    """The same deaths, with a limit to our patience."""
    ours = asyncio.run(_side_by_side(show))
    wrong = [outcome for outcome in ours if list(outcome.faults(""))]
    assert not wrong, "\n" + as_table(wrong)


async def _side_by_side(show: Show) -> list[Outcome]:
    programs: dict[str, tuple[Kind, Callable[..., AbstractContextManager[Program]]]] = {
        "tcp listen": (Kind.TCP_LISTEN, gatewayd),
        "ser2net": (Kind.TCP_LISTEN, ser2net),
        "mqtt": (Kind.MQTT_CONNECT, gatewayd),
        "paho": (Kind.MQTT_CONNECT, plain_paho),
    }
    columns = await asyncio.gather(*(_column(kind, program) for kind, program in programs.values()))
    rows = [f"{'':38}" + "".join(f"{name:>12}" for name in programs)]
    for row in zip(*columns, strict=True):
        case = row[0].case
        cells = (f">{PATIENCE:.0f}" if one.found is None else f"{abs(one.found.after):.1f}" for one in row)
        rows.append(f"{case.traffic:18}{case.death:20}" + "".join(f"{cell:>12}" for cell in cells))
    show("\n".join(rows))
    return [*columns[0], *columns[2]]


async def _column(kind: Kind, program: Callable[..., AbstractContextManager[Program]]) -> list[Outcome]:
    ports = count(10_000)
    deaths = [death for death in Death if death is not Death.CONNECT]
    cases = [Case(kind, DEFAULT, traffic, death, next(ports)) for death, traffic in product(deaths, Traffic)]
    with wires() as made:
        async with lab(cases, made, program, apart=program is ser2net, give_up=PATIENCE - DEFAULT) as running:
            groups = [(death, [case for case in cases if case.death is death]) for death in deaths]
            ends = await asyncio.gather(*(running.die(death, group, 1.0) for death, group in groups))
    return [outcome for end in ends for outcome in end]
