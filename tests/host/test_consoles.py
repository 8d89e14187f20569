"""Consoles of machines that are folders: a Raspberry Pi as it comes, others, and none."""

from pathlib import Path

import pytest

from gateway import config
from gateway.host.consoles import consoles, tty_name

PORT = '[ports.meters]\ntty = "{tty}"\nmode = "modbus-rtu"\nbaudrate = 9600\nformat = "8E1"\n'


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    """The firmware writes ttyAMA0 for serial0 into the command line that the kernel gets."""
    root = tmp_path / "root"
    for folder in (
        *("dev/serial/by-id", "proc", "boot/firmware", "sys/class/tty/console"),
        "etc/systemd/system/getty.target.wants",
    ):
        (root / folder).mkdir(parents=True)
    for tty in ("ttyAMA0", "ttyUSB0"):
        (root / "dev" / tty).touch()
    (root / "dev/serial0").symlink_to("ttyAMA0")
    (root / "dev/serial/by-id/usb-FTDI").symlink_to("../../ttyUSB0")
    (root / "proc/cmdline").write_text("console=ttyAMA0,115200 console=tty1 root=PARTUUID=1-02 rootwait\n")
    (root / "boot/firmware/cmdline.txt").write_text(
        "console=serial0,115200 console=tty1 root=PARTUUID=1-02\n"
    )
    (root / "sys/class/tty/console/active").write_text("tty1 ttyAMA0\n")
    return root


def warnings(root: Path, tty: str, name: str = "gateway.toml") -> list[str]:
    file = root.parent / name
    file.write_text(PORT.format(tty=tty))
    return [str(one) for one in config.load(file, {}, hostname="pump-house-7", root=root).warnings]


@pytest.mark.parametrize("tty", ["/dev/ttyAMA0", "/dev/serial0"])
def test_the_console_of_a_raspberry_pi_is_warned_of_by_whatever_name(pi: Path, tty: str) -> None:
    (warning,) = warnings(pi, tty)
    assert warning.endswith(
        "gateway.toml:2:1: warning: ports.meters.tty: there is a login on this line, too: systemctl disable "
        "--now serial-getty@ttyAMA0.service, remove console=serial0,115200 from "
        "/boot/firmware/cmdline.txt, reboot"
    )


@pytest.mark.parametrize("tty", ["/dev/ttyUSB0", "/dev/serial/by-id/usb-FTDI", "/dev/ttyUSB7", "/dev/pts/1"])
def test_other_lines_are_not(pi: Path, tty: str) -> None:
    assert warnings(pi, tty) == []


def test_where_proc_is_hidden_the_file_says_it(pi: Path) -> None:
    """So it is inside the service."""
    (pi / "proc/cmdline").unlink()
    (pi / "sys/class/tty/console/active").unlink()
    (warning,) = warnings(pi, "/dev/ttyAMA0")
    assert "remove console=serial0,115200 from /boot/firmware/cmdline.txt" in warning


def test_what_was_removed_waits_for_a_reboot_and_other_machines_have_no_such_file(pi: Path) -> None:
    (pi / "boot/firmware/cmdline.txt").unlink()
    (warning,) = warnings(pi, "/dev/ttyAMA0")
    assert warning.endswith("remove console=ttyAMA0,115200 from the command line of the kernel, reboot")
    (pi / "proc/cmdline").unlink()
    (warning,) = warnings(pi, "/dev/ttyAMA0")
    assert warning.endswith("remove console=ttyAMA0 from the command line of the kernel, reboot")


def test_a_login_that_somebody_has_enabled_is_enough(pi: Path) -> None:
    (pi / "etc/systemd/system/getty.target.wants/serial-getty@ttyUSB0.service").symlink_to("/lib/x.service")
    (warning,) = warnings(pi, "/dev/serial/by-id/usb-FTDI")
    assert warning.endswith("too: systemctl disable --now serial-getty@ttyUSB0.service")


def test_a_masked_login_is_none(pi: Path) -> None:
    (pi / "etc/systemd/system/serial-getty@ttyAMA0.service").symlink_to("/dev/null")
    (warning,) = warnings(pi, "/dev/serial0")
    assert "the kernel writes its messages to this line: remove console=" in warning
    assert "serial-getty" not in warning


def test_a_machine_of_which_nothing_can_be_read_has_none(tmp_path: Path) -> None:
    assert warnings(tmp_path / "nothing", "/dev/ttyS0") == []
    assert not consoles(tmp_path).kernel


def test_a_link_that_goes_round_in_circles_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ttyX").symlink_to("ttyX")
    assert tty_name("/dev/ttyX", tmp_path) == "ttyX"
