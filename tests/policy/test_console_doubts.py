"""What is said of a line that is the machine's console, too."""

import pytest

from gateway.policy.consoles import Consoles

LOGIN = "there is a login on this line, too: systemctl disable --now serial-getty@ttyAMA0.service"
WORD = "console=serial0,115200 from /boot/firmware/cmdline.txt"


@pytest.mark.parametrize(
    ("consoles", "doubt"),
    [
        (Consoles(kernel={}), None),
        (Consoles(kernel={"tty0": ""}, logins=["ttyS0"]), None),
        (Consoles(kernel={}, logins=["ttyAMA0"]), LOGIN),
        (Consoles(kernel={}, logins=["ttyAMA0"], masked=["ttyAMA0"]), None),
        (Consoles(kernel={"ttyAMA0": WORD}), f"{LOGIN}, remove {WORD}, reboot"),
        (
            Consoles(kernel={"ttyAMA0": WORD}, masked=["ttyAMA0"]),
            f"the kernel writes its messages to this line: remove {WORD}, reboot",
        ),
    ],
)
def test_a_console_is_told_with_what_to_do_about_it(consoles: Consoles, doubt: str | None) -> None:
    assert consoles.doubt("ttyAMA0") == doubt
