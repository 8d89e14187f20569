"""What the daemon takes of the machine: descriptors come back, and an idle gateway sleeps."""

import time
from pathlib import Path

from peers_kit import Scada, adu
from system_kit import Daemon, eventually, modbus_port, modbus_server, raw_port, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines, Wire
from gateway.demo.registers import Registers
from gateway.demo.scale import Scale

ROUNDS, PIPELINED = 250, 16
READ = bytes.fromhex("03 0000 000a")


def test_thousands_of_transactions_and_reconnects_cost_no_descriptor(tmp_path: Path) -> None:
    words = {address: 1000 + address for address in range(10)}
    bus = Bus({1: Registers(holding=words)}, Wire(baudrate=0), link=tmp_path / "usb-meters")
    port, missing = free_port(), free_port()  # nobody listens on the second
    config = (
        modbus_port("meters", bus.tty, frame_gap="0s")
        + raw_port("lost", "/dev/no-such-tty")
        + modbus_server("scada", port, port="meters")
        + table(
            "links.away",
            kind="tcp",
            connect=f"127.0.0.1:{missing}",
            port="lost",
            reconnect={"first": "10ms", "max": "10ms"},
        )
    )
    good = bytes((20, *(byte for word in words.values() for byte in word.to_bytes(2, "big"))))
    with Lines(bus) as lines, Daemon(config) as daemon:
        daemon.comes_to("ports.meters", "open")
        before = min((kinds(daemon) for _ in range(5)), key=len)
        for round_ in range(ROUNDS):
            with Scada(port) as scada:
                scada.send(b"".join(adu(tid, 1, READ) for tid in range(PIPELINED)))
                for _ in range(PIPELINED):
                    answer = scada.answer()
                    assert answer is not None
                    assert answer.pdu == READ[:1] + good
            if round_ % 100 == 50:
                lines.call(bus.unplug)
                daemon.comes_to("ports.meters", "waiting")
                lines.call(bus.plug)
                daemon.comes_to("ports.meters", "open")
        assert daemon.part("ports.meters")["units"]["1"]["answers"] == ROUNDS * PIPELINED
        eventually(lambda: daemon.part("links.away")["attempts"] > 50)
        eventually(lambda: kinds(daemon) == before)


def kinds(daemon: Daemon) -> list[str]:
    """Of its descriptors: the number of a socket or a pty is a new one each time."""
    names = [name.partition(":")[0] for name in daemon.descriptors()]
    return sorted("pty" if name.startswith("/dev/pts/") else name for name in names)


def test_an_idle_gateway_sleeps() -> None:
    """Not measured in CPU time, which a busy machine spoils: it is a matter of how often it wakes up."""
    lines = [Scale(1.0, printing=False) for _ in range(4)]
    bus = Bus({1: Registers(holding={0: 7})}, Wire(baudrate=0))
    port = free_port()
    config = (
        "".join(raw_port(f"raw{number}", line.tty) for number, line in enumerate(lines))
        + modbus_port("meters", bus.tty)
        + modbus_server("scada", port, port="meters")
        + table("links.console", kind="tcp", listen=f"127.0.0.1:{free_port()}", port="raw0")
    )
    with Lines(bus, *lines), Daemon(config) as daemon:
        daemon.comes_to("ports.meters", "open")
        with Scada(port) as scada:
            assert scada.ask(1, "03 0000 0001") == "03 02 00 07"
            before = wakeups(daemon.pid)
            time.sleep(2.0)
            assert wakeups(daemon.pid) - before <= 20


def wakeups(pid: int) -> int:
    """How often all its threads went to sleep so far (proc(5): voluntary_ctxt_switches)."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total
