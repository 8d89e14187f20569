"""The packages of this tree, built when a test first asks for them."""

from functools import cache
from pathlib import Path

from container_kit import PUBLIC, Machine
from roots_kit import TREE, run


@cache
def deb(architecture: str, revision: int = 1) -> Path:
    """As `make deb` builds it."""
    run(TREE / "packaging/deb", architecture, str(revision), within=600)
    (built,) = (TREE / "dist").glob(f"gateway_*-{revision}_{architecture}.deb")
    return built


def install(machine: Machine, revision: int = 1) -> None:
    """As somebody would who has the file on a stick."""
    package = deb("amd64", revision)
    machine.sh(f"cd {PUBLIC}/dist; apt-get install --yes --quiet ./{package.name}", within=300)
