"""What a link keeps, against a plain list; its bounds, its numbers, and where it is filled from."""

import asyncio
from time import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.buffer import Buffer, Buffers, Record
from gateway.contracts import Frame
from gateway.flow import Fan

OVERHEAD = Record(1, "", 1, 0.0, b"").size
FIRST = 1000
STREAMS = st.sampled_from(["port/scale", "device/meter"])


def buffer(limit: int = 1 << 20) -> Buffer:
    return Buffers(FIRST, per_link=limit).of("cloud")


async def at_once(kept: Buffer, after: int = 0, most: int = 1_000_000) -> list[Record]:
    """What a reader at this position gets without waiting; nothing when it would wait."""
    reading = asyncio.ensure_future(kept.read(after, most))
    await asyncio.sleep(0)
    if reading.done():
        return reading.result()
    reading.cancel()
    return []


class AgainstAList(RuleBasedStateMachine):
    """Two links that append, read and confirm within one bound; the model is a list of records for each."""

    PER_LINK, ALL = 10 * OVERHEAD, 14 * OVERHEAD

    def __init__(self) -> None:
        super().__init__()
        self.buffers = Buffers(FIRST, self.PER_LINK, self.ALL)
        self.names = ("cloud", "local")
        self.model: dict[str, list[Record]] = {name: [] for name in self.names}
        self.appended = dict.fromkeys(self.names, 0)
        self.dropped = dict.fromkeys(self.names, 0)
        self.seqs: dict[tuple[str, str], int] = {}
        self.runner = asyncio.Runner()

    def teardown(self) -> None:
        self.runner.close()

    def size(self, name: str) -> int:
        return sum(record.size for record in self.model[name])

    def drop_oldest(self, name: str) -> None:
        del self.model[name][0]
        self.dropped[name] += 1

    @rule(
        name=st.sampled_from(["cloud", "local"]),
        stream=STREAMS,
        payload=st.binary(max_size=20) | st.integers(0, 12).map(lambda n: bytes(n * OVERHEAD)),
    )
    def append(self, name: str, stream: str, payload: bytes) -> None:
        assert self.buffers.of(name).append(stream, Frame(7.5, payload)) is True
        self.appended[name] += 1
        seq = self.seqs[name, stream] = self.seqs.get((name, stream), FIRST - 1) + 1
        self.model[name].append(Record(self.appended[name], stream, seq, 7.5, payload))
        while self.size(name) > self.PER_LINK:
            self.drop_oldest(name)
        while sum(map(self.size, self.names)) > self.ALL:
            self.drop_oldest(max(self.names, key=self.size))

    @rule(name=st.sampled_from(["cloud", "local"]), back=st.integers(0, 20))
    def confirm(self, name: str, back: int) -> None:
        up_to = self.appended[name] - back
        self.buffers.of(name).confirm(up_to)
        self.model[name] = [record for record in self.model[name] if record.number > up_to]

    @rule(name=st.sampled_from(["cloud", "local"]), back=st.integers(0, 20), most=st.integers(1, 5))
    def read(self, name: str, back: int, most: int) -> None:
        after = max(0, self.appended[name] - back)
        expected = [record for record in self.model[name] if record.number > after][:most]

        assert self.runner.run(at_once(self.buffers.of(name), after, most)) == expected

    @invariant()
    def tells_the_truth(self) -> None:
        for name in self.names:
            status = self.buffers.of(name).status(10.0)
            assert status["records"] == len(self.model[name])
            assert status["bytes"] == self.size(name)
            assert status["dropped"] == self.dropped[name]
            assert status["oldest_age_s"] == (2.5 if self.model[name] else None)


AgainstAList.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAgainstAList = AgainstAList.TestCase


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


async def test_a_record_larger_than_the_bound_is_dropped_and_said_and_nobody_is_woken_for_it() -> None:
    kept = buffer(limit=2 * OVERHEAD)
    reading = asyncio.ensure_future(kept.read(0, 10))
    kept.append("port/scale", bytes(3 * OVERHEAD))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reading.done()
    assert kept.dropped == 1
    kept.append("port/scale", b"b")

    (record,) = await reading
    assert record.seq == FIRST + 1


async def test_whatever_was_dropped_shows_as_a_gap_in_its_stream_only() -> None:
    kept = buffer(limit=3 * OVERHEAD)
    for stream in ("port/scale", "port/scale", "device/meter", "port/scale", "device/meter"):
        kept.append(stream, b"")

    assert [(record.stream, record.seq) for record in await at_once(kept)] == [
        ("device/meter", FIRST),
        ("port/scale", FIRST + 2),
        ("device/meter", FIRST + 1),
    ]


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


async def test_a_buffer_belongs_to_the_links_name_until_the_link_is_forgotten() -> None:
    buffers, fan = Buffers(FIRST), Fan[Frame]()
    kept = buffers.of("cloud")
    kept.fill_from({"port/scale": fan})
    fan.push(Frame(1.0, b"a"))
    assert buffers.of("cloud") is kept
    assert buffers.of("other") is not kept

    buffers.forget("cloud")
    buffers.forget("never heard of")

    assert not fan.taps
    assert await at_once(buffers.of("cloud")) == []


@pytest.mark.parametrize("links", [1, 4, 8])
def test_the_largest_gives_way_when_all_of_them_together_are_too_large(links: int) -> None:
    buffers = Buffers(FIRST, per_link=8000, all_links=32_000)
    for number in range(links * 8000 // OVERHEAD + 100):
        buffers.of(f"link {number % links}").append("port/scale", b"")
    sizes = [buffers.of(f"link {number}").size for number in range(links)]

    assert sum(sizes) <= 32_000
    assert max(sizes) <= 8000
    assert max(sizes) - min(sizes) <= OVERHEAD


def test_a_link_keeps_8_mb_and_all_of_them_32_mb() -> None:
    buffers, megabyte = Buffers(FIRST), bytes(1024 * 1024)
    for link in range(6):
        kept = buffers.of(f"link {link}")
        for _ in range(9):
            kept.append("port/scale", megabyte)
        assert kept.status(0.0)["capacity_bytes"] == 8 * 1024 * 1024
        assert 7 * 1024 * 1024 <= kept.size <= 8 * 1024 * 1024 or link >= 4
    total = sum(buffers.of(f"link {link}").size for link in range(6))

    assert 31 * 1024 * 1024 <= total <= 32 * 1024 * 1024
