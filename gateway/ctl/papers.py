"""The files that a config names, for support: whether they are there, who may read them, and when
certificates end.

Never what stands in them. Of a certificate the name and the two dates are found by their marks in DER
(X.690), which is enough for people and needs no ASN.1.
"""

import binascii
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_KEYS = ("ca", "cert", "key", "password_file")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_VALIDITY = re.compile(rb"\x30[\x1e-\x22]((?:\x17\x0d\d{12}Z|\x18\x0f\d{14}Z){2})")
_DATE = re.compile(rb"(\d{2,4})(\d\d)(\d\d)\d{6}Z")
_COMMON_NAME = re.compile(rb"\x06\x03\x55\x04\x03[\x0c\x13\x14\x16](.)", re.DOTALL)


def named(data: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """A line for each file that the config `data`, which stands in `folder`, names."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from named(value, folder)
        elif key in _KEYS and isinstance(value, str):
            yield f"{key} {folder / value}: {_about(folder / value, key)}"


def passwords(data: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from passwords(value, folder)
        elif key == "password_file" and isinstance(value, str):
            yield folder / value


def _about(path: Path, key: str) -> str:
    try:
        about = path.stat()
        text = path.read_text("latin-1") if key in ("ca", "cert") else ""
    except OSError as error:
        return (error.strerror or str(error)).lower()
    mode = f"{stat.filemode(about.st_mode)} uid {about.st_uid} gid {about.st_gid}, {about.st_size} bytes"
    return "\n    ".join([mode, *map(certificate, _CERTIFICATE.findall(text))])


def certificate(pem: str) -> str:
    """Of one: `subject CN=gateway, 2026-01-01 to 2027-01-01`."""
    try:
        der = binascii.a2b_base64(pem)
    except binascii.Error:
        return "a certificate that cannot be read"
    found = _VALIDITY.search(der)
    if found is None:
        return "a certificate that cannot be read"
    begins, ends = (_date(*date.groups()) for date in _DATE.finditer(found[1]))
    name = _COMMON_NAME.search(der, found.end())
    subject = der[name.end() : name.end() + name[1][0]].decode("utf-8", "replace") if name else "?"
    return f"subject CN={subject}, {begins} to {ends}"


def _date(year: bytes, month: bytes, day: bytes) -> str:
    """UTCTime has two digits of the year: from 1950 on (RFC 5280, 4.1.2.5.1)."""
    whole = int(year) if len(year) == 4 else int(year) + (1900 if int(year) >= 50 else 2000)
    return f"{whole}-{month.decode()}-{day.decode()}"
