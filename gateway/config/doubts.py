"""Warnings: what works, and is probably not what was meant."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ..devices.model import DeviceConfig, ModelConfig
from ..devices.plan import plan
from ..settings import LinkConfig, PortConfig
from ..values import Fault, Model
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
) -> Iterator[Fault]:
    """Of the file at `path`; keys count from its top. `complete`: the devices with their models' points."""
    yield from told(_name(gateway))
    for name, link in draft.links.items():
        if link is not None:
            yield from told(_password(path, ("links", name), link))
            yield from told(doubtful_volume(("links", name), link))
            yield from _files(("links", name), link)
            yield from _addresses(("links", name), link)
    for name, port in draft.ports.items():
        if port is not None:
            yield from told(
                _load(("ports", name), port, [device for device in complete if device.port == name])
            )
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
        elif isinstance(value, int) and (first := _MANUALS.get(key, value + 1)) <= value < first + 9999:
            meant = value - first + base
            yield Fault((*path, key), f"manuals write {value} for {key} = {meant}")


def _load(path: Keys, port: PortConfig, polled: Collection[DeviceConfig]) -> Iterator[Fault]:
    rounds = ((device, [read.request for read in plan(device)]) for device in polled)
    load = sum(port.busy(requests) / device.poll_interval for device, requests in rounds)
    if load > _BUSY:
        every = max(device.poll_interval for device in polled)
        need = f"{load * every:.2g} s of every {every:g} s"
        yield Fault(path, f"polls need {need}: raise poll_interval or baudrate")
