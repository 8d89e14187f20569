"""A machine that is a folder.

Serial lines in its /sys and /dev as Linux 6.6 has them, processes in its /proc.
"""

import os
from pathlib import Path

PCI = "devices/pci0000:00/0000:00:14.0/usb1/1-1"
BY_PATH = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1.{socket}:1.0-port0"
FTDI = ("0403", "6001", "FTDI", "FT232R USB UART")
CH340 = ("1a86", "7523", "", "USB Serial")


class Machine:
    """`plug` and `unplug` are what the kernel and udev make of an adapter in one of the sockets of a hub."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("sys/class/tty", "dev/serial/by-path", "dev/serial/by-id", "proc", "var/lock"):
            (root / folder).mkdir(parents=True)
        self.console = self._tty("tty1", "devices/virtual/tty/tty1", None)

    def plug(
        self,
        name: str,
        socket: int,
        serial: str = "",
        kind: tuple[str, str, str, str] = FTDI,
        driver: str = "ftdi_sio",
    ) -> None:
        vendor, product, maker, text = kind
        usb = f"{PCI}/1-1.{socket}"
        self._tty(name, f"{usb}/1-1.{socket}:1.0/{name}/tty/{name}", f"{usb}/1-1.{socket}:1.0/{name}")
        self._driver(f"{usb}/1-1.{socket}:1.0/{name}", driver)
        self._driver(usb, "usb")
        facts = {"idVendor": vendor, "idProduct": product, "manufacturer": maker, "product": text}
        for fact, value in ({**facts, "serial": serial} if serial else facts).items():
            (self.root / "sys" / usb / fact).write_text(f"{value}\n")
        self._link(BY_PATH.format(socket=socket), name)
        if serial:
            self._link(f"/dev/serial/by-id/usb-FTDI_{serial}-if00-port0", name)

    def unplug(self, name: str) -> None:
        (self.root / "sys/class/tty" / name).unlink()
        (self.root / "dev" / name).unlink()
        for link in (self.root / "dev").rglob("*"):
            if link.is_symlink() and not link.exists():
                link.unlink()

    def uart(self, name: str, kind: str, device: str = "fe201000.serial") -> None:
        """On the board; of kind "0" there is only a place for one."""
        port = f"devices/platform/soc/{device}/{device}:0/{device}:0.0"
        self._tty(name, f"{port}/tty/{name}", port)
        self._driver(port, "port")
        self._driver(str(Path(port).parent), "ctrl")
        self._driver(f"devices/platform/soc/{device}", "uart-pl011")
        (self.root / "sys/class/tty" / name / "type").write_text(f"{kind}\n")

    def process(self, pid: int, program: str, *opened: str) -> None:
        (self.root / f"proc/{pid}/fd").mkdir(parents=True)
        (self.root / f"proc/{pid}/comm").write_text(f"{program}\n")
        for number, path in enumerate(opened):
            (self.root / f"proc/{pid}/fd/{number}").symlink_to(path)

    def lock(self, pid: int, path: str, waits: str = "") -> None:
        about = (self.root / path.lstrip("/")).stat()
        place = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
        with (self.root / "proc/locks").open("a") as locks:
            locks.write(f"1: {waits}FLOCK  ADVISORY  WRITE {pid} {place} 0 EOF\n")

    def _tty(self, name: str, place: str, device: str | None) -> None:
        folder = self.root / "sys" / place
        folder.mkdir(parents=True, exist_ok=True)
        (self.root / "sys/class/tty" / name).symlink_to(folder)
        (self.root / "dev" / name).touch()
        if device is not None and not (folder / "device").is_symlink():
            (folder / "device").symlink_to(self.root / "sys" / device)

    def _driver(self, device: str, driver: str) -> None:
        bus = self.root / "sys/bus/drivers" / driver
        bus.mkdir(parents=True, exist_ok=True)
        if not (self.root / "sys" / device / "driver").is_symlink():
            (self.root / "sys" / device / "driver").symlink_to(bus)

    def _link(self, path: str, name: str) -> None:
        (self.root / path[1:]).symlink_to(Path("../..") / name)
