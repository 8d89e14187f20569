"""kind = "modbus-client" with TLS: the same writes inside, to a server that shows who it is."""

import logging
import socket
import ssl
from pathlib import Path

import pytest
from conftest import Until
from papers_kit import certificates
from parts_kit import running
from push_kit import Plc, World, Written, up
from pydantic import ValidationError
from stream_kit import FarEnd
from tls_kit import VERSIONS, table, theirs

from gateway.links.modbus_client import Config

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    certificates(folder)
    return folder


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [None, "client"])
async def test_values_stand_in_the_registers_as_without(
    papers: Path, name: str | None, version: ssl.TLSVersion, free_port: int, until: Until
) -> None:
    context = theirs(papers, "server", serves=True, mutual=name is not None)
    context.maximum_version = version
    world = World()
    link = world.link(free_port, tls=table(papers, name))
    async with Plc(free_port, tls=context) as plc, up(link):
        for count in range(1, 21):
            world.meter.reads(voltage=230 + count)
            await until(lambda: link.status()["confirmed"] == count)  # noqa: B023
    assert plc.writes == [Written(16, 100, (230 + count,)) for count in range(1, 21)]


@pytest.mark.parametrize("name", ["other", "old", "stranger"])
async def test_a_server_with_wrong_papers_is_told_nothing(
    papers: Path, name: str, free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "asyncio")  # of the server
    world = World()
    world.meter.reads(voltage=230)
    link = world.link(free_port, tls=table(papers))
    async with Plc(free_port, tls=theirs(papers, name, serves=True)) as plc, running(link) as life:
        await until(lambda: life.reason)
        assert "certificate" in life.reason
        assert plc.asked == []


async def test_a_server_without_tls_is_told_nothing(papers: Path, free_port: int, until: Until) -> None:
    async with FarEnd(free_port) as far, running(World().link(free_port, tls=table(papers))):
        await until(lambda: far.got)
        assert far.got.startswith(b"\x16\x03")  # a handshake, and it waits for the answer to that


async def test_the_second_server_is_asked_when_the_first_has_wrong_papers(
    papers: Path, free_port: int, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "asyncio")  # of the first
    world = World()
    world.meter.reads(voltage=230)
    first, second = (theirs(papers, name, serves=True) for name in ("stranger", "server"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        other_port = server.getsockname()[1]
    async with (
        Plc(free_port, tls=first),
        Plc(other_port, tls=second) as plc,
        up(world.link(free_port, other_port, tls=table(papers))),
    ):
        await until(lambda: plc.writes == [Written(16, 100, (230,))])


async def test_a_file_that_is_not_there_is_named(papers: Path, free_port: int, until: Until) -> None:
    async with running(World().link(free_port, tls={"ca": str(papers / "nobody.pem")})) as life:
        await until(lambda: life.reason)
        assert "nobody.pem" in life.reason


def test_a_key_alone_is_refused() -> None:
    keys = {"kind": "modbus-client", "connect": "a:802", "push": {"meter.u": {"holding": 1}}}
    with pytest.raises(ValidationError, match="key goes with cert") as refused:
        Config.model_validate(keys | {"tls": {"key": "gw.key"}})
    assert [error["loc"] for error in refused.value.errors()] == [("tls", "key")]


def test_the_cost_of_asking_while_at_rest_has_the_records_of_tls_in_it() -> None:
    keys = {"kind": "modbus-client", "connect": "a:802", "push": {"meter.u": {"holding": 1}}}
    plain, inside = Config.model_validate(keys), Config.model_validate(keys | {"tls": {}})
    assert inside.idle_traffic.octets - plain.idle_traffic.octets == 2 * 22
