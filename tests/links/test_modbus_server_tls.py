"""kind = "modbus-server" with TLS: whoever dials, the same questions and answers inside."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Until
from papers_kit import certificates
from parts_kit import Wires, running
from pydantic import ValidationError
from scada_kit import READ, Line, Scada, client, echo, holds, meters, opened, read, server
from stream_kit import up
from tls_kit import VERSIONS, calling, table, theirs

from gateway.links.modbus_server import Config

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    certificates(folder)
    return folder


@asynccontextmanager
async def dialled(tcp_port: int, context: ssl.SSLContext) -> AsyncIterator["asyncio.Queue[Scada]"]:
    """A TLS server of somebody else that wants to ask; the calls that come in."""
    calls: asyncio.Queue[Scada] = asyncio.Queue()

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.put_nowait(Scada(reader, writer))

    async with await asyncio.start_server(called, "127.0.0.1", tcp_port, ssl=context):
        yield calls


def dialler(tcp_port: int, line: object, **keys: Any) -> Any:
    base = {"kind": "modbus-server", "connect": f"127.0.0.1:{tcp_port}", "port": "meters"}
    return Config.model_validate(base | keys).build("cloud-poll", Wires(meters=line))


# Where we listen


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [None, "client"])
async def test_clients_ask_and_are_answered(
    papers: Path, name: str | None, version: ssl.TLSVersion, free_port: int
) -> None:
    tls, context = table(papers, "server", ca="ca" if name else None), theirs(papers, name, serves=False)
    context.maximum_version = version
    with meters(1) as (_, port):
        async with (
            opened(port),
            server(free_port, Wires(meters=port), tls=tls) as link,
            calling(free_port, context) as streams,
        ):
            scada = Scada(*streams)
            for address in range(20):
                assert await scada.ask(1, read(address, 5), tid=address) == holds(1, address, 5)
            (peer,) = link.status()["peers"]
    assert (peer["requests"], peer["rx_bytes"], peer["tx_bytes"]) == (20, 20 * 12, 20 * 19)


async def test_a_client_that_shows_no_certificate_where_one_is_asked_for_gets_no_answer(
    papers: Path, free_port: int
) -> None:
    line, tls = Line(echo), table(papers, "server")
    async with server(free_port, Wires(meters=line), tls=tls), client(free_port) as plain:
        plain.send(b"\0\1\0\0\0\6\1" + READ)
        await plain.rest()
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with calling(free_port, theirs(papers, None, serves=False)) as streams:
                await Scada(*streams).ask(1, READ)
    assert line.asked == []


async def test_pymodbus_asks_with_a_certificate(papers: Path, free_port: int) -> None:
    from pymodbus.client import AsyncModbusTlsClient

    with meters(7) as (_, port):
        async with opened(port), server(free_port, Wires(meters=port), tls=table(papers, "server")):
            context = theirs(papers, "client", serves=False)
            scada = AsyncModbusTlsClient("127.0.0.1", port=free_port, sslctx=context)
            assert await scada.connect()
            good = await scada.read_holding_registers(10, count=5, device_id=7)
            scada.close()
    assert good.registers == [7 * 256 + n for n in range(10, 15)]


# Where we dial


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [None, "client"])
async def test_the_far_end_asks_and_is_answered_and_hears_who_calls(
    papers: Path, name: str | None, version: ssl.TLSVersion, free_port: int
) -> None:
    context = theirs(papers, "server", serves=True, mutual=name is not None)
    context.maximum_version = version
    keys = {"tls": table(papers, name), "registration": {"text": "SN"}}
    async with dialled(free_port, context) as calls, up(dialler(free_port, Line(echo), **keys), "up"):
        scada = await calls.get()
        assert await scada.exactly(2) == b"SN"
        for tid in range(20):
            assert await scada.ask(1, read(tid), tid) == bytes((3, 2, 0, tid))
        scada.writer.close()


@pytest.mark.parametrize("name", ["other", "old", "stranger"])
async def test_a_far_end_with_wrong_papers_is_told_nothing(
    papers: Path, name: str, free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "asyncio")  # of the far end
    line = Line(echo)
    link = dialler(free_port, line, tls=table(papers), registration={"text": "SN"})
    async with dialled(free_port, theirs(papers, name, serves=True)) as calls, running(link) as life:
        await until(lambda: life.reason)
        assert "certificate" in (life.reason or "")
        assert calls.empty()


async def test_a_file_that_is_not_there_is_named(papers: Path, free_port: int, until: Until) -> None:
    tls = {"ca": str(papers / "nobody.pem")}
    async with running(dialler(free_port, Line(echo), tls=tls)) as life:
        await until(lambda: life.reason)
        assert "nobody.pem" in (life.reason or "")


# The config


@pytest.mark.parametrize(
    ("keys", "where", "complaint"),
    [
        ({"listen": ":802", "tls": {}}, ("tls",), "who listens shows a certificate"),
        ({"connect": "a:802", "tls": {"key": "gw.key"}}, ("tls", "key"), "key goes with cert"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_the_right_key(
    keys: dict[str, Any], where: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as refused:
        Config.model_validate({"kind": "modbus-server", "port": "meters"} | keys)
    assert [error["loc"] for error in refused.value.errors()] == [where]
