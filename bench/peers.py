"""Foreign programs beside ours: ser2net for comparison, mosquitto as the broker. Absent ones are said so."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

BUFFER = 16384  # bytes: ser2net's own default is 64


class Absent(Exception):
    """That program is not installed; the message names its Debian package."""


def program(name: str) -> str:
    """Its path; Debian puts daemons where an ordinary user's PATH does not lead."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise Absent(f"{name} is not installed: apt-get install {name}")
    return path


class Peer:
    """A running program with a config file of its own; it ends with the block."""

    def __init__(self, name: str, config: str, arguments: Sequence[str], port: int) -> None:
        path = program(name)
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        file = Path(self._folder.name, "config")
        file.write_text(config)
        self._process = subprocess.Popen(
            [path, *arguments, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid, self.port = self._process.pid, port
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"nobody listens on port {self.port}: exit code {self._process.poll()}")


def ser2net(ttys: Sequence[str], baudrate: int, listen: Sequence[int], probe: int) -> Peer:
    """Tuned: no wait for more characters, large buffers. `probe` is a spare TCP port to see it start by."""
    config = "%YAML 1.1\n---\n"
    for number, (tty, port) in enumerate(zip((*ttys, "/dev/null"), (*listen, probe), strict=True)):
        config += f"""
connection: &line{number}
  accepter: tcp(readbuf={BUFFER}),127.0.0.1,{port}
  connector: serialdev(readbuf={BUFFER}),{tty},{baudrate}n81,local
  options:
    chardelay: false
    net-to-dev-bufsize: {BUFFER}
    dev-to-net-bufsize: {BUFFER}
"""
    return Peer("ser2net", config, ["-n", "-u", "-c"], probe)


def mosquitto(port: int) -> Peer:
    config = f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type none\n"
    return Peer("mosquitto", config, ["-c"], port)
