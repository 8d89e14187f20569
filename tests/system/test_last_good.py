"""A bad file at start: the last good config, where there is one."""

import pytest
from peers_kit import PASSWORD, USER, Broker, Scada
from system_kit import Daemon, eventually, modbus_port, modbus_server, mqtt, nowhere, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port

READ, SEVEN = "03 0000 0001", "03 02 00 07"
pytest_plugins = ["plant_kit"]


def test_with_a_bad_file_and_no_earlier_one_it_names_the_problems_and_ends() -> None:
    with Daemon(nowhere() + "[links.x]\nkind = 'tpc'\n", begun=False) as daemon:
        daemon.spawn()
        assert daemon.ended() == 1
        assert f'{daemon.file}:9:1: links.x.kind: there is no kind "tpc", did you mean "tcp"?' in daemon.log
        assert "there is no earlier good one" in daemon.log
        assert "Traceback" not in daemon.log


def test_without_a_file_it_says_so_and_ends() -> None:
    with Daemon("", begun=False) as daemon:
        daemon.file.unlink()
        daemon.spawn()
        assert daemon.ended() == 1
        assert f"{daemon.file}: no such file or directory" in daemon.log


def test_a_bad_file_at_start_falls_back_to_the_last_good_one_and_says_so(bus: Bus) -> None:
    port = free_port()
    config = modbus_port("meters", bus.tty) + modbus_server("scada", port, port="meters")
    with Daemon(config) as daemon:
        bad = f"running with an earlier config; problems in {daemon.file}: 1"
        assert daemon.stop() == 0
        daemon.file.write_text(config + "[ports.meters]\n")
        daemon.start()
        with Scada(port) as scada:
            eventually(lambda: scada.ask(1, READ) == SEVEN)
        gateway = daemon.status()["gateway"]
        assert gateway["state"] == "degraded"
        (problem,) = gateway["config_problems"]
        assert problem.startswith(f"{daemon.file}:")
        assert problem in daemon.log
        assert "starting with the last good one" in daemon.log
        assert daemon.said("READY")[-1]["STATUS"] == bad
        assert problem in daemon.ctl("status").stdout

        daemon.file.write_text(config)
        daemon.reload_by_ctl()
        assert daemon.status()["gateway"]["state"] == "ok"
        assert daemon.said("READY")[-1]["STATUS"] == "ports: 1, links: 1, devices: 0"

        daemon.file.write_text(config + "[ports.meters]\n")
        daemon.reload_by_signal()
        assert daemon.said("READY")[-1]["STATUS"] == bad


def test_the_last_good_config_is_the_last_reloaded_one() -> None:
    with Daemon(nowhere("first")) as daemon:
        daemon.file.write_text(nowhere("second"))
        daemon.reload_by_ctl()
        assert daemon.stop() == 0
        daemon.file.write_text("rubbish")
        daemon.start()
        assert list(daemon.status()["ports"]) == ["second"]


BROKEN = table("gateway", name="broken", state_dir="kept", hue="red")


@pytest.mark.parametrize("broken", ["rubbish", BROKEN], ids=["unreadable", "readable"])
def test_the_last_good_config_is_found_wherever_its_state_dir_is(broken: str) -> None:
    """Even where the broken file cannot say any more where that is."""
    with Daemon(table("gateway", name="here", state_dir="kept") + nowhere()) as daemon:
        assert daemon.stop() == 0
        assert (daemon.folder / "kept").is_dir()
        daemon.file.write_text(broken)
        daemon.start()
        assert daemon.status()["gateway"]["name"] == "here"


def test_a_state_dir_beside_one_that_cannot_be_written_is_enough() -> None:
    with Daemon(table("gateway", name="here", state_dir="kept"), STATE_DIRECTORY="/proc/none") as daemon:
        assert daemon.stop() == 0
        daemon.file.write_text(BROKEN)
        daemon.start()
        assert daemon.status()["gateway"]["name"] == "here"


@pytest.mark.parametrize("key", ["run_dir", "state_dir"])
def test_a_new_directory_waits_for_the_next_start_and_is_told(key: str) -> None:
    with Daemon(nowhere()) as daemon:
        daemon.file.write_text(table("gateway", name="here", **{key: "elsewhere"}) + nowhere())
        assert f"gateway.{key}: counts from the next start on" in daemon.ctl("reload").stdout
        assert f"gateway.{key}: counts from the next start on" in daemon.log
        assert daemon.status()["gateway"]["name"] == "here"


@pytest.mark.needs("mosquitto")
def test_relative_paths_and_models_work_from_the_last_good_config_too(bus: Bus, broker: Broker) -> None:
    config = (
        modbus_port("meters", bus.tty)
        + mqtt("cloud", broker.port, username=USER, password_file="secret")
        + table("devices.meter", port="meters", unit_id=1, model="small", poll_interval="200ms")
    )
    with Daemon(config, begun=False) as daemon:
        (daemon.folder / "secret").write_text(PASSWORD + "\n")
        (daemon.folder / "secret").chmod(0o600)
        (daemon.folder / "models").mkdir()
        model = daemon.folder / "models" / "small.toml"
        model.write_text(table("points", count={"holding": 0, "type": "uint16"}))
        daemon.start()
        assert daemon.stop() == 0
        model.write_text("rubbish")
        daemon.start()
        daemon.comes_to("links.cloud", "up")
        assert daemon.comes_to("devices.meter", "ok")["values"] == {"count": 7}
        assert str(model) in daemon.status()["gateway"]["config_problems"][0]
