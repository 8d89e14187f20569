"""The mqtt link against a real broker: mosquitto, over TCP, TLS and websockets."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from mqtt_kit import VERSIONS, Mosquitto, World, life, mosquitto, running, subscriber, until
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from papers_kit import certificates

from gateway.errors import LinkDown

pytestmark = pytest.mark.needs("mosquitto")
ROOT = Path(__file__).parents[2]
RX = "gateway/gw/port/scale/rx"


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    certificates(folder)
    return folder


async def reason(link_ends: World, url: str, folder: Path, **keys: object) -> LinkDown:
    with pytest.raises(LinkDown) as caught:
        await link_ends.link(url, folder, **keys).session(life())
    return caught.value


@VERSIONS
async def test_frames_and_samples_reach_a_foreign_client(tmp_path: Path, version: str) -> None:
    world = World()
    async with mosquitto(tmp_path) as broker, subscriber(broker.port, "gateway/gw/#") as received:
        async with running(world.link(f"mqtt://127.0.0.1:{broker.port}", version=version)):
            await until(received)
            world.meter.is_now(b"online")
            world.scale.says(b"12.5 kg")
            world.meter.reads(b'{"values":{"voltage":230.1},"errors":{}}')
            await until(lambda: len(received()) == 4)
        await until(lambda: len(received()) == 5)
        birth, present, frame, sample, goodbye = received()
    assert json.loads(birth[1])["state"] == "online"
    assert present == ("gateway/gw/device/meter/available", "online")
    assert frame == (RX, "12.5 kg")
    assert json.loads(sample[1])["values"] == {"voltage": 230.1}
    assert (goodbye[0], json.loads(goodbye[1])["reason"]) == ("gateway/gw/status", "stopped")


ALONE = """
import asyncio, sys
sys.path[:0] = {folders!r}
from mqtt_kit import World, running
async def main():
    async with running(World().link({url!r}, version={version!r})):
        await asyncio.sleep(60)
asyncio.run(main())
"""


@VERSIONS
async def test_the_last_will_speaks_when_we_die_without_a_word(tmp_path: Path, version: str) -> None:
    async with mosquitto(tmp_path) as broker, subscriber(broker.port, "gateway/gw/status") as received:
        url = f"mqtt://127.0.0.1:{broker.port}"
        folders = [str(folder) for folder in (*Path(__file__).parents[:2], ROOT)]
        script = ALONE.format(folders=folders, url=url, version=version)
        with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as process:
            try:
                await until(received)
            finally:
                process.kill()
        await until(lambda: len(received()) == 2)
        last = json.loads(received()[-1][1])
    assert last == {"state": "offline", "reason": "connection lost"}


@VERSIONS
async def test_nothing_is_lost_when_the_broker_dies_and_order_is_kept(tmp_path: Path, version: str) -> None:
    world = World()
    async with mosquitto(tmp_path, "allow_anonymous true", "max_queued_messages 0") as broker:
        link = world.link(f"mqtt://127.0.0.1:{broker.port}", version=version)
        async with subscriber(broker.port, RX) as received, running(link) as diary:
            await until(lambda: diary.state == "up")
            world.scale.says(*(b"%d" % number for number in range(3000)))
            await until(received)
            broker.kill()
            await until(lambda: diary.deaths == 1)
            first = [int(payload) for _, payload in received()]
        confirmed = link.status()["confirmed"]
        world.scale.says(*(b"%d" % number for number in range(3000, 3500)))
        await broker.start()
        async with subscriber(broker.port, RX) as received, running(link):
            await until(lambda: received()[-1:] == [(RX, "3499")])
            second = [int(payload) for _, payload in received()]
    assert 0 < confirmed < 3000
    assert first == list(range(len(first)))
    assert second == list(range(confirmed, 3500))
    assert link.status()["sent"] <= 3500 + 100  # twice at most: one window


async def test_a_password_file_decides(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "site7", "s3cret"], check=True)
    passwords.chmod(0o644)
    world = World()
    async with mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        assert str(await reason(world, url, tmp_path)) == "broker refused: not authorized"
        wrong = {"username": "site7", "password": "wrong"}
        assert str(await reason(world, url, tmp_path, **wrong)) == "broker refused: not authorized"
        down = await reason(world, url, tmp_path, version="3.1.1", **wrong)
        assert (str(down), down.wait_at_least) == ("broker refused: not authorized", 60)
        async with running(world.link(url, username="site7", password="s3cret")) as diary:
            await until(lambda: diary.state == "up")


ASKED = r'again and again: does another client use our client_id "gw-7"\?$'
NAMED = rf'^another client uses our client_id "gw-7": |{ASKED}'  # by mosquitto 2.0.15 and later


@contextmanager
def foreign(port: int, client_id: str, version: str) -> Iterator[None]:
    """Another client, which comes back a second after each loss, as paho does."""
    protocol = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


@VERSIONS
async def test_a_foreign_client_with_our_client_id_is_named_and_gets_its_way(
    tmp_path: Path, version: str
) -> None:
    world = World()
    async with mosquitto(tmp_path) as broker:
        link = world.link(f"mqtt://127.0.0.1:{broker.port}", client_id="gw-7", version=version)
        async with running(link) as diary:
            await until(lambda: diary.state == "up")
            with foreign(broker.port, "gw-7", version):
                await until(lambda: diary.deaths == 2)
                assert re.search(NAMED if version == "5" else ASKED, diary.reason)
                assert (diary.status()["next_try_s"] or 0) > 59


async def test_tx_from_a_foreign_client_reaches_the_line_and_a_retained_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    async with mosquitto(tmp_path) as broker:

        def publish(payload: str, *flags: str) -> None:
            topic = "gateway/gw/port/scale/tx"
            command = ["mosquitto_pub", "-p", str(broker.port), "-t", topic, "-q", "1", "-m", payload, *flags]
            subprocess.run(command, check=True)

        publish("OPEN VALVE", "-r")
        async with running(world.link(f"mqtt://127.0.0.1:{broker.port}", allow_tx=["scale"])):
            await until(lambda: "it was retained" in caplog.text)
            publish("ZERO")
            await until(lambda: world.scale.written)
    assert world.scale.written == [b"ZERO"]


def tls_lines(papers: Path, *more: str, server: str = "server") -> list[str]:
    return [
        "allow_anonymous true",
        f"cafile {papers}/ca.pem",
        f"certfile {papers}/{server}.pem",
        f"keyfile {papers}/{server}.key",
        *more,
    ]


@VERSIONS
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_tls_with_our_own_authority(tmp_path: Path, papers: Path, version: str, host: str) -> None:
    world = World()
    async with mosquitto(tmp_path, *tls_lines(papers)) as broker:
        link = world.link(f"mqtts://{host}:{broker.port}", papers, version=version, tls={"ca": "ca.pem"})
        async with running(link) as diary:
            world.scale.says(*[b"x" * 50_000] * 100)
            await until(lambda: link.status()["confirmed"] == 100)
            assert link.status()["peers"][0]["tx_bytes"] > 5_000_000
            assert diary.deaths == 0


async def test_a_client_certificate_opens_the_door_and_its_absence_is_told(
    tmp_path: Path, papers: Path
) -> None:
    world = World()
    lines = tls_lines(papers, "require_certificate true", "use_identity_as_username true")
    ours = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
    async with mosquitto(tmp_path, *lines) as broker:
        url = f"mqtts://localhost:{broker.port}"
        async with running(world.link(url, papers, tls=ours)) as diary:
            await until(lambda: diary.state == "up")
        down = await reason(world, url, papers, tls={"ca": "ca.pem"})
        assert (str(down), down.wait_at_least) == ("the broker wants a client certificate", 60)
        stranger = {"ca": "ca.pem", "cert": "stranger.pem", "key": "stranger.key"}
        down = await reason(world, url, papers, tls=stranger)
        assert str(down) == "the broker does not know the authority of our client certificate"


async def test_tls_1_2_brokers_that_want_a_certificate_are_told_as_well(tmp_path: Path, papers: Path) -> None:
    async with mosquitto(
        tmp_path, *tls_lines(papers, "require_certificate true", "tls_version tlsv1.2")
    ) as broker:
        down = await reason(World(), f"mqtts://localhost:{broker.port}", papers, tls={"ca": "ca.pem"})
    assert "client certificate" in str(down)
    assert down.wait_at_least == 60


async def test_a_certificate_that_is_not_good_is_told_in_words(tmp_path: Path, papers: Path) -> None:
    world = World()
    async with mosquitto(tmp_path, *tls_lines(papers)) as broker:
        url = f"mqtts://localhost:{broker.port}"
        for tls in ({"ca": "stranger.pem"}, {}):
            down = await reason(world, url, papers, tls=tls)
            assert str(down).startswith("the broker's certificate is not trusted: ")
            assert down.wait_at_least == 60
    async with mosquitto(tmp_path, *tls_lines(papers, server="other")) as broker:
        down = await reason(world, f"mqtts://localhost:{broker.port}", papers, tls={"ca": "ca.pem"})
        assert str(down).startswith("the broker's certificate is for another name: ")
        assert "'localhost'" in str(down)
        down = await reason(world, f"mqtts://127.0.0.1:{broker.port}", papers, tls={"ca": "ca.pem"})
        assert str(down).startswith("the broker's certificate is for another address: ")


async def test_tls_to_a_port_without_and_the_other_way_round(tmp_path: Path, papers: Path) -> None:
    world = World()
    async with mosquitto(tmp_path) as broker:
        down = await reason(world, f"mqtts://localhost:{broker.port}", papers, tls={"ca": "ca.pem"})
        assert "TLS" in str(down)
    async with mosquitto(tmp_path, *tls_lines(papers)) as broker:
        down = await reason(world, f"mqtt://localhost:{broker.port}", papers)
        assert str(down) in ("what answers there does not accept MQTT 5", "connection reset by the peer")


@VERSIONS
async def test_websockets_carry_all_of_it_even_when_the_broker_takes_little_at_a_time(
    tmp_path: Path, version: str
) -> None:
    """Paho's websocket loses the packet after a write that was cut short: the channel takes them whole."""
    world = World()
    async with mosquitto(tmp_path, "protocol websockets", "allow_anonymous true") as broker:
        link = world.link(f"ws://127.0.0.1:{broker.port}/mqtt", version=version)
        async with running(link) as diary:
            await until(lambda: diary.state == "up")
            os.kill(broker.pid, signal.SIGSTOP)
            world.scale.says(*[b"x" * 50_000] * 100)
            await until(lambda: link.status()["sent"] >= 19)  # and the birth: mosquitto takes 20 at once
            os.kill(broker.pid, signal.SIGCONT)
            await until(lambda: link.status()["confirmed"] == 100)
            assert diary.deaths == 0


async def test_websockets_over_tls(tmp_path: Path, papers: Path) -> None:
    world = World()
    async with mosquitto(tmp_path, *tls_lines(papers, "protocol websockets")) as broker:
        link = world.link(f"wss://localhost:{broker.port}", papers, tls={"ca": "ca.pem"}, allow_tx=["scale"])
        async with running(link) as diary:
            world.scale.says(*[b"x" * 1000] * 500)
            await until(lambda: link.status()["confirmed"] == 500)
            assert diary.deaths == 0
        down = await reason(world, f"wss://localhost:{broker.port}", papers, tls={"ca": "stranger.pem"})
        assert str(down).startswith("the broker's certificate is not trusted: ")


async def test_a_web_server_without_mqtt_is_told_as_that(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        down = await reason(World(), f"ws://127.0.0.1:{broker.port}/mqtt", tmp_path)
    assert "websocket" in str(down) or "reset" in str(down)


async def test_nobody_there_is_told_in_words(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    down = await reason(World(), f"mqtt://127.0.0.1:{broker.port}", tmp_path)
    assert str(down) == f"127.0.0.1:{broker.port}: connection refused: nothing listens there"
