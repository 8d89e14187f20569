"""A small disk in a mount namespace of its own: what happens to it happens to nobody else."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOOLS = ("nsenter", "setpriv", "unshare")


class Disk:
    """A tmpfs at `folder`, for whoever is run by the command `before`.

    As its owner, and no more than that.
    """

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder = folder
        self._enter = ["nsenter", f"--target={pid}", "--preserve-credentials", "--user", "--mount"]
        self.before = [*self._enter, "setpriv", "--bounding-set=-all"]

    def run(self, command: str) -> str:
        """A line of shell in the folder, by somebody who may do anything. What it prints."""
        shell = ["sh", "-c", f"cd {self.folder} && {command}"]
        done = subprocess.run([*self._enter, *shell], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def remount(self, options: str) -> None:
        self.run(f"mount -o remount,{options} {self.folder}")

    def fill(self, but: int) -> None:
        """Others leave so many bytes free; 0: they run into the end of it."""
        room = f"$(($(stat -f -c '%a * %S' .) - {but}))"
        self.run(f"head -c {room} /dev/zero >ballast || test {but} = 0")

    def empty(self) -> None:
        """What `fill` took is free again."""
        self.run("rm ballast")

    def files(self) -> list[str]:
        """Of the buffers."""
        return self.run("ls buffers 2>&1 || true").split()


@contextmanager
def disk(size: str) -> Iterator[Disk]:
    """Of a size such as "1m". Or a skip where namespaces are forbidden; in CI, where they are promised, a
    failure.
    """
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        mount = f"mount -t tmpfs -o size={size},mode=0755 none {folder} && echo mounted && exec cat"
        with subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", mount],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as keeper:
            assert keeper.stdout is not None
            assert keeper.stdin is not None
            if not keeper.stdout.readline():
                give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
                give_up(f"namespaces are not allowed here: {keeper.communicate()[1].decode().strip()}")
            yield Disk(Path(folder), keeper.pid)
            keeper.stdin.close()
