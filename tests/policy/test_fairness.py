"""Whose turn it is, against a plain model and by what an asker notices."""

from collections import Counter, defaultdict
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.policy.fairness import Turns

WRITE, READ, POLL = range(3)
AMPLE = 10_000
HOSTS = st.sampled_from(["scada", "hmi", "device"])


class Against(RuleBasedStateMachine):
    """Some connections of some hosts push and pop; every job is (host, connection, rank, number)."""

    PER_CONNECTION, TOTAL = 4, 12

    def __init__(self) -> None:
        super().__init__()
        self.turns: Turns[tuple[str, int, int, int]] = Turns(self.PER_CONNECTION, self.TOTAL)
        self.lines: dict[tuple[str, int], list[tuple[str, int, int, int]]] = defaultdict(list)
        self.numbers = count()
        self.passed_over: Counter[int] = Counter()

    @rule(host=HOSTS, connection=st.integers(0, 2), rank=st.integers(0, 2))
    def push(self, host: str, connection: int, rank: int) -> None:
        job, line = (host, connection, rank, next(self.numbers)), self.lines[host, connection]
        room = len(line) < self.PER_CONNECTION and sum(map(len, self.lines.values())) < self.TOTAL

        assert self.turns.push(job, rank, host, connection) == room
        if room:
            line.append(job)

    @rule()
    def pop(self) -> None:
        job = self.turns.pop()
        heads = [line[0] for line in self.lines.values() if line]
        if job is None:
            assert not heads
            return
        assert job in heads, "each connection's jobs stay in their order"
        self.lines[job[0], job[1]].remove(job)
        others = {head[2] for head in heads} - {job[2]}
        self.passed_over = Counter({rank: self.passed_over[rank] + 1 for rank in others})
        assert all(turns <= 10 for turns in self.passed_over.values()), "no rank starves"

    @precondition(lambda self: any(self.lines.values()))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for line in self.lines.values() for job in line]))
        self.turns.remove(job, job[0], job[1])
        self.lines[job[0], job[1]].remove(job)

    @precondition(lambda self: any(self.lines.values()))
    @rule(closed=st.integers(0, 2))
    def pop_what_may_go(self, closed: int) -> None:
        """One rank may not."""
        job = self.turns.pop(lambda job: job[2] != closed)
        heads = [line[0] for line in self.lines.values() if line]
        assert job in heads if job is not None else {head[2] for head in heads} == {closed}
        if job is not None:
            self.lines[job[0], job[1]].remove(job)

    @precondition(lambda self: any(self.lines.values()))
    @rule()
    def clear(self) -> None:
        left = sorted(job for line in self.lines.values() for job in line)

        assert sorted(self.turns.clear()) == left
        self.lines.clear()

    @invariant()
    def counts(self) -> None:
        assert self.turns.waiting == sum(map(len, self.lines.values()))


Against.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestAgainstAModel = Against.TestCase


def served(turns: Turns[str], pops: int) -> list[str]:
    """What `pops` turns go to, when everybody who was served asks again at once. A job names its asker."""
    order = []
    for _ in range(pops):
        job = turns.pop()
        assert job is not None
        order.append(job)
        host, connection, rank = job.split()
        assert turns.push(job, int(rank), host, int(connection))
    return order


def waiting(*jobs: str) -> Turns[str]:
    turns: Turns[str] = Turns(AMPLE, AMPLE)
    for job in jobs:
        host, connection, rank = job.split()
        assert turns.push(job, int(rank), host, int(connection))
    return turns


def test_a_host_with_seven_connections_gets_as_much_as_a_host_with_one() -> None:
    turns = waiting(*(f"scada {connection} {READ}" for connection in range(7)), f"hmi 7 {READ}")
    order = served(turns, 140)

    assert Counter(job.split()[0] for job in order) == {"scada": 70, "hmi": 70}
    assert all(Counter(order)[f"scada {connection} {READ}"] == 10 for connection in range(7))


def test_hosts_alternate_however_much_one_of_them_has_waiting() -> None:
    turns = waiting(*[f"scada 0 {READ}"] * 50, f"hmi 1 {READ}", f"hmi 1 {READ}")

    assert [turns.pop() for _ in range(5)] == [
        *(f"scada 0 {READ}", f"hmi 1 {READ}") * 2,
        f"scada 0 {READ}",
    ]


def test_a_connection_that_asks_again_at_once_waits_for_the_others_of_its_host() -> None:
    order = served(waiting(f"scada 0 {READ}", f"scada 1 {READ}", f"scada 2 {READ}"), 9)

    assert order == [f"scada {connection} {READ}" for connection in (0, 1, 2)] * 3


def test_a_write_comes_before_reads_and_those_before_polls() -> None:
    turns = waiting(f"device 0 {POLL}", f"scada 1 {READ}", f"hmi 2 {WRITE}")

    assert list(turns.clear()) == [f"hmi 2 {WRITE}", f"scada 1 {READ}", f"device 0 {POLL}"]


def test_a_write_does_not_overtake_the_reads_of_its_own_connection() -> None:
    turns = waiting(f"scada 0 {READ}", f"scada 0 {WRITE}", f"hmi 1 {READ}")

    assert list(turns.clear()) == [f"scada 0 {READ}", f"scada 0 {WRITE}", f"hmi 1 {READ}"]


def test_reads_leave_polls_a_ninth_of_the_line() -> None:
    turns = waiting(*(f"scada {connection} {READ}" for connection in range(8)), f"device 9 {POLL}")
    order = served(turns, 90)

    assert order.count(f"device 9 {POLL}") == 10


def test_writes_without_end_leave_room_for_reads_and_polls() -> None:
    turns = waiting(f"hmi 0 {WRITE}", f"scada 1 {READ}", f"device 2 {POLL}")
    ranks = Counter(job.split()[2] for job in served(turns, 100))

    assert ranks[str(WRITE)] > 75
    assert min(ranks[str(READ)], ranks[str(POLL)]) >= 9


@given(st.lists(st.tuples(HOSTS, st.integers(0, 3), st.integers(0, 2)), min_size=1))
def test_everybody_is_served_in_time(askers: list[tuple[str, int, int]]) -> None:
    """A rank waits for ten turns at most, a host for the 2 others in it, a connection for the host's 3, and a
    job for the 2 others of its connection.
    """
    jobs = [f"{host} {connection} {rank}" for host, connection, rank in dict.fromkeys(askers)]
    order, within = served(waiting(*jobs), 1000), 10 * 3 * 4 * 3

    assert all(set(order[at : at + within]) == set(jobs) for at in range(0, 1000 - within, 20))


def test_one_connection_has_only_so_many_waiting_and_all_together_too() -> None:
    turns: Turns[int] = Turns(2, 3)

    assert [turns.push(job, READ, "scada", 0) for job in range(3)] == [True, True, False]
    assert [turns.push(job, READ, "scada", job) for job in range(1, 3)] == [True, False]
    assert turns.waiting == 3
    assert turns.pop() == 0
    assert turns.push(9, READ, "scada", 0)


def test_nobody_waits_in_the_beginning() -> None:
    turns: Turns[int] = Turns(1, 1)

    assert turns.pop() is None
    assert list(turns.clear()) == []
    assert turns.waiting == 0


def test_a_job_that_needs_no_turn_any_more_leaves_its_connection_its_place() -> None:
    first, second = f"scada 0 {READ}", f"hmi 1 {READ}"
    turns = waiting(first, second, f"scada 0 {POLL}")
    turns.remove(second, "hmi", 1)

    assert turns.waiting == 2
    assert list(turns) == [first, f"scada 0 {POLL}"]
    turns.remove(first, "scada", 0)
    assert list(turns.clear()) == [f"scada 0 {POLL}"]


def test_a_connection_whose_job_may_not_go_is_passed_over_and_keeps_its_place() -> None:
    closed, behind, other = f"scada 0 {READ}", f"scada 0 {WRITE}", f"hmi 1 {POLL}"
    turns = waiting(closed, behind, other)

    assert turns.pop(lambda job: job != closed) == other
    assert turns.pop(lambda job: job != closed) is None
    assert [turns.pop(), turns.pop()] == [closed, behind]
