"""gatewayctl support: what is in the bundle, what is never in it, and what it does when something is not
there.
"""

import json
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
from control_kit import Daemon
from ctl_kit import ctl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.ctl import main

CONFIG = """
[gateway]
name = "pump-house-7"
# the old password was tiger77
[links.cloud]
kind = "mqtt"
connect = "mqtts://broker.example.com"
username = "site7"
password = "s3cret-1"
tls = {{ ca = "ca.pem", cert = "gateway.pem", key = "gateway.key" }}
{more}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine but /proc and /sys: no programs, no last good config."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(place: Path, more: str = "") -> Path:
    path = place / "gateway.toml"
    path.write_text(CONFIG.format(more=more))
    return path


def support(place: Path, *arguments: str) -> int:
    return main(["--socket", str(place / "none.sock"), "support", *arguments])


def opened(path: Path) -> dict[str, str]:
    """By their names below the one folder."""
    with tarfile.open(path) as archive:
        files = {}
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            files[member.name.partition("/")[2]] = content.read().decode()
        assert len({member.name.partition("/")[0] for member in archive.getmembers()}) == 1
    return files


def everything(path: Path) -> str:
    with tarfile.open(path) as archive:
        names = archive.getnames()
    return "\n".join([path.name, *names, *opened(path).values()])


# the file


def test_it_is_named_after_the_gateway_and_nobody_elses(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert support(place, "--config", str(config(place))) == 0
    (made,) = place.glob("*.tar.gz")
    assert made.name.startswith("gateway-support-pump-house-7-2")
    assert S_IMODE(made.stat().st_mode) == 0o600
    assert f"files in {made.name}, without passwords and keys" in capsys.readouterr().out


def test_it_replaces_nothing_unasked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = place / "there.tgz"
    there.write_text("mine")
    there.chmod(0o644)
    assert support(place, str(there)) == 1
    assert there.read_text() == "mine"
    assert "is there already: --force replaces it" in capsys.readouterr().err
    assert support(place, str(there), "--force") == 0
    assert "versions.txt" in opened(there)
    assert S_IMODE(there.stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_bad_news(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert support(place, str(place / "none" / "bundle.tgz")) == 1
    assert "no such file or directory" in capsys.readouterr().err.lower()


# what is in it


async def test_with_a_daemon_it_holds_what_that_says(place: Path) -> None:
    daemon = Daemon("broker_refused")
    daemon.record["gateway"]["config"] = str(config(place))
    daemon.said.append({"at": "2026-03-02T14:15:02.500Z", "level": "warning", "text": "links.cloud: gone"})
    done = await ctl(place / "control.sock", daemon, "--json", "support", str(place / "x.tgz"))
    assert done.code == 0, done.err
    assert json.loads(done.out)["file"] == str(place / "x.tgz")
    files = opened(place / "x.tgz")
    assert json.loads(files["status.json"])["links"] == daemon.record["links"]
    assert json.loads(files["buffers.json"]) == {"ok": True, "buffers": {}}
    assert files["events.txt"] == "2026-03-02T14:15:02.500Z warning links.cloud: gone\n"
    assert 'username = "site7"' in files["config/gateway.toml"]
    assert "password = (removed)" in files["config/gateway.toml"]
    assert f"{place}/gateway.toml: good" in files["check.txt"]
    for name in files:
        assert name == "contents.txt" or name in files["contents.txt"].splitlines()


def test_without_a_daemon_it_says_so_and_has_the_rest(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert support(place, "x.tgz", "--config", str(config(place))) == 0
    files = opened(place / "x.tgz")
    for name in ("status.json", "buffers.json", "events.txt"):
        assert files[name].startswith("cannot be had: no gatewayd answers on")
        assert f"{name} cannot be had" in files["contents.txt"]
    assert "status.json: no gatewayd answers" in capsys.readouterr().out
    assert files["versions.txt"].startswith("gatewayctl ")
    assert "pydantic" in files["versions.txt"]
    assert "kernel        Linux" in files["system.txt"]
    assert "interfaces" in files["network.txt"]
    assert "good" in files["check.txt"]


def test_without_anything_it_is_still_a_bundle(place: Path) -> None:
    assert support(place, "x.tgz", "--config", str(place / "absent.toml")) == 0
    files = opened(place / "x.tgz")
    assert files["config/gateway.toml"].endswith("absent.toml: no such file or directory\n")
    assert "absent.toml: no such file or directory" in files["check.txt"]
    assert files["journal.txt"] == "cannot be had: journalctl: no such file or directory\n"


def test_programs_are_asked_for_the_service_and_its_journal(place: Path) -> None:
    (place / "bin").mkdir()
    for name in ("systemctl", "journalctl"):
        (place / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*: s3cret-1"\n')
        (place / "bin" / name).chmod(0o755)
    assert support(place, "x.tgz", "--config", str(config(place))) == 0
    files = opened(place / "x.tgz")
    assert files["journal.txt"].startswith("journalctl -u gatewayd -n 1000")
    assert files["journal.txt"].endswith(": (removed)\n")
    assert files["service.txt"].startswith("systemctl show gatewayd")


def test_models_and_the_last_good_config_are_in_it_too(place: Path) -> None:
    (place / "models").mkdir()
    (place / "models" / "sdm630.toml").write_text("max_gap = 10\n")
    (place / "state" / "last-good").mkdir(parents=True)
    (place / "state" / "last-good" / "gateway.toml").write_text('[links.cloud]\npassword = "older-one"\n')
    broken = place / "gateway.toml"
    broken.write_text('[links.cloud]\nusername = "older-one"\n[')
    assert support(place, "x.tgz", "--config", str(broken)) == 0
    files = opened(place / "x.tgz")
    assert files["config/models/sdm630.toml"] == "max_gap = 10\n\n"
    assert "password = (removed)" in files["config/last-good.toml"]
    assert "older-one" not in everything(place / "x.tgz")
    assert "gateway.toml:3:1" in files["check.txt"]


def test_of_keys_and_certificates_only_what_they_are(place: Path) -> None:
    (place / "gateway.key").write_text("-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n")
    (place / "gateway.key").chmod(0o640)
    (place / "ca.pem").write_text("rubbish")
    path = config(place, "password_file = 'mqtt.password'")
    (place / "mqtt.password").write_text("of-a-file\nmore\n")
    path.write_text(path.read_text().replace("[links.cloud]", "[links.of-a-file]"))
    assert support(place, "x.tgz", "--config", str(path)) == 0
    files = opened(place / "x.tgz")
    assert f"key {place}/gateway.key: -rw-r-----" in files["files.txt"]
    assert f"password_file {place}/mqtt.password: -rw-" in files["files.txt"]
    assert "TUlJ" not in everything(place / "x.tgz")
    assert "of-a-file" not in everything(place / "x.tgz")


# what is never in it


@contextmanager
def telling(path: Path, answer: dict[str, Any]) -> Iterator[None]:
    """A daemon that says this, whatever it is asked."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for _ in range(3):
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    client.sendall(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join()


PRINTED = st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_categories=["Cc", "Cs", "Zs"])
SECRETS = st.text(PRINTED, min_size=6, max_size=20).filter(lambda text: len(set(text)) > 4)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(secret="it's\"so\\way", in_url="p@ss/w:rd", in_file="ünïcode%", in_model="a\"b'c#d", typed=0)
@example(secret="a#b'c\"def", in_url="100%sure", in_file="other-one", in_model="[list],{x}", typed=3)
@given(secret=SECRETS, in_url=SECRETS, in_file=SECRETS, in_model=SECRETS, typed=st.sampled_from([0, 1, 2, 3]))
def test_no_secret_of_the_config_is_anywhere(
    secret: str, in_url: str, in_file: str, in_model: str, typed: int
) -> None:
    """Nor in what the daemon says, nor in names; also where the file is not TOML, as people type."""
    written = (json.dumps(secret), secret, f'"{secret}', f'"{secret}"')[typed]
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "models").mkdir()
        (place / "models" / "x.toml").write_text(f"# {in_model}\ntoken = {json.dumps(in_model)}\n")
        (place / "pw").write_text(f"{in_file}\n")
        (place / "gateway.toml").write_text(
            f"[gateway]\nname = {json.dumps(in_file)}\n[links.a]\n"
            f'password_file = "pw"\nconnect = "mqtt://user:{quote(in_url, safe="")}@host:1883"\n'
            f"[links.b]\npassword = {written}\n"
        )
        secrets = secret, in_url, in_model, *([in_file] if typed == 0 else [])
        said = " ".join(secrets)
        answer = {
            "ok": True,
            "gateway": {"name": said, "config": str(place / "gateway.toml")},
            "links": {text: {"reason": f"refused {text!r}", "url": quote(text)} for text in secrets},
            "events": [{"at": "2026", "level": "info", "text": f"{text} {text!r}"} for text in secrets],
        }
        with telling(place / "control.sock", answer):
            assert main(["--socket", str(place / "control.sock"), "support", str(place / "x.tgz")]) == 0
        told = everything(place / "x.tgz")
        for one in secrets:
            assert one not in told
            assert json.dumps(one)[1:-1] not in told
            assert repr(one)[1:-1] not in told
            assert quote(one) not in told


@pytest.mark.parametrize(
    "line",
    [
        'password = "hunter22"',
        "password = 'hunter22'",
        "password='hunter22' # for site7",
        'tls = { ca = "x", password = "hunter22" }',
        'password = """\nhunter22"""',
        'password = ["hunter22",\n "hunter22"]',
        "password = hunter22",
        'password: "hunter22"',
        'pasword = "hunter22"',
        'Passwort = "hunter22"',
        '"password" = "hunter22"',
        'links.cloud.password = "hunter22"',
        'password = "hun"hunter22"',
        'password = "\\u0068unter22"',
        '#password = "hunter22"',
        "# the password is hunter22",
        'api_key = "hunter22"',
        'connect = "mqtt://site7:hunter22@broker"',
        'connect = "mqtt://site7:hun@hunter22@broker"',
        'connect = ["site7:hunter22@broker:1883"]',
        'connect = "wss://broker/mqtt?token=hunter22&x=1"',
        'password = """\nhunter22',
        "password = { text = 'hunter22' }",
        "password = ${MQTT}",
        'password = "${MQTT}"',
        'password = "x${MQTT}y"',
    ],
)
def test_wherever_it_stands_it_is_taken_out(place: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setenv("MQTT", "hunter22")
    path = place / "gateway.toml"
    path.write_text(f'[links.cloud]\nkind = "mqtt"\nusername = "site7"\n{line}\nretain = false\n')
    assert support(place, "x.tgz", "--config", str(path)) == 0
    assert "hunter22" not in everything(place / "x.tgz")
    assert 'username = "site7"' in opened(place / "x.tgz")["config/gateway.toml"]


@pytest.mark.parametrize(
    "line",
    [
        'password_file = "mqtt.password"',
        'password_credential = "mqtt"',
        'password = "${MQTT_PASSWORD}"',
        'connect = "mqtt://broker.example.com:1883"',
        'listen = "[2001:db8::1]:502"',
        'prefix = "gateway/{name}"   # the topics pass through here',
        'key = "gateway.key"',
    ],
)
def test_what_is_no_secret_stays(place: Path, line: str) -> None:
    path = place / "gateway.toml"
    path.write_text(line + "\n")
    assert support(place, "x.tgz", "--config", str(path)) == 0
    assert opened(place / "x.tgz")["config/gateway.toml"] == line + "\n\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(place: Path) -> None:
    path = config(place)
    path.chmod(0)
    assert support(place, "x.tgz", "--config", str(path)) == 0
    assert "permission denied" in opened(place / "x.tgz")["config/gateway.toml"]
