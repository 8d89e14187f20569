"""How much of the machine others used meanwhile: a figure taken beside a busy neighbour is worth less."""

import os
import resource
import time
from pathlib import Path
from typing import Self


class Neighbours:
    """`share` of one core, after the block; what our own processes used is not in it."""

    def __enter__(self) -> Self:
        self._start, self._before = time.monotonic(), _others()
        return self

    def __exit__(self, *_: object) -> None:
        self.share = (_others() - self._before) / (time.monotonic() - self._start)


def _others() -> float:
    """CPU seconds of everybody else since boot; of our children only those that have ended count as ours."""
    user, nice, system, _idle, _iowait, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:9])
    busy = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
    ours = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return busy - sum(usage.ru_utime + usage.ru_stime for usage in ours)
