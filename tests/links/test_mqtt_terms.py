"""What the mqtt link makes of the end of a session."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LinkDown
from gateway.links._terms import Rivalry, TakenOver, down

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
