"""Clients whose wire is cut hold no place, and a network that comes and goes is known at once."""

import socket
import time
from collections.abc import Iterator

import pytest
from system_kit import Daemon, eventually, nowhere, table
from wires_kit import FAR, GATEWAY, TOOLS, Wires, wires

PORT, CALLED = 10_000, 10_001
PATIENT = {"detect_within": "60s"}  # what is found earlier than this is found by other means
pytestmark = [pytest.mark.needs(*TOOLS), pytest.mark.timeout(120)]


@pytest.fixture
def made() -> Iterator[Wires]:
    """The kernel has said of the gateway's wire that it is there: for a new one it takes up to a second."""
    with wires() as made:
        eventually(lambda: carrier(made) == "UP")
        yield made


def carrier(made: Wires) -> str:
    """As the gateway's kernel tells it."""
    return made.gateway.run("ip", "-brief", "link", "show", "eth0").split()[1]


def client(made: Wires) -> socket.socket:
    """Somebody in the far host who is connected to our listener."""
    sock = made.far.tcp()
    sock.settimeout(30)
    sock.connect((GATEWAY, PORT))
    return sock


def peers(daemon: Daemon) -> list[str]:
    return [peer["address"] for peer in daemon.part("links.console")["peers"]]


def name(sock: socket.socket) -> str:
    return "{}:{}".format(*sock.getsockname())


def console(**keys: object) -> str:
    listen = {"kind": "tcp", "listen": f"0.0.0.0:{PORT}", "port": "nowhere", "liveness": PATIENT}
    return nowhere() + table("links.console", **listen, **keys)


def test_a_newcomer_replaces_the_ghost_of_its_own_host_and_nobody_else(made: Wires) -> None:
    with Daemon(console(kick_old_client=True), before=made.gateway.before) as daemon:
        with client(made) as first:
            old = name(first)
            eventually(lambda: peers(daemon) == [old])
            with client(made) as refused:
                assert refused.recv(1) == b""
            assert peers(daemon) == [old]

            made.forget({flow for flow in made.far.flows() if PORT in flow})
            cut = time.monotonic()
            with client(made) as second:
                new = name(second)
                eventually(lambda: peers(daemon) == [new])
                assert time.monotonic() - cut < 30
        eventually(lambda: f"{old} left: no round trip within 2 s, replaced by {new}" in daemon.log)


def dials() -> str:
    again = {"first": "60s", "max": "60s"}
    link = {"kind": "tcp", "connect": f"{FAR}:{CALLED}", "port": "nowhere"}
    return nowhere() + table("links.dials", **link, liveness=PATIENT, reconnect=again)


def test_without_a_carrier_a_link_is_dead_before_its_time_and_tried_again_when_it_is_back(
    made: Wires,
) -> None:
    with made.far.listener(FAR, CALLED) as far, Daemon(dials(), before=made.gateway.before) as daemon:
        far.settimeout(30)
        with far.accept()[0]:
            daemon.comes_to("links.dials", "up")
            made.router.ip("link set gateway0 down")
            lost = time.monotonic()
            daemon.comes_to("links.dials", "waiting")
            assert time.monotonic() - lost < 30
            assert "the carrier is lost" in daemon.part("links.dials")["reason"]

            made.router.ip("link set gateway0 up")
            back = time.monotonic()
            with far.accept()[0]:
                daemon.comes_to("links.dials", "up")
                assert time.monotonic() - back < 30, "without the news it would have waited for up to 60 s"


def test_a_carrier_that_comes_back_at_once_costs_nothing(made: Wires) -> None:
    with made.far.listener(FAR, CALLED) as far, Daemon(dials(), before=made.gateway.before) as daemon:
        far.settimeout(30)
        with far.accept()[0] as peer:
            daemon.comes_to("links.dials", "up")
            made.router.ip("link set gateway0 down")
            eventually(lambda: carrier(made) != "UP")
            made.router.ip("link set gateway0 up")
            eventually(lambda: "the network is back on eth0" in daemon.log)
            time.sleep(3.5)  # longer than a link without a carrier has
            peer.send(b"still here")
            eventually(lambda: daemon.part("links.dials")["peers"][0]["rx_bytes"] == len(b"still here"))
            assert daemon.part("links.dials")["deaths"] == 0
