"""What the counters of a Modbus line mean, in one sentence that a technician can act on.

Pure. It is told what was counted lately, so that a fault that is cured is not told any more; and it would
rather say nothing than guess: a sentence needs a few requests that show the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil

_ENOUGH = 3  # of the same kind: once may be chance
_NOISE = 0.02  # of the requests: from here on broken answers are worth a sentence


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One unit id. All but the last two were counted lately."""

    requests: int
    answers: int
    late: int  # answers that came when nobody waited for them any more
    late_after: float = 0.0  # seconds that the last of these took
    ever: bool = True  # it has answered at some time, so it is there


@dataclass(frozen=True, kw_only=True)
class Line:
    """What was counted lately of the line as a whole."""

    crc: int = 0  # answers with a wrong checksum
    short: int = 0  # with less than a frame
    foreign: int = 0  # of units that were not asked
    echo: int = 0  # requests that came back before their answer


def diagnosis(line: Line, units: Mapping[int, Unit]) -> str:
    """By unit id. "" when nothing is wrong, or nothing can be said."""
    return next(_findings(line, units), "")


def _findings(line: Line, units: Mapping[int, Unit]) -> Iterator[str]:
    """What explains most comes first."""
    requests = sum(unit.requests for unit in units.values())
    answers = sum(unit.answers for unit in units.values())
    broken = line.crc + line.short
    if line.echo >= _ENOUGH:
        yield "own bytes come back: 2-wire echo (set echo = true)"
    if slow := {number: unit.late_after for number, unit in units.items() if unit.late}:
        number = max(slow, key=lambda number: slow[number])
        yield f"unit {number} answers after {ceil(slow[number] * 10) / 10:.1f} s: raise response_timeout"
    if requests >= _ENOUGH and not answers:
        if broken >= _ENOUGH:
            kind = "CRC errors" if line.crc >= line.short else "broken answers"
            yield f"only {kind}: check baudrate, parity, termination"
        yield "nothing answers: check wiring A/B, baudrate, unit ids"
    absent = [number for number, unit in units.items() if unit.requests >= _ENOUGH and not unit.ever]
    if absent and (there := [number for number, unit in units.items() if unit.ever]):
        yield (f"{_named(absent)} asked, only {_ranges(there)} {'answers' if len(there) == 1 else 'answer'}")
    if broken >= max(_ENOUGH, _NOISE * requests):
        yield f"{broken} of {requests} answers are broken: check termination, cable, interference"
    if line.foreign >= max(_ENOUGH, _NOISE * requests):
        yield "units answer that were not asked: another master on this line?"


def _named(units: Iterable[int]) -> str:
    text = _ranges(units)
    return f"unit {text}" if text.isdigit() else f"units {text}"


def _ranges(units: Iterable[int]) -> str:
    """ "1-3, 7"."""
    runs: list[list[int]] = []
    for unit in sorted(units):
        if runs and unit == runs[-1][-1] + 1:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
