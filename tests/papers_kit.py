"""Certificates for the tests of TLS, made by openssl."""

import subprocess
from pathlib import Path

_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


def certificates(folder: Path) -> None:
    """NAME.pem and NAME.key: `ca` signed server, other, old and client; `stranger` signed itself."""
    for name in ("ca", "stranger"):
        _openssl(folder, f"req -x509 {_KEY} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem")
    _signed(folder, "server", "DNS:localhost,IP:127.0.0.1")
    _signed(folder, "other", "DNS:elsewhere.example")
    _signed(folder, "old", "DNS:localhost", days=-1)
    _signed(folder, "client", "DNS:gw")


def _signed(folder: Path, name: str, names: str, days: int = 2) -> None:
    _openssl(folder, f"req {_KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr")
    (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
    by = "-CA ca.pem -CAkey ca.key -CAcreateserial"
    _openssl(folder, f"x509 -req -in {name}.csr {by} -days {days} -extfile {name}.ext -out {name}.pem")


def _openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)
