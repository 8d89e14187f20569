"""One buffer on real files against a plain list: whatever order records, confirmations, outages, crashes,
power cuts and damage come in.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from buffer_kit import rules
from buffers_kit import CLOUD, MEGABYTE, Machine
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.buffer import Durability, Record

STREAMS = st.sampled_from(["port/scale", "device/meter"])
SIZES = st.sampled_from([0, 10, 10, 10, 300, 3000, 70_000])


class AgainstAList(RuleBasedStateMachine):
    """`pending` is what the buffer must still deliver, in order; `said` is everything that it ever got."""

    DURABILITY = Durability.CRASH

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.machine = Machine({CLOUD: rules(64 * MEGABYTE, durability=self.DURABILITY)})
        self.pending: list[bytes] = []
        self.said: list[bytes] = []
        self.seen: dict[tuple[str, int], bytes] = {}  # what was given outside, by its number

    @initialize()
    def start(self) -> None:
        self.runner.run(self.machine.starts())

    def teardown(self) -> None:
        self.runner.run(self.machine.buffers.close())
        self.runner.close()
        self.machine.ends()

    @rule(stream=STREAMS, size=SIZES, count=st.integers(1, 20))
    def say(self, stream: str, size: int, count: int) -> None:
        for _ in range(count):
            payload = b"%08d" % len(self.said) + bytes(size)
            self.machine.say(payload, stream)
            self.said.append(payload)
            self.pending.append(payload)

    @rule(seconds=st.sampled_from([0.5, 1, 3, 6, 10]))
    def wait(self, seconds: float) -> None:
        self.runner.run(self.machine.waits(seconds))

    @rule(most=st.integers(1, 60), confirmed=st.integers(0, 60))
    def read(self, most: int, confirmed: int) -> None:
        records = self.runner.run(self.machine.reads(most=most))
        self.check(records)
        expected = self.pending[:most]
        if self.DURABILITY is Durability.CRASH:  # else what is not on disk yet cannot be read
            assert [record.payload for record in records] == expected or self.machine.cloud.held_size > 90_000
        assert [record.payload for record in records] == expected[: len(records)]
        if records[:confirmed]:
            self.runner.run(self.confirm(records[:confirmed][-1].number))
            del self.pending[: min(confirmed, len(records))]

    async def confirm(self, number: int) -> None:
        self.machine.cloud.confirm(number)

    @rule()
    def is_killed(self) -> None:
        self.runner.run(self.machine.buffers.tend())  # what is too much for the journal asks for that
        self.runner.run(self.machine.crashes())
        self.compare()

    @rule()
    def stops_and_starts(self) -> None:
        self.runner.run(self.machine.stops())
        self.runner.run(self.machine.starts())
        self.compare()

    @rule()
    def loses_its_power(self) -> None:
        """What had not reached the disk is gone, what was confirmed lately may come back.

        Never a wrong one.
        """
        self.runner.run(self.machine.waits(1))
        self.runner.run(self.machine.crashes(power=True))
        found = self.in_order(self.everything())
        if self.DURABILITY is Durability.POWER:
            assert found[len(found) - len(self.pending) :] == self.pending
        self.pending = found

    def compare(self) -> None:
        assert [record.payload for record in self.everything()] == self.pending

    def everything(self) -> list[Record]:
        """Also what is read only once it is where it should be."""
        records = self.runner.run(self.machine.reads())
        for _ in range(10):
            self.runner.run(self.machine.waits(1))
            more = self.runner.run(self.machine.reads())
            if len(more) == len(records):
                break
            records = more
        self.check(records)
        return records

    def in_order(self, records: list[Record]) -> list[bytes]:
        """Asserts that each of them was said, once and in this order."""
        found = [record.payload for record in records]
        places = [self.said.index(payload) for payload in found]
        assert places == sorted(set(places))
        return found

    def check(self, records: list[Record]) -> None:
        """No number was ever given to two records."""
        for record in records:
            assert self.seen.setdefault((record.stream, record.seq), record.payload) == record.payload


class InDamage(AgainstAList):
    """The same, with bytes that flip and files that lose their end between two lives."""

    @precondition(lambda self: self.said)
    @rule(seed=st.integers(0, 1 << 32), flips=st.integers(0, 8), cut=st.booleans())
    def is_damaged(self, seed: int, flips: int, cut: bool) -> None:
        chance = random.Random(seed)
        self.runner.run(self.machine.crashes(damage=lambda files: damage(files, chance, flips, cut)))
        records = self.everything()
        self.pending = self.in_order(records)


def damage(files: Sequence[Path], chance: random.Random, flips: int, cut: bool) -> None:
    for file in files:
        data = bytearray(file.read_bytes())
        if not data:
            continue
        for _ in range(flips):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        if cut and chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        file.write_bytes(data)


for machine, examples in ((AgainstAList, 60), (InDamage, 60)):
    machine.TestCase.settings = settings(max_examples=examples, stateful_step_count=30, deadline=None)


class WhenPowerMatters(AgainstAList):
    DURABILITY = Durability.POWER


WhenPowerMatters.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestAgainstAList = AgainstAList.TestCase
TestInDamage = InDamage.TestCase
TestWhenPowerMatters = WhenPowerMatters.TestCase
