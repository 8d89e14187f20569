"""Which reads one transaction answers. A job is a letter; it is wanted as long as it is in `wanted`."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.sharing import ALL_UNITS, Answers, Read, Sharing

HOLDING = 3


class Case:
    """Jobs a, b, c, ... in the order in which they ask, by default each of its own connection."""

    def __init__(self) -> None:
        self.wanted: set[str] = set()
        self.sharing: Sharing[str] = Sharing(lambda job: job in self.wanted)

    def asks(self, job: str, read: Read, connection: str | None = None) -> None:
        self.wanted.add(job)
        self.sharing.wait(job, read, connection or job)


def span(start: int, many: int, unit: int = 1, code: int = HOLDING) -> Read:
    return Read(unit, code, start, many)


def reading(**reads: Read) -> Case:
    case = Case()
    for job, read in reads.items():
        case.asks(job, read)
    return case


def test_a_read_that_nobody_else_wants_is_alone() -> None:
    case = reading(a=span(0, 10))

    assert case.sharing.together("a") == ["a"]


def test_identical_reads_go_together_in_the_order_in_which_they_came() -> None:
    case = reading(a=span(0, 10), b=span(0, 10), c=span(0, 10))

    assert case.sharing.together("b") == ["b", "a", "c"]


def test_other_units_codes_and_registers_have_nothing_in_common() -> None:
    case = reading(a=span(0, 10), b=span(0, 10, unit=2), c=span(0, 10, code=4), d=span(5, 10))

    assert case.sharing.together("a") == ["a"]


def test_who_wants_a_part_goes_along() -> None:
    case = reading(a=span(0, 10), b=span(2, 3), c=span(9, 2), d=span(0, 10))

    assert case.sharing.together("a") == ["a", "d", "b"]


def test_who_wants_only_a_part_has_the_whole_read_that_waits() -> None:
    case = reading(small=span(2, 3), large=span(0, 10), larger=span(0, 20), beside=span(12, 4))

    assert case.sharing.together("small") == ["larger", "small", "large", "beside"]


def test_of_each_connection_one_goes_along() -> None:
    case = Case()
    case.asks("a", span(0, 10), "scada")
    case.asks("b", span(0, 10), "scada")
    case.asks("c", span(0, 10), "hmi")
    case.asks("d", span(0, 2), "hmi")

    assert case.sharing.together("a") == ["a", "c"]


def test_the_larger_read_of_ones_own_connection_is_another_read() -> None:
    case = Case()
    case.asks("a", span(2, 3), "scada")
    case.asks("b", span(0, 10), "scada")

    assert case.sharing.together("a") == ["a"]


def test_who_has_left_goes_nowhere() -> None:
    case = reading(a=span(0, 10), b=span(0, 10), large=span(0, 20))
    case.wanted -= {"b", "large"}

    assert case.sharing.together("a") == ["a"]


def test_whose_outcome_is_known_shares_nothing_any_more() -> None:
    case = reading(a=span(0, 10), b=span(0, 10))
    case.sharing.leave("a")

    assert case.sharing.together("b") == ["b"]


def test_nothing_is_shared_while_a_write_to_the_unit_waits_or_runs() -> None:
    case = reading(a=span(0, 10), b=span(0, 10), other=span(0, 10, unit=2), same=span(0, 10, unit=2))
    case.sharing.change_asked(1)

    assert not case.sharing.unchanging(1)
    assert case.sharing.together("a") == ["a"]
    assert case.sharing.together("other") == ["other", "same"]
    case.sharing.change_over(1)
    assert case.sharing.unchanging(1)
    assert case.sharing.together("a") == ["a", "b"]


def test_a_write_stands_between_those_before_and_those_behind_it_for_ever() -> None:
    case = reading(a=span(0, 10))
    case.sharing.change_asked(1)
    case.asks("b", span(0, 10))
    case.asks("c", span(0, 10))
    case.sharing.change_over(1)

    assert case.sharing.together("a") == ["a"]
    assert case.sharing.together("b") == ["b", "c"]


def test_a_broadcast_is_a_write_to_every_unit() -> None:
    case = reading(a=span(0, 10, unit=7))
    case.sharing.change_asked(ALL_UNITS)
    case.asks("b", span(0, 10, unit=7))

    assert not case.sharing.unchanging(7)
    case.sharing.change_over(ALL_UNITS)
    assert case.sharing.unchanging(7)
    assert case.sharing.together("a") == ["a"]


SPANS = st.builds(span, st.integers(0, 6), st.integers(1, 6), unit=st.integers(1, 2))
STEPS = st.lists(st.tuples(SPANS, st.integers(0, 3)) | st.sampled_from([1, 2]), min_size=1, max_size=12)


@settings(deadline=None)
@given(STEPS, st.data())
def test_whatever_waits_those_together_fit_together(
    steps: list[tuple[Read, int] | int], data: st.DataObject
) -> None:
    """A number is a write to that unit, which is over when the last has asked."""
    case, asked, epochs = Case(), {}, {1: 0, 2: 0}
    for job, step in zip(string.ascii_letters, steps, strict=False):
        match step:
            case int():
                epochs[step] += 1
                case.sharing.change_asked(step)
            case read, connection:
                asked[job] = read, connection, epochs[read.unit]
                case.asks(job, read, str(connection))
    for unit, writes in epochs.items():
        for _ in range(writes):
            case.sharing.change_over(unit)
    for job in data.draw(st.permutations(sorted(asked))):
        first, *others = together = case.sharing.together(job)
        assert job in together
        assert all(asked[first][0].covers(asked[other][0]) for other in others)
        assert len({(asked[one][0].unit, asked[one][2]) for one in together}) == 1
        assert len({asked[one][1] for one in together}) == len(together)
        case.sharing.leave(job)


def test_an_answer_is_known_for_so_long() -> None:
    answers = Answers(keep=0.2)
    answers.put(span(0, 10), b"ten", now=5.0)

    assert answers.find(span(0, 10), 5.1) == (span(0, 10), b"ten")
    assert answers.find(span(3, 7), 5.1) == (span(0, 10), b"ten")
    assert answers.find(span(3, 8), 5.1) is None
    assert answers.find(span(0, 10, unit=2), 5.1) is None
    assert answers.find(span(0, 10), 5.3) is None


def test_the_newest_of_several_answers_counts() -> None:
    answers = Answers(keep=0.2)
    answers.put(span(0, 10), b"old", now=5.0)
    answers.put(span(0, 20), b"new", now=5.1)
    answers.put(span(0, 10), b"newest", now=5.15)

    assert answers.find(span(0, 10), 5.16) == (span(0, 10), b"newest")
    assert answers.find(span(0, 11), 5.16) == (span(0, 20), b"new")


def test_a_unit_is_forgotten_alone_and_by_a_broadcast_all_are() -> None:
    answers = Answers(keep=1.0)
    for unit in (1, 2):
        answers.put(span(0, 1, unit=unit), b"x", now=0.0)
    answers.forget(1)

    assert answers.find(span(0, 1, unit=1), 0.1) is None
    assert answers.find(span(0, 1, unit=2), 0.1) is not None
    answers.forget(ALL_UNITS)
    assert answers.find(span(0, 1, unit=2), 0.1) is None


def test_who_keeps_nothing_knows_nothing() -> None:
    answers = Answers(keep=0.0)
    answers.put(span(0, 1), b"x", now=0.0)

    assert answers.find(span(0, 1), 0.0) is None


def test_no_more_than_some_answers_are_kept() -> None:
    answers = Answers(keep=60.0)
    for start in range(1000):
        answers.put(span(start, 1), b"x", now=0.0)

    assert answers.find(span(999, 1), 1.0) is not None
    assert answers.find(span(0, 1), 1.0) is None
