"""The real gatewayd as a child process, in a temporary folder with a config of its own.

Promises: when the block is left the process is gone and so is the folder, whatever happened inside. A daemon
that does not come up is a GatewaydError with its own last words.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import Any, Self

STOP_WITHIN = 8.0  # seconds; it promises 5


class GatewaydError(Exception):
    """It did not start, or it ended by itself."""


def free_port() -> int:
    """A TCP and UDP port that nobody has at the moment.

    Below those that the kernel gives to whoever asks for any: nobody gets it by chance meanwhile.
    """
    while True:
        port = SystemRandom().randrange(10_000, 32_768)
        udp = socket.socket(type=socket.SOCK_DGRAM)
        with suppress(OSError), udp, socket.create_server(("", port)):
            udp.bind(("", port))
            return port


class Gatewayd:
    """`with Gatewayd(config) as gateway:` starts it and waits until it says READY.

    Its folder is a new one `inside` that one, by default where all temporary folders are.
    """

    def __init__(self, config: str, *, ready_within: float = 20.0, inside: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="gateway-", dir=inside)
        self.folder = Path(self._temporary.name)
        self.config = self.folder / "gateway.toml"
        self.config.write_text(config)
        self.log = self.folder / "gatewayd.log"
        self._socket = self.folder / "control.sock"
        self._ready_within = ready_within
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process, "not started"
        return self._process.pid

    def start(self) -> None:
        """Returns when it is READY; GatewaydError when it ends before, or takes too long."""
        notify = self.folder / "notify.sock"
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(notify),
            "STATE_DIRECTORY": str(self.folder),
            "RUNTIME_DIRECTORY": str(self.folder),
            "MALLOC_ARENA_MAX": "1",  # as systemd/gatewayd.service has it
        }
        command = [sys.executable, "-m", "gateway.daemon", "--config", str(self.config)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, self.log.open("wb") as log:
            listener.bind(str(notify))
            listener.settimeout(0.1)
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, and we end it in good order
            )
            self._wait_ready(listener)

    def stop(self) -> None:
        """SIGTERM, SIGKILL if it does not obey, and the folder is gone. May be called at any time."""
        try:
            if self._process:
                self._process.terminate()
                self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
        finally:
            if self._process:
                self._process.wait()
            self._temporary.cleanup()

    def check(self) -> None:
        """GatewaydError when it is not running any more."""
        if self._process and self._process.poll() is not None:
            raise GatewaydError(f"gatewayd ended by itself:\n{self.last_words()}")

    def status(self) -> dict[str, Any]:
        """The whole status record, over the control socket; GatewaydError when nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
                control.settimeout(5)
                control.connect(str(self._socket))
                control.sendall(b'{"verb":"status"}\n')
                answer = json.loads(control.makefile("rb").readline())
        except (OSError, ValueError) as error:
            raise GatewaydError(f"no status from gatewayd: {error}") from error
        record: dict[str, Any] = answer
        return record

    def ctl(self, *arguments: str) -> str:
        """What `gatewayctl` prints."""
        command = [sys.executable, "-m", "gateway.ctl", "--socket", str(self._socket), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        return done.stdout + done.stderr

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-12:])

    def _wait_ready(self, listener: socket.socket) -> None:
        deadline = time.monotonic() + self._ready_within
        while time.monotonic() < deadline:
            try:
                if b"READY=1" in listener.recv(4096).splitlines():
                    return
            except TimeoutError:
                self.check()
        raise GatewaydError(f"gatewayd was not ready after {self._ready_within:.0f} s:\n{self.last_words()}")
