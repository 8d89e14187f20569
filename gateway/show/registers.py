"""What was read of a device: the bare registers or bits, and what they are as a type or as all of them.

Pure, like `picture`. Values come decoded; a text in place of one says why there is none.
"""

from collections.abc import Iterator, Mapping, Sequence

from .columns import columns, printable, value

Orders = Mapping[str, Mapping[str, Sequence[object]]]
"""By type and byte order: the values, one after the other, each in as many registers as its type has."""

BITS = ("coil", "discrete_input")


def registers(table: str, address: int, values: Sequence[int]) -> list[str]:
    """As they are."""
    rows = [(str(address + place), *_cells(table, word)) for place, word in enumerate(values)]
    return columns([(table.upper(), *(("",) if table in BITS else ("", "SIGNED", "HEX"))), *rows])


def _cells(table: str, word: int) -> tuple[str, ...]:
    if table in BITS:
        return ("on" if word else "off",)
    return str(word), str(word - 0x10000 if word & 0x8000 else word), f"0x{word:04X}"


def typed(table: str, kind: str, address: int, size: int, values: Sequence[object]) -> list[str]:
    """As values of one type, each `size` registers long."""
    rows = [(str(address + place * size), _shown(one)) for place, one in enumerate(values)]
    return columns([(table.upper(), kind.upper()), *rows])


def all_orders(table: str, address: int, sizes: Mapping[str, int], orders: Orders) -> list[str]:
    """As values of every type, in every byte order."""
    names = list(dict.fromkeys(name for by_order in orders.values() for name in by_order))
    rows = [row for kind, by_order in orders.items() for row in _rows(kind, by_order, address, sizes[kind])]
    return columns([(table.upper(), "TYPE", *names), *rows])


def _rows(
    kind: str, by_order: Mapping[str, Sequence[object]], address: int, size: int
) -> Iterator[Sequence[str]]:
    for place, row in enumerate(zip(*by_order.values(), strict=True)):
        yield str(address + place * size), kind, *map(_shown, row)


def _shown(one: object) -> str:
    return str(printable(value(one)))


def question(where: str, table: str, address: int, values: Sequence[int], meant: str) -> list[str]:
    """Before they are written."""
    shown = [f"write to {where}:" + (f" {meant}" if meant else "")]
    return [*shown, *(f"  {line}" for line in registers(table, address, values)[1:])]
