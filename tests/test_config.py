"""From a file to a tree, or to everything that is wrong with it."""

import subprocess
import sys
from pathlib import Path

import pytest
from config_kit import ENVIRON, FILLED, METERS, SCALE, read, said

from gateway.config import load
from gateway.contracts import Stream, Transactor
from gateway.values import Endpoint

HERE = Path(__file__).parent
BROKEN = HERE / "data" / "broken"


# Broken files


@pytest.mark.parametrize("name", sorted(path.stem for path in BROKEN.glob("*.toml")))
def test_each_broken_file_is_answered_word_for_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)
    loaded = load(Path(f"{name}.toml"), {}, hostname="gw")
    assert loaded.tree is None
    told = [str(one) for one in (*loaded.problems, *loaded.warnings)]
    assert told == Path(f"{name}.txt").read_text().splitlines()


def test_there_are_forty_broken_files_and_more() -> None:
    assert len(list(BROKEN.glob("*.toml"))) > 40


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    assert said(load(tmp_path / "x.toml", {})) == [f"{tmp_path}/x.toml: no such file or directory"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert said(load(tmp_path, {})) == [f"{tmp_path}: is a directory"]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + METERS).tree is not None


# Good files


def test_an_empty_file_is_a_gateway_without_anything(tmp_path: Path) -> None:
    loaded = read(tmp_path, "")
    assert said(loaded) == []
    assert (loaded.tree.gateway.name, loaded.tree.ports, loaded.tree.links, loaded.tree.devices) == (
        "gw",
        {},
        {},
        {},
    )


def test_a_tree_is_complete(tmp_path: Path) -> None:
    tree = read(
        tmp_path,
        METERS
        + SCALE
        + """
        [gateway]
        name = "pump-house-7"
        state_dir = "state"
        [links.scada]
        kind = "modbus-server"
        listen = ":502"
        port = "meters"
        [links.cloud]
        kind = "mqtt"
        connect = "mqtt://broker"
        tls = {}
        [models.m.points]
        voltage = { input = 0, type = "float32" }
        [devices.main]
        port = "meters"
        unit_id = 1
        model = "m"
        poll_interval = "500ms"
        points = { total = { holding = 60 } }
        """,
    ).tree
    assert (tree.gateway.name, tree.gateway.state_dir) == ("pump-house-7", tmp_path / "state")
    assert {name: port.contract for name, port in tree.ports.items()} == {
        "meters": Transactor,
        "scale": Stream,
    }
    assert tree.links["scada"].listens == Endpoint("", 502)
    assert (tree.links["cloud"].ports, tree.links["cloud"].devices) == (("scale",), ("main",))
    assert tree.devices["main"].poll_interval == 0.5
    assert set(tree.devices["main"].points) == {"voltage", "total"}


def test_a_port_knows_which_of_its_units_have_a_timeout_of_their_own(tmp_path: Path) -> None:
    def device(name: str, unit: int, more: str = "") -> str:
        points = "points = { a = { input = 0 } }"
        return f"[devices.{name}]\nport = 'meters'\nunit_id = {unit}\n{more}\n{points}\n"

    slow, slower = "response_timeout = '3s'", "response_timeout = '4s'"
    text = METERS + device("a", 5, slow) + device("b", 5, slower) + device("c", 6) + device("d", 5)
    tree, other = read(tmp_path, text).tree, read(tmp_path, text.replace("4s", "5s")).tree
    rules = tree.ports["meters"].rules

    assert (rules.timeout(5), rules.timeout(6)) == (4.0, rules.response_timeout)
    assert tree.ports["meters"] != other.ports["meters"], "so that a reload notices it"


def test_equal_files_make_equal_trees_so_that_a_reload_finds_what_changed(tmp_path: Path) -> None:
    assert read(tmp_path, FILLED, ENVIRON).tree == read(tmp_path, FILLED + "\n# a remark", ENVIRON).tree
    assert (
        read(tmp_path, FILLED, ENVIRON).tree != read(tmp_path, FILLED.replace('"8E1"', '"8N2"'), ENVIRON).tree
    )


def test_default_tables_are_filled_in_key_by_key(tmp_path: Path) -> None:
    links = read(
        tmp_path,
        METERS
        + """
        [defaults.links]
        liveness = { detect_within = "lan" }
        reconnect = { first = "2s", max = "30s" }
        [links.one]
        kind = "modbus-server"
        listen = ":502"
        port = "meters"
        [links.two]
        kind = "modbus-server"
        listen = ":503"
        port = "meters"
        liveness = { detect_within = "1m" }
        reconnect = { max = "5m" }
        """,
    ).tree.links
    assert [link.liveness.detect_within for link in links.values()] == [5, 60]
    assert [(link.reconnect.first, link.reconnect.max) for link in links.values()] == [(2, 30), (2, 300)]


def test_environment_variables_are_filled_in_anywhere_in_a_text(tmp_path: Path) -> None:
    text = METERS.replace("/dev/ttyUSB0", "/dev/${KIND}${NUMBER}").replace("modbus-rtu", "${MODE}")
    tree = read(tmp_path, text, {"KIND": "ttyAMA", "NUMBER": "3", "MODE": "modbus-rtu"}).tree
    assert tree.ports["meters"].tty == "/dev/ttyAMA3"


def test_braces_of_the_topics_are_left_for_later(tmp_path: Path) -> None:
    tree = read(
        tmp_path, '[links.cloud]\nkind = "mqtt"\nconnect = "mqtt://b"\nprefix = "x/{name}/{other}/$NAME"'
    ).tree
    assert tree.links["cloud"].prefix == "x/{name}/{other}/$NAME"


def test_a_copy_of_a_file_keeps_the_folder_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ca.pem").touch()
    text = '[links.cloud]\nkind = "mqtt"\nconnect = "mqtts://b"\ntls = { ca = "ca.pem" }'
    assert said(read(tmp_path, text)) == [f"warning: links.cloud.tls.ca: there is no file {tmp_path}/ca.pem"]
    loaded = read(tmp_path, text, folder=tmp_path / "etc")
    assert (said(loaded), loaded.tree.links["cloud"].tls.ca) == ([], tmp_path / "etc" / "ca.pem")


def test_models_stand_beside_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pump.toml").write_text(
        "address_base = 1\n[points]\nspeed = { holding = 40010 }\n"
    )
    device = '[devices.a]\nport = "meters"\nunit_id = 1\nmodel = "pump"\n'
    loaded = read(tmp_path, METERS + device)
    assert loaded.tree.devices["a"].points["speed"].address == 40009
    assert [str(one) for one in loaded.warnings] == [
        f"{tmp_path}/models/pump.toml:3:11: warning: "
        "points.speed.holding: manuals write 40010 for holding = 10"
    ]
    own = "[models.pump.points]\nspeed = { holding = 5 }\n"
    assert read(tmp_path, METERS + device + own).tree.devices["a"].points["speed"].address == 5


def test_a_model_file_that_cannot_be_read_is_told_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "models" / "pump.toml").mkdir(parents=True)
    told = said(read(tmp_path, METERS + '[devices.a]\nport = "meters"\nunit_id = 1\nmodel = "pump"\n'))
    assert told == [f"devices.a.model: {tmp_path}/models/pump.toml: is a directory"]


def test_only_what_is_configured_is_imported(tmp_path: Path) -> None:
    read(tmp_path, SCALE + '[links.console]\nkind = "tcp"\nlisten = ":4001"\nport = "scale"\n')
    code = (
        "import sys, pathlib, gateway.config as config\n"
        f"assert config.load(pathlib.Path({str(tmp_path / 'gateway.toml')!r}), {{}}).tree\n"
        "print(*(name for name in sys.modules if name.startswith(('gateway.links.', 'gateway.ports.'))))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent
    )
    kinds = {name for name in found.stdout.split() if not name.split(".")[-1].startswith("_")}
    assert kinds == {"gateway.links.tcp", "gateway.ports.raw"}
