"""One SQLite file with the settings that spare an SD card, and errors in plain words.

Promises: a transaction that returned is on the disk. StoreError: the disk will not (`full`: it may again,
keep this open, since closing gives up the space that deletes need). Damaged: the file cannot be trusted any
more. One thread, one connection; nobody else can open the file meanwhile.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from errno import EDQUOT, EIO, ENOSPC, EROFS
from pathlib import Path
from typing import Any, Self

from ..errors import StoreError
from .salvage import PAGE

_SETTINGS = (
    f"page_size = {PAGE}",  # before WAL; half of what 4096 writes at ten records per commit
    "locking_mode = exclusive",  # before WAL: no -shm file, and nobody else can open it
    "journal_mode = wal",
    "synchronous = full",
    "secure_delete = off",  # Debian compiles it in: a drain would write 500 bytes per record
    "cache_size = -256",
    "wal_autocheckpoint = 256",  # pages; with a transaction of 256 KB on top, that is what the WAL ever has
    "journal_size_limit = 524288",  # bytes that it keeps after a larger one
    "temp_store = memory",
)
_WORDS: dict[int | None, str] = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the disk is read-only",
    sqlite3.SQLITE_IOERR: "the disk has an error",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_BUSY: "another program has it open",
}
_ERRNO = {
    ENOSPC: sqlite3.SQLITE_FULL,
    EDQUOT: sqlite3.SQLITE_FULL,
    EROFS: sqlite3.SQLITE_READONLY,
    EIO: sqlite3.SQLITE_IOERR,
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Damaged(StoreError):
    """What stands in the file is not what was written there."""


class Database:
    """An open file. Its tables are exactly those that it was made with, or it is damaged."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path, self._db = path, db

    @classmethod
    def open(cls, path: Path, tables: Sequence[str]) -> Self:
        """Creates the file, mode 0600, if need be.

        `tables` are statements as SQLite gives them back, in order of their names.
        """
        with plainly(path):
            path.touch(0o600)
            database = cls(path, sqlite3.connect(path, timeout=1.0, isolation_level=None))
        try:
            database._settle(tables)
        except BaseException:
            database.close()
            raise
        return database

    def _settle(self, tables: Sequence[str]) -> None:
        for setting in _SETTINGS:
            self.sql(f"pragma {setting}")
        found = [sql for (sql,) in self.sql("select sql from sqlite_master order by name")]
        if not found and self.path.stat().st_size <= PAGE:  # new: just what SQLite begins with
            with self.transaction():
                for table in tables:
                    self.sql(table)
        elif found != list(tables):
            raise Damaged(f"{self.path}: it is damaged")

    def sql(self, statement: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        """Its rows, all of them."""
        with plainly(self.path):
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        if not self.path.exists():
            raise StoreError(f"{self.path}: it is gone")  # SQLite would write on, to what nobody finds again
        self.sql("begin immediate")
        try:
            yield
            self.sql("commit")
        except BaseException:
            with suppress(StoreError):  # after some errors SQLite has done so by itself
                self.sql("rollback")
            raise

    @property
    def size(self) -> int:
        """Bytes of the file that are in use."""
        return PAGE * int(self.sql("pragma page_count")[0][0] - self.sql("pragma freelist_count")[0][0])

    def checkpoint(self) -> None:
        """Everything into the file itself; its WAL is empty then."""
        self.sql("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        with suppress(sqlite3.Error):  # the disk may be what is wrong
            self._db.close()


@contextmanager
def plainly(path: Path) -> Iterator[None]:
    """Errors of SQLite and the system become ours."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise StoreError(f"{path}: {error}") from error
    except sqlite3.Error as error:
        # Without a code it is Python's: what came back is not text, or not a number, as it was written.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        raise _told(path, code, error) from error
    except UnicodeDecodeError as error:  # its words about a damaged file, which quote that
        raise Damaged(f"{path}: it is damaged") from error
    except OSError as error:
        raise _told(path, _ERRNO.get(error.errno or 0), error) from error


def _told(path: Path, code: int | None, error: Exception) -> StoreError:
    if code in _DAMAGE:
        return Damaged(f"{path}: it is damaged")
    reason = getattr(error, "strerror", None) or str(error)
    return StoreError(f"{path}: {_WORDS.get(code, reason)}", full=code == sqlite3.SQLITE_FULL)


def beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def remove(path: Path) -> None:
    """The file and what SQLite put beside it."""
    with plainly(path):
        for ending in ("", "-wal", "-journal"):
            beside(path, ending).unlink(missing_ok=True)


def move(path: Path, to: Path) -> None:
    """Over whatever stands there.

    The file goes before its WAL: a WAL alone is no danger while nothing is put beside it.
    """
    remove(to)
    with plainly(path):
        path.rename(to)
        if (wal := beside(path, "-wal")).exists():
            wal.rename(beside(to, "-wal"))
