"""The last config that was good, kept in the state directory: what a gateway starts with when its file is
broken.

Kept as the files were written, models beside it, so that it is read by the same rules. Losing it is no
trouble: it is only a copy, written after each good load.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from . import config
from .config import Loaded

_FOLDER = "last-good"
log = logging.getLogger(__name__)


def remember(path: Path, state: Path) -> None:
    """Copies the file at `path`, which was good, and its models."""
    kept = state / _FOLDER
    try:
        (kept / "models").mkdir(mode=0o700, parents=True, exist_ok=True)
        _copy(path, kept / "gateway.toml")
        models = {model.name: model for model in (path.parent / "models").glob("*.toml")}
        for name, model in models.items():
            _copy(model, kept / "models" / name)
        for old in (kept / "models").glob("*.toml"):
            if old.name not in models:
                old.unlink()
    except OSError as error:
        log.warning("the config cannot be kept for a start with a broken file: %s", error)


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all; nothing is written when nothing changed, to spare the SD card."""
    text = source.read_bytes()
    if target.exists() and target.read_bytes() == text:
        return
    fresh = target.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(text)
    fresh.replace(target)


def recall(path: Path, state: Path, environ: Mapping[str, str]) -> Loaded | None:
    """What `path` last was; None when nothing is kept. Relative paths in it still count from `path`."""
    kept = state / _FOLDER / "gateway.toml"
    with suppress(OSError):
        if kept.is_file():
            return config.load(kept, environ, folder=path.parent)
    return None
