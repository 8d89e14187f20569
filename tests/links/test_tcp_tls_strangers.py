"""kind = "tcp" with TLS: who is let in, what is said of the others, and what they cost."""

import asyncio
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from conftest import Until
from papers_kit import certificates
from parts_kit import running
from stream_kit import Port, client, dialler, server, up
from tls_kit import answering, calling, table, theirs

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    certificates(folder)
    return folder


# Who is let in


async def test_a_client_has_to_show_a_certificate_where_ca_is_given(
    papers: Path, free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    link = server(free_port, Port(), tls=table(papers, "server"))
    async with up(link, "listening"):
        for name, words in (
            (None, "shows no client certificate"),
            ("stranger", "its certificate is not trusted"),
        ):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with calling(free_port, theirs(papers, name, serves=False)) as (reader, _):
                    await reader.read()
            await until(lambda: words in caplog.text)  # noqa: B023
        assert link.status()["peers"] == []
        async with calling(free_port, theirs(papers, "client", serves=False)):
            await until(lambda: link.status()["peers"])
    assert [record.levelno for record in caplog.records if "certificate" in record.message] == [
        logging.WARNING
    ] * 2


async def test_who_speaks_no_tls_or_stalls_costs_nobody_else_a_place_and_is_logged_once(
    papers: Path, free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    port = Port()
    link = server(free_port, port, tls=table(papers, "server", ca=None), liveness={"detect_within": "3s"})
    async with up(link, "listening"), client(free_port), client(free_port) as (reader, plain):
        plain.write(b"12.5 kg\r\n")
        assert await reader.read(100) != b"12.5 kg\r\n"  # an alert, if anything
        await until(lambda: "speaks no TLS" in caplog.text)
        async with calling(free_port, theirs(papers, None, serves=False)) as (reader, writer):
            writer.write(b"T")
            await until(lambda: port.told == b"T")
            await until(lambda: "no TLS handshake within 3 s" in caplog.text)
            writer.write(b"T")
            await until(lambda: port.told == b"TT")
        assert link.status()["refused"] == 0
        words = [record.message.rpartition(": ")[2] for record in caplog.records if "TLS" in record.message]
    assert words == ["speaks no TLS", "no TLS handshake within 3 s"]


async def test_only_a_few_may_be_shaking_hands(
    papers: Path, free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    link = server(free_port, Port(), tls=table(papers, "server", ca=None))
    async with up(link, "listening"):
        stalled = [socket.create_connection(("127.0.0.1", free_port)) for _ in range(9)]
        await until(lambda: link.status()["refused"] == 1)
        assert "refused: 8 others are still shaking hands" in caplog.text
        for sock in stalled:
            sock.close()
        async with asyncio.timeout(30):
            while True:
                try:
                    async with calling(free_port, theirs(papers, None, serves=False)):
                        await until(lambda: link.status()["peers"])
                        break
                except ConnectionError:  # they have not been seen off yet
                    await asyncio.sleep(0.01)


# What is wrong with the far end


FAR_ENDS = {  # its certificate, ours -> what is said
    ("server", "stranger"): "the far end's certificate is not trusted: ",
    ("stranger", "ca"): "the far end's certificate is not trusted: ",
    ("other", "ca"): "the far end's certificate is for another address: ",
}


@pytest.mark.parametrize(("name", "ca"), FAR_ENDS)
async def test_a_far_end_that_is_not_who_it_should_be_gets_nothing(
    papers: Path, name: str, ca: str, free_port: int, until: Until
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the far end is not content, either
    port = Port()
    port.chunks.push(b"before")
    link = dialler(free_port, port, tls=table(papers, ca=ca), registration={"text": "SN"})
    async with answering(free_port, theirs(papers, name, serves=True)) as far, running(link) as life:
        await until(lambda: life.reason)
        assert life.reason.startswith(FAR_ENDS[name, ca])
        assert life.deaths == 0
        assert (life.status()["next_try_s"] or 0) > 50
    assert far.got == b""


REFUSALS = {
    ssl.TLSVersion.TLSv1_2: "the far end refused the TLS handshake: it may want a client certificate",
    ssl.TLSVersion.TLSv1_3: "the far end wants a client certificate",
}


@pytest.mark.parametrize("version", REFUSALS)
async def test_a_far_end_that_refuses_us_costs_no_record(
    papers: Path, version: ssl.TLSVersion, free_port: int, until: Until
) -> None:
    """With TLS 1.3 it says so when we think that we are through, and acknowledges what it throws away."""
    port = Port()
    context = theirs(papers, "server", serves=True, mutual=True)
    context.maximum_version = version
    link = dialler(free_port, port, tls=table(papers))
    port.chunks.push(b"12.5 kg")

    def refuses() -> None:
        sock, _ = listening.accept()
        tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            tls.do_handshake()
        with socket.socket(fileno=tls.detach()) as rest:
            while rest.recv(1000):  # closed with something unread it would be reset, before we have read why
                pass

    with socket.create_server(("127.0.0.1", free_port)) as listening:
        refusing = asyncio.create_task(asyncio.to_thread(refuses))
        async with running(link) as life:
            await until(lambda: life.reason)
            assert life.reason.startswith(REFUSALS[version])
            assert (life.deaths, link.status()["sent"]) == (0, 0)
        await refusing
    assert link.status()["buffer"]["records"] == 1


async def test_a_far_end_that_speaks_no_tls_or_nothing_at_all_is_told_in_words(
    free_port: int, until: Until
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(b"12.5 kg\r\n")
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", free_port),
        running(dialler(free_port, Port(), tls={})) as life,
    ):
        await until(lambda: life.reason)
        assert life.reason == "what answers there does not speak TLS"
    with socket.create_server(("127.0.0.1", free_port)):
        silent = dialler(free_port, Port(), tls={}, liveness={"detect_within": "3s"})
        async with running(silent) as life:
            await until(lambda: life.reason)
            assert life.reason == "no answer to the TLS handshake within 3 s"


@pytest.mark.parametrize("make", [dialler, server])
async def test_a_file_that_is_not_there_is_named_and_tried_again(
    papers: Path, make: Any, free_port: int, until: Until
) -> None:
    link = make(free_port, Port(), tls=table(papers, "nobody", ca=None))
    async with running(link) as life:
        await until(lambda: life.attempts > 2)
        assert life.reason == f"cannot read {papers}/nobody.pem: no such file or directory"
