"""Who may do what: whether a request is within the rights of whoever asks.

Safe where it is not sure. What a code without addresses (diagnostics, files, queues, identification, those of
makers) does to registers cannot be known: with `registers` it passes only if `functions` names it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from ..errors import Forbidden, Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Span = tuple[str, range]  # a table, and addresses in it


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a request wants."""

    unit: int
    function: int
    reads: bool  # the device is the same afterwards
    touches: Sequence[Span]  # none: its code has no addresses


@dataclass(frozen=True, kw_only=True)
class Rights:
    """Of one asker. None limits nothing."""

    read_only: bool = False
    functions: frozenset[int] | None = None
    unit_ids: frozenset[int] | None = None
    registers: Mapping[str, Sequence[range]] | None = None  # of each table, as `joined` makes them

    def objection(self, asked: Asked) -> Refused | Forbidden | None:
        """Why not, if there is a reason: 01 for the function itself, 02 for what it is about."""
        if self.read_only and not asked.reads:
            return Refused("read-only")
        if self.functions is not None and asked.function not in self.functions:
            return Refused("not one of its functions")
        if self.unit_ids is not None and asked.unit not in self.unit_ids:
            return Forbidden("not one of its unit_ids")
        if self.registers is None:
            return None
        if not asked.touches and self.functions is None:
            return Refused("has no addresses, and its registers are limited")
        if not all(_within(addresses, self.registers.get(table, ())) for table, addresses in asked.touches):
            return Forbidden("not all of that is in its registers")
        return None


EVERYTHING = Rights()
NOTHING = Rights(functions=frozenset())


def joined(spans: Iterable[Span]) -> Mapping[str, Sequence[range]]:
    """By table and in order; those that overlap or are neighbours have become one."""
    tables: dict[str, list[range]] = {}
    for table, addresses in sorted(spans, key=lambda span: span[1].start):
        known = tables.setdefault(table, [])
        if known and addresses.start <= known[-1].stop:
            known[-1] = range(known[-1].start, max(known[-1].stop, addresses.stop))
        else:
            known.append(addresses)
    return tables


def address_of(host: str) -> Address | None:
    """Of a host as connections have it, "[fe80::1%eth0]" too; None for one that was gone too soon to tell."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def nearest(address: Address, networks: Iterable[Network]) -> Network | None:
    """The smallest that it is in."""
    return max(
        (network for network in networks if address in network),
        key=lambda network: network.prefixlen,
        default=None,
    )


def _within(addresses: range, allowed: Iterable[range]) -> bool:
    return any(one.start <= addresses.start and addresses.stop <= one.stop for one in allowed)
