"""Secrets that do not stand in the config file.

They are read each time they are needed, so that a rotated one works.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import LinkDown

_FOLDER = "/etc/gateway/credentials"  # where the unit has LoadCredential=credentials:/etc/gateway/credentials


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
    """The credential `name` of our unit: systemd.exec(5), LoadCredential.

    systemd calls it "credentials_NAME" if it comes out of the folder that the unit loads whole.
    """
    put = f"put the secret into {_FOLDER}/{name}, then: systemctl restart gatewayd"
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise LinkDown(f"systemd passed no credentials: {put}")
    for file in (Path(folder, name), Path(folder, f"credentials_{name}")):
        if os.path.lexists(file):
            return from_file(file)
    raise LinkDown(f'systemd passed no credential "{name}": {put}')
