"""Which serial lines the machine uses as consoles of its own: proc(5), systemd-getty-generator(8).

Read from the files below `root`; where one cannot be read nothing is known of it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..policy.consoles import Consoles

ROOT = Path("/")
_FILES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")  # of Raspberry Pi OS, new and old
_FROM = "from the command line of the kernel"
_UNITS = "etc/systemd/system"
_UNIT = re.compile(r"serial-getty@(.+)\.service")


def tty_name(path: str, root: Path = ROOT) -> str:
    """As the kernel calls it: "ttyAMA0" for "/dev/serial0". What is not there keeps its name."""
    return Path(os.path.realpath(root / path.lstrip("/"))).name


def consoles(root: Path = ROOT) -> Consoles:
    kernel = {
        name: f"console={name} {_FROM}" for name in _text(root / "sys/class/tty/console/active").split()
    }
    kernel |= dict(_said(root, "proc/cmdline", _FROM))
    for file in _FILES:
        kernel |= dict(_said(root, file, f"from /{file}"))
    units = root / _UNITS
    return Consoles(
        kernel=kernel,
        logins=[tty_name(f"/dev/{name}", root) for name, _ in _instances(units / "getty.target.wants")],
        masked=[name for name, unit in _instances(units) if os.path.realpath(unit) == os.devnull],
    )


def _said(root: Path, file: str, where: str) -> Iterator[tuple[str, str]]:
    for word in re.findall(r"(?:^|\s)(console=\S+)", _text(root / file)):
        name = word.removeprefix("console=").partition(",")[0]
        yield tty_name(f"/dev/{name}", root), f"{word} {where}"


def _instances(folder: Path) -> Iterator[tuple[str, Path]]:
    """The serial-gettys in there, by their tty."""
    with suppress(OSError):  # there are none, or they are nothing that we may know
        for unit in folder.iterdir():
            if found := _UNIT.fullmatch(unit.name):
                yield found[1], unit


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
