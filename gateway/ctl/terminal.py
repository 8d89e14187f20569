"""How what is shown looks where it is shown: in a terminal, in a file or in a pipe."""

import os
import sys
import time
from collections.abc import Sequence

from ..show.picture import Look


def look() -> Look:
    if not sys.stdout.isatty():
        return Look(time.time())
    width = os.get_terminal_size(sys.stdout.fileno()).columns or 80  # a serial console says 0
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Look(time.time(), width, colour=not plain)


def agreed(to: str) -> bool:
    """Asks; whatever is not clearly yes is no."""
    print(f"{to} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def progress(text: str) -> None:
    """Beside the output, over what was there before; only to somebody who looks on."""
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def draw(lines: Sequence[str]) -> None:
    """Over what was there before; one block after the other where that is no terminal."""
    if not sys.stdout.isatty():
        print("\n".join([*lines, ""]), flush=True)
        return
    most = (os.get_terminal_size(sys.stdout.fileno()).lines or 24) - 1
    if len(lines) > most:
        lines = [*lines[: most - 1], f"... {len(lines) - most + 1} more lines"]
    # home, each line to its end, and below it nothing: clearing all first would flicker
    print("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", end="", flush=True)
