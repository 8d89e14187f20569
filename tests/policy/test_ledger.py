"""How much of the buffer has arrived, by the bytes that TCP has acknowledged."""

import tracemalloc
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.ledger import Ledger, Place

SCALE = "port/scale"


def ledger(*sizes: int, count: int = 0, skip: int = 0, by_frames: bool = False) -> Ledger:
    """Records 11, 12, ... with seq 101, 102, ... are told next."""
    made = Ledger(count, by_frames=by_frames)
    for place, size in enumerate(sizes):
        made.record(11 + place, SCALE, 101 + place, size, skip if place == 0 else 0)
    return made


def test_a_record_is_done_when_all_of_it_has_arrived() -> None:
    book = ledger(10, 20, count=1000)
    book.wrote(1030, 30)
    assert book.settle(1009) == []
    assert book.settle(1010) == [11]
    assert (book.open, book.place) == (True, None)
    assert book.settle(1030) == [12]
    assert (book.open, book.place) == (False, None)


def test_the_place_is_in_the_middle_of_a_record() -> None:
    book = ledger(10, 20)
    book.wrote(30, 30)
    assert book.settle(13) == [11]
    assert book.place == Place(SCALE, 102, 3)


def test_a_record_that_goes_on_where_another_connection_left_off_keeps_its_place() -> None:
    book = ledger(10, skip=4)
    assert book.place == Place(SCALE, 101, 4)
    book.wrote(6, 6)
    assert book.settle(1) == []
    assert book.place == Place(SCALE, 101, 5)
    assert book.settle(6) == [11]


def test_words_of_our_own_are_not_the_buffers() -> None:
    book = ledger(10, 10)
    book.wrote(4, 0)
    book.wrote(9, 5)
    book.wrote(13, 0)
    book.wrote(28, 15)
    for count, place in ((4, None), (6, 2), (9, 5), (11, 5), (13, 5), (14, 6), (17, 9)):
        assert book.settle(count) == []
        assert book.place == (place and Place(SCALE, 101, place))
    assert book.settle(19) == [11]
    assert book.place == Place(SCALE, 102, 1)


def test_words_of_our_own_do_not_heap_up() -> None:
    book = ledger(10)
    tracemalloc.start()
    try:
        for count in range(1, 100_001):
            book.wrote(count, 0)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000  # of 13,000,000
    finally:
        tracemalloc.stop()
    book.wrote(100_010, 10)
    assert book.settle(100_009) == []
    assert book.settle(100_010) == [11]


def test_what_tls_has_made_longer_counts_as_a_whole() -> None:
    book = ledger(10, 10, 10)
    book.wrote(32, 10)
    book.wrote(74, 20)
    assert book.settle(31) == []
    assert book.place is None
    assert book.settle(73) == [11]
    assert book.settle(74) == [12, 13]


def test_what_never_reached_the_wire_never_arrives() -> None:
    book = ledger(10)
    book.wrote(0, 10)
    assert book.settle(0) == book.settle(100) == []
    assert book.place is None


def test_a_connection_whose_handshake_is_not_acknowledged_has_less_than_nothing() -> None:
    book = ledger(10)
    book.wrote(10, 10)
    assert book.settle(-300) == []
    assert book.place is None


def test_by_frames_the_place_is_where_one_ends() -> None:
    book = ledger(10, 10, 10, by_frames=True)
    book.frame_ends(4)
    book.wrote(30, 30)
    assert book.settle(15) == []
    assert book.place == Place(SCALE, 101, 4)
    book.frame_ends(14)
    assert book.settle(15) == [11]
    assert book.place == Place(SCALE, 102, 4)
    book.frame_ends(30)
    assert book.settle(29) == []
    assert book.settle(30) == [12, 13]
    assert not book.open


writes = st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(0, 25)), max_size=12)


@given(st.lists(st.integers(1, 20), max_size=8), writes, st.data())
def test_it_is_what_counting_byte_by_byte_gives(
    sizes: list[int], said: list[tuple[int, bool, int]], data: st.DataObject
) -> None:
    """Each byte of the stream has the buffer's bytes that have arrived with it."""
    book, left, told, arrived = ledger(*sizes), sum(sizes), 0, [0]
    for size, ours, more in said:
        size = 0 if ours else min(size, left)
        left -= size
        arrived += [told + byte + 1 if not more else told for byte in range(size + more)]
        told += size
        arrived[-1] = told
        book.wrote(len(arrived) - 1, size)
    done: list[int] = []
    for count in sorted(data.draw(st.lists(st.integers(0, len(arrived) - 1), max_size=6))):
        done += book.settle(count)
        ends = [*accumulate(sizes)]
        whole = [11 + place for place, end in enumerate(ends) if end <= arrived[count]]
        assert done == whole
        into = arrived[count] - (ends[len(whole) - 1] if whole else 0)
        assert book.place == (Place(SCALE, 101 + len(whole), into) if into else None)


def test_what_must_not_be_told_twice_has_arrived_as_soon_as_any_of_it_has() -> None:
    book = Ledger(0, once=True)
    book.record(11, SCALE, 101, 10)
    book.record(12, SCALE, 102, 10)
    book.wrote(32, 10)
    book.wrote(42, 10)
    assert book.settle(0) == []
    assert book.settle(1) == [11]
    assert book.settle(35) == []
    assert book.place == Place(SCALE, 102, 3)
