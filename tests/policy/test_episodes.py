"""Which of many events is worth a line in the log."""

from gateway.policy.episodes import Episodes, Ration


def test_the_first_of_an_episode_is_and_the_others_are_not() -> None:
    episodes = Episodes(quiet=60.0, most=8)
    assert [episodes.begins("a", now) for now in (0.0, 1.0, 59.0, 118.0)] == [True, False, False, False]


def test_after_a_quiet_time_the_next_one_begins() -> None:
    episodes = Episodes(quiet=60.0, most=8)
    assert episodes.begins("a", 100.0)
    assert not episodes.begins("a", 159.9)
    assert episodes.begins("a", 219.9)


def test_each_has_episodes_of_its_own() -> None:
    episodes = Episodes(quiet=60.0, most=8)
    assert episodes.begins("a", 0.0)
    assert episodes.begins("b", 50.0)
    assert not episodes.begins("b", 70.0)
    assert episodes.begins("a", 71.0)
    assert not episodes.begins("b", 72.0)


def test_beyond_so_many_all_further_ones_share_one() -> None:
    episodes = Episodes(quiet=60.0, most=2)
    told = [who for who in "abcdefg" if episodes.begins(who, 1.0)]
    assert told == ["a", "b", "c"]
    assert not episodes.begins("a", 2.0)
    assert not episodes.begins("h", 2.0)


def test_who_has_been_quiet_makes_room_for_others() -> None:
    episodes = Episodes(quiet=60.0, most=1)
    assert episodes.begins("a", 0.0)
    assert episodes.begins("b", 0.0)  # as one of the others
    assert episodes.begins("b", 60.0)
    assert not episodes.begins("b", 61.0)


def test_a_ration_is_so_many_in_any_minute() -> None:
    ration = Ration(3, 60.0)
    given = [now for now in range(0, 300, 10) if ration.allows(now)]
    assert given == [0, 10, 20, 60, 70, 80, 120, 130, 140, 180, 190, 200, 240, 250, 260]


def test_a_ration_is_given_at_once_after_a_quiet_time() -> None:
    ration = Ration(2, 60.0)
    allowed = [ration.allows(now) for now in (0.0, 1.0, 2.0, 100.0, 100.0, 100.0)]
    assert allowed == [True, True, False, True, True, False]
