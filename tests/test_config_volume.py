"""What `check` says about the bytes of a silent month, and when that is a warning."""

import json
from pathlib import Path
from typing import Any

import pytest
from config_kit import METERS, SCALE, read, said
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.volume import doubtful_volume, volume
from gateway.ctl import main as gatewayctl
from gateway.daemon import main as gatewayd
from gateway.links import mqtt

MUCH = 20_000_000  # bytes
CELLULAR = 60  # seconds
GOOD = f"""
[gateway]
name = "pump-house-7"
{METERS}{SCALE}
[links.scada]
kind = "modbus-server"
listen = ":502"
port = "meters"
[links.collector]
kind = "tcp"
connect = "10.0.0.5:4001"
port = "scale"
liveness = {{ detect_within = "cellular" }}
[links.near]
kind = "mqtt"
connect = "mqtt://broker"
liveness = {{ detect_within = "lan" }}
[links.cloud]
kind = "mqtt"
connect = "mqtt://broker"
liveness = {{ detect_within = "cellular" }}
"""
WARNING = (
    "gateway.toml:33:14: warning: links.cloud.liveness.detect_within: "
    '27.6 MB a month for pings alone: detect_within = "90s" would cost 18.4 MB'
)


def cloud(url: str, detect_within: str) -> str:
    return f"""
    [links.cloud]
    kind = "mqtt"
    connect = "{url}"
    liveness = {{ detect_within = "{detect_within}" }}
    """


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    read(Path(), GOOD)
    return "gateway.toml"


@pytest.mark.parametrize(
    ("program", "arguments"), [(gatewayctl, ["check"]), (gatewayd, ["--check", "--config"])]
)
def test_each_link_of_a_good_file_has_a_line_after_the_verdict(
    program: Any, arguments: list[str], good: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program([*arguments, good]) == 0
    assert capsys.readouterr().out.splitlines() == [
        WARNING,
        "gateway.toml: good, 1 warning",
        "links.scada: at rest 44.9 MB a month per client for keep-alive (detect_within 20 s)",
        "links.collector: at rest 15.0 MB a month for keep-alive (detect_within 60 s)",
        "links.near: at rest 547 MB a month for pings and keep-alive (detect_within 5 s)",
        "links.cloud: at rest 27.6 MB a month for pings (detect_within 60 s)",
    ]


def test_programs_get_the_same_numbers(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gatewayctl(["--json", "check", good]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["warnings"]) == (True, [WARNING])
    keys = ("bytes_per_month", "causes", "per_client", "detect_within_s")
    assert {link: tuple(cost[key] for key in keys) for link, cost in answer["at_rest"].items()} == {
        "scada": (44_928_000, ["keep-alive"], True, 20),
        "collector": (14_976_000, ["keep-alive"], False, 60),
        "near": (547_430_400, ["pings", "keep-alive"], False, 5),
        "cloud": (27_648_000, ["pings"], False, 60),
    }


def test_a_link_that_says_nothing_at_rest_costs_nothing(tmp_path: Path) -> None:
    link = '[links.scada]\nkind = "modbus-server"\nlisten = ":502"\nport = "meters"\n'
    loaded = read(tmp_path, METERS + link + 'transport = "udp"\nliveness.detect_within = "metered"')
    assert loaded.volumes == {}
    assert loaded.report(Path("x")) == "x: good"


def test_a_bad_file_says_nothing_of_that(tmp_path: Path) -> None:
    loaded = read(tmp_path, cloud("mqtt://broker", "20s") + "prefx = 'x'")
    assert loaded.volumes == {}
    assert loaded.report(Path("x")).splitlines()[-1] == "x: 1 problem"


def test_a_link_without_a_readable_address_is_not_priced(tmp_path: Path) -> None:
    assert said(read(tmp_path, cloud("broker", "cellular"))) == [
        'links.cloud.connect: a broker is "mqtt://host:1883", "mqtts://host:8883", "ws://host/path" '
        'or "wss://host/path"'
    ]


@pytest.mark.parametrize(
    ("url", "detect_within", "told"),
    [
        ("mqtt://b", "cellular", '27.6 MB a month for pings alone: detect_within = "90s" would cost 18.4 MB'),
        ("mqtts://b", "cellular", '35.3 MB a month for pings alone: detect_within = "2m" would cost 17.6 MB'),
        ("ws://b", "75s", '23.2 MB a month for pings alone: detect_within = "90s" would cost 19.4 MB'),
        ("wss://b", "1m", '36.6 MB a month for pings alone: detect_within = "2m" would cost 18.3 MB'),
        ("mqtt://b", "82s", '20.2 MB a month for pings alone: detect_within = "90s" would cost 18.4 MB'),
        ("mqtt://b", "83s", None),
        ("mqtts://b", "satellite", None),
        ("mqtts://b", "59s", None),
        ("mqtt://b", "lan", None),
    ],
)
def test_much_traffic_of_a_patient_link_is_warned_of_with_a_way_out(
    url: str, detect_within: str, told: str | None, tmp_path: Path
) -> None:
    where = "warning: links.cloud.liveness.detect_within: "
    assert said(read(tmp_path, cloud(url, detect_within))) == ([where + told] if told else [])


@pytest.mark.parametrize(
    ("every", "text", "told"),
    [
        ("10s", "PING", '28.0 MB a month for heartbeats alone: every = "15s" would cost 18.7 MB'),
        # more often than each 18 s, the idle time: it takes the place of keep-alive
        (
            "20s",
            "PING",
            '27.5 MB a month for heartbeats and keep-alive alone: every = "15s" would cost 18.7 MB',
        ),
        (
            "20s",
            96 * "x",
            '39.4 MB a month for heartbeats and keep-alive alone: every = "90s" would cost 17.7 MB',
        ),
        ("15s", "PING", None),
        ("1m", "PING", None),
    ],
)
def test_a_heartbeat_is_warned_of_where_it_stands(
    every: str, text: str, told: str | None, tmp_path: Path
) -> None:
    link = f"""
    [links.dtu]
    kind = "tcp"
    connect = "dtu.example.com:8899"
    port = "scale"
    liveness = {{ detect_within = "cellular" }}
    heartbeat = {{ text = "{text}", every = "{every}" }}
    """
    where = "warning: links.dtu.heartbeat.every: "
    assert said(read(tmp_path, SCALE + link)) == ([where + told] if told else [])


def test_what_a_default_costs_is_told_at_the_link(tmp_path: Path) -> None:
    text = '[defaults.links]\nliveness = { detect_within = "1m" }\n[links.cloud]\nkind = "mqtt"\n'
    (warning,) = read(tmp_path, text + 'connect = "mqtt://b"\n').warnings
    assert (warning.line, warning.col) == (3, 1)
    assert "27.6 MB a month" in warning.text


@given(st.sampled_from(["mqtt", "mqtts", "ws", "wss"]), st.integers(3, 3600))
def test_only_patient_links_above_20_mb_are_warned_of(scheme: str, detect_within: int) -> None:
    link = mqtt.Config.model_validate(
        {"kind": "mqtt", "connect": f"{scheme}://b", "liveness": {"detect_within": f"{detect_within}s"}}
    )
    much = volume(link).bytes_per_month > MUCH
    assert bool(list(doubtful_volume((), link))) == (much and detect_within >= CELLULAR)
