"""Warnings: what works, and is probably not what was meant."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ..contracts import Asking
from ..devices.model import DeviceConfig, ModelConfig
from ..devices.plan import plan
from ..host.adapters import fitting, is_pattern, real_path, ttys
from ..host.consoles import consoles, tty_name
from ..settings import LinkConfig, PortConfig
from ..values import Fault, Model
from ..wire.spans import Span
from .checks import Draft
from .sections import Gateway
from .tables import told
from .volume import doubtful_volume
from .words import Keys

_UNNAMED = "raspberrypi"  # the name that every new Raspberry Pi has
_OTHERS_READ = 0o004  # chmod(1)
_SECRETS = ("password_file", "key")  # keys whose files are nobody else's business
_BUSY = 0.6  # of a line's time: polls beyond that leave SCADA and retries too little
_MANUALS = {  # the numbers that manuals give the addresses of a table, from 0 on
    "holding": 40001,
    "input": 30001,
    "discrete_input": 10001,
}


def doubts(
    path: Path,
    gateway: Gateway,
    draft: Draft,
    models: Mapping[str, ModelConfig | None],
    complete: Collection[DeviceConfig],
    root: Path,
) -> Iterator[Fault]:
    """Of the file at `path`; keys count from its top. `complete`: the devices with their models' points.

    `root` is where the system's files are.
    """
    yield from told(_name(gateway))
    for name, link in draft.links.items():
        if link is not None:
            yield from told(_password(path, ("links", name), link))
            yield from told(_everybody_else(("links", name, "clients"), link))
            yield from told(doubtful_volume(("links", name), link))
            yield from _files(("links", name), link)
            yield from _addresses(("links", name), link)
    for name, port in draft.ports.items():
        if port is not None:
            yield from told(
                _load(("ports", name), port, [device for device in complete if device.port == name])
            )
            yield from told(_nobody_answers(name, port, draft.links))
            yield from told(_console(("ports", name, "tty"), port, root))
    yield from _one_adapter(draft.ports, root)
    for section, tables in (("devices", draft.devices), ("models", models)):
        for name, table in tables.items():
            if table is not None:
                yield from told(doubtful_addresses((section, name), table))


def _name(gateway: Gateway) -> Iterator[Fault]:
    if gateway.name == _UNNAMED:
        yield Fault(("gateway", "name"), f'many are called "{_UNNAMED}": give this one a name of its own')


def _password(path: Path, table: Keys, link: LinkConfig) -> Iterator[Fault]:
    if getattr(link, "password", None) is not None and _readable(path):
        yield Fault(
            (*table, "password"), f"others may read this file: chmod 640 {path}, or use password_file"
        )


def _everybody_else(path: Keys, link: LinkConfig) -> Iterator[Fault]:
    if getattr(link, "clients", None) and "access" not in link.model_fields_set:
        yield Fault(path, 'all others may read and write: say so, access = "read-write", or "read-only"')


def _files(path: Keys, table: Model) -> Iterator[Fault]:
    """Of the files that a table names: those that are not there, and secrets that are none."""
    for key, value in table:
        if isinstance(value, Model):
            yield from _files((*path, key), value)
        elif isinstance(value, Path) and not os.path.lexists(value):
            yield Fault((*path, key), f"there is no file {value}")
        elif isinstance(value, Path) and key in _SECRETS and _readable(value):
            yield Fault((*path, key), f"others may read it: chmod 640 {value}")


def _readable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS_READ)
    except OSError:
        return False


def doubtful_addresses(path: Keys, table: DeviceConfig | ModelConfig) -> Iterator[Fault]:
    """Addresses as manuals print them, with the number of their table in front."""
    yield from _addresses(path, table, table.address_base)


def _addresses(path: Keys, table: Model, base: int = 0) -> Iterator[Fault]:
    for key, value in table:
        if isinstance(value, Model):
            yield from _addresses((*path, key), value, base)
        elif isinstance(value, dict):
            for name, inner in value.items():
                if isinstance(inner, Model):
                    yield from _addresses((*path, key, name), inner, base)
        elif isinstance(value, tuple):
            for place, one in enumerate(value):
                if isinstance(one, Span):
                    yield from _as_printed((*path, key, place), one.table, one.addresses.start, base)
        elif isinstance(value, int):
            yield from _as_printed((*path, key), key, value, base)


def _as_printed(path: Keys, table: str, address: int, base: int) -> Iterator[Fault]:
    first = _MANUALS.get(table, address + 1)
    if first <= address < first + 9999:
        yield Fault(path, f"manuals write {address} for {table} = {address - first + base}")


def _nobody_answers(name: str, port: PortConfig, links: Mapping[str, LinkConfig | None]) -> Iterator[Fault]:
    attached = any(
        link is None or (link.wants is Asking and getattr(link, "port", name) == name)
        for link in links.values()
    )
    if port.contract is Asking and not attached and not list(port.answered()):
        text = "nobody answers its master: write a table units, or a modbus-client link"
        yield Fault(("ports", name), text)


def _console(path: Keys, port: PortConfig, root: Path) -> Iterator[Fault]:
    if doubt := consoles(root).doubt(tty_name(port.tty, root)):
        yield Fault(path, doubt)


def _one_adapter(ports: Mapping[str, PortConfig | None], root: Path) -> Iterator[Fault]:
    """Of patterns that lead to the tty of another port with what is plugged in now."""
    named = {name: str(tty) for name, port in ports.items() if (tty := getattr(port, "tty", None))}
    there = ttys(root) if any(map(is_pattern, named.values())) else []
    first: dict[str, str] = {}
    for name, tty in named.items():
        lines = [one.path for one in fitting(tty, there)] if is_pattern(tty) else [real_path(tty, root)]
        other = first.setdefault(lines[0], name) if len(lines) == 1 else name
        if other != name and (is_pattern(tty) or is_pattern(named[other])):
            yield Fault(("ports", name, "tty"), f"this is the line of ports.{other} now: {lines[0]}")


def _load(path: Keys, port: PortConfig, polled: Collection[DeviceConfig]) -> Iterator[Fault]:
    rounds = ((device, [read.request for read in plan(device)]) for device in polled)
    load = sum(port.busy(requests) / device.poll_interval for device, requests in rounds)
    if load > _BUSY:
        every = max(device.poll_interval for device in polled)
        need = f"{load * every:.2g} s of every {every:g} s"
        yield Fault(path, f"polls need {need}: raise poll_interval or baudrate")
