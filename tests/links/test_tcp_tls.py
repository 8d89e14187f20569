"""kind = "tcp" with TLS: every byte both ways whoever dials, and what is sent again."""

import asyncio
import logging
import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Until
from log_kit import ours
from papers_kit import certificates
from pydantic import ValidationError
from sink_kit import MOST, Sink, Story
from stream_kit import Port, client, dialler, server, up
from tls_kit import VERSIONS, answering, calling, table, theirs

from gateway.links.tcp import Config

pytestmark = pytest.mark.needs("openssl")
MUCH = os.urandom(300_000)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    certificates(folder)
    return folder


# Every byte


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [None, "client"])
async def test_every_byte_goes_both_ways_where_we_dial(
    papers: Path, name: str | None, version: ssl.TLSVersion, free_port: int, until: Until
) -> None:
    port = Port()
    port.rate = 1e6
    link = dialler(free_port, port, tls=table(papers, name))
    context = theirs(papers, "server", serves=True, mutual=name is not None)
    context.maximum_version = version
    async with answering(free_port, context) as far, up(link, "up"):
        await until(lambda: far.writers)
        for begin in range(0, len(MUCH), 5000):
            port.chunks.push(MUCH[begin : begin + 5000])
            far.writers[0].write(MUCH[begin : begin + 5000])
        await until(lambda: len(far.got) == len(port.told) == len(MUCH))
        await until(lambda: not link.status()["buffer"]["records"])
        (peer,) = link.status()["peers"]
    assert far.got == port.told == MUCH
    assert (peer["tx_bytes"], peer["rx_bytes"]) == (len(MUCH), len(MUCH))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [None, "client"])
async def test_every_byte_goes_both_ways_where_we_listen(
    papers: Path, name: str | None, version: ssl.TLSVersion, free_port: int, until: Until
) -> None:
    port = Port()
    link = server(free_port, port, tls=table(papers, "server", ca="ca" if name else None))
    context = theirs(papers, name, serves=False)
    context.maximum_version = version
    async with up(link, "listening"), calling(free_port, context) as (reader, writer):
        writer.write(MUCH)
        await until(lambda: len(port.told) == len(MUCH))
        port.chunks.push(MUCH)
        async with asyncio.timeout(30):
            assert await reader.readexactly(len(MUCH)) == MUCH
    assert port.told == MUCH


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_says_its_last_words_with_the_end_of_the_handshake_and_leaves_is_heard(
    papers: Path, version: ssl.TLSVersion, free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port, context = Port(), theirs(papers, None, serves=False)
    context.maximum_version = version
    wire_in, wire_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(wire_in, wire_out, server_hostname="localhost")
    async with (
        up(server(free_port, port, tls=table(papers, "server", ca=None)), "listening"),
        client(free_port) as (reader, writer),
    ):
        while not finished(tls):
            writer.write(wire_out.read())
            wire_in.write(await reader.read(65536))
        tls.write(b"T\r\n")
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        writer.write(wire_out.read())
        await until(lambda: port.told == b"T\r\n")
        await until(lambda: "left: closed by the peer" in caplog.text)
    assert not [record for record in ours(caplog) if record.levelno >= logging.WARNING]


def finished(tls: ssl.SSLObject) -> bool:
    """The handshake is, on this side."""
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
        return True
    return False


@pytest.mark.parametrize("version", VERSIONS)
async def test_who_leaves_says_so_and_is_understood(
    papers: Path, version: ssl.TLSVersion, free_port: int, until: Until
) -> None:
    """Where nothing is said the end might be anybody's work."""
    context = theirs(papers, None, serves=False)
    context.maximum_version = version

    def work() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", free_port), timeout=30) as sock,
            context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as tls,
        ):
            tls.sendall(b"T")
            return tls.recv(10)

    port = Port()
    async with up(server(free_port, port, tls=table(papers, "server", ca=None)), "listening"):
        ending = asyncio.create_task(asyncio.to_thread(work))
        await until(lambda: port.told)
    assert await ending == b""


# What is sent again


@pytest.mark.parametrize("resend", ["unacked", "all", "none"])
@pytest.mark.parametrize("seed", range(2))
async def test_what_a_connection_that_died_has_not_delivered_is_sent_again(
    papers: Path, seed: int, resend: str, free_port: int, until: Until
) -> None:
    """Of the last write, a second of the line at most, nobody knows how much.

    Half a TLS record is worth nothing.
    """
    words = b"".join(b"%d kg;" % number**3 for number in range(8000))
    beats = {"hex": "e0 e1 e2", "every": "500ms"}
    story = Story(free_port, seed, words, tls=table(papers), resend=resend, heartbeat=beats)
    with Sink(free_port, little=True, tls=theirs(papers, "server", serves=True)) as sink:
        await story.unfolds(sink, until)
    received = unknown = 0
    for part, more in zip(story.parts, story.unknown, strict=True):
        if resend == "none":
            begin = words.find(part, received)
            assert 0 <= begin - received <= unknown
        else:
            begin = words.rfind(part, 0, received + len(part))
            assert 0 <= received - begin <= unknown
        assert resend != "all" or not part or begin == 0 or words[begin - 1 : begin] == b";"
        received = begin + len(part)
        unknown = more + MOST + (0 if part else unknown)
    assert len(words) - received <= (unknown if resend == "none" else 0)


# The config


@pytest.mark.parametrize(
    ("keys", "where", "complaint"),
    [
        ({"listen": ":4001", "tls": {}}, ("tls",), "who listens shows a certificate"),
        ({"listen": ":4001", "tls": {"cert": "gw.pem"}}, ("tls",), "who listens shows a certificate"),
        ({"listen": ":4001", "resend": "all"}, ("resend",), "resend goes with connect"),
        ({"connect": "a:1", "tls": {"key": "gw.key"}}, ("tls", "key"), "key goes with cert"),
        ({"connect": "a:1", "tls": {"certificate": "gw.pem"}}, ("tls", "certificate"), "not permitted"),
        ({"connect": "a:1", "resend": "twice"}, ("resend",), "'unacked', 'none' or 'all'"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_the_right_key(
    keys: dict[str, Any], where: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        Config.model_validate({"kind": "tcp", "port": "scale"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [where]


def test_tls_makes_a_heartbeat_longer() -> None:
    keys = {"kind": "tcp", "port": "scale", "connect": "a:1", "heartbeat": {"text": "PING"}}
    plain, tls = (Config.model_validate(keys | more).idle_traffic for more in ({}, {"tls": {}}))
    assert plain is not None
    assert tls is not None
    assert tls.octets == plain.octets + 22
