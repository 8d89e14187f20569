"""Order, tries and the window of what goes up, against brokers of every mood."""

from collections import Counter
from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.buffer import Record
from gateway.links._outbox import WAITS, Answer, Fate, Outbox, Parcel

TAKEN, REFUSED, IMPOSSIBLE = Answer
HOUR = 3600.0


class Line:
    """One outbox, a buffer before it and a broker behind it, which answers in the order of what it gets.

    `says` is asked at each try with the record and the time.
    """

    def __init__(self, says: Callable[[Record, float], Answer], window: int = 100) -> None:
        self.says, self.now, self.refused = says, 0.0, set[str]()
        self.outbox = Outbox(window, self.refused)
        self.tried: list[tuple[float, str]] = []  # when, which
        self.taken: list[str] = []
        self.aside: list[str] = []
        self.confirmed: list[int] = []
        self._under_way: list[Parcel] = []
        self._seqs: Counter[str] = Counter()
        self._last = 0

    def keeps(self, *streams: str) -> None:
        """A record of each; the first of "a" is called a1."""
        for stream in streams:
            self._last += 1
            self._seqs[stream] += 1
            self.outbox.add(Record(self._last, stream, self._seqs[stream], 0.0, True, b""))

    def sends(self, most: int = 1000) -> int:
        sent = 0
        while sent < most and (parcel := self.outbox.next(self.now)):
            self._under_way.append(parcel)
            self.tried.append((self.now, _name(parcel.record)))
            sent += 1
        return sent

    def answers(self, most: int = 1000) -> None:
        for _ in range(min(most, len(self._under_way))):
            parcel = self._under_way.pop(0)
            answer = self.says(parcel.record, self.now)
            if answer is TAKEN:
                self.taken.append(_name(parcel.record))
            self.outbox.answered(parcel, answer, self.now)
        for parcel in self.outbox.leave():
            self.confirmed.append(parcel.record.number)
            if parcel.fate is Fate.ASIDE:
                self.aside.append(_name(parcel.record))

    def runs(self, until: float = HOUR) -> None:
        """Until nothing happens any more, or until then."""
        while True:
            while self.sends():
                self.answers()
            if self.outbox.due() > until:
                return
            self.now = max(self.now, self.outbox.due())


def _name(record: Record) -> str:
    return f"{record.stream}{record.seq}"


def refuses(*names: str, before: float = HOUR) -> Callable[[Record, float], Answer]:
    """These records, or these streams, until then."""
    return lambda record, now: (
        REFUSED if {_name(record), record.stream} & {*names} and now < before else TAKEN
    )


def test_what_is_taken_goes_once_and_is_confirmed_in_its_order() -> None:
    line = Line(refuses())
    line.keeps("a", "b", "a", "a")
    line.runs()

    assert [name for _, name in line.tried] == line.taken == ["a1", "b1", "a2", "a3"]
    assert line.confirmed == [1, 2, 3, 4]
    assert line.aside == []


def test_a_refused_record_has_three_tries_and_then_goes_aside() -> None:
    line = Line(refuses("a1"))
    line.keeps("a")
    line.runs()

    assert line.tried == [(0.0, "a1"), (WAITS[0], "a1"), (sum(WAITS), "a1")]
    assert (line.taken, line.aside, line.confirmed) == ([], ["a1"], [1])
    assert line.refused == {"a"}


@pytest.mark.parametrize("granted", [0.5, 3.0])
def test_what_is_allowed_in_time_arrives_and_in_order(granted: float) -> None:
    line = Line(refuses("a", before=granted))
    line.keeps("a", "a", "a")
    line.sends()
    line.answers()
    line.keeps("a")
    line.runs()

    assert line.taken == ["a1", "a2", "a3", "a4"]
    assert line.aside == []
    assert line.refused == set()


def test_of_its_last_try_it_is_known_since_when_it_was_refused() -> None:
    line = Line(refuses("a"))
    line.now = 7.0
    line.keeps("a", "a")
    known = []
    for _ in range(3):
        parcel = line.outbox.next(line.now)
        assert parcel is not None
        known.append(line.outbox.tried_since(parcel))
        line.outbox.answered(parcel, REFUSED, line.now)
        line.now = line.outbox.due()
    assert known == [None, None, 7.0]


def test_what_is_behind_a_refused_record_waits_and_other_streams_go_on() -> None:
    line = Line(refuses("a", before=3.0))
    line.keeps("a", "b")
    line.sends()
    line.answers()
    line.keeps("a", "b", "c")
    line.runs(until=2.0)

    assert line.taken == ["b1", "b2", "c1"]
    assert [name for _, name in line.tried] == ["a1", "b1", "b2", "c1", "a1"]
    assert line.confirmed == []  # in order: a1 is before all of them
    line.runs()
    assert line.taken[3:] == ["a1", "a2"]
    assert line.confirmed == [1, 2, 3, 4, 5]


def test_what_came_back_with_a_record_that_is_taken_in_the_end_has_tries_of_its_own() -> None:
    line = Line(lambda record, now: REFUSED if now < 3 or record.seq == 2 else TAKEN)
    line.keeps("a", "a")
    line.runs()

    assert (line.taken, line.aside) == (["a1"], ["a2"])
    assert [at for at, name in line.tried if name == "a2"] == [0.0, 6.0, 6.0 + WAITS[0], 6.0 + sum(WAITS)]


def test_while_the_answer_to_a_new_try_is_awaited_nothing_is_due() -> None:
    line = Line(refuses("a"))
    line.keeps("a", "a")
    assert line.outbox.due() < 0
    line.sends(1)
    line.answers()
    assert line.outbox.due() == WAITS[0]
    line.now = 2.0
    assert line.sends() == 1
    assert line.outbox.due() == inf


def test_a_stream_that_stays_refused_has_one_try_for_each_of_its_next_records() -> None:
    line = Line(refuses("a"))
    line.keeps("a", "a", "a")
    line.runs()
    begun = line.now
    line.keeps("a", "b", "a")
    line.runs()

    assert line.aside == ["a1", "a2", "a3", "a4", "a5"]
    assert line.now == begun  # nobody waited
    assert [name for at, name in line.tried if at == begun][-3:] == ["a4", "b1", "a5"]


def test_a_stream_that_is_taken_again_gets_its_tries_back() -> None:
    line = Line(refuses("a1", "a3"))
    for _ in range(3):
        line.keeps("a")
        line.runs()

    assert (line.taken, line.aside) == (["a2"], ["a1", "a3"])
    assert Counter(name for _, name in line.tried) == {"a1": 3, "a2": 1, "a3": 3}


def test_a_record_that_was_overtaken_goes_aside_for_the_sake_of_the_order() -> None:
    line = Line(refuses("a2", before=0.5))
    line.keeps("a", "a", "a")
    line.runs()

    assert (line.taken, line.aside) == (["a1", "a3"], ["a2"])
    assert line.now == 0.0


def test_a_record_that_can_never_be_taken_goes_aside_at_once() -> None:
    line = Line(lambda record, now: IMPOSSIBLE if record.seq == 2 else TAKEN)
    line.keeps("a", "a", "a")
    line.runs()

    assert (line.taken, line.aside, line.now) == (["a1", "a3"], ["a2"], 0.0)
    assert line.refused == set()


def test_an_impossible_record_behind_a_refused_one_changes_nothing_for_that_one() -> None:
    line = Line(lambda record, now: [REFUSED, IMPOSSIBLE][record.seq - 1] if now < 3 else TAKEN)
    line.keeps("a", "a")
    line.runs()

    assert (line.taken, line.aside) == (["a1"], ["a2"])
    assert line.now == sum(WAITS)


def test_behind_one_that_proves_impossible_nothing_waits_and_all_have_their_tries() -> None:
    moods = {1: [REFUSED, IMPOSSIBLE], 2: [REFUSED, REFUSED, TAKEN]}
    line = Line(lambda record, now: moods[record.seq].pop(0))
    line.keeps("a")
    line.sends()
    line.answers()
    line.keeps("a")
    line.runs()

    assert (line.taken, line.aside) == (["a2"], ["a1"])
    assert [at for at, name in line.tried if name == "a2"] == [WAITS[0], 2 * WAITS[0], WAITS[0] + sum(WAITS)]


def test_what_is_not_to_be_sent_leaves_in_its_turn_only() -> None:
    line = Line(refuses())
    line.outbox.add(Record(1, "a", 1, 0.0, True, b""))
    line.outbox.add(Record(2, "a", 2, 0.0, True, b""), aside=True)
    parcel = line.outbox.next(0.0)
    assert parcel is not None
    assert line.outbox.next(0.0) is None
    assert [*line.outbox.leave()] == []
    line.outbox.answered(parcel, TAKEN, 0.0)

    assert [parcel.fate for parcel in line.outbox.leave()] == [Fate.DELIVERED, Fate.ASIDE]


def test_no_more_is_held_than_the_window_whoever_waits_for_whom() -> None:
    line = Line(refuses("a"), window=10)
    line.keeps("a")
    line.sends()
    line.answers()
    line.keeps(*"b" * 9)
    line.sends()
    line.answers()

    assert len(line.taken) == 9
    assert line.outbox.room == 0
    line.runs()
    assert line.outbox.room == 10


STREAMS = st.lists(st.sampled_from("aaabc"), max_size=30)
MOODS = st.lists(st.sampled_from([TAKEN, TAKEN, TAKEN, REFUSED, REFUSED, IMPOSSIBLE]), min_size=1, max_size=8)
STEPS = st.lists(
    st.tuples(st.sampled_from(["keeps", "sends", "answers", "waits"]), st.integers(1, 5)), max_size=80
)


@given(MOODS, STEPS, STREAMS)
def test_every_record_is_dealt_with_once_in_order_and_no_stream_is_stuck(
    moods: list[Answer], steps: list[tuple[str, int]], streams: list[str]
) -> None:
    tries = Counter[str]()

    def says(record: Record, now: float) -> Answer:
        tries[_name(record)] += 1
        return moods[(record.number + tries[_name(record)]) % len(moods)]

    line, kept = Line(says), [*streams]
    for step, number in steps:
        match step:
            case "keeps":
                line.keeps(*kept[:number])
                del kept[:number]
            case "sends":
                line.sends(number)
            case "answers":
                line.answers(number)
            case "waits":
                line.now += number
    line.answers()  # `runs` sends first
    line.keeps(*kept)
    line.runs()

    assert line.outbox.room == 100
    assert line.confirmed == [*range(1, len(streams) + 1)]
    assert sorted(line.taken + line.aside) == sorted(
        f"{stream}{streams[: place + 1].count(stream)}" for place, stream in enumerate(streams)
    )
    for stream in "abc":
        seqs = [int(name[1:]) for name in line.taken if name[0] == stream]
        assert seqs == sorted(seqs)
