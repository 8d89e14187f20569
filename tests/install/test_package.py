"""The .deb files themselves.

The same for the same inputs, small, and nothing that Debian's own checker calls an error.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from debs_kit import deb
from roots_kit import TREE, run

pytest_plugins = ["machines_kit"]
pytestmark = [pytest.mark.install, pytest.mark.usefixtures("able")]

_INPUTS = ("gateway", "etc", "systemd", "packaging", "requirements", "CHANGELOG.md", "LICENSE", "README.md")
MB = 1_000_000

architectures = pytest.mark.parametrize("architecture", ["amd64", "arm64", "armhf"])


@architectures
def test_a_package_is_small(architecture: str, figure: Callable[[str], None]) -> None:
    package = deb(architecture)
    size, unpacked = package.stat().st_size, int(run("dpkg-deb", "--field", package, "Installed-Size")) * 1024
    figure(f"{package.name}: {size / MB:.1f} MB, {unpacked / MB:.1f} MB installed")
    assert size <= 12 * MB
    assert unpacked <= 45 * MB


def test_the_same_inputs_give_the_same_bytes_wherever_and_by_whomever_they_are_built(tmp_path: Path) -> None:
    """For one architecture: the others differ in the wheels alone."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    for name in _INPUTS:
        (shutil.copytree if (TREE / name).is_dir() else shutil.copy)(TREE / name, ours / name)
    shutil.copytree(ours, theirs)
    assert _built(ours, "022") == _built(theirs, "077")


def _built(tree: Path, umask: str) -> bytes:
    """The package of another tree than this one, made by somebody with other habits."""
    python = TREE / ".venv/bin/python"
    script = f"umask {umask}; PYTHONPATH={tree} PACKAGING_PYTHON={python} packaging/deb amd64"
    run("sh", "-euc", script, within=600, cwd=tree)
    (package,) = (tree / "dist").glob("*.deb")
    return package.read_bytes()


@architectures
def test_lintian_finds_no_error(architecture: str, figure: Callable[[str], None]) -> None:
    found = run("lintian", "--allow-root", "--fail-on", "error", deb(architecture))
    if found:
        figure(found)
