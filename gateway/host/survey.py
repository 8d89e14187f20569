"""What `gatewayctl ports` shows, as JSON: each tty with hardware, and each configured port, which may have
none. Blocks for some milliseconds: never in the loop.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from .adapters import ROOT, Adapter, Tty, fitting, is_pattern, real_path, ttys
from .holders import Holder, holders

Status = Mapping[str, Any]  # of a port


class HolderRecord(TypedDict):
    pid: int
    program: str
    how: list[str]


class TtyRecord(TypedDict):
    """`port`, `state` and `reason` are None where no port is configured on it."""

    tty: str
    present: bool
    by_path: list[str]
    by_id: list[str]
    links: list[str]
    driver: str | None
    vendor_id: str | None
    product_id: str | None
    serial: str | None
    manufacturer: str | None
    product: str | None
    holders: list[HolderRecord]
    port: str | None
    state: str | None
    reason: str | None


_NO_ADAPTER = Adapter("", "", "", "", "")


def survey(ports: Mapping[str, Status], root: Path = ROOT) -> list[TtyRecord]:
    """`ports` are those of the status record."""
    rows = list(_rows(ports, ttys(root), root))
    held = holders({tty.path for tty, _ in rows}, root)
    return [_record(tty, port, ports.get(port, {}), held.get(tty.path, ()), root) for tty, port in rows]


def _rows(ports: Mapping[str, Status], there: list[Tty], root: Path) -> Iterator[tuple[Tty, str]]:
    """Each tty with the port on it, or "". Ports without hardware come last."""
    paths = {name: _path(str(port.get("tty")), there, root) for name, port in ports.items()}
    for tty in there:
        used = [name for name, path in paths.items() if path == tty.path]
        yield from ((tty, name) for name in used or ("",))
    known = {tty.path for tty in there}
    yield from ((Tty(path, "", None, ()), name) for name, path in paths.items() if path not in known)


def _path(tty: str, there: list[Tty], root: Path) -> str:
    """A pattern stays one unless it fits exactly one adapter."""
    if not is_pattern(tty):
        return real_path(tty, root)
    found = fitting(tty, there)
    return found[0].path if len(found) == 1 else tty


def _record(tty: Tty, port: str, status: Status, held: Collection[Holder], root: Path) -> TtyRecord:
    adapter, named = tty.adapter or _NO_ADAPTER, {*tty.by_path, *tty.by_id}
    return {
        "tty": tty.path,
        "present": os.path.exists(root / tty.path.lstrip("/")),
        "by_path": tty.by_path,
        "by_id": tty.by_id,
        "links": [link for link in tty.links if link not in named],
        "driver": tty.driver or None,
        "vendor_id": adapter.vendor_id or None,
        "product_id": adapter.product_id or None,
        "serial": adapter.serial or None,
        "manufacturer": adapter.manufacturer or None,
        "product": adapter.product or None,
        "holders": [{"pid": one.pid, "program": one.program, "how": list(one.how)} for one in held],
        "port": port or None,
        "state": status.get("state"),
        "reason": status.get("reason"),
    }
