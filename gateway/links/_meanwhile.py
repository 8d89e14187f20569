"""on_connect: what the line said while nobody was connected, for whoever comes first.

Promises: the newest `MOST` bytes at most, in pieces as the line said them (with `packet` frames); no byte
twice, and none missing between these and what the line says from then on. It never holds the line up.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from ..contracts import Frame
from ..flow import Fan, Tap
from ._frames import octets

OnConnect = Literal["clear", "keep"]
MOST = 64 * 1024  # bytes


class Meanwhile:
    """Of one link that listens; outlives its sessions."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = self._there = 0
        self._fan: Fan[Any] | None = None
        self._tap: Tap[Any] | None = None

    @contextmanager
    def kept(self, fan: Fan[Any], rule: OnConnect) -> Iterator[None]:
        """Inside the block clients come and go."""
        self._fan = fan if rule == "keep" else None
        if self._fan is None:
            self._taken()
        self._listen()
        try:
            yield
        finally:
            self._fan = None
            self._leave()

    @contextmanager
    def visited(self) -> Iterator[list[bytes]]:
        """One more client is there, until the end of the block. He gets what was kept, if he is the first."""
        self._leave()
        self._there += 1
        try:
            yield self._taken()
        finally:
            self._there -= 1
            if not self._there:
                self._listen()

    def _taken(self) -> list[bytes]:
        pieces = list(self._pieces)
        self._pieces.clear()
        self._size = 0
        return pieces

    def _listen(self) -> None:
        if self._fan is not None:
            self._tap = self._fan.tap(offer=self._keep)

    def _leave(self) -> None:
        if self._tap is not None:
            self._tap.close()
            self._tap = None

    def _keep(self, piece: Frame | bytes) -> bool:
        data = octets(piece)
        self._pieces.append(data)
        self._size += len(data)
        while self._size > MOST:
            self._size -= len(self._pieces.popleft())
        return True
