"""Reload: only what changed is touched, and a bad file changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from peers_kit import PASSWORD, USER, Broker, Scada
from system_kit import Daemon, eventually, modbus_port, modbus_server, mqtt, nowhere, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port

READ, SEVEN, FOURTEEN = "03 0000 0001", "03 02 00 07", "03 02 00 0e"
pytest_plugins = ["plant_kit"]


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("reload", [Daemon.reload_by_signal, Daemon.reload_by_ctl])
def test_a_reload_touches_only_what_changed(
    reload: Callable[[Daemon], None], bus: Bus, broker: Broker
) -> None:
    ports = free_port(), free_port()

    def config(clients: int) -> str:
        return (
            modbus_port("meters", bus.tty)
            + modbus_server("scada", ports[0], port="meters")
            + modbus_server("audit", ports[1], port="meters", max_clients=clients)
            + mqtt("cloud", broker.port, username=USER, password=PASSWORD)
        )

    with Daemon(config(1)) as daemon, Scada(ports[0]) as scada, Scada(ports[1]) as auditor:
        daemon.comes_to("links.cloud", "up")
        daemon.comes_to("ports.meters", "open")
        assert scada.ask(1, READ) == auditor.ask(1, READ) == SEVEN
        before = daemon.status()
        daemon.file.write_text(config(2))
        reload(daemon)
        assert auditor.answer() is None
        assert scada.ask(1, READ) == SEVEN
        after = daemon.status()
        assert "changed: links.audit\n" in daemon.log
        for name in ("scada", "cloud"):
            assert after["links"][name]["peers"][0]["since"] == before["links"][name]["peers"][0]["since"]
        assert after["ports"]["meters"]["since"] == before["ports"]["meters"]["since"]
        with Scada(ports[1]) as one, Scada(ports[1]) as two:
            assert one.ask(1, READ) == two.ask(1, READ) == SEVEN


def test_a_new_baudrate_does_not_cost_the_clients_their_connection(bus: Bus) -> None:
    port = free_port()

    def config(baudrate: int) -> str:
        return modbus_port("meters", bus.tty, baudrate=baudrate) + modbus_server("scada", port, port="meters")

    with Daemon(config(9600)) as daemon, Scada(port) as scada:
        eventually(lambda: scada.ask(1, READ) == SEVEN)
        since = daemon.part("links.scada")["peers"][0]["since"]
        daemon.file.write_text(config(19200))
        assert daemon.ctl("reload").stdout == "reloaded; changed: ports.meters\n"
        assert daemon.part("ports.meters")["line"] == "19200 8E1"
        eventually(lambda: scada.ask(1, READ) == SEVEN)
        assert daemon.part("links.scada")["peers"][0]["since"] == since


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"port": "meters"}, {"port": "meters", "default_unit_id": 2}),
        (
            {"units": {"255": {"port": "meters", "first": 1}}},
            {"units": {"255": {"port": "meters", "first": 2}}},
        ),
        ({"units": {"1": "meters"}}, {"units": {"255": {"port": "meters", "first": 2}}}),
    ],
)
def test_a_reload_leads_units_the_new_way(before: dict[str, Any], after: dict[str, Any], bus: Bus) -> None:
    port = free_port()
    line = modbus_port("meters", bus.tty)
    with Daemon(line + modbus_server("scada", port, **before)) as daemon:
        daemon.comes_to("ports.meters", "open")
        with Scada(port) as scada:
            assert scada.ask(255, READ) in ("83 0a", SEVEN)
        daemon.file.write_text(line + modbus_server("scada", port, **after))
        daemon.reload_by_ctl()
        with Scada(port) as scada:
            assert scada.ask(255, READ) == FOURTEEN


def test_a_reload_brings_and_takes_ports_and_links(bus: Bus) -> None:
    old, new = free_port(), free_port()
    with Daemon(
        nowhere() + table("links.raw", kind="tcp", listen=f"127.0.0.1:{old}", port="nowhere")
    ) as daemon:
        daemon.file.write_text(modbus_port("meters", bus.tty) + modbus_server("scada", new, port="meters"))
        assert daemon.ctl("reload").stdout == (
            "reloaded; changed: links.raw, links.scada, ports.meters, ports.nowhere\n"
        )
        with Scada(new) as scada:
            eventually(lambda: scada.ask(1, READ) == SEVEN)
        with pytest.raises(ConnectionRefusedError):
            Scada(old)
        assert list(daemon.status()["ports"]) == ["meters"]


def test_two_links_that_swap_their_addresses_have_them_at_once(bus: Bus) -> None:
    def config(one: int, two: int) -> str:
        return (
            modbus_port("meters", bus.tty)
            + modbus_server("one", one, units={"11": {"port": "meters", "first": 1}})
            + modbus_server("two", two, units={"11": {"port": "meters", "first": 2}})
        )

    ports = free_port(), free_port()
    with Daemon(config(*ports)) as daemon:
        daemon.comes_to("ports.meters", "open")
        for expected in ([SEVEN, FOURTEEN], [FOURTEEN, SEVEN]):
            answers = []
            for port in ports:
                with Scada(port) as scada:
                    answers.append(scada.ask(11, READ))
            assert answers == expected
            daemon.file.write_text(config(*reversed(ports)))
            daemon.reload_by_ctl()


def test_a_bad_file_at_reload_changes_nothing_and_is_told_everywhere(bus: Bus) -> None:
    port = free_port()
    good = modbus_port("meters", bus.tty) + modbus_server("scada", port, port="meters")
    with Daemon(good) as daemon, Scada(port) as scada:
        eventually(lambda: scada.ask(1, READ) == SEVEN)
        loaded_at = daemon.status()["gateway"]["config_loaded_at"]
        daemon.file.write_text(good.replace("baudrate", "baudrat"))
        problem = f'{daemon.file}:4:1: ports.meters.baudrat: unknown key, did you mean "baudrate"?'

        done = daemon.ctl("reload")
        assert (done.returncode, done.stdout) == (1, "")
        assert problem in done.stderr
        daemon.reload_by_signal()
        assert daemon.log.count(problem) == 2

        gateway = daemon.status()["gateway"]
        assert (gateway["state"], gateway["config_problems"]) == ("degraded", [problem])
        assert gateway["config_loaded_at"] == loaded_at
        assert daemon.ctl("status", "--strict").returncode == 1
        assert scada.ask(1, READ) == SEVEN

        daemon.file.write_text(good)
        assert daemon.ctl("reload").stdout == "reloaded; changed: nothing\n"
        gateway = daemon.status()["gateway"]
        assert (gateway["state"], gateway["config_problems"]) == ("ok", [])
        assert scada.ask(1, READ) == SEVEN
