"""What a row of the table is, and how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

COLUMNS = (("figure", 37), ("required", 24), ("measured", 44), ("ser2net", 12), ("ok", 3))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; `ok` is None where nothing is required or nothing could be measured."""

    figure: str
    required: str = ""
    measured: str
    peer: str = ""  # the same of ser2net
    ok: bool | None = None

    def __str__(self) -> str:
        ok = {None: "", True: "yes", False: "NO"}[self.ok]
        return line(self.figure, self.required, self.measured, self.peer, ok)


@dataclass(frozen=True)
class Effort:
    """How long and how often is measured; each figure is the median of the runs."""

    seconds: float = 3.0
    runs: int = 3


def line(*cells: str) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip()


def head() -> str:
    return f"{line(*(name for name, _ in COLUMNS))}\n{line(*('-' * width for _, width in COLUMNS))}"


def middle(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return median(values) if values else None


def shown(value: float | None, form: str) -> str:
    """`value` by `form` ("{:.1f} ms"), "-" for None."""
    return "-" if value is None else form.format(value)
