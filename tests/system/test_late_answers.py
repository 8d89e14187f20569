"""An answer that comes too late, or from somebody else: nobody takes it for his own, and the status tells."""

import random

from arbiter_kit import READ, SEVEN, Clock, Dated, Reader, meter, plant, read_all
from peers_kit import Scada
from system_kit import eventually

from gateway.demo import bus as faults
from gateway.demo.bus import Reply, with_crc

TIMEOUT = 0.1  # seconds
KEYS = {"response_timeout": f"{1000 * TIMEOUT:.0f}ms", "request_timeout": "60s"}


def test_each_answer_of_a_unit_is_late_and_none_is_taken_for_another() -> None:
    clock = Clock()
    slow = faults.only(1, faults.late(1.5 * TIMEOUT))
    with plant({unit: Dated(unit, clock) for unit in (1, 2)}, fault=slow, **KEYS) as here:
        readers = [Reader(here.port, clock, [unit], 20, unit) for unit in (1, 1, 2, 2)]
        outcomes = read_all(readers)
        slow_unit, quick_unit = (here.daemon.part("ports.meters")["units"][unit] for unit in "12")
        assert outcomes == {"right": 40, "exception 0B": 40}
        assert slow_unit["late"] > 0
        assert slow_unit["state"] == "ok"  # slow, not silent
        assert (quick_unit["late"], quick_unit["timeouts"]) == (0, 0)


def test_the_status_says_which_timeout_a_slow_unit_needs() -> None:
    with plant({1: meter()}, fault=faults.late(2 * TIMEOUT), **KEYS) as here, Scada(here.port) as scada:
        assert scada.ask(1, READ) == "83 0b"
        reason = eventually(lambda: here.daemon.part("ports.meters")["reason"])
        assert reason.startswith("unit 1 answers after 0.")
        assert reason.endswith("raise response_timeout")


def test_an_answer_of_another_unit_or_function_is_counted_and_waited_past() -> None:
    drawn = random.Random(1)

    def strangers(request: bytes, answer: bytes) -> Reply:
        """A whole good frame of somebody else comes first."""
        unit, function = drawn.choice([(9, 3), (1, 4)])
        return Reply(with_crc(bytes((unit, function)) + answer[2:-2]) + answer)

    with plant({1: meter()}, fault=strangers, **KEYS) as here, Scada(here.port) as scada:
        for _ in range(20):
            assert scada.ask(1, READ) == SEVEN
        errors = here.daemon.part("ports.meters")["errors"]
        assert (errors["foreign"], errors["timeout"], errors["crc"]) == (20, 0, 0)


def test_an_answer_that_is_split_by_a_tenth_of_a_second_is_whole() -> None:
    with plant({1: meter()}, fault=faults.split(4, 0.1)) as here, Scada(here.port) as scada:
        for _ in range(5):
            assert scada.ask(1, READ) == SEVEN
        errors = here.daemon.part("ports.meters")["errors"]
        assert (errors["timeout"], errors["crc"], errors["short"]) == (0, 0, 0)
