"""Papers for tcp links with TLS, and TLS ends of somebody else."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def table(papers: Path, name: str | None = None, ca: str | None = "ca") -> dict[str, str]:
    """The key `tls`."""
    files = {"ca": ca and f"{ca}.pem", "cert": name and f"{name}.pem", "key": name and f"{name}.key"}
    return {key: str(papers / file) for key, file in files.items() if file}


def theirs(papers: Path, name: str | None, *, serves: bool, mutual: bool = False) -> ssl.SSLContext:
    """Of somebody else. Without `name` it has no certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(papers / "ca.pem")
    if name is not None:
        made.load_cert_chain(papers / f"{name}.pem", papers / f"{name}.key")
    if mutual:
        made.verify_mode = ssl.CERT_REQUIRED
    return made


class Answering:
    """A TLS server of somebody else."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while data := await reader.read(65536):
            self.got += data
        writer.close()


@asynccontextmanager
async def answering(tcp_port: int, context: ssl.SSLContext) -> AsyncIterator[Answering]:
    far = Answering()
    async with await asyncio.start_server(far.serve, "127.0.0.1", tcp_port, ssl=context):
        yield far


@asynccontextmanager
async def calling(
    tcp_port: int, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp_port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()
