"""A unit that does not answer: it costs the others little, it may still be written to, and it comes back."""

import threading
import time
from collections import Counter

from arbiter_kit import READ, SEVEN, Plant, meter, plant
from peers_kit import Scada
from system_kit import eventually

LIVE, DEAD = 1, 5
BEFORE = 2  # silences until it counts as silent
PROBE_AFTER = 0.5  # seconds after the last silence at the earliest
QUICK = {"response_timeout": "100ms", "late_answer_guard": "50ms"}


class Insistent(threading.Thread):
    """Reads one unit without pause until told to stop."""

    def __init__(self, port: int, unit: int) -> None:
        super().__init__()
        self._port, self._unit = port, unit
        self.enough = threading.Event()
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        with Scada(self._port) as scada:
            while not self.enough.is_set():
                self.outcomes[scada.ask(self._unit, READ)] += 1

    def end(self) -> None:
        self.enough.set()
        self.join()


def fallen_silent(here: Plant) -> None:
    with Scada(here.port) as scada:
        eventually(lambda: scada.ask(DEAD, READ) == "83 0b" and state(here) == "silent")


def state(here: Plant, unit: int = DEAD) -> object:
    units = here.meters["units"]
    assert isinstance(units, dict)
    return units[str(unit)]["state"]


def test_however_often_a_silent_unit_is_asked_the_wire_sees_a_probe_now_and_then() -> None:
    with plant({LIVE: meter()}, **QUICK) as here:
        fallen_silent(here)
        began, before = time.monotonic(), len(here.sent(DEAD))
        hasty = [Insistent(here.port, DEAD) for _ in range(3)]
        for one in hasty:
            one.start()
        with Scada(here.port) as scada:
            for _ in range(200):
                assert scada.ask(LIVE, READ) == SEVEN
            eventually(lambda: sum(one.outcomes["83 0b"] for one in hasty) >= 40)
        for one in hasty:
            one.end()
        probes = len(here.sent(DEAD)) - before
        assert probes <= 1 + (time.monotonic() - began) / PROBE_AFTER
        refused = sum((one.outcomes for one in hasty), Counter())
        assert set(refused) == {"83 0b"}
        assert refused.total() > 2 * probes
        assert (state(here), state(here, LIVE)) == ("silent", "ok")


def test_a_write_to_a_silent_unit_is_tried_each_time() -> None:
    with plant({LIVE: meter()}, **QUICK) as here:
        fallen_silent(here)
        with Scada(here.port) as scada:
            for value in range(3):
                assert scada.ask(DEAD, f"06 0000 {value:04x}") == "86 0b"
        written = [pdu for pdu in here.sent(DEAD) if pdu.startswith("06")]
        assert written == [f"06 00 00 00 {value:02x}" for value in range(3)]


def test_a_silent_unit_that_answers_again_is_read_as_before() -> None:
    with plant({LIVE: meter()}, **QUICK) as here:
        fallen_silent(here)
        here.bus.slaves[DEAD] = meter(9)
        with Scada(here.port) as scada:
            eventually(lambda: scada.ask(DEAD, READ) == "03 02 00 09")
            before = len(here.sent(DEAD))
            for _ in range(20):
                assert scada.ask(DEAD, READ) == "03 02 00 09"
        assert len(here.sent(DEAD)) == before + 20
        assert state(here) == "ok"


def test_a_write_that_is_answered_ends_the_silence() -> None:
    with plant({LIVE: meter()}, **QUICK) as here, Scada(here.port) as scada:
        fallen_silent(here)
        here.bus.slaves[DEAD] = meter()
        assert scada.ask(DEAD, "06 0000 0009") == "06 00 00 00 09"
        assert scada.ask(DEAD, READ) == "03 02 00 09"


def test_without_skip_silent_each_read_is_tried() -> None:
    with plant({LIVE: meter()}, skip_silent=False, **QUICK) as here, Scada(here.port) as scada:
        for _ in range(2 * BEFORE):
            assert scada.ask(DEAD, READ) == "83 0b"
        assert len(here.sent(DEAD)) == 2 * BEFORE
