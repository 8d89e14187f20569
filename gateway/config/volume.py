"""What each link costs by the month while nobody has anything to say, and whether a SIM card can bear it."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple, TypeVar

from ..policy.liveness import NAMED, profile
from ..policy.traffic import Upkeep, upkeep
from ..settings import LinkConfig
from ..values import Fault, Model
from .file import spelled
from .words import Keys, quantity

M = TypeVar("M", bound=Model)

_MB = 1_000_000  # bytes, as mobile operators count
_MUCH = 20 * _MB
_ROUND = 15  # seconds: what is proposed is a multiple of this


class Volume(NamedTuple):
    """Of one link, in 30 days; of each of its clients if it listens. Both ways, all headers counted."""

    bytes_per_month: int
    causes: tuple[str, ...]  # "pings", "keep-alive"
    per_client: bool
    detect_within_s: float

    def told_of(self, link: str) -> str:
        """`links.cloud: at rest 27.6 MB a month for pings (detect_within 60 s)`"""
        each = " per client" if self.per_client else ""
        return (
            f"{spelled(('links', link))}: at rest {_megabytes(self.bytes_per_month)} a month{each} "
            f"for {' and '.join(self.causes)} (detect_within {self.detect_within_s:g} s)"
        )


def volume(link: LinkConfig) -> Volume:
    return Volume(*_upkeep(link), link.listens is not None, link.liveness.detect_within)


def doubtful_volume(table: Keys, link: LinkConfig) -> Iterator[Fault]:
    """Of links that are told to be patient: whoever wants to know within seconds pays for that knowingly."""
    if link.liveness.detect_within < NAMED["cellular"]:
        return
    heartbeat, (octets, causes) = link.idle_traffic, _upkeep(link)
    if heartbeat is not None and octets > _MUCH:  # from "cellular" on keep-alive alone is at most 15 MB
        every, then = _bearable(link, heartbeat.key)
        yield Fault(
            (*table, *heartbeat.key),
            f"{_megabytes(octets)} a month for {' and '.join(causes)} alone: "
            f'{heartbeat.key[-1]} = "{quantity(every, size=False)}" would cost {_megabytes(then)}',
        )


def _upkeep(link: LinkConfig) -> Upkeep:
    return upkeep(profile(link.liveness.bounds()).idle_s, link.idle_traffic)


def _bearable(link: LinkConfig, key: Sequence[str]) -> tuple[int, int]:
    """The first round time that is not too much, and what that costs. It may be a shorter one: a heartbeat
    just within the idle time takes the place of keep-alive.
    """
    priced = ((every, _upkeep(_changed(link, key, float(every))).octets) for every in count(_ROUND, _ROUND))
    return next((every, octets) for every, octets in priced if octets <= _MUCH)


def _changed(table: M, key: Sequence[str], value: float) -> M:
    """A copy with another value there."""
    first, *rest = key
    inner = _changed(getattr(table, first), rest, value) if rest else value
    return table.model_copy(update={first: inner})


def _megabytes(octets: int) -> str:
    """Tenths below 100: what is just above 20 MB must not be told as 20."""
    return f"{octets / _MB:.1f} MB" if octets < 99.95 * _MB else f"{octets / _MB:.0f} MB"
