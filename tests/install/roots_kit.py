"""Debian systems as folders, made by mmdebstrap and kept in build/roots for the next run.

Nobody writes to them: whoever needs a system lays an overlay over one. A changed recipe makes it anew.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

TREE = Path(__file__).parents[2]
ROOTS = TREE / "build/roots"
TOOLS = ("arch-test", "mmdebstrap", "mount", "umount")

_BOOTS = ("systemd", "systemd-sysv", "dbus", "udev", "iproute2", "mbpoll", "mosquitto", "mosquitto-clients")
_EMULATED = ("systemd-standalone-sysusers",)
_ALL = ("python3", "ca-certificates", "procps")


class Recipe(NamedTuple):
    """Which Debian, for which machine, and whether it shall boot: emulated ones do not."""

    suite: str
    architecture: str = "amd64"

    @property
    def packages(self) -> tuple[str, ...]:
        return (*_ALL, *(_BOOTS if self.architecture == "amd64" else _EMULATED))

    def __str__(self) -> str:
        return f"{self.suite}-{self.architecture}"


def root(recipe: Recipe) -> Path:
    """Its folder, which may take half a minute to make, and one that is emulated seven."""
    folder, said = ROOTS / str(recipe), ROOTS / f"{recipe}.recipe"
    wanted = f"{recipe} {' '.join(recipe.packages)}\n"
    if not (said.exists() and said.read_text() == wanted):
        said.unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        ROOTS.mkdir(parents=True, exist_ok=True)
        _make(recipe, folder)
        said.write_text(wanted)
    return folder


def _make(recipe: Recipe, folder: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--arch={recipe.architecture}"]
    command += [f"--include={','.join(recipe.packages)}", "--format=directory"]
    if "mosquitto" in recipe.packages:  # a test says when it is there
        command.append('--customize-hook=chroot "$1" systemctl disable --quiet mosquitto')
    command += [recipe.suite, str(folder), *_archive(recipe.suite)]
    subprocess.run(command, check=True, timeout=1500)


def _archive(suite: str) -> list[str]:
    """Where this machine has its own Debian from, if it is one.

    The main archive alone: security updates come at another time for each architecture.
    """
    own = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
    found = subprocess.run(own, capture_output=True, text=True, check=True).stdout.split()
    return [f"deb {found[0]} {suite} main"] if found else []


@contextmanager
def changes() -> Iterator[Path]:
    """A place in memory for what is written to a system."""
    with (
        TemporaryDirectory(prefix="gateway-") as place,
        mounted("-t", "tmpfs", "-o", "mode=0755", "tmpfs", place),
    ):
        yield Path(place)


@contextmanager
def overlay(kept: Path, *below: Path) -> Iterator[Path]:
    """The system of these folders, the topmost first; what is written to it is in `above` of `kept`."""
    whole, above, work = (kept / name for name in ("whole", "above", "work"))
    for folder in (whole, above, work):
        folder.mkdir(exist_ok=True)
    lower = ":".join(map(str, below))
    options = f"lowerdir={lower},upperdir={above},workdir={work}"
    with mounted("-t", "overlay", "-o", options, "overlay", str(whole)):
        yield whole


@contextmanager
def mounted(*what: str) -> Iterator[None]:
    """The arguments of mount(8), the place last."""
    subprocess.run(["mount", *what], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", what[-1]], check=True)


def run(*command: str | Path, within: float = 120.0, cwd: Path = TREE) -> str:
    """What a program prints; AssertionError with all of it when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=within, cwd=cwd, check=False)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
