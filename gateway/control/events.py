"""The last of what the daemon said, kept for whoever asks later why something died: `gatewayctl support`.

Promises: a bounded number of events, each of bounded length. What is only said again each minute, while a
part is away, replaces its last repetition, so that it pushes nothing else out.
"""

import logging
from collections import deque
from typing import NamedTuple, TypedDict

from ..status import timestamp

MOST = 200
_LONGEST = 2000  # characters; of a longer one, such as a traceback, both ends count
_CUT = "\n[...]\n"


class Event(TypedDict):
    at: str
    level: str
    text: str


class _Kept(NamedTuple):
    event: Event
    repeats: str | None  # whose absence it reminds of


class Events(logging.Handler):
    """To be added to the root logger. `told` may be called while others log."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__(logging.INFO)
        self._kept: deque[_Kept] = deque(maxlen=most)
        self._format = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        repeats = getattr(record, "repeats", None)
        if repeats is not None:
            old = next((kept for kept in self._kept if kept.repeats == repeats), None)
            if old is not None:
                self._kept.remove(old)
        text = _shortened(self._format.format(record))
        event: Event = {"at": timestamp(record.created), "level": record.levelname.lower(), "text": text}
        self._kept.append(_Kept(event, repeats))

    def told(self) -> list[Event]:
        """From the oldest on."""
        self.acquire()
        try:
            return [kept.event for kept in self._kept]
        finally:
            self.release()


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    half = (_LONGEST - len(_CUT)) // 2
    return text[:half] + _CUT + text[-half:]
