"""TLS: what is wrong with files, certificates and far ends, in words."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from papers_kit import certificates

from gateway.errors import LinkDown
from gateway.host import tls
from gateway.host.threads import in_thread

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    certificates(folder)
    command = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes128 -pass pass:x -out locked.key"
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    (folder / "text.pem").write_text("this is not PEM")
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return folder


FILES = {  # ca, cert, key -> what is said, with the folder left out
    ("nothing.pem", None, None): "cannot read nothing.pem: no such file or directory",
    (".", None, None): "cannot read : is a directory",
    ("text.pem", None, None): "text.pem holds no certificate in PEM format",
    ("broken.pem", None, None): "broken.pem holds no certificate in PEM format",
    (None, "nothing.pem", "client.key"): "cannot read nothing.pem: no such file or directory",
    (None, "client.pem", "nothing.key"): "cannot read nothing.key: no such file or directory",
    (None, "client.key", "client.key"): "client.key holds no certificate in PEM format",
    (None, "client.pem", "client.pem"): "client.pem holds no private key in PEM format",
    (None, "client.pem", None): "client.pem holds no private key in PEM format",
    (None, "client.pem", "server.key"): "the key server.key does not belong to the certificate client.pem",
    (None, "client.pem", "locked.key"): (
        "locked.key is locked by a pass phrase that nobody is here to type: store the key without"
    ),
}


@pytest.mark.parametrize("files", FILES)
def test_what_is_wrong_with_a_file_is_told_with_its_name(
    papers: Path, files: tuple[str | None, str | None, str | None]
) -> None:
    ca, cert, key = (None if name is None else papers / name for name in files)
    with pytest.raises(LinkDown) as caught:
        tls.context(ca, cert, key)
    assert str(caught.value).replace(f"{papers}/", "").replace(str(papers), "") == FILES[files]
    assert caught.value.wait_at_least == 0  # nobody is asked in vain, and the file may be there in a moment


@pytest.mark.parametrize("files", [files for files in FILES if files[1]])
def test_who_listens_is_told_the_same(papers: Path, files: tuple[str | None, str, str | None]) -> None:
    _, cert, key = files
    with pytest.raises(LinkDown) as caught:
        tls.server_context(None, papers / cert, None if key is None else papers / key)
    assert str(caught.value).replace(f"{papers}/", "") == FILES[files]


def test_a_broken_certificate_is_told_with_its_name(papers: Path) -> None:
    with pytest.raises(LinkDown, match=r"^cannot use .*broken.pem with .*client.key: "):
        tls.context(None, papers / "broken.pem", papers / "client.key")


def test_old_versions_are_not_spoken_and_names_are_verified() -> None:
    made = tls.context(None, None, None)
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert made.check_hostname
    assert made.verify_mode == ssl.CERT_REQUIRED


def test_who_listens_speaks_no_old_versions_and_wants_certificates_where_it_has_an_authority(
    papers: Path,
) -> None:
    papers_of_ours = papers / "server.pem", papers / "server.key"
    made = tls.server_context(None, *papers_of_ours)
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert made.verify_mode == ssl.CERT_NONE
    assert tls.server_context(papers / "ca.pem", *papers_of_ours).verify_mode == ssl.CERT_REQUIRED


def test_key_and_certificate_may_be_in_one_file(papers: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text((papers / "client.pem").read_text() + (papers / "client.key").read_text())
    assert isinstance(tls.context(papers / "ca.pem", both, None), ssl.SSLContext)


@asynccontextmanager
async def server(papers: Path, name: str) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers / f"{name}.pem", papers / f"{name}.key")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def shake(papers: Path, port: int, host: str = "localhost", ca: str = "ca.pem") -> None:
    def work() -> None:
        sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        tls.handshake(tls.context(papers / ca, None, None), sock, host).close()

    await in_thread(work, "handshake")


async def test_a_good_certificate_is_accepted(papers: Path) -> None:
    async with server(papers, "server") as port:
        await shake(papers, port)
        await shake(papers, port, host="127.0.0.1")


CERTIFICATES = {  # server, host, ca -> the beginning of what is said
    ("server", "localhost", "stranger.pem"): "the broker's certificate is not trusted: ",
    ("stranger", "localhost", "ca.pem"): "the broker's certificate is not trusted: ",
    ("other", "localhost", "ca.pem"): "the broker's certificate is for another name: ",
    ("other", "127.0.0.1", "ca.pem"): "the broker's certificate is for another address: ",
    (
        "old",
        "localhost",
        "ca.pem",
    ): "the broker's certificate has expired, or the clock of this gateway is wrong: ",
}


@pytest.mark.parametrize(("name", "host", "ca"), CERTIFICATES)
async def test_a_bad_certificate_is_told_in_words(papers: Path, name: str, host: str, ca: str) -> None:
    async with server(papers, name) as port:
        with pytest.raises(LinkDown) as caught:
            await shake(papers, port, host, ca)
    assert str(caught.value).startswith(CERTIFICATES[name, host, ca])
    assert caught.value.wait_at_least == 60


REFUSED = {  # OpenSSL's reason -> ours
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the broker wants a client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the broker refused the TLS handshake: it may want a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the broker does not know the authority of our client certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our client certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our client certificate was revoked",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the broker speaks no TLS of version 1.2 or later",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "the broker refused: tlsv1 alert insufficient security",
    "UNSUPPORTED_PROTOCOL": "the broker speaks no TLS of version 1.2 or later",
}
LOST = {
    "TLSV1_ALERT_INTERNAL_ERROR": "the broker broke off TLS: tlsv1 alert internal error",
    "SSLV3_ALERT_BAD_RECORD_MAC": "the broker broke off TLS: sslv3 alert bad record mac",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "TLS failed: decryption failed or bad record mac",
}


@pytest.mark.parametrize("reason", [*REFUSED, *LOST])
def test_an_error_of_tls_is_told_in_words_and_only_a_refusal_waits_for_somebody(reason: str) -> None:
    error = ssl.SSLError(1, f"[SSL: {reason}] ... (_ssl.c:1)")
    error.reason = reason
    down = tls.down(error)
    assert str(down) == (REFUSED | LOST)[reason]
    assert down.wait_at_least == (60 if reason in REFUSED else 0)


TURNED_AWAY = {  # OpenSSL's reason -> what is said of the client
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "shows no client certificate",
    "HTTP_REQUEST": "speaks no TLS",
    "WRONG_VERSION_NUMBER": "speaks no TLS",
    "UNSUPPORTED_PROTOCOL": "speaks no TLS of version 1.2 or later",
    "TLSV1_ALERT_UNKNOWN_CA": "does not know the authority of our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "does not accept our certificate",
    "TLSV1_ALERT_INTERNAL_ERROR": "broke off TLS: tlsv1 alert internal error",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "TLS failed: decryption failed or bad record mac",
}


@pytest.mark.parametrize("reason", TURNED_AWAY)
def test_why_a_client_is_turned_away_is_told_of_it(reason: str) -> None:
    error = ssl.SSLError(1, f"[SSL: {reason}] ... (_ssl.c:1)")
    error.reason = reason
    assert str(tls.turned_away(error)) == TURNED_AWAY[reason]


LOSSES = [ConnectionResetError(104, "reset"), ssl.SSLEOFError(8, "EOF"), ssl.SSLZeroReturnError(6, "closed")]


@pytest.mark.parametrize("error", LOSSES)
def test_a_connection_that_is_merely_lost_may_be_tried_again_at_once(error: OSError) -> None:
    down = tls.down(error)
    assert str(down) == "the broker closed the connection in the middle of TLS"
    assert down.wait_at_least == 0
    assert str(tls.down(error, "the far end")) == "the far end closed the connection in the middle of TLS"
    assert str(tls.turned_away(error)) == "left in the middle of the TLS handshake"


OTHERS = {
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "what answers there does not speak TLS",
    b"\x20\x02\x00\x05": "the broker closed the connection in the middle of TLS",  # CONNACK
    b"": "the broker closed the connection in the middle of TLS",
}


@pytest.mark.parametrize("answer", OTHERS)
async def test_what_is_no_tls_is_told_as_that(papers: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        with pytest.raises(LinkDown) as caught:
            await shake(papers, listening.sockets[0].getsockname()[1])
    assert str(caught.value) == OTHERS[answer]
    assert caught.value.wait_at_least == (60 if "does not speak" in OTHERS[answer] else 0)


async def test_a_silent_far_end_is_given_up(papers: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def work() -> None:
            sock = socket.create_connection(listening.getsockname(), timeout=0.1)
            tls.handshake(tls.context(papers / "ca.pem", None, None), sock, "localhost")

        with pytest.raises(LinkDown, match=r"^no answer to the TLS handshake$"):
            await in_thread(work, "handshake")
