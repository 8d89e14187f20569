"""The judges see what is wrong: else nothing that they say of gatewayd would mean anything."""

import pytest
from accounts_kit import WINDOW, Arrival, Bytes, Ledger, line

LAST = 400


def arrivals(*numbers: int) -> list[Arrival]:
    return [Arrival("port/source", 1000 + number, float(number), number) for number in numbers]


def ledger(got: list[Arrival], excused: range = range(0), deaths: int = 1) -> Ledger:
    return Ledger({number: float(number) for number in range(1, LAST + 1)}, excused, got, deaths)


def run(first: int, last: int) -> list[Arrival]:
    return arrivals(*range(first, last + 1))


ALL = run(1, LAST)
LATEST = ALL[-1]
SWAPPED = [ALL[100]._replace(seq=1100), ALL[99]._replace(seq=1101)]  # the lines, not the numbers


@pytest.mark.parametrize(
    ("got", "fault"),
    [
        (ALL, ""),
        (run(1, 200) + run(101, LAST), ""),
        (run(1, 99) + run(101, LAST), "lost: 100"),
        (run(1, 99) + run(102, LAST), "lost: 100 and 1 more up to 101"),
        ([*run(1, 99), *SWAPPED, *run(102, LAST)], "reordered"),
        (run(1, 200) + run(200 - WINDOW, LAST), "too many came twice: [101]"),
        (run(1, 200) + run(150, 300) + run(250, LAST), "too many came twice: [51, 51]"),
        (ALL + arrivals(LAST + 1), "never said: 401"),
        ([*ALL[:-1], LATEST._replace(seq=1)], "seq does not rise, or is another when it comes again"),
        ([*ALL, LATEST._replace(seq=9999)], "seq does not rise, or is another when it comes again"),
        ([*ALL[:-1], LATEST._replace(at=LAST + 1.5)], "the time is not that of the line"),
    ],
)
def test_a_ledger_of_messages_finds_the_fault(got: list[Arrival], fault: str) -> None:
    assert list(ledger(got).faults()) == ([fault] if fault else [])


def test_what_is_excused_may_be_missing_and_is_told() -> None:
    account = ledger(run(1, 99) + run(102, LAST), excused=range(99, 102))
    assert list(account.faults()) == []
    assert account.missing == [100, 101]


def said(first: int, last: int) -> bytes:
    return b"".join(map(line, range(first, last + 1)))


@pytest.mark.parametrize(
    ("streams", "faults"),
    [
        ([said(1, LAST)], []),
        ([said(1, 200)[:-4], said(200, LAST)[5:]], []),  # goes on in the middle of a line
        ([said(1, 200), said(190, LAST)[2:]], []),
        ([said(1, 200)[:-3], said(201, LAST)], ["lost: 1797 and 2 more up to 1799"]),
        ([said(1, 99) + said(101, LAST)], ["lost: 897 and 8 more up to 905"]),
        ([said(1, 200) + said(201, 210)[:-4], b"10\r\n" + said(211, LAST)], []),
        ([said(1, 200) + said(190, LAST)], ["reordered"]),
        ([said(1, 200), said(190, LAST)[:-9], said(LAST, LAST)], []),
        ([said(1, 200), said(190, 195) + said(192, LAST)], ["reordered"]),
        ([said(1, 200), said(100, LAST)], ["too much came twice: [909]"]),
        ([said(1, 200), said(190, 300), said(290, LAST)], ["too much came twice: [99, 99]"]),
    ],
)
def test_a_ledger_of_bytes_finds_the_fault(streams: list[bytes], faults: list[str]) -> None:
    assert list(Bytes(LAST, (), streams, deaths=1, twice=200).faults()) == faults


def test_bytes_that_are_excused_may_be_missing_in_the_middle_of_a_line_too() -> None:
    streams = [said(1, 100)[:-4] + said(103, 200), said(95, 100)[:-4] + said(103, LAST)]
    account = Bytes(LAST, range(100, 103), streams, deaths=1, twice=1000)
    assert list(account.faults()) == []
    assert account.missing == 22
    assert account.repeats == [50 + 882]


def test_what_nobody_said_is_no_part_of_any_ledger() -> None:
    with pytest.raises(ValueError, match="nobody said b'noise'"):
        Bytes(LAST, (), [said(1, LAST) + b"noise"], deaths=1, twice=0)
