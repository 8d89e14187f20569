"""Whether a serial line is the machine's own console, and what to do about it.

On a Raspberry Pi the UART of the header is, as it comes: the kernel writes its messages there, and a login
(serial-getty) reads what devices answer.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Consoles:
    """Of one machine. ttys are names as the kernel has them: "ttyAMA0"."""

    kernel: Mapping[str, str]  # the ttys that it writes to, and what makes it: a word, and where it stands
    logins: Collection[str] = ()  # ttys whose serial-getty is enabled
    masked: Collection[str] = ()  # ttys whose serial-getty can never start

    def doubt(self, tty: str) -> str | None:
        """What a technician has to know, and to do, before a port can have this tty."""
        login = tty not in self.masked and (tty in self.logins or tty in self.kernel)
        steps = [f"systemctl disable --now serial-getty@{tty}.service"] if login else []
        if tty in self.kernel:
            steps.append(f"remove {self.kernel[tty]}, reboot")
        if not steps:
            return None
        what = (
            "there is a login on this line, too" if login else "the kernel writes its messages to this line"
        )
        return f"{what}: {', '.join(steps)}"
