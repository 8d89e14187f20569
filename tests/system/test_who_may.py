"""Who may do what, with the real daemon: over a reload, in the status, and in the log."""

from peers_kit import Scada
from system_kit import Daemon, modbus_port, modbus_server

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port

READ, SEVEN = "03 0000 0001", "03 02 00 07"
WRITE, DENIED = "06 0000 0008", "86 01"
pytest_plugins = ["plant_kit"]


def test_a_reload_takes_rights_away_and_gives_them_back(bus: Bus) -> None:
    port = free_port()

    def config(access: str) -> str:
        return modbus_port("meters", bus.tty) + modbus_server("scada", port, port="meters").rstrip() + access

    with Daemon(config("")) as daemon:
        daemon.comes_to("ports.meters", "open")
        for access, outcome in (
            ("", "06 00 00 00 08"),
            ('\naccess = "read-only"', DENIED),
            ('\nclients = { "127.0.0.0/8" = "read-only" }', DENIED),
            ('\naccess = { registers = ["input 0-9", "holding 1-9"] }', "86 02"),
            ('\naccess = "read-only"\nclients = { "127.0.0.1" = "read-write" }', "06 00 00 00 08"),
        ):
            daemon.file.write_text(config(access))
            daemon.reload_by_ctl()
            with Scada(port) as scada:
                assert scada.ask(1, WRITE) == outcome
                assert daemon.part("links.scada")["denied"] == outcome.startswith("86")


def test_what_is_denied_is_told_to_whoever_looks(bus: Bus) -> None:
    port = free_port()
    link = modbus_server("scada", port, port="meters", access="read-only")
    with Daemon(modbus_port("meters", bus.tty) + link) as daemon, Scada(port) as scada:
        daemon.comes_to("ports.meters", "open")
        assert [scada.ask(1, WRITE) for _ in range(3)] == [DENIED] * 3
        assert scada.ask(1, READ) == SEVEN
        told = [line for line in daemon.log.splitlines() if "denied" in line]
        assert "3 requests that access does not permit" in daemon.ctl("status", "scada").stdout
    (line,) = told
    assert "<4>" in line
    assert (
        "links.scada: 127.0.0.1 is denied function 6, holding 0 of unit 1: read-only (exception 01)" in line
    )


def test_who_is_not_allowed_is_not_let_in(bus: Bus) -> None:
    port = free_port()
    link = modbus_server("scada", port, port="meters", allow=["10.0.0.0/8"])
    with Daemon(modbus_port("meters", bus.tty) + link) as daemon:
        daemon.comes_to("links.scada", "listening")
        for _ in range(3):
            with Scada(port) as scada:
                assert scada.answer() is None
        told = [line for line in daemon.log.splitlines() if "allow does not name it" in line]
        assert len(told) == 1
        assert "3 connections" in daemon.ctl("status", "scada").stdout
