"""gateway-demo: the whole thing on one machine without hardware.

Two meters on a simulated RS-485 bus, a scale on a serial line, a broker, SCADA, and the real gatewayd between
them. On a terminal it is a live screen with keys. Without one, or with SECONDS=N in the environment, it
prints lines, takes the broker away and brings it back, and ends by itself: exit code 0 only if data flowed
both ways and nothing was lost. It leaves nothing behind, and touches nothing but 127.0.0.1 and a temporary
folder.
"""

import asyncio
import os
import signal
import sys
from importlib.util import find_spec

SECONDS = 30.0
NEEDS = {"amqtt": "a broker"}  # what a plain installation does not bring


def main() -> int:
    """The exit code: 0 good, 1 bad news, 2 usage, 130 interrupted."""
    if missing := [module for module in NEEDS if find_spec(module) is None]:
        wanted = " and ".join(f"{module} ({NEEDS[module]})" for module in missing)
        print(f"The demo needs {wanted}: pip install 'serial-gateway[demo]'", file=sys.stderr)
        return 2
    try:
        seconds = _seconds(os.environ.get("SECONDS", ""))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return asyncio.run(_run(seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def _seconds(text: str) -> float | None:
    """None: until [q]."""
    if not text:
        return None if sys.stdin.isatty() and sys.stdout.isatty() else SECONDS
    if not text.isdecimal() or int(text) < 10:
        raise ValueError(f"SECONDS={text}: a whole number from 10 on")
    return float(text)


async def _run(seconds: float | None) -> int:
    main_task = asyncio.current_task()
    assert main_task
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, main_task.cancel)
    from ._play import play  # after the check above: it imports what the extra brings

    return await play(seconds)
