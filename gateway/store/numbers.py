"""Which sequence numbers may have been given: one small file for all buffers.

Promises: no number is given twice, whatever happens. Each start, and whoever runs short, reserves numbers
ahead; after a power cut numbers go on behind what was reserved, after a stop in good order at the next one.
A stream that the file does not know begins by the clock, where no earlier file of a gateway has been.
"""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from ..errors import StoreError

Seqs = Mapping[str, Mapping[str, int]]  # by buffer and stream, the last that may have been given

AHEAD = 1_000_000
log = logging.getLogger(__name__)


def load(path: Path) -> dict[str, dict[str, int]]:
    """Blocks. Empty, if there is no such file or it is damaged; StoreError: it cannot be read."""
    try:
        total, _, text = path.read_bytes().partition(b"\n")
        if total == _sum(text):
            return dict(json.loads(text))
        log.warning("%s is damaged: sequence numbers begin by the clock", path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    return {}


def save(path: Path, seqs: Seqs) -> None:
    """Blocks until it is on the disk. StoreError: it is not."""
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(seqs, sort_keys=True).encode()
        with new.open("wb") as file:
            file.write(_sum(text) + b"\n" + text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        with suppress(OSError):  # not every file system lets a directory be synced
            _sync(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


def _sum(text: bytes) -> bytes:
    return b"%08x" % crc32(text)


def _sync(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
