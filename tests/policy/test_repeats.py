"""What is a repeat over UDP, and what it is answered."""

import pytest

from gateway.policy.repeats import Repeats

ON, OFF, READ = "unit 1: coil 5 on", "unit 1: coil 5 off", "unit 1: read"
DONE = b"done"


def kept(now: float = 0.0) -> Repeats:
    """A client whose request 7, to switch on, was done and answered."""
    repeats = Repeats()
    assert repeats.answer(7, ON, now) is None
    repeats.keep(7, ON, DONE, now)
    return repeats


@pytest.mark.parametrize(
    ("after", "answer"), [(0.2, DONE), (1.0, DONE), (9.9, DONE), (10.0, None), (60.0, None)]
)
def test_the_same_request_gets_its_answer_again_for_ten_seconds(after: float, answer: bytes | None) -> None:
    assert kept().answer(7, ON, after) == answer


def test_it_may_come_again_and_again() -> None:
    repeats = kept()
    assert [repeats.answer(7, ON, second) for second in range(1, 10)] == [DONE] * 9


def test_one_that_follows_at_once_is_told_nothing_so_that_two_servers_cannot_talk_for_ever() -> None:
    repeats = kept()
    assert [repeats.answer(7, ON, now) for now in (0.0, 0.01, 0.19)] == [b""] * 3
    assert repeats.answer(7, ON, 0.2) == DONE
    assert repeats.answer(7, ON, 0.39) == b""
    assert repeats.answer(7, ON, 0.4) == DONE


def test_an_answer_that_was_none_is_repeated_as_none() -> None:
    repeats = Repeats()
    repeats.keep(7, ON, b"", 0.0)
    assert repeats.answer(7, ON, 1.0) == b""


def test_the_same_wish_with_its_own_number_is_no_repeat() -> None:
    assert kept().answer(8, ON, 1.0) is None


def test_a_repeat_is_known_behind_other_requests() -> None:
    repeats = kept()
    for number in range(8, 30):
        assert repeats.answer(number, READ, 1.0) is None
    assert repeats.answer(7, ON, 2.0) == DONE


@pytest.mark.parametrize("numbers", [(0, 0, 0, 0), (7, 7, 7, 7), (1, 2, 1, 2), (3, 4, 3, 3)])
def test_a_client_that_does_not_count_is_always_served(numbers: tuple[int, ...]) -> None:
    """Its second "on" may well be meant: something else had the same number in between."""
    repeats = Repeats()
    for number, request in zip(numbers, (ON, READ, OFF, ON), strict=True):
        assert repeats.answer(number, request, 0.0) is None
        repeats.keep(number, request, DONE, 0.0)


def test_a_client_is_seen_not_to_count_by_what_it_reads_too() -> None:
    repeats = Repeats()
    for request in (READ, ON):
        assert repeats.answer(1, request, 0.0) is None
    repeats.keep(1, ON, DONE, 0.0)
    assert repeats.answer(1, ON, 1.0) is None


def test_numbers_may_come_round_again() -> None:
    repeats = kept()
    assert repeats.answer(8, READ, 100.0) is None
    assert repeats.answer(7, OFF, 100.0) is None
    repeats.keep(7, OFF, DONE, 100.0)
    assert repeats.answer(7, OFF, 101.0) == DONE


def test_the_last_sixteen_are_kept() -> None:
    repeats = Repeats()
    for number in range(17):
        repeats.keep(number, ON, bytes((number,)), 0.0)
    assert repeats.answer(0, ON, 1.0) is None
    assert [repeats.answer(number, ON, 1.0) for number in range(1, 17)] == [bytes((n,)) for n in range(1, 17)]
