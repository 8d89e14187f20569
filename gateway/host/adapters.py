"""The serial lines of the machine that have hardware, their names, and which USB adapter is behind each.

Read from /sys and /dev below `root`; what vanishes meanwhile, or cannot be read, is not there, and never an
error. pyserial's list_ports does not serve: it leaves out the UARTs of most ARM boards ("platform"), fails on
an adapter that is just being pulled, and knows neither drivers nor the names that udev gives.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import LineDown

ROOT = Path("/")
_PATTERN = re.compile(r"usb:([0-9a-f]{4}):([0-9a-f]{4})(?::(.+))?")
_CONSOLE = re.compile(r"tty\d*|console|ptmx")  # dozens, which are to cost nothing
_ABSENT = "0"  # PORT_UNKNOWN in /sys/class/tty/ttyS*/type: a place for a UART, and none in it
_BETWEEN = ("port", "ctrl")  # the kernel's own drivers between a UART and its device, from 6.5 on
_BY_ID, _BY_PATH = "/dev/serial/by-id/", "/dev/serial/by-path/"
_LINKS = (_BY_PATH, _BY_ID, "/dev/gateway/", "/dev/")


class Adapter(NamedTuple):
    """A USB device, as it describes itself. What it does not tell is ""."""

    vendor_id: str  # four hexadecimal digits
    product_id: str
    serial: str
    manufacturer: str
    product: str

    def __str__(self) -> str:
        return ", ".join(filter(None, (f"{self.vendor_id}:{self.product_id}", self.serial)))


class Tty(NamedTuple):
    """A serial line with hardware behind it."""

    path: str  # "/dev/ttyUSB0"
    driver: str
    adapter: Adapter | None
    links: tuple[str, ...]  # its other paths

    @property
    def by_id(self) -> list[str]:
        return [link for link in self.links if link.startswith(_BY_ID)]

    @property
    def by_path(self) -> list[str]:
        return [link for link in self.links if link.startswith(_BY_PATH)]

    def called_like(self, path: str) -> str:
        """Its name among those that `path` is one of: by-path, by-id, ..."""
        folder = os.path.dirname(path)
        return next((link for link in self.links if os.path.dirname(link) == folder), self.path)


def ttys(root: Path = ROOT) -> list[Tty]:
    """In the order of their names; ttyUSB2 comes before ttyUSB10."""
    links = _links(root)
    found = []
    with suppress(OSError):
        for entry in os.scandir(root / "sys/class/tty"):
            if not _CONSOLE.fullmatch(entry.name) and _has_hardware(entry.path):
                folder, path = Path(entry.path), f"/dev/{entry.name}"
                found.append(Tty(path, _driver(folder), _adapter(folder), tuple(links.get(path, ()))))
    return sorted(found, key=lambda tty: (re.sub(r"\d+$", "", tty.path), len(tty.path), tty.path))


def real_path(path: str, root: Path = ROOT) -> str:
    """Where its links lead: "/dev/ttyUSB0"."""
    real = Path(os.path.realpath(root / path.lstrip("/")))
    return f"/{real.relative_to(root)}" if real.is_relative_to(root) else str(real)


def is_pattern(tty: str) -> bool:
    """What the config calls a tty is "usb:VENDOR:PRODUCT[:SERIAL]", and not a path."""
    return _PATTERN.fullmatch(tty.lower()) is not None


def fitting(pattern: str, there: Collection[Tty]) -> list[Tty]:
    """Those of `there` that it may mean."""
    found = _PATTERN.fullmatch(pattern.lower())
    assert found is not None
    vendor, product, serial = found.groups()
    return [
        tty
        for tty in there
        if (one := tty.adapter) is not None
        and (one.vendor_id.lower(), one.product_id.lower()) == (vendor, product)
        and serial in (None, one.serial.lower())
    ]


class Whereabouts:
    """Where the adapter of one port is, and was. May be asked in any thread, by one at a time."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._last: tuple[str, Adapter | None] = "", None

    def path(self, tty: str) -> str:
        """What can be opened. LineDown when `tty` is a pattern, and not exactly one adapter fits."""
        if not is_pattern(tty):
            return tty
        there = ttys(self._root)
        found = fitting(tty, there)
        if len(found) != 1:
            raise LineDown(_which(tty, found) if found else _nothing(tty, there))
        return str(self._root / found[0].path.lstrip("/"))

    def opened(self, tty: str) -> None:
        """Remembers what is at the path `tty` now."""
        name = os.path.basename(real_path(tty, self._root))
        self._last = tty, _adapter(self._root / "sys/class/tty" / name)

    def moved(self, tty: str) -> str:
        """Nothing is at the path `tty` any more: where what was there is now, for the end of a sentence.

        Only serial numbers tell one adapter from another of the same kind: of those without, "".
        """
        path, last = self._last
        if path != tty or last is None or not last.serial:
            return ""
        now = [one.called_like(tty) for one in ttys(self._root) if one.adapter == last]
        return f": the same adapter ({last}) is at {' and '.join(now)} now" if now else ""


def _which(pattern: str, found: Collection[Tty]) -> str:
    each = (f"{tty.path} ({tty.adapter})" for tty in found)
    return f"{pattern} may be {' or '.join(each)}: add the serial number, or name a path"


def _nothing(pattern: str, there: Collection[Tty]) -> str:
    """An adapter that was exchanged is another one of the same kind."""
    alike = [f"{tty.path} ({tty.adapter})" for tty in fitting(":".join(pattern.split(":")[:3]), there)]
    return f"no adapter {pattern} is plugged in" + (f", but {' and '.join(alike)}" if alike else "")


# What /sys says


def _has_hardware(folder: str) -> bool:
    return os.path.exists(f"{folder}/device") and _text(Path(folder, "type")) != _ABSENT


def _driver(folder: Path) -> str:
    for place in _up_from(folder):
        with suppress(OSError):
            name = os.path.basename(os.readlink(place / "driver"))
            if name not in _BETWEEN:
                return name
    return ""


def _adapter(folder: Path) -> Adapter | None:
    for place in _up_from(folder):
        if vendor_id := _text(place / "idVendor"):
            facts = ("idProduct", "serial", "manufacturer", "product")
            return Adapter(vendor_id, *(_text(place / fact) for fact in facts))
    return None


def _up_from(folder: Path) -> Iterator[Path]:
    """The device of a tty, what that is part of, and so on."""
    device = Path(os.path.realpath(folder / "device"))
    yield device
    yield from device.parents


def _links(root: Path) -> Mapping[str, list[str]]:
    """By the path that they lead to."""
    found = defaultdict(list)
    for folder in _LINKS:
        with suppress(OSError):
            names = [entry.name for entry in os.scandir(root / folder[1:]) if entry.is_symlink()]
            for name in sorted(names):
                found[real_path(folder + name, root)].append(folder + name)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip("\0 \n")
    except OSError:
        return ""
