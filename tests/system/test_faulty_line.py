"""A line that loses, damages, splits and delays answers, and crowds of clients: never a wrong value."""

import random

import pytest
from arbiter_kit import Clients, Clock, Dated, Reader, plant, read_all

from gateway.demo import bus as faults
from gateway.demo.bus import Fault, Reply

SEED = 5
TIMEOUT = 0.06  # seconds
CLIENTS, REQUESTS = 8, 5000


def anywhere(request: bytes, answer: bytes) -> Reply:
    """Cut in two by 0.1 s, which is more than the timeout."""
    return faults.split(drawn.randrange(1, len(answer)), 0.1)(request, answer)


def noisy(request: bytes, answer: bytes) -> Reply:
    return faults.garbage(drawn.randbytes(drawn.randint(1, 9)))(request, answer)


def overdue(request: bytes, answer: bytes) -> Reply:
    """Late by one timeout, and half of another."""
    return Reply(answer, TIMEOUT * drawn.uniform(1.0, 1.5))


drawn = random.Random(SEED)


def faulty() -> Fault:
    return faults.mixed(
        SEED, (0.02, faults.silent), (0.02, faults.bad_crc), (0.02, anywhere), (0.02, noisy), (0.05, overdue)
    )


@pytest.mark.timeout(240)  # it takes 45 s, most of them for answers that do not come
def test_five_thousand_requests_on_a_faulty_line_get_no_wrong_value() -> None:
    clock = Clock()
    slaves = {unit: Dated(unit, clock) for unit in range(1, CLIENTS + 1)}
    keys = {"response_timeout": f"{1000 * TIMEOUT:.0f}ms", "request_timeout": "60s"}
    with plant(slaves, fault=faulty(), **keys) as here:
        neighbours = [(number + 1, (number + 1) % CLIENTS + 1) for number in range(CLIENTS)]
        share = REQUESTS // CLIENTS
        outcomes = read_all(
            [Reader(here.port, clock, units, share, seed) for seed, units in enumerate(neighbours)]
        )
        errors = here.meters["errors"]
    print(outcomes, errors)
    assert set(outcomes) <= {"right", "exception 0B"}
    assert outcomes.total() == REQUESTS
    assert outcomes["right"] > 0.7 * REQUESTS
    assert isinstance(errors, dict)
    assert all(errors[name] for name in ("timeout", "crc", "late"))  # it was a faulty line indeed


def test_a_hundred_clients_with_five_requests_each_at_once_get_them_all_answered() -> None:
    clock = Clock()
    slaves = {unit: Dated(unit, clock) for unit in range(1, 11)}
    with plant(slaves, clients=128, request_timeout="60s") as here, Clients(here.port, 100) as crowd:
        for number, scada in enumerate(crowd.each):
            for address in range(5):
                scada.request(1 + number % 10, f"03 {2 * address + 10 * (number // 10):04x} 0001")
        for number, scada in enumerate(crowd.each):
            answers = {answer.tid: answer for answer in (scada.answer() for _ in range(5)) if answer}
            unit, first = 1 + number % 10, 10 * (number // 10)
            words = [answers[tid].pdu.hex() for tid in sorted(answers)]
            assert words == [f"0302{unit << 8 | first + 2 * place:04x}" for place in range(5)]
            assert {answer.unit for answer in answers.values()} == {unit}
