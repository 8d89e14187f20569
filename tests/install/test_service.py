"""The installed service under a real systemd, in all of its sandbox: what it serves, and what it survives."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from container_kit import CONFIG, PUBLIC, Machine, eventually
from papers_kit import certificates
from sites_kit import (
    BAD,
    CLOUD,
    METERS,
    OPEN,
    SCALE,
    SCALES_TOPIC,
    kept,
    link_is,
    numbers,
    promise_a_witness,
    read_registers,
    start_broker,
    start_instruments,
    witnessed,
)

pytest_plugins = ["machines_kit"]
pytestmark = [pytest.mark.install, pytest.mark.usefixtures("able")]

HERE = "10.9.9.1"  # an address that can be taken away


@pytest.fixture
def site(box: Machine) -> Machine:
    """A bus that SCADA reads."""
    start_instruments(box)
    box.configure(METERS)
    return box


def drop_in(box: Machine, *lines: str) -> None:
    box.put("/etc/systemd/system/gatewayd.service.d/test.conf", "[Service]\n" + "\n".join(lines) + "\n")
    box.sh("systemctl daemon-reload; systemctl restart gatewayd")


def comes_back(box: Machine, pid: int) -> None:
    eventually(lambda: box.is_active() and box.pid() != pid)


def test_a_bus_is_read_by_mbpoll_on_port_502(site: Machine) -> None:
    assert "4711" in eventually(lambda: read_registers(site))
    assert site.status()["gateway"]["state"] == "ok"
    assert site.said() == "ports: 1, links: 1, devices: 0"


def test_killed_it_is_back_and_nothing_is_lost_of_what_it_kept_for_a_broker(box: Machine) -> None:
    start_broker(box)
    promise_a_witness(box)
    box.sh("systemctl stop mosquitto")
    start_instruments(box)
    box.configure(METERS + SCALE + CLOUD)
    before = eventually(lambda: len(records := kept(box, "cloud")) > 40 and records)
    pid = box.pid()
    box.sh(f"kill -KILL {pid}")
    comes_back(box, pid)
    assert "4711" in eventually(lambda: read_registers(box))
    after = eventually(lambda: len(records := kept(box, "cloud")) > len(before) + 40 and records)
    assert after[: len(before)] == before
    box.sh("systemctl start mosquitto")
    arrived = witnessed(box, len(after))
    assert [(record["seq"], record["text"]) for record in arrived] == [
        (record["seq"], record["text"]) for record in after
    ]
    assert numbers(arrived) == list(range(arrived[0]["seq"], arrived[0]["seq"] + len(arrived)))


def test_frozen_it_is_ended_by_the_watchdog_and_is_back(site: Machine) -> None:
    """With a shorter time than the 30 s of the unit, which are too long for a test."""
    assert site.show("WatchdogUSec") == {"WatchdogUSec": "30s"}
    drop_in(site, "WatchdogSec=2")
    pid = site.pid()
    site.sh(f"kill -STOP {pid}")
    comes_back(site, pid)
    assert "Watchdog timeout" in site.journal()
    assert "4711" in eventually(lambda: read_registers(site))


def test_a_good_file_is_applied_by_reload_without_a_restart(site: Machine) -> None:
    pid = site.pid()
    site.configure(METERS.replace(":502", ":802"))
    assert site.pid() == pid
    assert "4711" in eventually(lambda: read_registers(site, 802))
    assert read_registers(site, 502) == ""


def test_a_bad_file_fails_the_reload_says_why_and_changes_nothing(site: Machine) -> None:
    pid = site.pid()
    site.put(CONFIG, BAD)
    site.fails("systemctl reload gatewayd")
    assert 'unknown key, did you mean "kind"?' in site.journal()
    assert re.fullmatch(rf"running with an earlier config; problems in {CONFIG}: \d", site.said())
    assert (site.is_active(), site.pid()) == (True, pid)
    assert "4711" in eventually(lambda: read_registers(site))
    assert site.status()["gateway"]["state"] == "degraded"


def test_after_a_reboot_with_a_bad_file_it_runs_with_the_last_good_one_and_says_so(site: Machine) -> None:
    site.put(CONFIG, BAD)
    site.power_off()
    site.boot()
    start_instruments(site)
    eventually(site.is_active)
    assert "running with an earlier config" in site.sh("systemctl status gatewayd")
    assert "4711" in eventually(lambda: read_registers(site))


def test_what_a_link_keeps_survives_a_reboot(box: Machine) -> None:
    start_instruments(box)
    box.configure(SCALE + CLOUD)
    before = eventually(lambda: kept(box, "cloud"))
    box.power_off()
    box.boot()
    eventually(box.is_active)
    assert kept(box, "cloud")[: len(before)] == before


def test_a_password_comes_from_the_folder_of_credentials_that_only_root_can_read(box: Machine) -> None:
    box.sh("mosquitto_passwd -b -c /etc/mosquitto/users gw secret; chown mosquitto /etc/mosquitto/users")
    start_broker(box, "listener 1884\npassword_file /etc/mosquitto/users\n")
    box.sh("install -m 0600 /dev/null /etc/gateway/credentials/broker")
    box.put("/etc/gateway/credentials/broker", "secret\n")
    start_instruments(box)
    box.put(CONFIG, SCALE + CLOUD + 'username = "gw"\npassword_credential = "broker"\n')
    box.sh("systemctl restart gatewayd")
    eventually(lambda: link_is(box, "cloud", "up"))
    assert box.sh("stat --format '%U %a' /etc/gateway/credentials") == "root 700"


def test_mqtt_over_tls(box: Machine, tmp_path: Path) -> None:
    certificates(tmp_path)
    for name, path in (("ca.pem", "gateway"), ("server.pem", "mosquitto"), ("server.key", "mosquitto")):
        box.put(f"/etc/{path}/{name}", (tmp_path / name).read_text(), 0o644)
    papers = "\n".join(
        f"{what} /etc/mosquitto/server.{kind}" for what, kind in (("certfile", "pem"), ("keyfile", "key"))
    )
    start_broker(box, OPEN + papers + "\n")
    start_instruments(box)
    box.configure(SCALE + CLOUD.replace("mqtt://", "mqtts://") + 'tls = { ca = "ca.pem" }\n')
    eventually(lambda: link_is(box, "cloud", "up"))
    assert "ST,NT" in box.sh(f"mosquitto_sub {SCALES_TOPIC} --cafile /etc/gateway/ca.pem -C 1 -W 30")


def test_the_kernel_may_tell_it_that_an_address_is_gone(box: Machine) -> None:
    """Nothing else would: without AF_NETLINK this link would be found dead after five minutes."""
    start_broker(box)
    start_instruments(box)
    box.sh(f"ip address add {HERE}/32 dev lo")
    slow = 'liveness = { detect_within = "5m" }\n'
    box.configure(SCALE + CLOUD.replace("127.0.0.1", HERE) + slow)
    eventually(lambda: link_is(box, "cloud", "up"))
    box.sh(f"ip address del {HERE}/32 dev lo")
    death = eventually(lambda: box.status()["links"]["cloud"]["last_death"])
    assert death["reason"] == f"our address {HERE} is gone"


def test_it_may_open_serial_lines_and_no_other_device(site: Machine) -> None:
    """Everybody may open these files; what stands in between is DevicePolicy= alone."""
    nodes = {
        "/dev/ttyS0": "c 4 64",
        "/dev/mem": "c 1 1",
        "/dev/sda": "b 8 0",
        "/dev/net/tun": "c 10 200",
    }
    for path, kind in nodes.items():
        site.sh(f"[ -e {path} ] || mknod {path} {kind}; chmod 0666 {path}")
    probe = f"python3 -B {PUBLIC}/tests/install/probe.py /dev/ttyUSB2 {' '.join(nodes)}"
    by_root = dict(line.split(" ", 1) for line in site.sh(probe).splitlines())
    assert "Operation not permitted" not in by_root.values(), by_root
    drop_in(site, f"ExecStartPre=/usr/bin/{probe}")
    by_us = dict(line.split(" ", 1) for line in site.journal().splitlines() if re.match("/dev/", line))
    assert by_us.pop("/dev/ttyUSB2") == "opened"
    assert by_us.pop("/dev/ttyS0") == by_root["/dev/ttyS0"]
    assert set(by_us.values()) == {"Operation not permitted"}
    assert len(by_us) == 3


_ALL_KINDS = f"""
{METERS}
own_unit_id = 255
{SCALE}
[ports.old]
tty = "/dev/ttyUSB2"
mode = "modbus-ascii"
baudrate = 9600
format = "7E1"
[ports.panel]
tty = "/dev/ttyUSB3"
mode = "modbus-rtu"
role = "server"
baudrate = 19200
format = "8E1"
[ports.panel.units]
"1-31" = "meters"

[links.console]
kind = "tcp"
listen = "127.0.0.1:4001"
port = "scale"
[links.collector]
kind = "tcp"
connect = "127.0.0.1:4002"
port = "scale"
[links.plant]
kind = "modbus-client"
connect = "127.0.0.1:4003"
push = {{ "main-meter.total" = {{ holding = 100 }} }}
[devices.main-meter]
port = "meters"
unit_id = 1
poll_interval = "1s"
points = {{ total = {{ holding = 0 }}, load = {{ holding = 1 }} }}
{CLOUD}
"""


def memory(box: Machine) -> float:
    """In MB, as it is resident."""
    return int(box.sh(f"ps -o rss= -p {box.pid()}")) / 1024


def test_its_memory_is_small_with_a_bus_that_scada_reads(
    site: Machine, figure: Callable[[str], None]
) -> None:
    site.sh("systemctl restart gatewayd")
    assert "4711" in eventually(lambda: read_registers(site))
    rss = memory(site)
    figure(f"{rss:.1f} MB of memory with a port and a link")
    assert rss <= 40


def test_its_memory_is_small_with_ports_and_links_of_all_kinds(
    box: Machine, figure: Callable[[str], None]
) -> None:
    """Without TLS, whose library alone takes 6 MB."""
    start_broker(box)
    start_instruments(box)
    box.configure(_ALL_KINDS)
    box.sh("systemctl restart gatewayd")
    eventually(lambda: link_is(box, "cloud", "up") and "4711" in json.dumps(box.status()["devices"]))
    assert "4711" in eventually(lambda: read_registers(box))
    rss = memory(box)
    figure(f"{rss:.1f} MB of memory with 4 ports, 5 links and a device")
    assert rss <= 40
