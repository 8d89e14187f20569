"""Whatever askers ask, however the line spoils it: the rules of a bus that no fault and no order may break.

Each request has exactly one outcome, and soon. An answer is the one that was made for it: it holds what the
device held between the question and the answer, with the asker's own writes before the question in it and
those behind it not. One transaction is on the wire at a time, the gap is kept (the Rig sees to that), and
what may change a device is on the wire at most once, and never after its asker has left.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, cycle, pairwise
from typing import Any, NamedTuple

import pytest
from bus_kit import (
    CHARACTER,
    GAP,
    RULES,
    TURNAROUND,
    Coming,
    Rig,
    answering,
    good,
    in_turn,
    read,
    spoiled,
    values,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import in_virtual_time

from gateway.contracts import Asker, Rank, Request
from gateway.demo.bus import with_crc
from gateway.errors import GatewayError

UNITS, ADDRESSES = (1, 2), range(4)
GUARD, TIMEOUT = RULES.late_answer_guard, RULES.response_timeout
A_MOMENT = 0.001  # seconds
SOON = 30.0  # seconds in which everything has an outcome
OWN = b"\x41"  # a function that nobody knows: its answer is the same with one byte more, ended by silence

# ---------------------------------------------------------------- the device


@dataclass(frozen=True)
class Fault:
    """What becomes of one request and its answer."""

    heard: bool = True
    said: Callable[[bytes], list[bytes]] = lambda answer: [answer]  # in pieces, 100 ms apart
    after: float = TURNAROUND

    @property
    def whole(self) -> bool:
        """Its answer comes to its end, though it may be a wrong one."""
        return self.heard and sum(len(piece) for piece in self.said(bytes(9))) >= 9


NOISE = b"\x00\xff\x55"
FAULTS = {
    "none": Fault(),
    "the request is lost": Fault(heard=False),
    "the answer is lost": Fault(said=lambda answer: []),
    "a wrong CRC": Fault(said=lambda answer: [spoiled(answer)]),
    "cut off": Fault(said=lambda answer: [answer[:-3]]),
    "split": Fault(said=lambda answer: [answer[:4], answer[4:]]),
    "noise in front": Fault(said=lambda answer: [NOISE + answer]),
    "noise behind": Fault(said=lambda answer: [answer + NOISE]),
    "nothing but noise": Fault(said=lambda answer: [NOISE]),
    "another unit in front": Fault(said=lambda answer: [with_crc(b"\x09" + answer[1:-2]) + answer]),
    "another function in front": Fault(said=lambda answer: [with_crc(answer[:1] + b"\x84\x02") + answer]),
    "late": Fault(after=TIMEOUT + 0.3),
    "very late": Fault(after=TIMEOUT + GUARD - A_MOMENT),
    "late and broken": Fault(after=TIMEOUT + 0.2, said=lambda answer: [spoiled(answer)]),
}


class Held(NamedTuple):
    """What the registers of a unit were from then on."""

    since: float
    words: tuple[int, ...]


@dataclass
class Device:
    """The units of a line. Writes are remembered with their time; one speaks when the other has finished."""

    faults: Iterator[Fault]
    history: dict[int, list[Held]] = field(
        default_factory=lambda: {
            unit: [Held(0.0, tuple(unit << 12 | address for address in ADDRESSES))] for unit in UNITS
        }
    )
    over: list[float] = field(default_factory=list)  # when each exchange could be over, at the earliest
    done: dict[tuple[int, bytes], float] = field(default_factory=dict)  # when each write was done
    _speaks_until: float = 0.0

    def __call__(self, frame: bytes) -> list[Coming]:
        now = asyncio.get_running_loop().time() + len(frame) * CHARACTER
        fault, unit = next(self.faults), frame[0]
        answer = with_crc(frame[:1] + self._answer(unit, frame[1:-2], now)) if fault.heard else b""
        begins = max(now + fault.after, self._speaks_until)
        pieces = fault.said(answer) if answer and begins < now + TIMEOUT + GUARD else []
        comings = [Coming(0.1 if at else begins - now, piece) for at, piece in enumerate(pieces)]
        ends = now + sum(after + len(piece) * CHARACTER for after, piece in comings)
        if comings:
            self._speaks_until = ends + GAP
        deadline = now + TIMEOUT
        whole = bool(comings) and fault.whole
        self.over.append(min(ends - len(NOISE) * CHARACTER if whole else deadline, deadline))
        return comings

    def _answer(self, unit: int, pdu: bytes, now: float) -> bytes:
        words = self.history[unit][-1].words
        at, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        match pdu[0]:
            case 3:
                return bytes((3, 2 * count)) + b"".join(
                    word.to_bytes(2, "big") for word in words[at : at + count]
                )
            case 6:
                self.history[unit].append(Held(now, (*words[:at], count, *words[at + 1 :])))
        self.done[unit, pdu] = now
        return pdu if pdu[0] == 6 else pdu + b"\x00"


# ---------------------------------------------------------------- those who ask


class Wish(NamedTuple):
    """One request of one asker."""

    pause: float  # seconds after the one before
    who: Asker
    unit: int
    pdu: bytes
    rank: Rank
    patience: float | None  # then it is withdrawn


@dataclass
class Asked:
    wish: Wish
    at: float
    answer: asyncio.Future[bytes]
    settled: float = float("inf")

    def settle(self, _: asyncio.Future[bytes]) -> None:
        self.settled = asyncio.get_running_loop().time()

    @property
    def result(self) -> bytes | None:
        """None: an error, or withdrawn."""
        if self.answer.cancelled() or self.answer.exception() is not None:
            return None
        return self.answer.result()

    @property
    def changes(self) -> bool:
        return self.wish.pdu[0] != 3


@st.composite
def wishes(
    draw: st.DrawFn, pauses: list[float], kinds: list[str], patience: list[float | None]
) -> list[Wish]:
    made = []
    for number in range(draw(st.integers(3, 20))):
        kind = draw(st.sampled_from(kinds))
        address = draw(st.sampled_from(ADDRESSES))
        match kind:
            case "read":
                count = draw(st.integers(1, len(ADDRESSES) - address))
                pdu = bytes((3, 0, address, 0, count))
            case "write":
                pdu = bytes((6, 0, address, 1, number))
            case _:
                pdu = OWN + bytes((number,))
        made.append(
            Wish(
                pause=draw(st.sampled_from(pauses)),
                who=Asker(draw(st.sampled_from(["10.0.0.1", "10.0.0.2"])), draw(st.integers(1, 2))),
                unit=draw(st.sampled_from(UNITS)),
                pdu=pdu,
                rank=Rank.WRITE if kind == "write" else draw(st.sampled_from([Rank.READ, Rank.POLL])),
                patience=draw(st.sampled_from(patience)),
            )
        )
    return made


async def all_ask(rig: Rig, plan: list[Wish]) -> list[Asked]:
    loop = asyncio.get_running_loop()
    asked = []
    for wish in plan:
        await asyncio.sleep(wish.pause)
        one = Asked(wish, loop.time(), rig.ask(Request(wish.unit, wish.pdu, wish.who, wish.rank)))
        one.answer.add_done_callback(one.settle)
        if wish.patience is not None:
            loop.call_later(wish.patience, one.answer.cancel)
        asked.append(one)
    _, left = await asyncio.wait([one.answer for one in asked], timeout=SOON)
    assert not left
    return asked


async def play(plan: list[Wish], faults: list[str], chunk: int, rules: Mapping[str, Any]) -> list[Asked]:
    device = Device(chain((FAULTS[name] for name in faults), cycle([FAULTS["none"]])))
    with Rig(device, chunk=chunk, **rules) as rig:
        asked = await all_ask(rig, plan)
        await asyncio.sleep(SOON)
        sent = [(each.at, each.frame[0], each.frame[1:-2]) for each in rig.line.sent]
    assert all(now[0] >= over - A_MOMENT for over, (_, now) in zip(device.over, pairwise(sent), strict=False))
    check_wire(asked, sent)
    for one in asked:
        check_answer(one, asked, device)
    return asked


# ---------------------------------------------------------------- what must hold


def check_wire(asked: list[Asked], sent: list[tuple[float, int, bytes]]) -> None:
    times = Counter((unit, pdu) for _, unit, pdu in sent)
    first = {(unit, pdu): at for at, unit, pdu in reversed(sent)}
    for place, one in enumerate(asked):
        if not one.changes:
            continue
        key = one.wish.unit, one.wish.pdu
        assert times[key] <= 1
        if key not in first:
            assert one.result is None
            continue
        assert one.at <= first[key] <= one.settled  # its asker was still there
        for earlier in asked[:place]:
            if earlier.wish.who == one.wish.who and earlier.result is not None:
                assert earlier.settled <= first[key]  # a write overtakes nothing of its own connection


def check_answer(one: Asked, asked: list[Asked], device: Device) -> None:
    pdu, unit = one.wish.pdu, one.wish.unit
    if one.answer.cancelled():
        return
    if one.result is None:
        assert isinstance(one.answer.exception(), GatewayError)
    elif one.changes:
        assert (unit, pdu) in device.done
        assert one.result == (pdu if pdu[0] == 6 else pdu + b"\x00")
    else:
        assert held(one, asked, device)


def held(one: Asked, asked: list[Asked], device: Device) -> bool:
    """Whether the unit held what was answered at a time when it may have been asked for this."""
    place = asked.index(one)
    mine = [other for other in asked if other.changes and other.wish.who == one.wish.who]
    done = {id(other): device.done.get((other.wish.unit, other.wish.pdu)) for other in mine}
    before = [at for other in mine if asked.index(other) < place and (at := done[id(other)]) is not None]
    behind = [at for other in mine if asked.index(other) > place and (at := done[id(other)]) is not None]
    earliest, latest = max([one.at, *before]), min([one.settled, *behind])
    address, count = one.wish.pdu[2], one.wish.pdu[4]
    assert one.result is not None
    words = tuple(int.from_bytes(one.result[at : at + 2], "big") for at in range(2, len(one.result), 2))
    ends = [*(after.since for after in device.history[one.wish.unit][1:]), float("inf")]
    return any(
        now.since <= latest and earliest <= until and now.words[address : address + count] == words
        for now, until in zip(device.history[one.wish.unit], ends, strict=True)
    )


# ---------------------------------------------------------------- whatever happens

CHUNK = st.sampled_from([1, 5, 1000])
SHARED = {"coalesce": st.booleans(), "cache": st.sampled_from([0.0, 0.3])}
SPOILED = {"retries": st.integers(0, 2), "queue": st.sampled_from([2, 16]), "skip_silent": st.booleans()}
in_time_for_a_smallest_example = pytest.mark.timeout(300)


@in_time_for_a_smallest_example
@settings(max_examples=200)
@given(
    plan=wishes(
        [0.0, 0.0, 0.0, 0.02, 0.2, 1.2], ["read", "read", "write", "own"], [None, None, None, 0.02, 0.5]
    ),
    faults=st.lists(st.sampled_from(sorted(FAULTS)), max_size=10),
    chunk=CHUNK,
    rules=st.fixed_dictionaries(SHARED | SPOILED),
)
def test_no_fault_and_no_order_of_questions_breaks_a_rule_of_the_bus(
    plan: list[Wish], faults: list[str], chunk: int, rules: dict[str, Any]
) -> None:
    in_virtual_time(play)(plan, faults, chunk, rules)


@in_time_for_a_smallest_example
@settings(max_examples=200)
@given(
    plan=wishes([0.0, 0.0, 0.05, 0.1], ["read", "read", "write"], [None]),
    chunk=CHUNK,
    rules=st.fixed_dictionaries(SHARED),
)
def test_on_a_good_line_everybody_has_his_answer_whatever_is_shared(
    plan: list[Wish], chunk: int, rules: dict[str, Any]
) -> None:
    one_unit = [wish._replace(unit=UNITS[0]) for wish in plan]
    asked = in_virtual_time(play)(one_unit, [], chunk, {"queue": 20, "request_timeout": SOON} | rules)
    assert all(one.result is not None for one in asked)


def cut_off(frame: bytes) -> list[Coming]:
    return [Coming(TURNAROUND, good(frame)[:-3])]


@in_virtual_time
async def test_a_write_does_not_overtake_a_read_of_its_connection_that_is_asked_again() -> None:
    """The unit of the read is closed meanwhile; other connections do not wait for that."""
    with Rig(in_turn(cut_off, answering)) as rig:
        mine, others = [read(unit=1), write(unit=2)], read(unit=3, asker=Asker("10.0.0.2", 1))
        asked = [rig.ask(request) for request in (*mine, others)]
        await asyncio.wait(asked)
        assert [answer.result() for answer in asked] == [values(request) for request in (*mine, others)]
        assert [sent.frame[0] for sent in rig.line.sent] == [1, 3, 1, 2]
