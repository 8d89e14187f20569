"""What the tests of the config share: texts to read, and a file to read them from."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from gateway.config import Loaded, load
from gateway.values import Model

SAMPLE = Path(__file__).parent.parent / "etc" / "gateway.toml"
SETTING = re.compile(r"^#(?=[^ :#])", re.MULTILINE)  # what the sample has in front of each setting
FILLED = SETTING.sub("", SAMPLE.read_text())
ENVIRON = {"MQTT_PASSWORD": "secret"}

METERS = """
[ports.meters]
tty = "/dev/ttyUSB0"
mode = "modbus-rtu"
baudrate = 9600
format = "8E1"
"""
SCALE = """
[ports.scale]
tty = "/dev/ttyUSB1"
mode = "raw"
baudrate = 115200
format = "8N1"
"""


def read(where: Path, text: str, environ: Mapping[str, str] | None = None, **more: Any) -> Loaded:
    """Loads a text as `where`/gateway.toml, which others may not read."""
    path = where / "gateway.toml"
    path.write_text(text)
    path.chmod(0o600)
    return load(path, environ or {}, **{"hostname": "gw"} | more)


def said(loaded: Loaded) -> list[str]:
    """Problems and warnings without the place."""
    return [re.sub(r"^.*?:\d+:\d+: ", "", str(one)) for one in (*loaded.problems, *loaded.warnings)]


def inner_models(hint: Any) -> Iterator[tuple[type[Model], bool]]:
    """The models in an annotation, and whether they stand under names that the user chose."""
    if isinstance(hint, type) and issubclass(hint, Model):
        yield hint, False
    for part in get_args(hint):
        for inner, named in inner_models(part):
            yield inner, named or getattr(hint, "__origin__", None) is dict
