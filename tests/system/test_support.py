"""A bundle for support from the real gatewayd: what it said before, and nothing that is secret."""

import tarfile
from pathlib import Path

from system_kit import Daemon, eventually, modbus_port, mqtt, nowhere

from gateway.demo.gatewayd import free_port


def bundle(daemon: Daemon, *arguments: str) -> dict[str, str]:
    """Its files by their names."""
    path = daemon.folder / "bundle.tgz"
    done = daemon.ctl("support", str(path), "--force", *arguments)
    assert done.returncode == 0, done.stderr
    return unpacked(path)


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = ((member.name.partition("/")[2], archive.extractfile(member)) for member in archive)
        return {name: file.read().decode() for name, file in files if file is not None}


def test_a_bundle_says_what_has_happened_and_has_no_password_in_it() -> None:
    link = mqtt("cloud", free_port(), username="site7", password="hunter22")
    with Daemon(modbus_port("meters", "/dev/no-such-tty") + link) as daemon:
        eventually(lambda: "links.cloud" in daemon.log)
        files = bundle(daemon)
        events = files["events.txt"]
        assert "warning ports.meters: no such device /dev/no-such-tty" in events
        assert "warning links.cloud: " in events
        assert "is ready: ports: 1, links: 1, devices: 0" in events
        assert '"meters": {' in files["status.json"]
        assert "password = (removed)" in files["config/gateway.toml"]
        assert 'username = "site7"' in files["config/gateway.toml"]
        assert not [name for name, text in files.items() if "hunter22" in text]


def test_what_was_wrong_at_the_start_is_still_known_later() -> None:
    with Daemon(nowhere("first")) as daemon:
        assert daemon.stop() == 0
        daemon.file.write_text("[links.cloud]\npassword = hunter22\n")
        daemon.start()
        files = bundle(daemon)
        assert "error   " in files["events.txt"]
        assert "starting with the last good one" in files["events.txt"]
        assert "links.cloud.password: text stands in quotes" in files["events.txt"]
        assert not [name for name, text in files.items() if "hunter22" in text]
        assert "hunter22" not in daemon.log


def test_without_a_daemon_there_is_a_bundle_too() -> None:
    with Daemon(nowhere()) as daemon:
        assert daemon.stop() == 0
        files = bundle(daemon, "--config", str(daemon.file))
        assert files["events.txt"].startswith("cannot be had: no gatewayd answers")
        assert "good" in files["check.txt"]
