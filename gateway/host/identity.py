"""Who this machine is: for {hostname}, {mac} and the default MQTT client id.

Promises answers that stay the same over restarts, whatever the network does meanwhile; never fails.
`root` is where the system's files are.
"""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

from ..settings import Identity

_ETHERNET = "1"  # ARPHRD_ETHER, include/uapi/linux/if_arp.h: wireless too; not CAN, PPP or a modem's raw IP
_NO_MAC = "00:00:00:00:00:00"
_ROOT = Path("/")


def identity(name: str, root: Path = _ROOT) -> Identity:
    """`name` is the gateway's, from its config. `mac` is lower case with colons."""
    return Identity(name, socket.gethostname(), _mac(root))


def machine_part(salt: str, root: Path = _ROOT) -> str:
    """Eight hexadecimal digits of this machine and `salt`.

    Hashed, because machine-id(5) wants the id itself kept secret.
    """
    machine = _text(root / "etc/machine-id")
    if len(machine) != 32:  # absent, empty or "uninitialized" on a first boot
        machine = _mac(root)
    return hashlib.sha256(f"gateway {machine} {salt}".encode()).hexdigest()[:8]


def _mac(root: Path) -> str:
    """Of the first real interface by name, or (containers have none) of the one with the default route.

    Not the other way round: a default route that moves from eth0 to wlan0 must not rename the gateway.
    """
    folder = root / "sys/class/net"
    real = sorted(path.parent.name for path in folder.glob("*/device"))
    for interface in (*real, *_default_routes(root)):
        address = _text(folder / interface / "address")
        if _text(folder / interface / "type") == _ETHERNET and address != _NO_MAC:
            return address.lower()
    return _NO_MAC


def _default_routes(root: Path) -> Iterator[str]:
    """Interfaces, in the kernel's order: proc(5), /proc/net/route."""
    for line in _text(root / "proc/net/route").splitlines()[1:]:
        interface, destination, *_ = line.split()
        if destination == "00000000":
            yield interface


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
