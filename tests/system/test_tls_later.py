"""A daemon that speaks no TLS does without OpenSSL, and speaks it as soon as its config says so."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from papers_kit import certificates
from peers_kit import Broker, Scada, Subscriber, adu
from system_kit import PATIENCE, Daemon, eventually, modbus_port, modbus_server, mqtt, raw_port, table

from gateway.demo.bus import Bus
from gateway.demo.gatewayd import free_port
from gateway.demo.line import Lines
from gateway.demo.scale import Scale, number_of

pytestmark = pytest.mark.needs("mosquitto", "openssl")
pytest_plugins = ["plant_kit"]
READ, SEVEN = "03 0000 0001", "03 02 00 07"
SCADA, CONSOLE = ("scada", "secure-scada"), ("console", "secure-console")  # links


@dataclass
class Plant:
    """Two lines, a broker with a listener of each sort, and configs of a gateway between them."""

    bus: Bus
    scale: Scale
    papers: Path
    broker: Broker
    mqtts: int  # TCP ports: of the broker
    wss: int
    listen: dict[str, int]  # and of the gateway, by link

    def plain(self) -> str:
        return (
            modbus_port("meters", self.bus.tty)
            + raw_port("scale", self.scale.tty)
            + self._listening("scada", "console")
            + mqtt("cloud", self.broker.port, prefix="cloud")
        )

    def secure(self) -> str:
        """The same and each link once more, with TLS."""
        ours = {"ca": str(self.papers / "ca.pem")}
        tls = {"cert": str(self.papers / "server.pem"), "key": str(self.papers / "server.key")}
        return (
            self.plain()
            + self._listening("secure-scada", "secure-console", tls=tls)
            + mqtt("secure", 0, connect=f"mqtts://localhost:{self.mqtts}", prefix="secure", tls=ours)
            + mqtt("web", 0, connect=f"wss://localhost:{self.wss}", prefix="web", tls=ours)
        )

    def _listening(self, scada: str, console: str, **keys: object) -> str:
        link = {"kind": "tcp", "listen": f"127.0.0.1:{self.listen[console]}", "port": "scale"}
        return modbus_server(scada, self.listen[scada], port="meters", **keys) + table(
            f"links.{console}", **link, **keys
        )

    def secured(self, link: str) -> ssl.SSLSocket:
        """Connected to that link of the gateway."""
        context = ssl.create_default_context(cafile=self.papers / "ca.pem")
        sock = socket.create_connection(("127.0.0.1", self.listen[link]), timeout=PATIENCE)
        return context.wrap_socket(sock, server_hostname="localhost")

    def publishes(self, *prefixes: str) -> None:
        """What the scale prints arrives through each of these links."""
        with Subscriber(self.broker) as subscriber:
            for prefix in prefixes:
                eventually(lambda: subscriber.on(f"{prefix}/port/scale/rx"))  # noqa: B023


@pytest.fixture
def plant(bus: Bus, tmp_path: Path) -> Iterator[Plant]:
    certificates(tmp_path)
    mqtts, wss, scale = free_port(), free_port(), Scale(0.1)
    tls = [f"{key}file {tmp_path}/{name}" for key, name in PAPERS.items()]
    others = [f"listener {mqtts} 127.0.0.1", *tls, f"listener {wss} 127.0.0.1", "protocol websockets", *tls]
    listen = {link: free_port() for link in (*SCADA, *CONSOLE)}
    with Lines(scale), Broker("", *others) as broker:
        yield Plant(bus, scale, tmp_path, broker, mqtts, wss, listen)


PAPERS = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key"}  # of the broker


def has_openssl(daemon: Daemon) -> bool:
    return "libcrypto" in Path(f"/proc/{daemon.pid}/maps").read_text()


def prints(console: socket.socket) -> None:
    with console.makefile("rb") as lines:
        lines.readline()  # perhaps not from its beginning
        assert number_of(lines.readline()) is not None


def all_links_work(plant: Plant, daemon: Daemon) -> None:
    for link in ("cloud", "secure", "web"):
        daemon.comes_to(f"links.{link}", "up")
    plant.publishes("cloud", "secure", "web")
    with Scada(plant.listen["scada"]) as scada:
        assert scada.ask(1, READ) == SEVEN
    with plant.secured("secure-scada") as client:
        client.sendall(adu(1, 1, bytes.fromhex(READ)))
        assert client.recv(100) == adu(1, 1, bytes.fromhex(SEVEN))
    with plant.secured("secure-console") as client:
        prints(client)


def test_links_without_tls_work_fail_and_come_back_without_openssl_and_a_reload_brings_it(
    plant: Plant,
) -> None:
    with Daemon(plant.plain()) as daemon:
        plant.publishes("cloud")
        plant.broker.stop()
        daemon.comes_to("links.cloud", "waiting")
        plant.broker.start()
        plant.publishes("cloud")
        with Scada(plant.listen["scada"]) as scada:
            assert scada.ask(1, READ) == SEVEN
        with socket.create_connection(("127.0.0.1", plant.listen["console"]), timeout=PATIENCE) as client:
            prints(client)
        assert not has_openssl(daemon)
        daemon.file.write_text(plant.secure())
        daemon.reload_by_ctl()
        all_links_work(plant, daemon)
        assert has_openssl(daemon)
        assert "Traceback" not in daemon.log


def test_links_with_and_without_tls_start_together(plant: Plant) -> None:
    with Daemon(plant.secure()) as daemon:
        all_links_work(plant, daemon)
        assert "Traceback" not in daemon.log
