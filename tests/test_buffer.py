"""What a link keeps, against a plain list; its bounds, its numbers, and where it is filled from."""

import asyncio
from collections.abc import Sequence
from time import time

import pytest
from buffer_kit import Nothing, in_memory, rules
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from log_kit import ours

from gateway.buffer import IN_MEMORY, Buffer, Record, Start
from gateway.contracts import Frame
from gateway.errors import LinkDown
from gateway.flow import Fan, WhenFull

EMPTY = Record(1, "port/scale", 1, 0.0, True, b"").size
FIRST = 1000
STREAMS = st.sampled_from(["port/scale", "device/meter"])


def buffer(limit: int = 1 << 20) -> Buffer:
    return in_memory(size=limit, first_seq=FIRST)


def with_rule(when_full: WhenFull, limit: int) -> Buffer:
    start = Start(1, 0, {}, FIRST)
    return Buffer("cloud", rules(limit, when_full), Nothing(limit), start, lambda: True)


async def at_once(kept: Buffer, after: int = 0, most: int = 1_000_000) -> Sequence[Record]:
    return await kept.browse(after, most)


class AgainstAList(RuleBasedStateMachine):
    """It appends, reads and confirms within its bound; the model is a list of records."""

    LIMIT = 10 * EMPTY

    def __init__(self) -> None:
        super().__init__()
        self.kept = buffer(self.LIMIT)
        self.model: list[Record] = []
        self.appended = self.dropped = 0
        self.seqs: dict[str, int] = {}
        self.runner = asyncio.Runner()

    def teardown(self) -> None:
        self.runner.close()

    @property
    def size(self) -> int:
        return sum(record.size for record in self.model)

    @rule(
        stream=STREAMS,
        payload=st.binary(max_size=20) | st.integers(0, 12).map(lambda n: bytes(n * EMPTY)),
    )
    def append(self, stream: str, payload: bytes) -> None:
        assert self.kept.append(stream, Frame(7.5, payload)) is True
        seq = self.seqs[stream] = self.seqs.get(stream, FIRST - 1) + 1
        record = Record(self.appended + 1, stream, seq, 7.5, True, payload)
        while self.model and self.size + record.size > self.LIMIT:
            del self.model[0]
            self.dropped += 1
        if record.size > self.LIMIT:
            self.dropped += 1
        else:
            self.appended += 1
            self.model.append(record)

    @rule(back=st.integers(0, 20))
    def confirm(self, back: int) -> None:
        up_to = self.appended - back
        self.kept.confirm(up_to)
        self.model = [record for record in self.model if record.number > up_to]

    @rule(back=st.integers(0, 20), most=st.integers(1, 5))
    def read(self, back: int, most: int) -> None:
        after = max(0, self.appended - back)
        expected = [record for record in self.model if record.number > after][:most]

        assert self.runner.run(at_once(self.kept, after, most)) == expected

    @invariant()
    def tells_the_truth(self) -> None:
        status = self.kept.status(10.0)
        assert status["records"] == len(self.model)
        assert status["bytes"] == self.size
        assert status["dropped"] == self.dropped
        assert status["oldest_age_s"] == (2.5 if self.model else None)


AgainstAList.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAgainstAList = AgainstAList.TestCase


# Reading


async def test_a_reader_waits_for_the_first_record_behind_its_position() -> None:
    kept = buffer()
    reading = asyncio.ensure_future(kept.read(0, 10))
    await asyncio.sleep(0)
    assert not reading.done()
    kept.append("port/scale", b"a")
    first = await reading
    again = asyncio.ensure_future(kept.read(first[-1].number, 10))
    await asyncio.sleep(0)
    assert not again.done()
    kept.append("port/scale", b"b")

    assert [record.payload for record in await again] == [b"b"]


async def test_reading_takes_nothing_away() -> None:
    kept = buffer()
    kept.append("port/scale", b"a")

    assert await kept.read(0, 10) == await kept.read(0, 10)
    assert kept.status(0.0)["records"] == 1


async def test_whoever_reads_when_older_records_come_to_light_begins_anew_and_confirms_none_of_them() -> None:
    kept = buffer()
    kept.append("port/scale", b"newer")
    (record,) = await kept.read(0, 10)
    waiting = asyncio.ensure_future(kept.read(record.number, 10))
    await asyncio.sleep(0)
    kept.rewind(confirmed=3, next_number=11)
    with pytest.raises(LinkDown, match="they go first"):
        await waiting
    kept.confirm(record.number + 100)

    (again,) = await kept.read(0, 10)
    assert again == record._replace(number=11)


# Bounds


async def test_a_record_larger_than_the_bound_is_dropped_and_said_and_nobody_is_woken_for_it() -> None:
    kept = buffer(limit=2 * EMPTY)
    reading = asyncio.ensure_future(kept.read(0, 10))
    kept.append("port/scale", bytes(3 * EMPTY))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reading.done()
    assert kept.dropped == 1
    kept.append("port/scale", b"b")

    (record,) = await reading
    assert record.seq == FIRST + 1


async def test_whatever_was_dropped_shows_as_a_gap_in_its_stream_only() -> None:
    kept = buffer(limit=3 * (EMPTY + 2))
    for stream in ("port/scale", "port/scale", "device/meter", "port/scale", "device/meter"):
        kept.append(stream, b"")

    assert [(record.stream, record.seq) for record in await at_once(kept)] == [
        ("device/meter", FIRST),
        ("port/scale", FIRST + 2),
        ("device/meter", FIRST + 1),
    ]


async def test_drop_newest_keeps_the_beginning_and_uses_the_numbers_up() -> None:
    kept = with_rule(WhenFull.DROP_NEWEST, 2 * EMPTY)
    for _ in range(4):
        kept.append("port/scale", b"")
    kept.confirm(1)
    kept.append("port/scale", b"")

    assert [record.seq for record in await at_once(kept)] == [FIRST + 1, FIRST + 4]
    assert kept.dropped == 2


async def test_block_makes_the_writer_wait_until_there_is_room_again() -> None:
    kept, scale = with_rule(WhenFull.BLOCK, 100 * EMPTY), Fan[Frame]()
    kept.fill_from({"port/scale": scale})
    with scale.tap(offer=lambda _: True):  # another reader that keeps up
        for _ in range(99):
            scale.push(Frame(1.0, b""))
        assert not scale.brake.on
        scale.push(Frame(1.0, b""))
        assert scale.brake.on
        scale.push(Frame(1.0, b"came before the line had stopped"))
        kept.confirm(5)
        assert scale.brake.on
        kept.confirm(15)
        assert not scale.brake.on

    assert kept.dropped == 0
    assert kept.status(0.0)["records"] == 86


async def test_block_also_waits_for_a_disk_that_is_slower_than_the_line() -> None:
    kept, scale = with_rule(WhenFull.BLOCK, 1 << 30), Fan[Frame]()
    kept.fill_from({"port/scale": scale})
    while not scale.brake.on:
        scale.push(Frame(1.0, bytes(10_000)))
    for _ in range(20):
        scale.push(Frame(1.0, bytes(10_000)))

    assert kept.dropped == 0
    kept.release(200)
    assert not scale.brake.on


async def test_what_does_not_stop_although_it_is_told_to_costs_a_bounded_amount() -> None:
    kept = with_rule(WhenFull.BLOCK, 100 * EMPTY)
    for _ in range(10_000):
        kept.append("port/scale", bytes(1000))

    assert kept.size < 100 * EMPTY + 300_000
    assert kept.dropped + kept.records == 10_000


@pytest.mark.parametrize("when_full", WhenFull)
async def test_it_never_has_more_than_8_mb_in_memory(when_full: WhenFull) -> None:
    kept = with_rule(when_full, 1 << 30)
    for _ in range(20):
        kept.append("port/scale", bytes(1 << 20))

    assert 7 << 20 <= kept.size <= IN_MEMORY
    assert kept.dropped + kept.records == 20


async def test_an_episode_of_dropping_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    kept = buffer(limit=10 * EMPTY)
    for _ in range(50):
        kept.append("port/scale", b"")
    assert len(ours(caplog)) == 1
    kept.confirm(50)
    for _ in range(20):
        kept.append("port/scale", b"")

    said = [record.getMessage() for record in ours(caplog) if record.levelname == "WARNING"]
    assert said == ["cloud: its buffer drops what there is no room for (drop-oldest)"] * 2


async def test_that_it_drops_what_is_too_old_is_said_once_until_something_arrives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = in_memory()
    for second in range(100):
        kept.append("port/scale", Frame(float(second), b""))
        kept.expire(second - 10.0)
    assert len(ours(caplog)) == 1
    kept.confirm(95)
    kept.expire(98.0)

    said = [record.getMessage() for record in ours(caplog)]
    assert said == ["cloud: its buffer drops what is older than 1e+09 s"] * 2
    assert kept.dropped == 92


# What is too old


async def test_what_is_too_old_goes_and_what_has_no_age_goes_with_what_is_behind_it() -> None:
    clock_set = False
    kept = Buffer("cloud", rules(1 << 20), Nothing(1 << 20), Start(1, 0, {}, FIRST), lambda: clock_set)
    kept.append("port/scale", Frame(10.0, b"before the clock was set"))
    kept.expire(1e9)
    assert kept.records == 1
    clock_set = True
    kept.append("port/scale", Frame(1e9, b"old"))
    kept.append("port/scale", Frame(1e9 + 100, b"new"))
    kept.expire(1e9 + 50)

    assert [record.payload for record in await at_once(kept)] == [b"new"]
    assert kept.dropped == 2


# Filling


async def test_bytes_are_dated_when_they_are_taken_and_frames_when_they_came() -> None:
    kept, before = buffer(), time()
    kept.append("device/meter", b"online")
    kept.append("port/scale", Frame(1234.5, b"7.0 kg"))
    word, frame = await at_once(kept)

    assert before <= word.at <= time()
    assert frame.at == 1234.5


async def test_it_is_filled_in_the_writers_own_callback() -> None:
    kept, scale, meter = buffer(), Fan[Frame](), Fan[bytes]()
    kept.fill_from({"port/scale": scale, "device/meter": meter})
    scale.push(Frame(1.0, b"7.0 kg"))
    meter.push(b"online")

    assert [(record.stream, record.payload) for record in await at_once(kept)] == [
        ("port/scale", b"7.0 kg"),
        ("device/meter", b"online"),
    ]


async def test_after_a_reload_it_is_filled_by_the_new_streams_only_and_keeps_its_numbers() -> None:
    kept, old, new = buffer(), Fan[Frame](), Fan[Frame]()
    kept.fill_from({"port/scale": old})
    old.push(Frame(1.0, b"before"))
    kept.fill_from({"port/scale": new})
    old.push(Frame(1.0, b"from a part that is gone"))
    new.push(Frame(2.0, b"after"))

    assert not old.taps
    assert [(record.seq, record.payload) for record in await at_once(kept)] == [
        (FIRST, b"before"),
        (FIRST + 1, b"after"),
    ]


# What the status foretells


async def test_it_says_when_it_will_be_full_and_when_it_will_be_empty() -> None:
    kept = buffer(limit=1 << 20)
    for second in range(120):
        kept.tick(float(second))
        for _ in range(10):
            kept.append("port/scale", bytes(949))
    filling = kept.status(0.0)
    assert filling["fills_in_s"] == pytest.approx(0, abs=3)  # 1.2 MB in two minutes: it is full
    assert filling["drain_eta_s"] is None
    records = filling["records"]
    for second in range(120, 140):
        kept.tick(float(second))
        kept.append("port/scale", b"")
        kept.confirm(kept.first_held + 20)
    draining = kept.status(0.0)

    assert draining["records"] == records - 400
    assert draining["drain_eta_s"] == pytest.approx(draining["records"] / 20, rel=0.5)


# Out of their turn


async def test_what_arrived_out_of_its_turn_is_not_read_again_and_counts_when_the_turn_comes() -> None:
    kept = buffer()
    for payload in (b"1", b"2", b"3", b"4", b"5"):
        kept.append("port/scale", payload)
    kept.deliver(4)
    kept.deliver(5)
    assert [record.payload for record in await at_once(kept)] == [b"1", b"2", b"3"]
    kept.confirm(2)
    assert kept.confirmed == 2
    kept.confirm(3)

    assert kept.confirmed == 5
    assert kept.records == 0


async def test_who_does_not_wait_gets_what_there_is() -> None:
    kept = buffer()
    assert await kept.read(0, 10, wait=False) == []
    kept.append("port/scale", b"a")

    assert len(await kept.read(0, 10, wait=False)) == 1
