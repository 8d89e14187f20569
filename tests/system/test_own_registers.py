"""What a PLC that only speaks Modbus sees of the gateway: its own registers, in the real daemon."""

from peers_kit import Scada
from system_kit import Daemon, eventually, modbus_port, modbus_server, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port

pytest_plugins = ["plant_kit"]


def words(scada: Scada, address: int, count: int = 1) -> list[int]:
    answer = bytes.fromhex(scada.ask(255, f"04 {address:04x} {count:04x}"))
    assert answer[:2] == bytes((4, 2 * count))
    return [int.from_bytes(answer[at : at + 2], "big") for at in range(2, len(answer), 2)]


def test_a_plc_sees_a_line_that_is_away_and_a_unit_that_does_not_answer(bus: Bus) -> None:
    port = free_port()
    config = (
        modbus_port("meters", bus.tty, response_timeout="50ms", late_answer_guard="10ms")
        + modbus_port("away", "/dev/no-such-line")
        + modbus_server("scada", port, own_unit_id=255)
        + table("links.scada.units", **{"1-100": "meters", "101-200": {"port": "away", "first": 1}})
    )
    with Daemon(config) as daemon, Scada(port) as scada:
        daemon.comes_to("ports.meters", "open")
        assert scada.ask(1, "03 0000 0001") == "03 02 00 07"
        for _ in range(2):
            assert scada.ask(9, "03 0000 0001") == "83 0b"
        assert scada.ask(101, "03 0000 0001") == "83 0a"

        version, lines, *_, opened, silent = words(scada, 0, 6)
        assert (version, lines, opened, silent) == (1, 2, 1, 1)
        assert [words(scada, 1000), words(scada, 2000)] == [[0], [1]]  # "away" comes before "meters"
        assert words(scada, 2006, 6) == [0, 3, 0, 1, 0, 2]
        assert words(scada, 2101, 9) == [1, *[0] * 7, 2]
        began = words(scada, 3)
        eventually(lambda: words(scada, 3) > began)
