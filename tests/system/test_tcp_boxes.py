"""Raw links as the boxes on the rail do it, at the real daemon: several far ends at once, short connections,
packets, UDP.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from system_kit import PATIENCE, Daemon, eventually, raw_port, table

from gateway.demo.gatewayd import free_port
from gateway.demo.line import Line, Lines, Wire

HERE = "127.0.0.1"


class Talker(Line):
    """A line that says what it is told to, and remembers what it hears."""

    def __init__(self) -> None:
        super().__init__(Wire(baudrate=0))
        self.heard_so_far = bytearray()

    def heard(self, data: bytes, now: float) -> None:
        self.heard_so_far += data


class Listener:
    """A far end: what each visit brought."""

    def __init__(self, tcp_port: int) -> None:
        self.port = tcp_port
        self.visits: list[bytearray] = []
        self._server = socket.create_server((HERE, tcp_port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            got = bytearray()
            self.visits.append(got)
            with sock:
                while data := sock.recv(65536):
                    got += data

    @property
    def got(self) -> bytes:
        return b"".join(self.visits)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


class Plant:
    """One line, and links of all kinds."""

    def __init__(self, line: Talker, lines: Lines, daemon: Daemon, ports: dict[str, int]) -> None:
        self._line, self._lines = line, lines
        self.daemon, self.ports = daemon, ports

    def says(self, words: bytes) -> None:
        self._lines.call(lambda: self._line.say(words, 0.0))

    @property
    def heard(self) -> bytes:
        return bytes(self._line.heard_so_far)


@pytest.fixture
def plant() -> Iterator[Plant]:
    line = Talker()
    ports = {name: free_port() for name in ("one", "two", "short", "listen", "udp")}
    rule = {"delimiter": {"text": ";"}}
    config = raw_port("scale", line.tty, frame=rule)
    for name in ("one", "two"):
        config += table(f"links.{name}", kind="tcp", connect=f"{HERE}:{ports[name]}", port="scale")
    short = {"connect": f"{HERE}:{ports['short']}", "short": "1s", "packet": True}
    config += table("links.short", kind="tcp", port="scale", reconnect={"max": "1s"}, **short)
    config += table(
        "links.listen", kind="tcp", listen=f"{HERE}:{ports['listen']}", port="scale", on_connect="keep"
    )
    config += table("links.udp", kind="tcp", listen=f"{HERE}:{ports['udp']}", port="scale", transport="udp")
    with Lines(line) as lines, Daemon(config) as daemon:
        daemon.comes_to("ports.scale", "open")
        yield Plant(line, lines, daemon, ports)


@contextmanager
def caller(udp_port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((HERE, udp_port))
        yield sock


def test_one_of_two_far_ends_that_is_dead_costs_the_other_nothing(plant: Plant) -> None:
    said = b"".join(b"%05d;" % number for number in range(20_000))
    with Listener(plant.ports["one"]) as one:
        plant.daemon.comes_to("links.one", "up")
        plant.says(said)
        eventually(lambda: len(one.got) == len(said))
        assert one.got == said
    assert plant.daemon.part("links.two")["buffer"]["dropped"] > 0
    with Listener(plant.ports["two"]) as two:
        plant.daemon.comes_to("links.two", "up")
        eventually(lambda: two.got.endswith(said[-6:]))
        assert said.endswith(two.got)


def test_a_link_that_is_idle_is_healthy_and_brings_what_comes_in_visits(plant: Plant) -> None:
    idle = plant.daemon.comes_to("links.short", "idle")
    assert idle["reason"] == "connects when data comes"
    with Listener(plant.ports["short"]) as far, Listener(plant.ports["one"]), Listener(plant.ports["two"]):
        for name in ("one", "two"):
            plant.daemon.comes_to(f"links.{name}", "up")
        assert plant.daemon.ctl("status", "--strict").returncode == 0
        for number in (b"1;", b"2;"):
            plant.says(number)
            eventually(lambda: far.got.endswith(number))  # noqa: B023
            plant.daemon.comes_to("links.short", "idle")
        assert far.visits == [b"1;", b"2;"]
    plant.says(b"3;")
    eventually(lambda: plant.daemon.part("links.short")["buffer"]["records"] == 1)
    with Listener(plant.ports["short"]) as back:
        eventually(lambda: back.got == b"3;")
        plant.daemon.comes_to("links.short", "idle")
    assert plant.daemon.part("links.short")["deaths"] == 0


def test_who_comes_to_a_link_that_keeps_gets_what_was_said_before(plant: Plant) -> None:
    plant.says(b"before;")
    eventually(lambda: plant.daemon.part("ports.scale")["rx_bytes"] == 7)
    with socket.create_connection((HERE, plant.ports["listen"]), PATIENCE) as client:
        assert client.recv(100) == b"before;"
        plant.says(b"after;")
        assert client.recv(100) == b"after;"


def test_frames_go_out_in_datagrams_and_what_comes_in_them_goes_to_the_line(plant: Plant) -> None:
    with caller(plant.ports["udp"]) as far:
        far.send(b"tare\r\n")
        eventually(lambda: plant.heard == b"tare\r\n")
        plant.says(b"12.5;13.0;1")
        assert [far.recv(100), far.recv(100)] == [b"12.5;", b"13.0;"]
    status = plant.daemon.part("links.udp")
    assert (status["state"], status["endpoint"]) == ("listening", f"udp {HERE}:{plant.ports['udp']}")
    assert plant.daemon.ctl("status", "udp").returncode == 0
    assert plant.daemon.ctl("status").stdout
