"""A serial driver that knows RS-485, RTS and counters, and a GPIO chip, for gatewayd on pseudo terminals."""

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHIP = "gpiochip9"  # the only one that there is
ENABLED = 1  # SER_RS485_ENABLED
_HELD = struct.Struct("=3I20x20i2I")  # struct held of driver.c
_RATE, _INPUTS = _HELD.size - 8, _HELD.size - 4
_COUNTS = 32
_LINES = {"cts": 0x20, "cd": 0x40, "ri": 0x80, "dsr": 0x100}  # TIOCM_*


class Event(NamedTuple):
    at: float  # seconds
    what: str  # "write", "rts", "dtr", "break", "gpio", "rs485", "line"
    value: int


class Driver:
    """What it holds outlives every process that uses it, as in a kernel."""

    def __init__(self, library: Path, state: Path) -> None:
        self._state, self._log = state, state.with_name(state.name + ".log")
        state.write_bytes(bytes(_HELD.size))
        self._log.touch()
        self.environment = {"LD_PRELOAD": str(library), "DRIVER": str(state)}

    @property
    def rs485(self) -> tuple[int, int, int]:
        """Flags, and the delays in milliseconds."""
        flags, before, after, *_ = _HELD.unpack(self._state.read_bytes())
        return flags, before, after

    def counts(self, **seen: int) -> None:
        for place, name in enumerate(("framing", "overrun", "parity", "break"), 6):
            self._poke(_COUNTS + 4 * place, seen.get(name, 0))

    def makes(self, baudrate: int) -> None:
        """Of each baud rate that it is asked for."""
        self._poke(_RATE, baudrate)

    def raises(self, *lines: str) -> None:
        """These modem lines, and no others, on the device's side: cts, cd, ri, dsr."""
        self._poke(_INPUTS, sum(_LINES[line] for line in lines))

    def _poke(self, place: int, value: int) -> None:
        with self._state.open("r+b") as file:
            file.seek(place)
            file.write(struct.pack("=I", value))

    @property
    def events(self) -> Iterator[Event]:
        for line in self._log.read_text().splitlines():
            at, what, value = line.split()
            yield Event(float(at), what, int(value))


def built(folder: Path) -> Path:
    """The library, in this folder; needs gcc."""
    library, source = folder / "driver.so", Path(__file__).with_name("driver.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=60)
    return library
