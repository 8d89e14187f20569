"""Two ways to watch the demo: a live screen (plain ANSI) with keys, or lines on paper.

`render` makes the screen's lines from what there is to see, and touches nothing.
"""

import asyncio
import os
import shutil
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Self

from .plant import Plant

PLAIN, BOLD, DIM, GREEN, RED = "0", "1", "2", "32", "31"
REDRAW_EVERY = 0.25  # seconds
PAPER_EVERY = 2.0
NOTES = 3  # the newest of the story


class Text(NamedTuple):
    """One line of the screen; `style` is an ANSI code."""

    text: str
    style: str = PLAIN


def render(plant: Plant, notes: list[str], clock: float) -> Iterator[Text]:
    """The whole screen, top to bottom."""
    key = "[b] broker away" if plant.cable.whole else "[b] broker back"
    yield Text(f"serial gateway demo   {clock:4.0f} s   {key}   [t] tare the scale   [q] quit", BOLD)
    yield from (Text(note, DIM) for note in [*notes, *[""] * NOTES][:NOTES])
    yield Text(f"SCADA sees (Modbus TCP 127.0.0.1:{plant.scada.port})", BOLD)
    for unit, row in sorted(plant.scada.rows.items()):
        yield Text(
            f"  meter {unit}   {row.voltage:6.1f} V  {row.power:6.0f} W   setpoint {row.setpoint:3d} %"
        )
    yield Text(f"  {plant.scada.reads} answers, {plant.scada.wrong} wrong  {plant.scada.trouble}", DIM)
    yield Text("")
    yield Text(f"the broker sees (MQTT 127.0.0.1:{plant.cable.port})", BOLD)
    yield from (Text(f"  {topic:<24} {text}") for topic, text in plant.subscriber.latest)
    yield _lines(plant)
    yield Text("")
    yield Text("gatewayctl status", BOLD)
    yield from (Text(f"  {line}") for line in plant.status.splitlines())


def _lines(plant: Plant) -> Text:
    subscriber, printed = plant.subscriber, plant.scale.printed
    waiting = printed - subscriber.last_line
    missing = subscriber.last_line - subscriber.arrived
    text = (
        f"  scale lines: {printed} printed, {subscriber.arrived} here, {waiting} under way, {missing} missing"
    )
    if not plant.cable.whole:
        return Text(text + "   THE BROKER IS AWAY", RED)
    return Text(text, RED if missing else GREEN)


def summary(plant: Plant) -> str:
    """The same in one line, for paper."""
    rows = "; ".join(f"meter {unit} {row.voltage:.1f} V" for unit, row in sorted(plant.scada.rows.items()))
    lines = f"scale line {plant.scale.printed} printed, {plant.subscriber.last_line} at the broker"
    return f"{rows} ({plant.scada.reads} answers); {lines}"


class Paper:
    """Lines with the seconds in front, for a terminal that is none."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def tell(self, note: str) -> None:
        print(f"{time.monotonic() - self._start:6.1f} s  {note}", flush=True)

    async def show(self, plant: Plant) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(PAPER_EVERY)
            self.tell(summary(plant))


class Screen:
    """The terminal, taken over while the block lasts and given back as it was."""

    def __init__(self) -> None:
        self.keys: asyncio.Queue[str] = asyncio.Queue()
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        self._write("\x1b[?1049h\x1b[?25l\x1b[2J")  # alternate screen, no cursor, empty
        asyncio.get_running_loop().add_reader(sys.stdin, self._pressed)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        self._write("\x1b[?25h\x1b[?1049l")
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def tell(self, note: str) -> None:
        self._notes.append(f"{time.monotonic() - self._start:6.1f} s  {note}")

    async def show(self, plant: Plant) -> None:
        """For ever."""
        while True:
            size = shutil.get_terminal_size()
            lines = list(render(plant, list(self._notes), time.monotonic() - self._start))
            shown = (f"\x1b[{style}m{text[: size.columns - 1]}\x1b[0m\x1b[K" for text, style in lines)
            self._write("\x1b[H" + "\r\n".join(list(shown)[: size.lines - 1]) + "\x1b[J")
            await asyncio.sleep(REDRAW_EVERY)

    def _pressed(self) -> None:
        for key in os.read(sys.stdin.fileno(), 64).decode(errors="ignore").lower():
            self.keys.put_nowait(key)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
