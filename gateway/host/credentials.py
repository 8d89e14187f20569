"""Secrets that do not stand in the config file.

They are read each time they are needed, so that a rotated one works.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import LinkDown


def from_file(path: Path) -> str:
    """The first line, without its end. LinkDown names the file and what is wrong with it."""
    try:
        secret, *_ = path.read_text("utf-8").splitlines() or [""]
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise LinkDown(f"cannot read {path}: {reason}") from None
    except UnicodeDecodeError:
        raise LinkDown(f"{path} is not UTF-8 text") from None
    if not secret:
        raise LinkDown(f"{path} has an empty first line")
    return secret


def from_systemd(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """The credential `name` of our unit: systemd.exec(5), LoadCredential."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise LinkDown(
            f"systemd passed no credentials: the unit needs LoadCredential={name}:/path/of/the/file"
        )
    return from_file(Path(folder) / name)
