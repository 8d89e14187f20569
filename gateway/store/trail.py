"""A buffer's journal in use: what is in memory is written there too, as far as there is room and it works.

Promises: the records in the journal are the first of those in memory, without a hole, so `last` says which.
What was confirmed, moved or dropped is told to it once for a whole turn of the loop.
"""

from asyncio import get_running_loop
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..buffer import Buffer
from ..errors import StoreError
from .journal import Journal, Recovered, exists

_NOTHING = Recovered([], 0, 1, {}, 0)


class Trail:
    """`troubled` is told why there is none when there should be one."""

    def __init__(self, path: Path, troubled: Callable[[str, StoreError], None]) -> None:
        self._path, self._troubled = path, troubled
        self._journal: Journal | None = None
        self.last = 0  # records up to this number are in the journal, or need not be
        self.full = False
        self._marking = False

    def open(self, size: int) -> Recovered:
        """What it holds. A `size` of 0: none is wanted, but what is there is taken up."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if size or exists(self._path):
                self._journal = Journal.open(self._path, size)
        except StoreError as error:
            self._troubled("journal", error)
        except OSError as error:
            self._troubled("journal", StoreError(f"{self._path.parent}: {error.strerror or error}"))
        return self._journal.recovered if self._journal is not None else _NOTHING

    def follow(self, buffer: Buffer, size: int) -> None:
        """From now on this is whose records it keeps; it held those that are in memory."""
        self._buffer = buffer
        self.last = buffer.next_number - 1
        if not size:
            self.renew(0)
        self._tell()
        self._mark()

    def appended(self) -> None:
        if not self.full:
            self._write_on()

    def released(self) -> None:
        """Something was confirmed, moved or dropped."""
        if self._journal is not None and not self._marking:
            self._marking = True
            get_running_loop().call_soon(self._mark)

    def renew(self, size: int) -> None:
        """Begins anew, with what is in memory, whatever it held."""
        if self._journal is not None:
            self._let_go()
        self.full, self.last = False, self._buffer.first_held - 1
        if size:
            self.open(size)
            self._tell()
            self._mark()

    def repair(self, size: int) -> bool:
        """Is there one again, if one is wanted?"""
        if self._journal is None:
            self.renew(size)
        return self._journal is not None or not size

    def close(self, keep: bool) -> None:
        self._mark()
        if self._journal is not None and keep:
            self._journal.close()
            self._journal = None
        elif self._journal is not None:
            self._let_go()

    def _tell(self) -> None:
        """A journal that is there is exact, whatever becomes of a stream."""
        if self._journal is not None:
            try:
                self._journal.know(self._buffer.seqs)
            except StoreError as error:
                self._lose(error)

    def _write_on(self) -> None:
        if self._journal is None:
            return
        try:
            for record in self._buffer.held(self.last):
                if not self._journal.append(record):
                    self.full = True
                    return
                self.last = record.number
        except StoreError as error:
            self._lose(error)

    def _mark(self) -> None:
        self._marking = False
        if self._journal is None:
            return
        gone = self._buffer.first_held - 1
        try:
            if gone > self.last:  # they went to disk without ever standing here
                self._journal.know(self._buffer.seqs)
            self._journal.confirm(self._buffer.confirmed)
            self._journal.forget(gone)
        except StoreError as error:
            self._lose(error)
            return
        self.last, self.full = max(self.last, gone), False
        self._write_on()
        self._buffer.readable()

    def _lose(self, error: StoreError) -> None:
        self._let_go()
        self._troubled("journal", error)

    def _let_go(self) -> None:
        """It must not be found by the next process: it will not know all numbers that are given."""
        assert self._journal is not None
        journal, self._journal = self._journal, None
        with suppress(StoreError):
            journal.remove()
