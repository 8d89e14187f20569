"""What the machine says of itself, for support: its system, ttys, network and the kernel's log.

Read from /proc, /sys and /dev below `root`, by whoever asks and with his rights: an OSError comes out where
these do not reach. Functions return text for people.
"""

import errno
import os
import re
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

ROOT = Path("/")
_ABOUT = re.compile(
    r"usb|tty|serial|uart|ftdi|cp210|ch34|pl2303|cdc_acm|rs485|voltage|out of memory|oom|killed process",
    re.IGNORECASE,
)
_MOST = 500  # lines of the kernel
_TAIL = 1 << 20  # bytes of a log file
_LINKS = ("dev/serial/by-id", "dev/serial/by-path", "dev/gateway")
_USB = ("idVendor", "idProduct", "manufacturer", "product", "serial")


def system(root: Path = ROOT) -> str:
    """Kernel, distribution, model, for how long it is up, memory and disk."""
    kernel = os.uname()
    release = dict(line.split("=", 1) for line in _text(root / "etc/os-release").splitlines() if "=" in line)
    models = ("proc/device-tree/model", "sys/class/dmi/id/product_name")
    disk = shutil.disk_usage(root)
    rows = {
        "kernel": f"{kernel.sysname} {kernel.release} {kernel.version} {kernel.machine}",
        "distribution": release.get("PRETTY_NAME", "").strip('"'),
        "model": next(filter(None, (_text(root / model) for model in models)), ""),
        "console": " ".join(re.findall(r"\bconsole=\S+", _text(root / "proc/cmdline"))),
        "up for": f"{_text(root / 'proc/uptime').partition(' ')[0]} s",
        "load": _text(root / "proc/loadavg"),
        "disk": f"{disk.free >> 20} MB of {disk.total >> 20} MB free on {root}",
    }
    memory = _text(root / "proc/meminfo").splitlines()[:3]
    return "\n".join([*(f"{name:14}{text or 'unknown'}" for name, text in rows.items()), *memory])


# ttys


def ttys(root: Path = ROOT) -> str:
    """Each that has hardware: its driver, USB adapter, mode, other names, and who has it open."""
    names, users = _names(root), _users(root)
    lines = []
    for folder in sorted((root / "sys/class/tty").iterdir()):
        if (folder / "device").exists() and _text(folder / "type") != "0":  # 0: a UART that is not there
            lines.append(f"{folder.name}: {_driver(folder)}, {_mode(root / 'dev' / folder.name)}")
            lines += [f"    {name}" for name in names.get(folder.name, ())]
            lines += [f"    open in {user}" for user in users.get(folder.name, ())]
    return "\n".join(lines) or "none"


def _names(root: Path) -> Mapping[str, list[str]]:
    found = defaultdict(list)
    links = [link for folder in _LINKS if (root / folder).is_dir() for link in (root / folder).iterdir()]
    for link in sorted([*links, *(root / "dev").glob("serial[0-9]")]):
        found[link.resolve().name].append(f"/{link.relative_to(root)}")
    return found


def _driver(folder: Path) -> str:
    device = (folder / "device").resolve()
    driver = (device / "driver").resolve().name if (device / "driver").exists() else "no driver"
    for place in (device, *device.parents):
        if (place / "idVendor").exists():
            return f"{driver}, USB {' '.join(_text(place / name) or '-' for name in _USB)}"
    return driver


def _mode(path: Path) -> str:
    try:
        about = path.stat()
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    return f"{stat.filemode(about.st_mode)} uid {about.st_uid} gid {about.st_gid}"


def _users(root: Path) -> Mapping[str, list[str]]:
    """Of the processes that we may look into."""
    found = defaultdict(list)
    for process in (root / "proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                target = Path(os.readlink(descriptor))
                if target.parent == Path("/dev") and target.name.startswith("tty"):
                    found[target.name].append(f"{_text(process / 'comm')} ({process.name})")
    return {name: list(dict.fromkeys(users)) for name, users in found.items()}


# The kernel's log


def kernel_log(root: Path = ROOT) -> str:
    """Its last lines about USB, serial lines, power and memory; times in seconds since it has started."""
    try:
        lines = [_message(line) for line in _kmsg(root / "dev/kmsg").splitlines() if line[:1].isdigit()]
    except OSError as denied:
        try:
            lines = _end_of(root / "var/log/kern.log").splitlines()
        except OSError:
            raise denied from None
    return "\n".join([line for line in lines if _ABOUT.search(line)][-_MOST:]) or "nothing"


def _kmsg(path: Path) -> str:
    """The device gives one message for each read: Documentation/ABI/testing/dev-kmsg."""
    messages = []
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                message = os.read(fd, 8192)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.EPIPE:  # overwritten before we came: the next one is there
                    raise
                continue
            if not message:
                break
            messages.append(message)
    finally:
        os.close(fd)
    return b"".join(messages).decode("utf-8", "replace")


def _message(line: str) -> str:
    head, _, text = line.partition(";")
    fields = head.split(",")
    return f"[{int(fields[2]) / 1e6:12.6f}] {text}" if len(fields) > 2 and fields[2].isdigit() else line


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read(_TAIL).decode("utf-8", "replace")


# The network


def network(root: Path = ROOT) -> str:
    """Interfaces, addresses, routes, name servers."""
    parts = {
        "interfaces": _interfaces(root),
        "IPv4 addresses": _addresses4(root),
        "IPv6 addresses": _addresses6(root),
        "IPv4 routes": _routes4(root),
        "name servers": _text(root / "etc/resolv.conf").splitlines(),
    }
    return "\n\n".join("\n    ".join([title, *lines]) for title, lines in parts.items())


def _interfaces(root: Path) -> Iterator[str]:
    for folder in sorted((root / "sys/class/net").iterdir()):
        facts = ("operstate", "carrier", "carrier_changes", "mtu", "speed", "address")
        yield f"{folder.name}: " + ", ".join(f"{fact} {_text(folder / fact) or '-'}" for fact in facts)


def _addresses4(root: Path) -> list[str]:
    """Our own, of all interfaces: the kernel's routing table has them as "/32 host LOCAL"."""
    found = re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", _text(root / "proc/net/fib_trie"))
    return list(dict.fromkeys(found))


def _addresses6(root: Path) -> Iterator[str]:
    for line in _text(root / "proc/net/if_inet6").splitlines():
        address, _, prefix, _, _, name = line.split()
        yield f"{IPv6Address(int(address, 16))}/{int(prefix, 16)} {name}"


def _routes4(root: Path) -> Iterator[str]:
    for line in _text(root / "proc/net/route").splitlines()[1:]:
        name, to, gateway, _, _, _, metric, mask, *_ = line.split()
        network = IPv4Network((_address(to), str(_address(mask))), strict=False)
        yield f"{network} via {_address(gateway)} {name} metric {metric}"


def _address(text: str) -> IPv4Address:
    """As /proc/net/route writes it.

    In the byte order of the machine, which is little-endian on all of ours.
    """
    return IPv4Address(bytes.fromhex(text)[::-1])


def _text(path: Path) -> str:
    """ "" where there is none."""
    try:
        return path.read_text("utf-8", "replace").strip("\0 \n")
    except OSError:
        return ""
