"""Who this machine is."""

import socket
from pathlib import Path

from gateway.host.identity import identity, machine_part

MACHINE = "0123456789abcdef0123456789abcdef"


def interface(root: Path, name: str, address: str, *, kind: str = "1", real: bool = True) -> None:
    folder = root / "sys/class/net" / name
    folder.mkdir(parents=True)
    (folder / "address").write_text(address + "\n")
    (folder / "type").write_text(kind + "\n")
    if real:
        (folder / "device").mkdir()


def default_route(root: Path, name: str) -> None:
    (root / "proc/net").mkdir(parents=True)
    header = "Iface\tDestination\tGateway\n"
    (root / "proc/net/route").write_text(f"{header}lo\t0000007F\t00000000\n{name}\t00000000\t0101A8C0\n")


def test_the_mac_is_that_of_the_first_real_interface_wherever_the_default_route_is(tmp_path: Path) -> None:
    interface(tmp_path, "wlan0", "DC:A6:32:00:00:02")
    interface(tmp_path, "eth0", "DC:A6:32:00:00:01")
    interface(tmp_path, "lo", "00:00:00:00:00:00", kind="772", real=False)
    interface(tmp_path, "can0", "", kind="280")
    default_route(tmp_path, "wlan0")
    assert identity("gw", tmp_path).mac == "dc:a6:32:00:00:01"


def test_in_a_container_it_is_that_of_the_default_route(tmp_path: Path) -> None:
    interface(tmp_path, "br0", "02:00:00:00:00:01", real=False)
    interface(tmp_path, "veth9", "02:00:00:00:00:02", real=False)
    default_route(tmp_path, "veth9")
    assert identity("gw", tmp_path).mac == "02:00:00:00:00:02"


def test_a_modem_without_a_mac_is_passed_over(tmp_path: Path) -> None:
    interface(tmp_path, "wwan0", "00:00:00:00:00:00")
    interface(tmp_path, "ppp0", "", kind="512", real=False)
    default_route(tmp_path, "ppp0")
    assert identity("gw", tmp_path).mac == "00:00:00:00:00:00"


def test_the_name_is_the_configured_one_and_the_host_name_the_machine_s(tmp_path: Path) -> None:
    found = identity("pump-house-7", tmp_path)
    assert (found.name, found.hostname) == ("pump-house-7", socket.gethostname())


def test_the_machine_part_is_stable_differs_by_salt_and_hides_the_machine_id(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text(MACHINE + "\n")
    part = machine_part("cloud", tmp_path)
    assert part == machine_part("cloud", tmp_path) == "804e6adc"
    assert part != machine_part("local", tmp_path)
    assert part not in MACHINE


def test_without_a_machine_id_the_mac_stands_in(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("uninitialized\n")
    without = machine_part("cloud", tmp_path)
    interface(tmp_path, "eth0", "DC:A6:32:00:00:01")
    assert machine_part("cloud", tmp_path) != without
