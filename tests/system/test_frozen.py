"""A program that hangs on a host that is well: its kernel acknowledges everything, only a question finds it.

mqtt asks. Other links may not; there the peer's silence is shown, and bounded if the config says so.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import pytest
from peers_kit import Broker, adu
from system_kit import Daemon, eventually, modbus_port, modbus_server, nowhere, table

from gateway.demo.gatewayd import free_port

BOUND = 3.0  # seconds, `detect_within`
EXPECTED = 2.0  # seconds, `expect_data_within`
ON_TIME = 0.5  # seconds that a busy machine may add to what has no slack of its own
_TALKS = """
import socket, sys, time
how, port, word = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
address = "127.0.0.1", port
sock = socket.create_connection(address) if how == "calls" else socket.create_server(address).accept()[0]
while sock.send(word):
    time.sleep(0.1)
"""
_WORD, _QUESTION = b"x", adu(1, 1, bytes.fromhex("03 0000 0001"))


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("bound", [3, 5])
def test_a_frozen_broker_is_dead_in_time(bound: int) -> None:
    with Broker() as broker:
        keys = {"connect": f"mqtt://127.0.0.1:{broker.port}", "liveness": {"detect_within": f"{bound}s"}}
        with Daemon(nowhere() + table("links.cloud", kind="mqtt", **keys)) as daemon:
            daemon.comes_to("links.cloud", "up")
            frozen = time.time()
            broker.freeze()
            death = eventually(lambda: daemon.part("links.cloud")["last_death"])
    assert "no PINGRESP" in death["reason"]
    assert _seconds(death["at"]) - frozen <= bound


def test_the_silence_of_a_frozen_peer_is_shown_and_its_link_stays() -> None:
    with frozen_peers({"detect_within": f"{BOUND:g}s"}) as (daemon, frozen):
        eventually(lambda: all(peer["silent_s"] > BOUND + 1 for peer in peers(daemon)))
        passed = time.time() - frozen
        links = daemon.status()["links"]
    assert BOUND < passed < BOUND + 1 + ON_TIME
    assert {name: (link["state"], link["deaths"]) for name, link in links.items()} == {
        "dials": ("up", 0),
        "listens": ("listening", 0),
        "answers": ("listening", 0),
    }


def test_expect_data_within_bounds_the_silence_of_a_frozen_peer() -> None:
    liveness = {"detect_within": f"{BOUND:g}s", "expect_data_within": f"{EXPECTED:g}s"}
    with frozen_peers(liveness) as (daemon, frozen):
        eventually(lambda: daemon.log.count("left: nothing came for") == 2)
        passed = time.time() - frozen
        death = eventually(lambda: daemon.part("links.dials")["last_death"])
    assert "nothing came for" in death["reason"]
    assert EXPECTED - ON_TIME < _seconds(death["at"]) - frozen < EXPECTED + ON_TIME
    assert EXPECTED - ON_TIME < passed < EXPECTED + ON_TIME


@contextmanager
def frozen_peers(liveness: dict[str, str]) -> Iterator[tuple[Daemon, float]]:
    """The peers of a link of each other kind have talked, and hang since then (wall time)."""
    ports = [free_port() for _ in range(3)]
    config = (
        table("defaults.links", liveness=liveness)
        + nowhere()
        + modbus_port("bus", "/dev/no-such-bus")
        + table("links.dials", kind="tcp", connect=f"127.0.0.1:{ports[0]}", port="nowhere")
        + table("links.listens", kind="tcp", listen=f"127.0.0.1:{ports[1]}", port="nowhere")
        + modbus_server("answers", ports[2], port="bus")
    )
    with ExitStack() as stack:
        talkers = [stack.enter_context(_talker("is called", ports[0], _WORD))]
        daemon = stack.enter_context(Daemon(config))
        talkers.append(stack.enter_context(_talker("calls", ports[1], _WORD)))
        talkers.append(stack.enter_context(_talker("calls", ports[2], _QUESTION)))
        eventually(lambda: [peer["rx_bytes"] > 0 for peer in peers(daemon)] == [True] * 3)
        for talker in talkers:
            talker.send_signal(signal.SIGSTOP)
        yield daemon, time.time()


def peers(daemon: Daemon) -> list[dict[str, Any]]:
    return [peer for link in daemon.status()["links"].values() for peer in link["peers"]]


@contextmanager
def _talker(how: str, port: int, word: bytes) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", _TALKS, how, str(port), word.hex()])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
