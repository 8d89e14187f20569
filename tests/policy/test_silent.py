"""Which units are silent, and when one may be asked again."""

from gateway.policy.silent import Silence

TIMEOUT = 1.0  # seconds


def silent_since(now: float, silences: int = 2) -> Silence:
    """Unit 5 has not answered so often, the last time at `now`."""
    silence = Silence(skip=True)
    for before in reversed(range(silences)):
        silence.kept_silent(5, now - before, TIMEOUT)
    return silence


def test_a_unit_that_nobody_knows_is_open() -> None:
    silence = Silence(skip=True)

    assert not silence.refuses(5, 0.0)
    assert silence.opens(5, changing=True) == silence.opens(5, changing=False) == 0.0
    assert silence.next_opening(0.0) is None


def test_one_silence_may_be_chance() -> None:
    assert not silent_since(10.0, silences=1).refuses(5, 10.0)


def test_after_two_silences_reads_are_refused_until_a_probe_is_due() -> None:
    silence = silent_since(10.0)

    assert silence.refuses(5, 10.0)
    assert silence.refuses(5, 10.49)
    assert not silence.refuses(5, 10.5)
    assert not silence.refuses(6, 10.0), "others have nothing to do with it"


def test_probes_come_ever_more_seldom_but_every_ten_seconds_at_least() -> None:
    waits = []
    for silences in (*range(2, 9), 1000):
        silence = silent_since(5000.0, silences)
        waits.append(next(tenth / 10 for tenth in range(200) if not silence.refuses(5, 5000 + tenth / 10)))

    assert waits == [0.5, 1.5, 4.5, 10.0, 10.0, 10.0, 10.0, 10.0]


def test_one_answer_ends_it() -> None:
    silence = silent_since(10.0, silences=7)
    silence.answered(5)
    silence.kept_silent(5, 11.0, TIMEOUT)

    assert not silence.refuses(5, 11.0)


def test_a_write_to_a_silent_unit_waits_as_long_as_the_one_before_it_took() -> None:
    silence = silent_since(10.0)

    assert silence.opens(5, changing=True) == 10.0 + TIMEOUT
    assert silence.opens(5, changing=False) == 0.0
    assert silence.next_opening(10.0) == 10.0 + TIMEOUT
    assert silence.next_opening(12.0) is None


def test_a_closed_unit_is_closed_for_everything_and_opens_first() -> None:
    silence = silent_since(10.0)
    silence.close(5, 10.4)
    silence.close(6, 10.7)

    assert silence.opens(5, changing=False) == 10.4
    assert silence.opens(6, changing=True) == 10.7
    assert silence.next_opening(10.0) == 10.4
    assert silence.next_opening(10.5) == 10.7


def test_whoever_is_not_to_be_skipped_is_never_silent() -> None:
    silence = Silence(skip=False)
    for at in range(20):
        silence.kept_silent(5, float(at), TIMEOUT)

    assert not silence.refuses(5, 19.0)
    assert silence.opens(5, changing=True) == 0.0
