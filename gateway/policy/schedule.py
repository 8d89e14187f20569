"""When the next of what is done every so often is due. Times in seconds, on any clock."""

from math import ceil


def next_due(due: float, now: float, interval: float) -> float:
    """When the one after that of `due` begins: on the grid, with what `now` has missed left out."""
    return due + interval * max(1, ceil((now - due) / interval))
