"""Which processes have a tty: those that hold it open, its locks, and the lock files of old programs.

Read from /proc and /var/lock below `root`, as far as we may look: root sees everybody's open files, others
their own; locks are seen by all where the kernel shows /proc/locks.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .adapters import ROOT

_LOCK = re.compile(r"\d+: (?:FLOCK|POSIX) +\S+ +\S+ +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ")  # proc_locks(5)


class Holder(NamedTuple):
    """A process, and how we know: "open", "lock", "lock file"."""

    pid: int
    program: str  # "" where we may not know
    how: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.program or 'a program'} (pid {self.pid})"


def holders(paths: Collection[str], root: Path = ROOT) -> dict[str, list[Holder]]:
    """Of each of `paths`, which are no links."""
    seen: dict[str, dict[int, list[str]]] = defaultdict(dict)
    for found in (_open(root), _locks(paths, root), _lock_files(paths, root)):
        for path, pid, how in found:
            if path in paths and how not in (ways := seen[path].setdefault(pid, [])):
                ways.append(how)
    return {
        path: [Holder(pid, _text(root / f"proc/{pid}/comm"), tuple(how)) for pid, how in sorted(pids.items())]
        for path, pids in seen.items()
    }


def _open(root: Path) -> Iterator[tuple[str, int, str]]:
    for process in filter(str.isdigit, _names(root / "proc")):
        folder = root / "proc" / process / "fd"
        for descriptor in _names(folder):
            with suppress(OSError):
                yield os.readlink(folder / descriptor), int(process), "open"


def _locks(paths: Collection[str], root: Path) -> Iterator[tuple[str, int, str]]:
    places = {}
    for path in paths:
        with suppress(OSError):
            about = (root / path.lstrip("/")).stat()
            places[os.major(about.st_dev), os.minor(about.st_dev), about.st_ino] = path
    for line in _text(root / "proc/locks").splitlines():
        if lock := _LOCK.match(line):
            path = places.get((int(lock[2], 16), int(lock[3], 16), int(lock[4])), "")
            yield path, int(lock[1]), "lock"


def _lock_files(paths: Collection[str], root: Path) -> Iterator[tuple[str, int, str]]:
    """Of the living: Filesystem Hierarchy Standard 3.0, 5.9."""
    for path in paths:
        pid = _text(root / "var/lock" / f"LCK..{os.path.basename(path)}").strip()
        if pid.isdigit() and (root / "proc" / pid).exists():
            yield path, int(pid), "lock file"


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip("\0 \n")
    except OSError:
        return ""
