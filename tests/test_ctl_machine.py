"""What support is told of a machine, where the machine is a folder.

And of the certificates that a config names.
"""

import ssl
import stat
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from papers_kit import certificates

from gateway.ctl import machine, papers

KMSG = """\
6,1,1000000,-;Linux version 6.12
6,2,12345678,-;usb 1-1.2: FTDI USB Serial Device converter now attached to ttyUSB0
 SUBSYSTEM=usb
4,3,99000000,-;Undervoltage detected!
6,4,99000001,-;eth0: link up
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """With an FTDI adapter, a UART without a driver, and one that is not there."""
    usb = tmp_path / "sys/devices/usb1/1-1"
    drivers = tmp_path / "sys/bus/drivers/ftdi_sio"
    drivers.mkdir(parents=True)
    (usb / "ttyUSB0").mkdir(parents=True)
    (usb / "ttyUSB0/driver").symlink_to(drivers)
    for name, text in {"idVendor": "0403", "idProduct": "6001", "product": "USB-RS485"}.items():
        (usb / name).write_text(f"{text}\n")
    ttys = tmp_path / "sys/class/tty"
    for name in ("ttyUSB0", "ttyS0/device", "ttyS1/device", "console"):
        (ttys / name).mkdir(parents=True)
    (ttys / "ttyUSB0/device").symlink_to(usb / "ttyUSB0")
    (ttys / "ttyS0/type").write_text("4\n")
    (ttys / "ttyS1/type").write_text("0\n")
    (tmp_path / "dev/serial/by-id").mkdir(parents=True)
    (tmp_path / "dev/ttyUSB0").touch(mode=0o660)
    (tmp_path / "dev/serial/by-id/usb-FTDI").symlink_to("../../ttyUSB0")
    (tmp_path / "proc/123/fd").mkdir(parents=True)
    (tmp_path / "proc/123/comm").write_text("ModemManager\n")
    (tmp_path / "proc/123/fd/7").symlink_to("/dev/ttyUSB0")
    (tmp_path / "proc/123/fd/8").symlink_to("/dev/null")
    return tmp_path


def test_each_tty_is_told_with_its_driver_its_names_and_who_has_it_open(root: Path) -> None:
    about = (root / "dev/ttyUSB0").stat()
    mode = f"{stat.filemode(about.st_mode)} uid {about.st_uid} gid {about.st_gid}"
    assert machine.ttys(root).splitlines() == [
        "ttyS0: no driver, no such file or directory",
        f"ttyUSB0: ftdi_sio, USB 0403 6001 - USB-RS485 -, {mode}",
        "    /dev/serial/by-id/usb-FTDI",
        "    open in ModemManager (123)",
    ]


def test_of_the_kernels_log_only_what_is_about_lines_and_power(root: Path) -> None:
    (root / "dev/kmsg").write_text(KMSG)
    assert machine.kernel_log(root).splitlines() == [
        "[   12.345678] usb 1-1.2: FTDI USB Serial Device converter now attached to ttyUSB0",
        "[   99.000000] Undervoltage detected!",
    ]


def test_where_the_kernel_does_not_tell_its_file_does(root: Path) -> None:
    (root / "var/log").mkdir(parents=True)
    (root / "var/log/kern.log").write_text("Mar 2 kernel: eth0 up\nMar 2 kernel: cdc_acm 1-1: ttyACM0\n")
    assert machine.kernel_log(root) == "Mar 2 kernel: cdc_acm 1-1: ttyACM0"


def test_a_kernel_that_may_not_be_read_is_an_error_for_the_caller_to_tell(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        machine.kernel_log(root)


def test_the_network_in_words_and_not_in_hexadecimal(root: Path) -> None:
    for folder in ("sys/class/net/eth0", "proc/net", "etc"):
        (root / folder).mkdir(parents=True)
    (root / "sys/class/net/eth0/operstate").write_text("up\n")
    (root / "proc/net/if_inet6").write_text("20010db8000000000000000000000007 02 40 00 80 eth0\n")
    (root / "proc/net/fib_trie").write_text("Main:\n     |-- 10.0.0.5\n        /32 host LOCAL\n")
    (root / "proc/net/route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "eth0\t0000000A\t00000000\t0001\t0\t0\t100\t0000FFFF\t0\t0\t0\n"
    )
    told = machine.network(root)
    assert "eth0: operstate up, carrier -" in told
    assert "IPv4 addresses\n    10.0.0.5\n" in told
    assert "    2001:db8::7/64 eth0\n" in told
    assert "    0.0.0.0/0 via 10.0.0.1 eth0 metric 100\n    10.0.0.0/16 via 0.0.0.0 eth0 metric 100\n" in told


def test_a_system_of_which_nothing_can_be_read_is_unknown(root: Path) -> None:
    told = machine.system(root)
    assert "model         unknown" in told
    (root / "proc/device-tree").mkdir()
    (root / "proc/device-tree/model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    (root / "proc/cmdline").write_text("root=/dev/x console=serial0,115200 secret=1 console=tty1\n")
    told = machine.system(root)
    assert "model         Raspberry Pi 4 Model B Rev 1.4\n" in told
    assert "console       console=serial0,115200 console=tty1\n" in told


@pytest.mark.needs("openssl")
def test_a_certificate_is_its_name_and_its_dates(tmp_path: Path) -> None:
    certificates(tmp_path)
    read = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    read.load_verify_locations(tmp_path / "ca.pem")
    (ca,) = read.get_ca_certs()
    begins, ends = (day(str(ca[key])) for key in ("notBefore", "notAfter"))
    (line,) = papers.named({"links": {"cloud": {"tls": {"ca": "ca.pem"}}}}, tmp_path)
    assert line.endswith(f"\n    subject CN=ca, {begins} to {ends}")
    (line,) = papers.named({"tls": {"cert": "server.pem"}}, tmp_path)
    assert "subject CN=server, " in line  # and not the name of the issuer, which stands before it
    (line,) = papers.named({"tls": {"key": "server.key"}}, tmp_path)
    assert line.startswith(f"key {tmp_path}/server.key: -rw")
    assert "\n" not in line


def day(text: str) -> date:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC).date()


@pytest.mark.parametrize("text", ["", "AAAA", "A", "MIIB" * 100])
def test_what_is_no_certificate_is_said_to_be_none(text: str) -> None:
    assert papers.certificate(text) == "a certificate that cannot be read"
