"""A line in the hands of one client: what he has set lasts until he leaves, also over a line that comes back.

Promises: behind `taken` all is as the config file has it. What a tty has not got is told as it was asked for
where that is ours to say (DTR, RTS), and as off where it is the device's.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ..contracts import LineFaults, ModemLines, Settings
from ..errors import Busy, LineDown
from ..host.tty import Line
from ..settings import PortConfig
from ..status import PartStatus

C = TypeVar("C", bound=PortConfig)
_SLOWEST, _FASTEST = 50, 4_000_000  # baud: as the key has it
_OPENED_WITH = True  # pyserial raises DTR and RTS when it opens a line


class Tuning:
    """Of one port: `config` is its own, `line` the open one."""

    def __init__(self, config: PortConfig) -> None:
        self.config = config
        self._line: Line | None = None
        self._changes: dict[str, Any] = {}  # to keys of the config
        self._taken = False
        self.breaking = False

    def applied(self, config: C) -> C:
        """As it is now."""
        return config.model_copy(update=self._changes) if self._changes else config

    def opened(self, config: PortConfig, line: Line) -> None:
        """As `applied` to that config."""
        self.config, self._line = config, line

    def closed(self) -> None:
        self._line, self.breaking = None, False

    @contextmanager
    def taken(self) -> Iterator[None]:
        if self._taken:
            raise Busy("the line is another client's to set")
        self._taken = True
        try:
            yield
        finally:
            self._taken = False
            self._put_back()

    def _put_back(self) -> None:
        self.send_break(False)
        changed, self._changes = set(self._changes), {}
        if self._line is None:
            return
        self._line.controls.apply(self.config)
        self._line.respaced(self.config.character_bits / self.config.baudrate)
        if changed & {"dtr", "rts"}:
            self._line.controls.signal(dtr=self.dtr, rts=self.rts if self._rts_is_ours else None)

    def status(self) -> PartStatus:
        """What it is configured as, while that is not so."""
        present = self.applied(self.config)
        if (present.line, present.flow) == (self.config.line, self.config.flow):
            return {}
        return {"configured": f"{self.config.line}, flow {self.config.flow}", "flow": present.flow}

    @property
    def settings(self) -> Settings:
        present = self.applied(self.config)
        return Settings(
            present.baudrate if self._line is None else self._line.controls.baudrate, present.format
        )

    @property
    def flow(self) -> str:
        return self.applied(self.config).flow

    def set(self, *, baudrate: int = 0, format: str = "", flow: str = "") -> None:
        present = self.applied(self.config)
        wanted = {"baudrate": baudrate, "format": format, "flow": flow}
        changes = {key: value for key, value in wanted.items() if value and value != getattr(present, key)}
        new = present.model_copy(update=changes)
        if self._line is None or not changes or not _possible(new):
            return
        if self._line.controls.apply(new):
            self._changes |= changes
            self._line.respaced(new.character_bits / new.baudrate)
        else:
            self._line.controls.apply(present)

    @property
    def dtr(self) -> bool:
        return self._signalled(self.applied(self.config).dtr)

    @property
    def rts(self) -> bool:
        return self._signalled(self.applied(self.config).rts)

    def _signalled(self, on: bool | None) -> bool:
        return self._line is not None and (_OPENED_WITH if on is None else on)

    def signal(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        if self._line is None:
            return
        asked = {"dtr": dtr, "rts": rts if self._rts_is_ours else None}
        self._changes |= {key: on for key, on in asked.items() if on is not None}
        self._line.controls.signal(dtr=asked["dtr"], rts=asked["rts"])

    @property
    def _rts_is_ours(self) -> bool:
        return self.flow != "rts-cts" and not self.config.rts_taken

    def send_break(self, on: bool, /) -> None:
        if self._line is not None and on is not self.breaking:
            with suppress(LineDown):  # the session knows
                self.breaking = self._line.set_break(on) and on

    @property
    def modem(self) -> ModemLines | None:
        return None if self._line is None else self._line.controls.modem

    @property
    def faults(self) -> LineFaults:
        counts = None if self._line is None else self._line.driver_counts()
        return LineFaults() if counts is None else LineFaults(*counts)

    @property
    def unsent(self) -> float:
        return 0.0 if self._line is None else self._line.waiting + self._line.controls.unsent

    def purge(self, *, received: bool = False, unsent: bool = False) -> None:
        if self._line is None:
            return
        if received:
            self._line.controls.discard_input()
        if unsent:
            with suppress(LineDown):  # the session knows
                self._line.discard_output()


def _possible(config: PortConfig) -> bool:
    """The config file could say so."""
    return _SLOWEST <= config.baudrate <= _FASTEST and not any(config.faults())
