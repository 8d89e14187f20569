"""A weighing instrument on a raw line: it prints numbered lines and obeys "T" (tare).

Every line carries its number, so that whoever collects them can say that none is missing.
"""

import re
from pathlib import Path

from .line import Line, Wire

COMMAND_END = b"\r\n"
_PRINTED = re.compile(rb"N(\d{6}) ")


def number_of(line: bytes) -> int | None:
    """The number of a printed line; None for anything else, an acknowledgement say."""
    found = _PRINTED.match(line)
    return int(found[1]) if found else None


class Scale(Line):
    """Prints `every` seconds while `printing`, `most` lines in all. `printed` and `tared` count."""

    def __init__(
        self,
        every: float,
        wire: Wire | None = None,
        *,
        printing: bool = True,
        most: int | None = None,
        link: Path | None = None,
    ) -> None:
        super().__init__(wire or Wire(baudrate=9600, bits=10), link)
        self.every = every
        self.printing = printing
        self.most = most
        self.printed = 0
        self.tared = 0
        self.commands: list[bytes] = []  # all that came down, whole lines
        self._heard = b""
        self._tare = 0.0
        self.alarm = 0.0

    def begin(self) -> None:
        self.printing = True

    def alarmed(self, now: float) -> None:
        self.alarm = now + self.every
        if self.printing and self.printed != self.most:
            self.printed += 1
            weight = 12.5 + self.printed % 40 / 80 - self._tare
            self.say(b"N%06d ST,NT,%+09.3f kg\r\n" % (self.printed, weight), now)

    def heard(self, data: bytes, now: float) -> None:
        *commands, self._heard = (self._heard + data).split(COMMAND_END)
        for command in commands:
            self.commands.append(command)
            if command == b"T":
                self.tared += 1
                self._tare = 12.5
                self.say(b"OK,T\r\n", now)
            else:
                self.say(b"ES\r\n", now)  # "error, syntax"
