"""What the counters of a line mean, in one sentence."""

import pytest

from gateway.policy.diagnosis import Line, Unit, diagnosis

GOOD = Unit(requests=20, answers=20, late=0)
MUTE = Unit(requests=20, answers=0, late=0, ever=False)
DIED = Unit(requests=20, answers=0, late=0, ever=True)

SENTENCES = {
    "nothing was asked": (Line(), {}, ""),
    "all is well": (Line(), {1: GOOD, 2: GOOD}, ""),
    "one broken answer is chance": (Line(crc=1), {1: GOOD}, ""),
    "one broken answer and nothing else is chance, too": (
        Line(crc=1),
        {1: Unit(requests=1, answers=0, late=0, ever=False)},
        "",
    ),
    "every answer has a wrong checksum": (
        Line(crc=20),
        {1: MUTE},
        "only CRC errors: check baudrate, parity, termination",
    ),
    "every answer is less than a frame": (
        Line(short=20, crc=1),
        {1: MUTE},
        "only broken answers: check baudrate, parity, termination",
    ),
    "the request comes back, and no answer": (
        Line(echo=20, crc=20),
        {1: MUTE},
        "own bytes come back: 2-wire echo (set echo = true)",
    ),
    "the request comes back before each good answer": (
        Line(echo=20),
        {1: GOOD},
        "own bytes come back: 2-wire echo (set echo = true)",
    ),
    "nobody is there": (Line(), {1: MUTE, 2: MUTE}, "nothing answers: check wiring A/B, baudrate, unit ids"),
    "nobody is there any more": (Line(), {1: DIED}, "nothing answers: check wiring A/B, baudrate, unit ids"),
    "two silences may be a device that starts": (Line(), {1: Unit(requests=2, answers=0, late=0)}, ""),
    "a unit that was never there": (
        Line(),
        {1: GOOD, 2: GOOD, 3: GOOD, 255: MUTE},
        "unit 255 asked, only 1-3 answer",
    ),
    "more of them": (
        Line(),
        {1: GOOD, 7: MUTE, 9: MUTE, 10: MUTE, 11: MUTE},
        "units 7, 9-11 asked, only 1 answers",
    ),
    "a unit that has died says so itself": (Line(), {1: GOOD, 2: DIED}, ""),
    "a unit that is asked too rarely to judge": (
        Line(),
        {1: GOOD, 255: Unit(requests=2, answers=0, late=0, ever=False)},
        "",
    ),
    "a slow unit": (
        Line(),
        {1: GOOD, 5: Unit(requests=4, answers=0, late=3, late_after=1.33, ever=False)},
        "unit 5 answers after 1.4 s: raise response_timeout",
    ),
    "the slowest of two": (
        Line(),
        {
            5: Unit(requests=4, answers=1, late=3, late_after=1.31),
            6: Unit(requests=4, answers=3, late=1, late_after=2.0),
        },
        "unit 6 answers after 2.0 s: raise response_timeout",
    ),
    "it was slow once, long ago": (Line(), {5: Unit(requests=20, answers=20, late=0, late_after=1.4)}, ""),
    "some answers are broken": (
        Line(crc=3, short=1),
        {1: GOOD, 2: GOOD},
        "4 of 40 answers are broken: check termination, cable, interference",
    ),
    "so few that they are noise": (Line(crc=3), {1: Unit(requests=1000, answers=997, late=0)}, ""),
    "somebody else asks, too": (
        Line(foreign=5),
        {1: GOOD},
        "units answer that were not asked: another master on this line?",
    ),
}


@pytest.mark.parametrize(("line", "units", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
def test_counters_become_a_sentence(line: Line, units: dict[int, Unit], sentence: str) -> None:
    assert diagnosis(line, units) == sentence


def test_the_first_good_answer_ends_what_said_that_there_are_none() -> None:
    one_good = Unit(requests=40, answers=1, late=0)
    assert diagnosis(Line(), {1: one_good}) == ""
    assert diagnosis(Line(crc=39), {1: one_good}).startswith("39 of 40 answers are broken")
