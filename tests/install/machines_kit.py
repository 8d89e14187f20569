"""What the tests of the packages begin with, as fixtures: `pytest_plugins = ["machines_kit"]`.

Each test has a machine of its own, on both Debians: a bare one, or one on which the package was installed.
Only root can make them. An ordinary user is told so; a tool that is missing is a skip, and a failure where
CI=true promises all of them.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import container_kit
import foreign_kit
import pytest
import roots_kit
from container_kit import Machine, booted, eventually
from debs_kit import install
from roots_kit import Recipe, changes, overlay, root

PACKAGERS = ("dpkg-buildpackage", "dh", "lintian")
PROGRAMS = ("mbpoll", "mosquitto", "mosquitto_sub", "openssl")

_AMD64 = [Recipe("bookworm"), Recipe("trixie")]


@pytest.fixture(scope="session")
def able() -> None:
    """Whether such tests can run here at all."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to boot systems in containers: sudo make test-install")
    needed = (*PACKAGERS, *PROGRAMS, *roots_kit.TOOLS, *container_kit.TOOLS, *foreign_kit.TOOLS)
    if missing := [tool for tool in needed if shutil.which(tool) is None]:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"not installed: {' '.join(missing)}"
        )


@pytest.fixture(scope="session", params=_AMD64, ids=str)
def debian(able: None, request: pytest.FixtureRequest) -> Path:
    """Debian 12 and Debian 13, as folders."""
    return root(request.param)


@pytest.fixture(scope="session")
def installed(debian: Path) -> Iterator[Sequence[Path]]:
    """The folders of a system that was switched off after the package had been installed."""
    with changes() as kept:
        with overlay(kept, debian) as folder, booted(folder) as machine:
            install(machine)
            eventually(machine.is_active)
        yield kept / "above", debian


@contextmanager
def machine(*folders: Path) -> Iterator[Machine]:
    with changes() as kept, overlay(kept, *folders) as folder, booted(folder) as running:
        yield running


@pytest.fixture
def bare(debian: Path) -> Iterator[Machine]:
    """Debian as it comes."""
    with machine(debian) as running:
        yield running


@pytest.fixture
def box(installed: Sequence[Path]) -> Iterator[Machine]:
    """With the package."""
    with machine(*installed) as running:
        yield running


@pytest.fixture
def figure(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints past the capture what everybody shall see, also when all is well."""

    def past_the_capture(text: str) -> None:
        with capsys.disabled():
            print("\n" + text)

    return past_the_capture
