"""gatewayctl as a process of its own, against a control socket."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from control_kit import Daemon

import gateway
from gateway import control

ROOT = Path(gateway.__file__).parents[1]
COMMAND = (sys.executable, "-W", "error", "-m", "gateway.ctl")


class Run(NamedTuple):
    code: int | None
    out: str
    err: str


async def started(path: Path, *arguments: str, **environment: str) -> Process:
    plain = {key: os.environ[key] for key in os.environ if key not in ("NO_COLOR", "RUNTIME_DIRECTORY")}
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--socket", str(path), *arguments),
        cwd=ROOT,
        env=plain | environment,
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(path: Path, *arguments: str, **environment: str) -> Run:
    process = await started(path, *arguments, **environment)
    out, err = await process.communicate()
    return Run(process.returncode, out.decode(), err.decode())


async def ctl(path: Path, daemon: Daemon, *arguments: str, **environment: str) -> Run:
    """One command against `daemon`."""
    async with control.serve(path, daemon):
        return await run(path, *arguments, **environment)


@asynccontextmanager
async def impostor(path: Path, answer: bytes) -> AsyncIterator[None]:
    """Something else on the socket, which sends `answer` to every request and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield


async def ended(process: Process) -> Run:
    out, err = await process.communicate()
    return Run(process.returncode, out.decode(), err.decode())


async def lines(process: Process, number: int) -> list[str]:
    assert process.stdout is not None
    return [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(number)]
