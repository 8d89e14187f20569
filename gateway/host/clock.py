"""Whether the wall clock can be trusted: a board without a clock of its own begins at some time in the past.

Source: adjtimex(2): the kernel is told by whoever keeps it synchronised.
"""

from pathlib import Path
from time import monotonic, time

_NOT_SYNCHRONISED = 5  # TIME_ERROR
_SANE = 1_767_225_600.0  # 2026-01-01: this program is no older
_ASKED_AGAIN = 1.0  # seconds
_TIMEX = 512  # bytes: more than struct timex has anywhere


class Setting:
    """Asked for each record, so the kernel is asked once a second, and not any more when it is set."""

    def __init__(self, root: Path = Path("/")) -> None:
        board = (root / "proc/device-tree").exists()
        self._has_clock = not board or any((root / "sys/class/rtc").glob("rtc*"))
        self._known = False
        self._ask_at = 0.0

    def known(self) -> bool:
        if not self._known and monotonic() >= self._ask_at:
            self._ask_at = monotonic() + _ASKED_AGAIN
            self._known = time() >= _SANE and (self._has_clock or _synchronised())
        return self._known


def _synchronised() -> bool:
    import ctypes  # 1 MB, that only such a board has to pay

    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX))
    return 0 <= state < _NOT_SYNCHRONISED
