"""The order in which records are read: strictly, or what is new before what has waited."""

import asyncio
from collections.abc import Sequence

import pytest
from buffer_kit import in_memory
from hypothesis import given
from hypothesis import strategies as st

from gateway.buffer import Buffer, Record
from gateway.errors import LinkDown
from gateway.links._reading import NewestFirst, OldestFirst


def filled(*payloads: bytes) -> Buffer:
    buffer = in_memory()
    for payload in payloads:
        buffer.append("port/scale", payload)
    return buffer


def payloads(records: Sequence[Record]) -> list[bytes]:
    return [record.payload for record in records]


def numbers(records: Sequence[Record]) -> list[int]:
    return [record.number for record in records]


async def test_strictly_what_is_new_waits_behind_what_has_waited() -> None:
    buffer = filled(b"old 1", b"old 2")
    reader = OldestFirst(buffer)
    first = await reader.next(1)
    buffer.append("port/scale", b"new")
    rest = await reader.next(10)

    assert payloads([*first, *rest]) == [b"old 1", b"old 2", b"new"]
    assert [reader.waited(record) for record in [*first, *rest]] == [True, True, False]
    reader.done(numbers(first))
    assert buffer.confirmed == 1


async def test_what_is_new_goes_first_and_what_has_waited_follows_in_its_own_order() -> None:
    buffer = filled(b"old 1", b"old 2", b"old 3")
    reader = NewestFirst(buffer)
    given = [*await reader.next(1)]
    buffer.append("port/scale", b"new 1")
    buffer.append("port/scale", b"new 2")
    for _ in range(4):
        given += await reader.next(1)
    waiting = asyncio.ensure_future(reader.next(1))
    await asyncio.sleep(0)
    buffer.append("port/scale", b"new 3")
    given += await waiting

    assert payloads(given) == [b"old 1", b"new 1", b"new 2", b"old 2", b"old 3", b"new 3"]
    assert payloads([record for record in given if reader.waited(record)]) == [b"old 1", b"old 2", b"old 3"]
    for record in given:
        reader.done([record.number])
    assert buffer.records == 0


async def test_what_arrived_out_of_turn_does_not_come_again_with_the_next_connection() -> None:
    buffer = filled(b"old 1", b"old 2")
    reader = NewestFirst(buffer)
    await reader.next(1)
    buffer.append("port/scale", b"new 1")
    reader.done(numbers(await reader.next(1)))
    buffer.append("port/scale", b"new 2")
    again = NewestFirst(buffer)
    found = [*await again.next(10), *await again.next(10)]

    assert payloads(found) == [b"old 1", b"old 2", b"new 2"]


@pytest.mark.parametrize("order", [OldestFirst, NewestFirst])
async def test_when_older_records_come_to_light_the_session_ends_and_the_next_one_begins_with_them(
    order: type[OldestFirst | NewestFirst],
) -> None:
    buffer = filled(b"a", b"b")
    reader = order(buffer)
    reader.done(numbers(await reader.next(1)))
    buffer.rewind(confirmed=0, next_number=1)
    with pytest.raises(LinkDown, match="they go first"):
        await reader.next(10)

    assert payloads([*await order(buffer).next(10)]) == [b"b"]


@given(st.integers(0, 5), st.lists(st.sampled_from(["say", "read", "done", "session"]), max_size=60))
def test_in_any_case_each_record_arrives_and_the_buffer_is_empty_in_the_end(
    old: int, steps: list[str]
) -> None:
    asyncio.run(_in_any_case(old, steps))


async def _in_any_case(old: int, steps: list[str]) -> None:
    buffer = filled(*(b"old %d" % number for number in range(old)))
    reader, flying, arrived = NewestFirst(buffer), list[Record](), list[bytes]()
    for step in [*steps, *["read", "done"] * (len(steps) + old + 2)]:
        match step:
            case "say":
                buffer.append("port/scale", b"new")
            case "read" if buffer.records > len(flying):
                flying += await asyncio.wait_for(reader.next(3), 1)
            case "done" if flying:
                arrived.append(flying[0].payload)
                reader.done([flying.pop(0).number])
            case "session":
                reader, flying = NewestFirst(buffer), []
    while flying:
        arrived.append(flying[0].payload)
        reader.done([flying.pop(0).number])

    assert buffer.records == 0
    assert len(arrived) == old + steps.count("say")
