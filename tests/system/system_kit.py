"""The real gatewayd as a child process, the text of its config file, and waiting for what it does.

Nothing of the daemon is imported. Whoever leaves a block leaves no process behind.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

PATIENCE = 40.0  # seconds for what takes far less, on a machine that is busy with other things
STOPS_WITHIN = 5.0  # seconds, as promised
_SCRIPTS = Path(sys.executable).parent


def eventually(condition: Callable[[], T | None], within: float = PATIENCE) -> T:
    """What `condition` returns as soon as that is true; AssertionError when it stays false."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still {value!r} after {within:g} s"
        time.sleep(0.01)
    return value


# ---------------------------------------------------------------- config text


def table(name: str, /, **keys: object) -> str:
    """A table of a config file: table("ports.meters", baudrate=9600)."""
    lines = [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n\n"


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def modbus_port(name: str, tty: str, **keys: object) -> str:
    line = {"mode": "modbus-rtu", "baudrate": 19200, "format": "8E1"}
    return table(f"ports.{name}", tty=tty, **line | keys)


def raw_port(name: str, tty: str, **keys: object) -> str:
    line = {"mode": "raw", "baudrate": 9600, "format": "8N1"}
    by_line = {"delimiter": {"text": "\r\n"}, "strip": True}
    return table(f"ports.{name}", tty=tty, **line | {"frame": by_line} | keys)


def nowhere(name: str = "nowhere") -> str:
    """A port that has no line: the shortest good config."""
    return raw_port(name, f"/dev/no-such-{name}")


def modbus_server(name: str, listen: int, **keys: object) -> str:
    return table(f"links.{name}", kind="modbus-server", listen=f"127.0.0.1:{listen}", **keys)


def mqtt(name: str, broker: int, **keys: object) -> str:
    soon = {"first": "200ms", "max": "500ms"}
    link = {"kind": "mqtt", "connect": f"mqtt://127.0.0.1:{broker}", "reconnect": soon}
    return table(f"links.{name}", **link | keys)


# ---------------------------------------------------------------- the daemon


class Daemon:
    """gatewayd as a child, in a folder of its own with its config file. It may be started more than once.

    `begun`: it is READY when the block begins. `before` is a command that runs the command behind it.
    """

    def __init__(
        self, config: str, *, begun: bool = True, before: Sequence[str] = (), **environment: str
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gatewayd-")
        self.folder = Path(self._folder.name)
        self.file = self.folder / "gateway.toml"
        self.socket = self.folder / "control.sock"
        self.file.write_text(config)
        self.notices: list[dict[str, str]] = []  # for systemd, since the last start
        self._begun = begun
        self._log = self.folder / "log"
        self._command = [*before, str(_SCRIPTS / "gatewayd"), "--config", str(self.file)]
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(self.folder / "notify.sock"))
        self._ear.setblocking(False)
        self._environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.folder / "notify.sock"),
            "STATE_DIRECTORY": str(self.folder / "state"),
            "RUNTIME_DIRECTORY": str(self.folder),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            if self._begun:
                self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._ear.close()
        self._folder.cleanup()

    def spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self) -> None:
        """Until it is READY."""
        self.said("")  # what the one before has left
        self.notices.clear()
        self.spawn()
        eventually(self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        return bool(self.said("READY"))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has written, over all its starts."""
        return self._log.read_text()

    def said(self, key: str) -> list[dict[str, str]]:
        """The notices that have `key`."""
        try:
            while True:
                text = self._ear.recv(4096).decode()
                self.notices.append(dict(line.split("=", 1) for line in text.splitlines()))
        except BlockingIOError:
            return [notice for notice in self.notices if key in notice]

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def ended(self, within: float = STOPS_WITHIN) -> int:
        """The exit code; subprocess.TimeoutExpired when it goes on."""
        assert self._process is not None
        return self._process.wait(within)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.kill(number)
        return self.ended()

    def reload_by_signal(self) -> None:
        times = len(self.said("READY"))
        self.kill(signal.SIGHUP)
        eventually(lambda: len(self.said("READY")) > times)

    def reload_by_ctl(self) -> None:
        done = self.ctl("reload")
        assert done.returncode == 0, done.stderr

    def ask(self, **request: str) -> dict[str, Any]:
        """One request over the control socket, and its answer."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(PATIENCE)
            control.connect(str(self.socket))
            control.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(control.makefile("rb").readline())
        return answer

    def status(self) -> dict[str, Any]:
        return self.ask(verb="status")

    def part(self, path: str) -> dict[str, Any]:
        """The record of one: "links.scada"."""
        group, _, name = path.partition(".")
        record: dict[str, Any] = self.status()[group][name]
        return record

    def comes_to(self, path: str, state: str, within: float = PATIENCE) -> dict[str, Any]:
        """The record of a part once it is in that state; if it waits for its next try, with the reason."""

        def there() -> dict[str, Any] | None:
            record = self.part(path)
            trying = state == "waiting" and record["next_try_s"] is None
            return record if record["state"] == state and not trying else None

        return eventually(there, within)

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(_SCRIPTS / "gatewayctl"), "--socket", str(self.socket), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    @contextmanager
    def trace(self, *arguments: str) -> Iterator[Callable[[], str]]:
        """`gatewayctl trace`; gives what it has printed so far. It ends by Ctrl-C, and well."""
        with (self.folder / "trace").open("w+") as out:
            command = [str(_SCRIPTS / "gatewayctl"), "--socket", str(self.socket), "trace", *arguments]
            process = subprocess.Popen(command, stdout=out)
            try:
                yield (self.folder / "trace").read_text
                process.send_signal(signal.SIGINT)
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()
                process.wait()

    def descriptors(self) -> list[str]:
        """What its open files are."""
        names = []
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed a moment ago
                names.append(os.readlink(descriptor))
        return names
