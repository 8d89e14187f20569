"""Tries to open each device that it is told, and prints what comes of it."""

import os
import sys

for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY))
        print(path, "opened")
    except OSError as error:
        print(path, os.strerror(error.errno or 0))
