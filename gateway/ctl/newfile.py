"""A file that has its name only when it is whole and on the disk.

What had that name before stays, unless the caller says otherwise.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import BinaryIO

from .asking import BAD_NEWS, Failed


@contextmanager
def new_file(path: str, *, force: bool, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Failed when it is there already (with `force`: when it is no file), or cannot be written."""
    if os.path.lexists(path) and not force:
        raise Failed(f"{path} is there already: --force replaces it", BAD_NEWS)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise Failed(f"{path} is no file", BAD_NEWS)
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or `buffer clear` would be too early
        os.replace(part, path)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror or error}", BAD_NEWS) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
