"""A machine with a real systemd as PID 1 and no network, in a container of systemd-nspawn.

It needs neither systemd nor containers of the host, only root. Two settings are less than plain: cgroups are
of version 2 inside whatever they are outside, since newer systemd knows nothing else; and bpf() is permitted,
without which systemd would say nothing and not enforce DeviceAllow=. Not enforced are MemoryMax= and
TasksMax= where the host keeps these controllers to itself, and there is no udev.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from roots_kit import TREE

T = TypeVar("T")

TOOLS = ("systemd-nspawn", "nsenter", "setpriv")
PATIENCE = 30.0  # seconds for what takes far less, on a machine that is busy with other things
CONFIG = "/etc/gateway/gateway.toml"
PUBLIC = "/mnt/tree"  # this tree, read-only
_INSIDE = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
    "TERM": "dumb",
    "SYSTEMD_COLORS": "0",
    "DEBIAN_FRONTEND": "noninteractive",
}
_INTO = ("--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--")
PLAIN = ("/usr/bin/env", "-i", *(f"{name}={value}" for name, value in _INSIDE.items()))
_BOOT = (
    "setpriv --pdeathsig=KILL systemd-nspawn --boot --quiet --register=no --keep-unit --private-network"
    " --console=pipe --link-journal=no --resolv-conf=off --timezone=off --kill-signal=SIGRTMIN+4"
    f" --system-call-filter=bpf --capability=CAP_BPF --bind-ro={TREE}:{PUBLIC}"
).split()


def eventually(condition: Callable[[], T], within: float = PATIENCE) -> T:
    """What `condition` returns as soon as that is true; AssertionError when it stays false."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still {value!r} after {within:g} s"
        time.sleep(0.05)
    return value


class Machine:
    """The system in a folder; it may be powered off and on again, as often as you like."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._first = 0  # its PID 1, as it is called out here

    def boot(self) -> None:
        """Returns when all that shall start has started, or has failed."""
        log = self._folder.with_name("boot.log")
        command = [*_BOOT, f"--directory={self._folder}", f"--machine=gateway-{os.getpid()}"]
        with log.open("ab") as output:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"),
            )
        eventually(lambda: self._is_up() or self._has_died(log))
        self.sh("systemctl is-system-running --wait || true")

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/root/run/systemd/private").is_socket():
                self._first = int(child)
                return True
        return False

    def _has_died(self, log: Path) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, log.read_text()
        return False

    def power_off(self) -> None:
        """In good order, as far as it lets us."""
        assert self._nspawn is not None
        with suppress(ProcessLookupError):
            os.kill(self._first or self._nspawn.pid, signal.SIGRTMIN + 4)
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._first = 0

    def run(
        self, *command: str, good: Sequence[int] | None = (0,), within: float = PATIENCE * 2
    ) -> "subprocess.CompletedProcess[str]":
        """A command inside, as root.

        AssertionError with all that it says unless its exit code is one of `good`.
        """
        done = subprocess.run(
            self._command(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        assert good is None or done.returncode in good, (
            f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def sh(self, script: str, within: float = PATIENCE * 2) -> str:
        """What a script prints; it ends at the first command that fails."""
        return self.run("sh", "-euc", script, within=within).stdout.strip()

    def fails(self, script: str) -> str:
        """All that a script says that does not succeed."""
        done = self.run("sh", "-euc", script, good=None)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def _command(self, *command: str) -> list[str]:
        """The same as it is started from out here."""
        return ["nsenter", f"--target={self._first}", *_INTO, *PLAIN, *command]

    def put(self, path: str, text: str, mode: int | None = None) -> None:
        """A file and its folder; one that is there keeps its owner and mode."""
        script = f"mkdir -p $(dirname {path}); cat > {path}" + (f"; chmod {mode:o} {path}" if mode else "")
        command = self._command("sh", "-euc", script)
        subprocess.run(command, input=text, text=True, check=True, timeout=PATIENCE)

    def has(self, path: str) -> bool:
        return self.run("test", "-e", path, good=(0, 1)).returncode == 0

    # ---------------------------------------------------------------- the service

    def configure(self, config: str) -> None:
        """Writes the config and applies it."""
        self.put(CONFIG, config)
        self.sh("systemctl reload gatewayd")

    def status(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.run("gatewayctl", "--json", "status", good=(0, 1)).stdout)
        return record

    def show(self, *names: str) -> dict[str, str]:
        """Properties of the unit, as systemd has them."""
        lines = self.sh(f"systemctl show gatewayd --property={','.join(names)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def said(self) -> str:
        """What STATUS= says."""
        return self.show("StatusText")["StatusText"]

    def pid(self) -> int:
        return int(self.show("MainPID")["MainPID"])

    def is_active(self) -> bool:
        return self.show("ActiveState")["ActiveState"] == "active"

    def journal(self, unit: str = "gatewayd") -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Is off when this is left."""
    machine = Machine(folder)
    try:
        machine.boot()
        yield machine
    finally:
        machine.power_off()
