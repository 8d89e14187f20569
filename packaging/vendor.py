"""`vendor.py WHEELS... INTO`: unpacks wheels side by side into one folder, without pip, running none of them.

Compiled parts of several Python versions stand beside one another: their file names tell them apart. Any
other file that two wheels bring must be the same in both. Metadata stay: they say what is in the package.
"""

import sys
import zipfile
from pathlib import Path

_RECORDS = ("RECORD", "INSTALLER", "WHEEL", "direct_url.json")


def unpack(wheel: Path, into: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if entry.is_dir() or _of_an_installation(name):
                continue
            if ".data/" in name:
                raise SystemExit(f"{wheel.name}: do not know where {name} belongs")
            target, content = into / name, archive.read(entry)
            if target.exists() and target.read_bytes() != content:
                raise SystemExit(f"{wheel.name}: {name} is another in another wheel")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_without_shebang(content) if name.endswith(".py") else content)


def _of_an_installation(name: str) -> bool:
    """Which this is not; the bills of materials are of one compiled part each."""
    return name.rpartition("/")[2] in _RECORDS or ".data/scripts/" in name or ".dist-info/sboms/" in name


def _without_shebang(code: bytes) -> bytes:
    """Modules are no programs; the line stays, so that line numbers do."""
    return b"# " + code if code.startswith(b"#!") else code


def main() -> None:
    *wheels, into = map(Path, sys.argv[1:])
    for wheel in sorted(wheels):
        unpack(wheel, into)


if __name__ == "__main__":
    main()
