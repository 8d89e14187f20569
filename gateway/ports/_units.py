"""The table `units`: unit ids or ranges of them as whoever asks says them, and the ports that answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated

from pydantic import Field

from ..contracts import Transactor
from ..settings import Need
from ..values import Fault, Model, PortName, unit_range
from ._route import Way

ON_A_LINE = range(1, 248)  # MODBUS over Serial Line V1.02, 2.2


class Target(Model):
    """Where a range of unit ids leads: the first of them is unit `first` on the line."""

    port: PortName
    first: Annotated[int, Field(ge=1, le=247, description="the unit id on the line of the first of them")]


Units = Mapping[str, str | Target]


def ranges(texts: Iterable[str]) -> Iterator[tuple[str, range]]:
    """Those that are right."""
    for text in texts:
        try:
            yield text, unit_range(text)
        except ValueError:
            continue


def range_faults(texts: Iterable[str]) -> Iterator[Fault]:
    """What is no range of unit ids, and what overlaps."""
    taken: dict[int, str] = {}
    for text in texts:
        try:
            units = unit_range(text)
        except ValueError as wrong:
            yield Fault(("units", text), str(wrong))
            continue
        if clash := next((taken[unit] for unit in units if unit in taken), None):
            yield Fault(("units", text), f'overlaps "{clash}"')
        taken |= dict.fromkeys(units, text)


def line_faults(texts: Iterable[str]) -> Iterator[Fault]:
    """The same of unit ids that a serial master asks for."""
    yield from range_faults(texts)
    for text, units in ranges(texts):
        if units[0] not in ON_A_LINE or units[-1] not in ON_A_LINE:
            yield Fault(("units", text), "on a serial line there are unit ids 1 to 247")


def target_faults(table: Units) -> Iterator[Fault]:
    """Unit ids that lead where no device can be."""
    for text, units in ranges(table):
        first = _first(table[text], units)
        last = first + len(units) - 1
        if first not in ON_A_LINE or last not in ON_A_LINE:
            span = f"{first}" if first == last else f"{first} to {last}"
            yield Fault(("units", text), f"on the line that would be {span}: 1 to 247 exist there")


def needs(table: Units) -> Iterator[Need]:
    for text, target in table.items():
        if isinstance(target, Target):
            yield Need(("units", text, "port"), target.port, Transactor)
        else:
            yield Need(("units", text), target, Transactor)


def ways(table: Units, transactor: Callable[[str], Transactor]) -> dict[int, Way]:
    found: dict[int, Way] = {}
    for text, target in table.items():
        units = unit_range(text)
        line = transactor(target.port if isinstance(target, Target) else target)
        found |= {unit: Way(line, _first(target, units) + place) for place, unit in enumerate(units)}
    return found


def _first(target: str | Target, units: range) -> int:
    return target.first if isinstance(target, Target) else units.start
