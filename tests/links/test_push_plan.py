"""Which registers go in which write: neighbours together, and never one that nobody named."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.links._push import Layout, Slot, Words, Write, clashes, plan
from gateway.wire.points import Codec, Table
from gateway.wire.writes import MOST

TYPES = {"uint16": 1, "float32": 2, "uint64": 4, "string(246)": 123}


def slot(address: int, type_name: str = "uint16", table: Table = Table.HOLDING) -> Slot:
    return Slot(f"{table} {address}", table, address, Codec(type=type_name))


def words(*slots: Slot) -> dict[Slot, Words]:
    """Each register is told its own address."""
    return {one: range(one.address, one.end) for one in slots}


def addresses(writes: list[Write]) -> list[list[int]]:
    return [[one.address for one in write.content] for write in writes]


def test_neighbours_share_a_write_and_a_gap_of_one_register_begins_another() -> None:
    writes = plan(words(slot(104), slot(100, "float32"), slot(102), slot(107), slot(105, "float32")))
    assert addresses(writes) == [[100, 102], [104, 105, 107]]
    assert writes[0].pdu == bytes.fromhex("10 0064 0003 06 0064 0065 0066")


def test_coils_and_registers_share_none() -> None:
    coils = [slot(address, "bool", Table.COIL) for address in (0, 1, 2)]
    content = words(slot(3), slot(2)) | dict.fromkeys(coils, (1,))
    assert addresses(plan(content)) == [[0, 1, 2], [2, 3]]
    assert [write.pdu[0] for write in plan(content)] == [15, 16]


def test_one_that_spoils_a_write_for_its_neighbours_is_written_alone() -> None:
    slots = [slot(address) for address in range(5)]
    assert addresses(plan(words(*slots), apart={slots[2]})) == [[0, 1], [2], [3, 4]]


def test_the_time_is_written_last_together_with_its_neighbours() -> None:
    slots = [slot(0), slot(10), slot(11), slot(20)]
    assert addresses(plan(words(*slots), last=slots[2])) == [[0], [20], [10, 11]]


def test_a_write_can_be_taken_apart() -> None:
    (write,) = plan(words(slot(0), slot(1, "float32")))
    assert [one.pdu for one in write.alone] == [
        bytes.fromhex("10 0000 0001 02 0000"),
        bytes.fromhex("10 0001 0002 04 0001 0002"),
    ]


steps = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(sorted(TYPES))), min_size=1, max_size=80)


@given(steps, st.randoms())
def test_everything_is_written_once_and_nothing_else(steps: list[tuple[int, str]], random: Random) -> None:
    slots, address = [], 0
    for gap, type_name in steps:
        slots.append(slot(address + gap, type_name))
        address = slots[-1].end
    shuffled = sorted(slots, key=lambda _: random.random())

    writes = plan(words(*shuffled))

    told: dict[int, int] = {}
    for write in writes:
        first, count = int.from_bytes(write.pdu[1:3], "big"), int.from_bytes(write.pdu[3:5], "big")
        values = [int.from_bytes(write.pdu[at : at + 2], "big") for at in range(6, len(write.pdu), 2)]
        assert len(values) == count <= MOST[Table.HOLDING]
        assert not told.keys() & set(range(first, first + count))
        told |= dict(enumerate(values, first))
    assert told == {register: register for one in slots for register in range(one.address, one.end)}


@given(steps)
def test_two_writes_are_never_made_where_one_would_do(steps: list[tuple[int, str]]) -> None:
    slots, address = [], 0
    for gap, type_name in steps:
        slots.append(slot(address + gap, type_name))
        address = slots[-1].end
    for one, other in pairwise(plan(words(*slots))):
        *_, last = one.content
        first, *_ = other.content
        together = last.end - next(iter(one.content)).address + first.codec.registers
        assert last.end < first.address or together > MOST[Table.HOLDING]


def test_slots_on_the_same_registers_clash_and_those_of_another_table_do_not() -> None:
    one, two, three = slot(10, "uint64"), slot(13), slot(14)
    coil = slot(10, "bool", Table.COIL)
    assert [*clashes([one, two, three, coil])] == [(two, one)]
    assert [*clashes([two, three, one, coil])] == [(one, two)]


def test_a_layout_knows_all_that_is_written() -> None:
    one, two, time, alive = slot(1), slot(2), slot(3), slot(4)
    assert [*Layout({"a": [one], "b": [two]}).slots] == [one, two]
    assert [*Layout({"a": [one]}, time, alive).slots] == [one, time, alive]
