"""What a running daemon has of the machine, to be compared after a long time."""

from pathlib import Path

from system_kit import Daemon


def taken(daemon: Daemon) -> dict[str, int]:
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return {"descriptors": len(daemon.descriptors()), "kilobytes": int(resident)}
