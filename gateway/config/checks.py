"""What no table can know alone: names that lead nowhere, ports that do not fit, two on one line or address.

Tables may have been bad themselves (`tables.told`), or not readable at all (None): then only their name
counts, so that a mistake in a port is never told again as one of its links.
"""

from collections.abc import Collection, Iterator, Mapping
from os.path import realpath
from typing import NamedTuple

from ..contracts import Transactor
from ..devices.model import DeviceConfig
from ..host.adapters import is_pattern
from ..settings import Claim, LinkConfig, PortConfig
from ..values import Endpoint, Fault
from ..wire.points import Gives
from .folders import LINKS, PORTS, quoted
from .tables import told
from .words import Keys, did_you_mean


class Draft(NamedTuple):
    """The tables of a file by name; None: not even its kind could be read."""

    ports: Mapping[str, PortConfig | None]
    links: Mapping[str, LinkConfig | None]
    devices: Mapping[str, DeviceConfig | None]


def mismatches(draft: Draft) -> Iterator[Fault]:
    """Keys count from the top of the file."""
    for name, port in draft.ports.items():
        if port is not None:
            user = 'a port with role = "server"'
            yield from told(_of_needs(("ports", name), port, user, draft.ports))
    for name, link in draft.links.items():
        if link is not None:
            user = f'a link of kind "{link.kind}"'
            yield from told(_of_needs(("links", name), link, user, draft.ports))
            yield from told(_of_devices(("links", name), link, draft))
    for name, device in draft.devices.items():
        if device is not None:
            yield from told(_of_device(("devices", name, "port"), device, draft.ports))
    yield from _one_name(draft)
    yield from _one_line(draft.ports)
    yield from _one_to_answer(draft)
    yield from _one_address(draft.links)


def _of_needs(
    path: tuple[str, ...], part: PortConfig | LinkConfig, user: str, ports: Mapping[str, PortConfig | None]
) -> Iterator[Fault]:
    for need in part.needs():
        where = (*path, *need.key)
        if need.port not in ports:
            yield Fault(where, _no_port(need.port, ports))
        elif (port := ports[need.port]) is not None:
            yield from told(_unfit(where, need.port, port, need.contract, user))


def _of_devices(path: tuple[str, ...], link: LinkConfig, draft: Draft) -> Iterator[Fault]:
    devices = {*draft.devices, *_with_values(draft)}
    named: list[tuple[Keys, str]] = [(source.key, source.device) for source in link.points()]
    for key, device in named or ((("devices", place), device) for place, device in enumerate(link.samples())):
        if device in draft.ports and device not in devices:
            yield Fault((*path, *key), f'port "{device}" has no values: they stand in ports.{device}.values')
        elif device not in devices:
            yield Fault((*path, *key), f'there is no device "{device}"{did_you_mean(device, devices)}')


def _with_values(draft: Draft) -> Iterator[str]:
    """The ports that have samples under their names, or might: something is wrong with them."""
    for name, port in draft.ports.items():
        if port is None or "values" in port.model_fields_set:
            yield name


def _one_name(draft: Draft) -> Iterator[Fault]:
    """What goes up under a name is of one device, or one port."""
    for name in _with_values(draft):
        if draft.ports[name] is not None and name in draft.devices:
            yield Fault(("devices", name), f"the values of ports.{name} go up under this name")


Points = Mapping[str, Mapping[str, Gives] | None]
"""By device or port; None: something is wrong with it."""


def missing_points(links: Mapping[str, LinkConfig | None], there: Points) -> Iterator[Fault]:
    """What links want of devices that have their models' points, and of ports with values."""
    for name, link in links.items():
        if link is not None:
            yield from told(_of_points(("links", name), link, there))


def _of_points(path: tuple[str, ...], link: LinkConfig, there: Points) -> Iterator[Fault]:
    for source in link.points():
        points = there.get(source.device)
        if not points:
            continue
        if source.point not in points:
            hint = did_you_mean(source.point, points)
            yield Fault((*path, *source.key), f'{source.device} has no point "{source.point}"{hint}')
        elif (gives := points[source.point]) not in source.takes:
            takes = " or a ".join(source.takes)
            yield Fault((*path, *source.key), f'"{source.point}" is a {gives}, and this takes a {takes}')


def _of_device(
    path: tuple[str, ...], device: DeviceConfig, ports: Mapping[str, PortConfig | None]
) -> Iterator[Fault]:
    if device.port not in ports:
        yield Fault(path, _no_port(device.port, ports))
    elif (port := ports[device.port]) is not None:
        yield from _unfit(path, device.port, port, Transactor, "a device")


def _no_port(name: str, ports: Collection[str]) -> str:
    if name.isdigit():
        return "port is the name of a [ports] table; the TCP port goes into listen"
    return (
        f'there is no port "{name}"{did_you_mean(name, ports) or ": its table would be [ports." + name + "]"}'
    )


def _unfit(
    path: tuple[str | int, ...], name: str, port: PortConfig, contract: type, user: str
) -> Iterator[Fault]:
    """What a port of the wrong mode or role could be, and what would be right for it as it is."""
    if port.contract is not contract:
        kinds = [kind for kind in LINKS.names() if LINKS.model(kind).wants is port.contract]
        if contract in port.offers.values():
            needed, has = (f'role = "{_role(port, one)}"' for one in (contract, port.contract))
        else:
            modes = [mode for mode in PORTS.names() if contract in PORTS.model(mode).offers.values()]
            needed, has = f"mode = {quoted(modes)}", f'mode = "{port.mode}"'
        yield Fault(
            path,
            f'{user} needs a port with {needed}; "{name}" has {has} '
            f"and goes with links of kind {quoted(kinds)}",
        )


def _role(port: PortConfig, contract: type) -> str:
    return next(role for role, offered in port.offers.items() if offered is contract)


def _one_to_answer(draft: Draft) -> Iterator[Fault]:
    """A unit id on a line with role = "server" is one link's, or one other port's."""
    taken: dict[tuple[str, int], str] = {}
    for name, port in draft.ports.items():
        for text, units in _answered(port):
            taken |= {(name, unit): f"ports.{name}.units.{text}" for unit in units}
    for name, link in draft.links.items():
        for claim in _claims(link):
            places = [(claim.port, unit) for unit in claim.units]
            if clash := next((place for place in places if place in taken), None):
                yield Fault(("links", name, *claim.key), f"unit {clash[1]} is answered by {taken[clash]}")
            taken |= dict.fromkeys(places, f"links.{name}.units.{claim.key[-1]}")


def _answered(port: PortConfig | None) -> Iterator[tuple[str, range]]:
    if port is not None:
        yield from told(port.answered())


def _claims(link: LinkConfig | None) -> Iterator[Claim]:
    if link is not None:
        yield from told(link.claims())


def _one_line(ports: Mapping[str, PortConfig | None]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for name, port in ports.items():
        tty: str | None = getattr(port, "tty", None)  # None: it could not be read
        if tty is not None:
            line = tty.lower() if is_pattern(tty) else realpath(tty)
            if line in first:
                yield Fault(
                    ("ports", name, "tty"), f"this is the line of ports.{first[line]} already: {line}"
                )
            first.setdefault(line, name)


def _one_address(links: Mapping[str, LinkConfig | None]) -> Iterator[Fault]:
    taken: dict[bool, dict[str, Endpoint]] = {False: {}, True: {}}  # of TCP, of UDP
    for name, link in links.items():
        address: Endpoint | None = getattr(link, "listens", None)  # None: none, or it could not be read
        if address is not None:
            first = taken[getattr(link, "udp", False)]
            other = next((other for other, theirs in first.items() if _clash(address, theirs)), None)
            if other is not None:
                yield Fault(("links", name, "listen"), f"links.{other} listens on {first[other]} already")
            first[name] = address


_EVERY = ("", "::")  # an IPv6 wildcard takes the IPv4 addresses as well
_EVERY_V4 = "0.0.0.0"


def _clash(one: Endpoint, other: Endpoint) -> bool:
    hosts = {"127.0.0.1" if host == "localhost" else host.lower() for host in (one.host, other.host)}
    wild = not hosts.isdisjoint(_EVERY) or (_EVERY_V4 in hosts and not any(":" in host for host in hosts))
    return one.port == other.port and (len(hosts) == 1 or wild)
