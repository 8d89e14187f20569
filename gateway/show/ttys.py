"""The serial lines of the machine.

`gatewayctl ports`. Pure, like `picture`; a line is a record of its own.
"""

from collections.abc import Iterator, Sequence

from .columns import columns, cut, printable
from .picture import GROUPS, Look, Thing

_HEAD = ("TTY", "ADAPTER", "SERIAL", "PORT", "STATE", "HELD BY")
_ABSENT = "not there"


def table(ttys: Sequence[Thing], look: Look, trouble: str | None = None) -> list[str]:
    """One line each, its other names below, and why its port is not at work.

    `trouble`: why the daemon does not say which ports are configured.
    """
    drawn = list(_rows(printable(list(ttys)), look)) if ttys else ["no serial line has hardware"]
    if trouble is not None:
        drawn += ["", str(printable(trouble)), "so it is not known which of them are configured"]
    return drawn


def _rows(ttys: Sequence[Thing], look: Look) -> Iterator[str]:
    rows = [_cells(tty) for tty in ttys]
    head, *lines = columns([_HEAD, *rows], look.width and look.width - 2, elastic=0, keep=16)
    yield look.painted(f"  {head}", "bold")
    for tty, line in zip(ttys, lines, strict=True):
        ill = _is_ill(tty)
        yield look.painted(f"! {line}", "red") if ill else f"  {line}"
        yield from (cut(f"    {name}", look.width) for name in _names(tty))
        if ill and tty.get("reason"):
            yield look.painted(cut(f"    {tty['reason']}", look.width), "yellow")


def _cells(tty: Thing) -> tuple[str, ...]:
    return (
        str(tty.get("tty", "?")),
        _adapter(tty) if tty.get("present") else _ABSENT,
        tty.get("serial") or "",
        tty.get("port") or "",
        tty.get("state") or "",
        ", ".join(map(_holder, tty.get("holders", ()))),
    )


def _adapter(tty: Thing) -> str:
    usb = f"{tty['vendor_id']}:{tty.get('product_id')}" if tty.get("vendor_id") else ""
    return " ".join(filter(None, (tty.get("driver"), usb, tty.get("product"))))


def _holder(holder: Thing) -> str:
    """How we know it is told where it has not the tty open, as far as can be seen."""
    how = holder.get("how", ())
    aside = "" if "open" in how else f", {' and '.join(how)}"
    return f"{holder.get('program') or '?'} (pid {holder.get('pid')}{aside})"


def _names(tty: Thing) -> Iterator[str]:
    for names in ("by_path", "by_id", "links"):
        yield from tty.get(names, ())


def _is_ill(tty: Thing) -> bool:
    return tty.get("port") is not None and not GROUPS["ports"].is_up(tty)
