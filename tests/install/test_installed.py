"""The package on Debian 12 and 13, with systemd as PID 1 and without a network.

Installed, upgraded, removed, purged.
"""

import re
from collections.abc import Callable

import pytest
from container_kit import CONFIG, Machine, eventually
from debs_kit import install
from sites_kit import BAD, CLOUD, METERS, SCALE, kept, numbers, read_registers, start_instruments

pytest_plugins = ["machines_kit"]
pytestmark = [pytest.mark.install, pytest.mark.usefixtures("able")]

EXPOSURE = 1.6
MB = 1_000_000
_FROM_254_ON = re.compile(r".*Unknown key(?: name)? 'Restart(?:Steps|MaxDelaySec)'.*, ignoring\.\n?")


def test_apt_installs_it_offline_and_the_service_is_active_healthy_and_idle(bare: Machine) -> None:
    assert bare.sh("ls /sys/class/net") == "lo"
    install(bare)
    eventually(bare.is_active)
    assert bare.sh("systemctl is-enabled gatewayd") == "enabled"
    status = bare.status()
    assert (status["gateway"]["state"], status["ports"], status["links"]) == ("ok", {}, {})
    assert "nothing is configured" in bare.sh("gatewayctl status")
    assert bare.said() == "ports: 0, links: 0, devices: 0"
    assert bare.show("NRestarts") == {"NRestarts": "0"}
    assert bare.sh("systemctl --failed --plain --no-legend") == ""


def test_it_takes_little_room(box: Machine, figure: Callable[[str], None]) -> None:
    size = int(box.sh("du --bytes --summarize /usr/lib/gateway").split()[0])
    figure(f"{size / MB:.1f} MB on the disk, what Python compiled included")
    assert size <= 45 * MB


def test_systemd_calls_the_service_hardly_exposed(box: Machine, figure: Callable[[str], None]) -> None:
    verdict = box.sh("systemd-analyze security --no-pager gatewayd").splitlines()[-1]
    figure(verdict)
    assert float(re.search(r"\d+\.\d+", verdict)[0]) <= EXPOSURE  # type: ignore[index]


def test_systemd_finds_nothing_wrong_in_the_unit(box: Machine) -> None:
    """It tells by words alone: its exit code is 0 even when it does not know a key.

    Two keys are known from systemd 254 on.
    """
    said = box.sh("systemd-analyze verify --man=no gatewayd.service 2>&1")
    assert _FROM_254_ON.sub("", said) == ""


def test_each_manual_page_is_there(box: Machine) -> None:
    for page in ("man8/gatewayd.8", "man1/gatewayctl.1", "man5/gateway.toml.5"):
        assert ".SH" in box.sh(f"zcat /usr/share/man/{page}.gz")


def test_only_root_and_the_group_may_look_at_the_config_and_ask_the_daemon(box: Machine) -> None:
    as_a_stranger = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    box.fails(f"{as_a_stranger} cat {CONFIG}")
    box.fails(f"{as_a_stranger} gatewayctl status")
    one_of_the_group = "setpriv --reuid=65534 --regid=gateway --clear-groups"
    assert "nothing is configured" in box.sh(f"{one_of_the_group} gatewayctl status")


def test_an_upgrade_keeps_the_config_and_what_links_keep_and_restarts_the_service(box: Machine) -> None:
    start_instruments(box)
    config = METERS + SCALE + CLOUD  # there is no broker
    box.configure(config)
    before = eventually(lambda: kept(box, "cloud"))
    pid = box.pid()
    install(box, revision=2)
    eventually(lambda: box.is_active() and box.pid() != pid)
    assert box.sh("dpkg-query --show --showformat='${Version}' gateway").endswith("-2")
    assert box.sh(f"cat {CONFIG}") == config.strip()
    assert box.sh(f"stat --format '%U %G %a' {CONFIG}") == "root gateway 640"
    after = kept(box, "cloud")
    assert after[: len(before)] == before
    assert numbers(after) == list(range(after[0]["seq"], after[0]["seq"] + len(after)))
    assert "4711" in eventually(lambda: read_registers(box))


def test_an_upgrade_leaves_a_service_alone_that_somebody_has_switched_off(box: Machine) -> None:
    box.sh("systemctl disable --now gatewayd")
    install(box, revision=2)
    assert box.run("systemctl", "is-enabled", "gatewayd", good=None).stdout == "disabled\n"


def test_an_upgrade_over_a_broken_config_succeeds_and_runs_with_the_last_good_one(box: Machine) -> None:
    start_instruments(box)
    box.configure(METERS)
    box.put(CONFIG, BAD)
    install(box, revision=2)
    eventually(box.is_active)
    assert "4711" in eventually(lambda: read_registers(box))


def test_it_can_be_removed_and_comes_back_with_its_config(box: Machine) -> None:
    box.configure(METERS)
    box.sh("apt-get remove --yes gateway")
    assert box.run("systemctl", "is-active", "gatewayd", good=None).stdout != "active\n"
    assert not box.has("/usr/lib/gateway")
    install(box)
    eventually(box.is_active)
    assert "scada" in box.status()["links"]


def test_remove_and_purge_leave_nothing(box: Machine, bare: Machine) -> None:
    start_instruments(box)
    box.configure(METERS + SCALE + CLOUD)
    eventually(lambda: kept(box, "cloud"))
    box.put("/etc/gateway/credentials/broker", "secret\n", 0o600)
    assert {"/etc/gateway/gateway.toml", "/run/gateway/control.sock"} <= set(_ours(box))
    box.sh("apt-get remove --yes gateway; apt-get purge --yes gateway")
    assert box.sh("systemctl --failed --plain --no-legend; pgrep -u gateway || true") == ""
    left = set(_ours(box)) - set(_ours(bare))
    assert left == set()
    assert "not be found" in box.fails("systemctl status gatewayd")


def _ours(machine: Machine) -> list[str]:
    """All that has our name, and all below it.

    Not the bookkeeping of apt and systemd, nor the user, as Debian has it.
    """
    where = "/etc /usr /var /run /lib /opt /home /root"
    return machine.sh(
        f"find {where} -xdev -path '*gateway*' -not -path '/var/log/*' -not -path '/run/host/*'"
    ).splitlines()
