"""kind = "tcp" as the boxes do it, with TLS: a connection that is left is left in order."""

import asyncio
from pathlib import Path

import pytest
from conftest import Until
from papers_kit import certificates
from stream_kit import Port, Scale, dialler, server, there, up
from tls_kit import answering, calling, table, theirs

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    certificates(folder)
    return folder


async def test_a_client_that_is_idle_hears_the_end_and_no_error(
    papers: Path, free_port: int, until: Until
) -> None:
    port = Port()
    link = server(free_port, port, tls=table(papers, "server", ca=None), idle_timeout="1s")
    async with up(link, "listening"), calling(free_port, theirs(papers, None, serves=False)) as (reader, _):
        await there(link, 1, until)
        port.chunks.push(b"last words")
        async with asyncio.timeout(30):
            assert await reader.read() == b"last words"


async def test_what_a_short_connection_brings_arrives_frame_by_frame_and_it_leaves(
    papers: Path, free_port: int, until: Until
) -> None:
    port = Scale()
    link = dialler(free_port, port, tls=table(papers), short="1s", packet=True)
    async with answering(free_port, theirs(papers, "server", serves=True)) as far, up(link, "idle") as life:
        for number in range(2):
            far.got.clear()
            port.says(b"1;22;3")
            port.says(b"33;")
            await until(lambda: far.got == b"1;22;333;")
            await until(lambda: life.state == "idle")
            assert link.status()["confirmed"] == 3 * (number + 1)
        assert life.deaths == 0
