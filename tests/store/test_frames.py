"""The frame: what goes in comes out, and garbage is nothing."""

from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from gateway.buffer import Record
from gateway.store.frames import SMALLEST, pack, scan, unpack

RECORDS = st.builds(
    Record,
    number=st.integers(0, 2**64 - 1),
    stream=st.text(max_size=60),
    seq=st.integers(0, 2**64 - 1),
    at=st.floats(1e9, 4e9),
    clock_set=st.booleans(),
    payload=st.binary(max_size=200),
)
EXAMPLE = Record(7, "hall/scale", 5, 1_700_000_000.123456, True, b"+ 12.3 kg\r\n")


@given(RECORDS)
def test_a_record_comes_out_as_it_went_in(record: Record) -> None:
    assert unpack(pack(record)) == record
    assert unpack(memoryview(b"before" + pack(record) + b"behind"), 6) == record


@given(st.floats(0, 1e9))
def test_a_clock_that_was_never_set_is_kept_to_the_nanosecond(at: float) -> None:
    back = unpack(pack(EXAMPLE._replace(at=at, clock_set=False)))
    assert back is not None
    assert isclose(back.at, at, abs_tol=1e-9)
    assert not back.clock_set


def test_the_layout_is_what_the_module_says() -> None:
    frame = pack(EXAMPLE._replace(at=2.5))
    assert len(frame) == SMALLEST + len(EXAMPLE.stream) + len(EXAMPLE.payload)
    assert frame[:4] == b"\xf5SG1"
    assert int.from_bytes(frame[4:8], "little") == len(frame)
    assert int.from_bytes(frame[12:20], "little") == 7
    assert int.from_bytes(frame[20:28], "little") == 5
    assert int.from_bytes(frame[28:36], "little") == 2_500_000_000
    assert frame[36:38] == bytes([1, len("hall/scale")])
    assert frame[38:] == b"hall/scale+ 12.3 kg\r\n"


@given(st.data())
def test_a_frame_with_any_bit_changed_or_any_byte_cut_off_does_not_exist(data: st.DataObject) -> None:
    frame = bytearray(pack(EXAMPLE))
    place = data.draw(st.integers(0, len(frame) - 1))
    assert unpack(bytes(frame[:place])) is None
    frame[place] ^= data.draw(st.integers(1, 255))
    assert unpack(bytes(frame)) is None


@given(st.binary(max_size=300), st.integers(0, 300))
def test_garbage_is_nothing(garbage: bytes, start: int) -> None:
    assert unpack(b"\xf5SG1" + garbage, start) is None
    assert list(scan(garbage)) == []


@given(st.lists(RECORDS, max_size=8), st.lists(st.binary(max_size=50), min_size=9, max_size=9))
def test_frames_are_found_between_whatever_lies_there(records: list[Record], rubbish: list[bytes]) -> None:
    frames = [pack(record) for record in records]
    data = rubbish[0] + b"".join(frame + between for frame, between in zip(frames, rubbish[1:], strict=False))
    assert [found.record for found in scan(data)] == records
    assert [found.frame for found in scan(memoryview(data))] == frames


@given(st.lists(RECORDS, min_size=1, max_size=6), st.data())
def test_one_damaged_frame_costs_no_other(records: list[Record], data: st.DataObject) -> None:
    frames = [bytearray(pack(record)) for record in records]
    victim = data.draw(st.integers(0, len(frames) - 1))
    place = data.draw(st.integers(0, len(frames[victim]) - 1))
    frames[victim][place] ^= data.draw(st.integers(1, 255))
    left = records[:victim] + records[victim + 1 :]
    assert [found.record for found in scan(b"".join(frames))] == left


def test_a_frame_inside_a_payload_is_payload() -> None:
    outer = EXAMPLE._replace(payload=pack(EXAMPLE))
    assert [found.record for found in scan(pack(outer))] == [outer]
