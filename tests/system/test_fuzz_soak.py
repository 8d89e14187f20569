"""Clients that say anything, for long (`make soak`).

SOAK_SECONDS, by default ten minutes: the gateway lives, has not grown, and the line has heard nothing broken.
"""

import os
import random
import threading
import time
from collections import Counter

import pytest
from arbiter_kit import READ, Clock, Dated, Reader, damaged, meter
from fuzz_kit import Fuzzer, mbap, rtu
from grown_kit import taken
from peers_kit import Scada
from system_kit import Daemon, eventually, modbus_port, modbus_server

from gateway.demo import bus as faults
from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SEED = os.environ.get("SOAK_SEED", str(random.randrange(10**6)))
WARM_UP = 0.2  # of the time: what is taken only now and then is taken by then
EACH = 4  # fuzzers by TCP with each framing; one by UDP
WITNESSED = 9  # the unit whose answers are judged


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 120)
def test_whatever_clients_say_the_gateway_lives_and_the_line_hears_nothing_broken() -> None:
    clock = Clock()
    fault = faults.mixed(1, (0.01, faults.silent), (0.01, faults.bad_crc), (0.01, faults.split(3, 0.02)))
    line = Bus({1: meter(), 2: meter(), WITNESSED: Dated(WITNESSED, clock)}, Wire(baudrate=0), fault=fault)
    port, plain, udp = free_port(), free_port(), free_port()
    quick = {"response_timeout": "20ms", "late_answer_guard": "20ms", "turnaround_delay": "2ms"}
    config = (
        modbus_port("meters", line.tty, broadcast=True, **quick)
        + modbus_server("scada", port, port="meters")
        + modbus_server("plain", plain, port="meters", framing="rtu")
        + modbus_server("udp", udp, port="meters", transport="udp")
    )
    over = threading.Event()
    fuzzers = [
        *(Fuzzer(port, mbap, f"{SEED} tcp {number}", over) for number in range(EACH)),
        *(Fuzzer(plain, rtu, f"{SEED} rtu {number}", over) for number in range(EACH)),
        Fuzzer(udp, mbap, f"{SEED} udp", over, udp=True),
    ]
    with Lines(line), Daemon(config) as daemon:
        daemon.comes_to("ports.meters", "open")
        at_rest = len(daemon.descriptors())
        for fuzzer in fuzzers:
            fuzzer.start()
        outcomes = witness(port, clock, WARM_UP * SECONDS)
        began = taken(daemon)
        outcomes += witness(port, clock, (1 - WARM_UP) * SECONDS)
        now = taken(daemon)
        over.set()
        for fuzzer in fuzzers:
            fuzzer.join()
        visits, heard = sum(one.visits for one in fuzzers), sum(one.heard for one in fuzzers)
        print(f"seed {SEED}: {visits} visits, {heard} bytes of answers, {line.count}")
        print(outcomes, began, now, f"{len(daemon.log)} bytes of log")

        assert [fuzzer.malformed for fuzzer in fuzzers if fuzzer.malformed] == []
        assert damaged(line) == []
        assert set(outcomes) <= {"right", "exception 0B"}
        assert outcomes["right"] > SECONDS / 5
        assert "Traceback" not in daemon.log
        assert "internal error" not in daemon.log
        assert now["kilobytes"] <= began["kilobytes"] + 6 * 1024
        eventually(lambda: len(daemon.descriptors()) <= at_rest)
        with Scada(port) as scada:
            eventually(lambda: scada.ask(WITNESSED, READ) == "03 02 09 00")


def witness(port: int, clock: Clock, seconds: float) -> Counter[str]:
    """What came of an ordinary client's reads meanwhile."""
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reader = Reader(port, clock, [WITNESSED], 20, seed=len(outcomes))
        reader.run()
        outcomes += reader.outcomes
    return outcomes
