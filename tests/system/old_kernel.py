"""Runs a Python program as on a kernel before Linux 6.15, which refuses TCP_RTO_MAX_MS.

python old_kernel.py PROGRAM ARGUMENT...
"""

import errno
import os
import runpy
import socket
import sys
from typing import Any

TCP_RTO_MAX_MS = 44  # include/uapi/linux/tcp.h
_set = socket.socket.setsockopt


def setsockopt(sock: socket.socket, level: int, option: int, *value: Any) -> None:
    if (level, option) == (socket.IPPROTO_TCP, TCP_RTO_MAX_MS):
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
    _set(sock, level, option, *value)


socket.socket.setsockopt = setsockopt  # type: ignore[method-assign,assignment]
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
