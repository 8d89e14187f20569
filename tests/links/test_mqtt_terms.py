"""What the mqtt link makes of the end of a session."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.buffer import Record
from gateway.errors import LinkDown
from gateway.links._terms import Rivalry, Suspects, TakenOver, down

TOLD = down("the broker ended the session", 0x8E, "another client with the same client_id has connected")
CLOSED = LinkDown("the broker closed the connection", detected_after=0.5, unacked=7)
SILENT = LinkDown("no round trip for 18.5 s", detected_after=18.5)
NAMED = 'another client uses our client_id "gw-7": give each its own'
ASKED = 'the broker closed the connection again and again: does another client use our client_id "gw-7"?'


def told(rivalry: Rivalry, lived: float) -> LinkDown:
    return rivalry.judged(TOLD, lived, hung_up=False, client_id="gw-7")


def closed(rivalry: Rivalry, lived: float) -> LinkDown:
    return rivalry.judged(CLOSED, lived, hung_up=True, client_id="gw-7")


def test_who_is_taken_over_once_tries_again_as_after_any_loss() -> None:
    assert isinstance(TOLD, TakenOver)
    assert told(Rivalry(), 86400.0) is TOLD
    assert TOLD.wait_at_least == 0


def test_who_is_taken_over_again_within_30_s_waits_for_somebody() -> None:
    rivalry = Rivalry()
    told(rivalry, 86400.0)
    for _ in range(3):
        judged = told(rivalry, 29.0)
        assert (str(judged), judged.wait_at_least) == (NAMED, 60)


def test_a_session_that_lasted_ends_the_fight() -> None:
    rivalry = Rivalry()
    assert [str(told(rivalry, lived)) == NAMED for lived in (1.0, 2.0, 30.0, 31.0, 5.0)] == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_a_broker_that_only_closes_is_asked_about_after_two_short_sessions() -> None:
    rivalry = Rivalry()
    assert closed(rivalry, 86400.0) is CLOSED  # a restart, perhaps
    assert closed(rivalry, 1.0) is CLOSED
    judged = closed(rivalry, 29.0)
    assert (str(judged), judged.wait_at_least) == (ASKED, 60)
    assert (judged.detected_after, judged.unacked) == (0.5, 7)
    assert closed(rivalry, 30.0) is CLOSED


@given(st.lists(st.tuples(st.sampled_from([TOLD, CLOSED, SILENT]), st.floats(0, 60)), max_size=20))
def test_only_what_another_client_may_have_done_is_blamed_on_it_and_never_the_first_time(
    ends: list[tuple[LinkDown, float]],
) -> None:
    rivalry = Rivalry()
    for place, (end, lived) in enumerate(ends):
        judged = rivalry.judged(end, lived, hung_up=end is CLOSED, client_id="gw-7")
        if judged is not end:
            assert place > 0
            assert end is not SILENT
            assert lived < 30
            assert "client_id" in str(judged)


@pytest.mark.parametrize("code", [0x8B, 0x97, 0x9F])
def test_what_passes_by_itself_waits_for_nobody(code: int) -> None:
    assert down("broker refused", code, "busy").wait_at_least == 0


RECORDS = [Record(40 + seq, "port/scale", seq, 0.0, True, b"12 kg") for seq in range(10)]
THIRD = "record 3 of port/scale (5 bytes)"


def ended(suspects: Suspects, *under_way: int | None, since: float = 0.1) -> str | None:
    """By the broker, while these records were under way; None is what is no record."""
    records = [None if seq is None else RECORDS[seq] for seq in under_way]
    blamed = suspects.blamed(CLOSED, records, since)
    return blamed and str(blamed)


def test_after_three_ends_at_one_record_it_is_condemned_and_no_other() -> None:
    suspects = Suspects()
    assert ended(suspects, 3) is None
    assert ended(suspects, 3) == f"the broker closed the connection right after {THIRD}"
    assert [record for record in RECORDS if suspects.condemned(record)] == []
    assert ended(suspects, 3) is not None
    assert suspects.condemned(RECORDS[3]) == f"3 connections ended right after {THIRD}; set aside"
    ended(suspects)
    assert [record.seq for record in RECORDS if suspects.condemned(record)] == [3]


def test_a_condemned_record_is_known_by_its_own_number_not_by_its_place() -> None:
    suspects = Suspects()
    for _ in range(3):
        ended(suspects, 3)
    assert suspects.condemned(RECORDS[3]._replace(number=1))
    assert not suspects.condemned(RECORDS[3]._replace(stream="port/gate"))


def test_what_was_under_way_together_goes_one_by_one_the_next_time() -> None:
    suspects = Suspects()
    assert suspects.one_by_one == 0
    ended(suspects, 3, None, 4, 7)
    assert suspects.one_by_one == 3
    ended(suspects, 5)
    assert suspects.one_by_one == 3
    ended(suspects, None, 8)
    assert suspects.one_by_one == 1
    ended(suspects, None, None)
    assert suspects.one_by_one == 0


def test_a_record_that_went_alone_because_of_an_end_before_is_blamed_the_first_time() -> None:
    """Acknowledgements may be lost with a connection: the first one under way need not be the one."""
    suspects = Suspects()
    assert ended(suspects, 2, 3, 4) is None
    assert ended(suspects, 3) == f"the broker closed the connection right after {THIRD}"
    suspects.one_by_one = 0  # they have all arrived
    assert ended(suspects, 5) is None


@pytest.mark.parametrize("other", [(4,), (None,), (None, 3), ()])
def test_only_ends_in_a_row_count(other: tuple[int | None, ...]) -> None:
    suspects = Suspects()
    for under_way in ((3,), (3,), other, (3,), (3,)):
        ended(suspects, *under_way)
    assert not suspects.condemned(RECORDS[3])


def test_an_end_long_after_the_record_is_not_blamed_on_it() -> None:
    suspects = Suspects()
    assert [ended(suspects, 3, since=5.1) for _ in range(5)] == [None] * 5
    assert not suspects.condemned(RECORDS[3])


def test_what_the_end_itself_told_is_passed_on() -> None:
    suspects = Suspects()
    ended(suspects, 3)
    blamed = suspects.blamed(CLOSED, [RECORDS[3]], 0.1)
    assert blamed is not None
    assert (blamed.detected_after, blamed.unacked) == (CLOSED.detected_after, CLOSED.unacked)
