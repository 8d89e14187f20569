"""Which registers are fetched together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.model import DeviceConfig
from gateway.devices.plan import Read, plan, split
from gateway.ports import modbus_ascii, modbus_rtu
from gateway.wire.points import Table

LINE = {"tty": "/dev/ttyS1", "mode": "modbus-rtu", "baudrate": 9600, "format": "8E1"}
WIDTHS = {"uint16": 1, "float32": 2, "int64": 4, "string(9)": 5}


def device(points: dict[str, Any], **keys: Any) -> DeviceConfig:
    return DeviceConfig.model_validate({"port": "meters", "unit_id": 1, "points": points, **keys}).with_model(
        None
    )


def spans(config: DeviceConfig) -> list[tuple[str, int, int]]:
    return [(read.table.value, read.address, read.count) for read in plan(config)]


def holding(*addresses: int, **keys: Any) -> DeviceConfig:
    return device({f"p{address}": {"holding": address} for address in addresses}, **keys)


@st.composite
def configs(draw: st.DrawFn) -> DeviceConfig:
    register = st.builds(
        lambda table, address, kind: {table: address, "type": kind},
        st.sampled_from(["holding", "input"]),
        st.integers(0, 300),
        st.sampled_from(sorted(WIDTHS)),
    )
    bit = st.builds(
        lambda table, address: {table: address},
        st.sampled_from(["coil", "discrete_input"]),
        st.integers(0, 3000),
    )
    points = draw(st.lists(register | bit, min_size=1, max_size=40))
    return device(
        {f"p{number}": point for number, point in enumerate(points)},
        max_registers=draw(st.integers(5, 125)),
        max_gap=draw(st.integers(0, 10)),
    )


@given(configs())
def test_every_point_is_in_exactly_one_read_and_whole(config: DeviceConfig) -> None:
    reads = plan(config)

    assert sorted(slot.name for read in reads for slot in read.points) == sorted(config.points)
    for read in reads:
        for slot in read.points:
            point = config.points[slot.name]
            assert (read.table, slot.address) == (point.table, point.address)
            assert read.address <= slot.address < slot.end <= read.address + read.count


@given(configs())
def test_no_read_fetches_more_than_the_device_gives(config: DeviceConfig) -> None:
    for read in plan(config):
        assert read.count <= config.max_registers * (16 if read.table.bits else 1)


def busy(config: DeviceConfig, **keys: object) -> float:
    """Seconds of one round on an RTU line."""
    line = modbus_rtu.Config.model_validate(LINE | keys)
    return line.busy([read.request for read in plan(config)])


@given(configs())
def test_merging_never_costs_more_than_a_read_for_each_point(config: DeviceConfig) -> None:
    alone = [device({name: point.model_dump(exclude_unset=True)}) for name, point in config.points.items()]

    assert busy(config) <= sum(busy(one) for one in alone) + 1e-9


@given(configs())
def test_a_refused_read_is_split_until_nothing_can_be_cut(config: DeviceConfig) -> None:
    def cut(read: Read) -> list[Read]:
        parts = split(read)
        return [read] if parts == (read,) else [piece for part in parts for piece in cut(part)]

    for read in plan(config):
        pieces = cut(read)
        assert [slot for piece in pieces for slot in piece.points] == list(read.points)
        ends = [piece.address + piece.count for piece in pieces]
        assert all(end <= piece.address for end, piece in zip(ends, pieces[1:], strict=False))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (holding(0, 1, 2), [("holding", 0, 3)]),
        (holding(0, 11), [("holding", 0, 12)]),  # a gap of 10 costs as much as a second read
        (holding(0, 12), [("holding", 0, 1), ("holding", 12, 1)]),
        (holding(0, 12, max_gap=20), [("holding", 0, 13)]),
        (holding(0, 2, max_gap=0), [("holding", 0, 1), ("holding", 2, 1)]),
        (holding(9, 0, max_registers=9), [("holding", 0, 1), ("holding", 9, 1)]),
        (holding(*range(130)), [("holding", 0, 125), ("holding", 125, 5)]),
        (device({"a": {"holding": 0}, "b": {"input": 1}}), [("holding", 0, 1), ("input", 1, 1)]),
        (device({"a": {"coil": 0}, "b": {"coil": 160}}), [("coil", 0, 161)]),
        (device({"a": {"coil": 0}, "b": {"coil": 162}}), [("coil", 0, 1), ("coil", 162, 1)]),
        (device({"a": {"holding": 4, "bit": 0}, "b": {"holding": 4, "bit": 7}}), [("holding", 4, 1)]),
        (
            device(
                {"text": {"holding": 0, "type": "string(20)"}, "part": {"holding": 3}, "next": {"holding": 9}}
            ),
            [("holding", 0, 10)],
        ),
    ],
)
def test_neighbours_share_a_read(config: DeviceConfig, expected: list[tuple[str, int, int]]) -> None:
    assert spans(config) == expected


def test_a_refused_read_is_split_at_its_gaps_first() -> None:
    (read,) = plan(holding(0, 1, 3, 4, 9))

    assert [(part.address, part.count) for part in split(read)] == [(0, 2), (3, 2), (9, 1)]


def test_a_refused_read_without_gaps_is_halved() -> None:
    (read,) = plan(holding(0, 1, 2, 3))

    assert [(part.address, part.count) for part in split(read)] == [(0, 2), (2, 2)]


def test_points_that_overlap_are_never_cut_apart() -> None:
    (read,) = plan(device({"text": {"holding": 0, "type": "string(8)"}, "part": {"holding": 2}}))

    assert split(read) == (read,)


def test_a_read_that_was_refused_in_parts_too_is_left_whole() -> None:
    (read,) = plan(holding(0, 1))
    whole = Read(read.table, read.points, whole=True)

    assert split(whole) == (whole,)


@pytest.mark.parametrize(
    ("config", "line", "expected"),
    [
        (holding(0), {"baudrate": 9600}, (8 + 7 + 7) * 11 / 9600),
        (holding(*range(10)), {"baudrate": 19200}, (8 + 25 + 7) * 11 / 19200),
        (holding(*range(10)), {"baudrate": 115200}, (8 + 25) * 11 / 115200 + 0.0035),
        (holding(*range(10)), {"baudrate": 9600, "frame_gap": "0s"}, (8 + 25) * 11 / 9600),
        (device({"a": {"coil": 0}, "b": {"coil": 8}}), {"frame_gap": "0s"}, (8 + 7) * 11 / 9600),
        (holding(0, 100), {"frame_gap": "1ms"}, 2 * (8 + 7) * 11 / 9600 + 0.004),
    ],
)
def test_a_round_keeps_the_line_busy_for(
    config: DeviceConfig, line: dict[str, object], expected: float
) -> None:
    assert busy(config, **line) == pytest.approx(expected)


def test_a_read_says_what_it_fetches() -> None:
    assert [str(read) for read in plan(holding(0, 1))] == [f"{Table.HOLDING} 0..1"]


def test_an_ascii_line_needs_twice_the_characters() -> None:
    line = modbus_ascii.Config.model_validate(LINE | {"mode": "modbus-ascii"})
    requests = [read.request for read in plan(holding(0, 1))]  # 17 and 19 characters of 10 bits, two gaps

    assert line.busy(requests) == pytest.approx((36 + 2) * 10 / 9600)
