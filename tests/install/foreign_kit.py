"""A Debian for another processor, run by qemu-user.

A folder that programs see as /, without systemd, on this network.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from container_kit import PLAIN
from roots_kit import Recipe, changes, mounted, overlay, root, run

TOOLS = ("chroot", "qemu-aarch64-static", "qemu-arm-static", "update-binfmts")
_EMULATOR = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}
_REGISTER = Path("/proc/sys/fs/binfmt_misc")


class Foreign:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def command(self, *command: str) -> Sequence[str]:
        """The same as it is started from out here."""
        return ["chroot", str(self._folder), *PLAIN, *command]

    def run(self, *command: str, within: float = 300) -> str:
        return run(*self.command(*command), within=within)

    def put(self, path: str, text: str) -> None:
        (self._folder / path.lstrip("/")).write_text(text)

    def install(self, package: Path) -> None:
        shutil.copy(package, self._folder)
        self.run("apt-get", "install", "--yes", "--quiet", f"/{package.name}", within=600)


@contextmanager
def foreign(recipe: Recipe) -> Iterator[Foreign]:
    """What is written to it is gone in the end; its root is made first if need be."""
    with ExitStack() as stack:
        stack.enter_context(emulated(recipe.architecture))
        folder = stack.enter_context(overlay(stack.enter_context(changes()), root(recipe)))
        stack.enter_context(mounted("-t", "proc", "proc", str(folder / "proc")))
        for devices in ("dev", "dev/pts"):
            stack.enter_context(mounted("--bind", f"/{devices}", str(folder / devices)))
        nobody_starts = folder / "usr/sbin/policy-rc.d"
        nobody_starts.write_text("#!/bin/sh\nexit 101\n")
        nobody_starts.chmod(0o755)
        yield Foreign(folder)


@contextmanager
def emulated(architecture: str) -> Iterator[None]:
    """This kernel runs its programs, as before or from now on."""
    name = _EMULATOR[architecture]
    with ExitStack() as stack:
        if not (_REGISTER / "register").exists():
            stack.enter_context(mounted("-t", "binfmt_misc", "binfmt_misc", str(_REGISTER)))
        if not (_REGISTER / name).exists():
            run("update-binfmts", "--enable", name)
            stack.callback(subprocess.run, ["update-binfmts", "--disable", name], check=True)
        yield
