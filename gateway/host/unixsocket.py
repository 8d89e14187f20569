"""A listening unix stream socket that at most one process has.

A locked file beside it decides: the kernel releases the lock however its owner ends, and two that start at
once take turns. So a socket file that is found under the lock is a dead one's, and goes. The lock file stays
where it is: removing it would be a race of its own.
"""

import fcntl
import grp
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import GatewayError


class AlreadyRunning(GatewayError):
    """Another process has this socket."""


@contextmanager
def listening(path: Path, group: str) -> Iterator[socket.socket]:
    """Non-blocking, mode 0660, of `group` where the system has it; the file is gone after the block.

    AlreadyRunning; GatewayError when it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            listener = _claimed(path, lock, group)
        except BaseException:
            os.close(lock)
            raise
    except OSError as error:
        raise GatewayError(f"cannot open the socket {path}: {error.strerror or error}") from None
    try:
        yield listener
    finally:
        with suppress(OSError):
            path.unlink()
        listener.close()
        os.close(lock)


def _claimed(path: Path, lock: int, group: str) -> socket.socket:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
        raise AlreadyRunning(f"another gatewayd is running (pid {pid}) on {path}") from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.setblocking(False)
        listener.bind(str(path))
        path.chmod(0o660)  # nobody can connect before listen(): the mode is never a wrong one
        with suppress(KeyError, PermissionError):
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener
