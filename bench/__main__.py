"""`python -m bench [ROWS...]`: the real gatewayd on simulated lines, one table, exit code 1 if a row misses.

Absolute figures belong to the machine; where a peer is named, it was measured in the same run. Keep the
machine quiet: the daemon, the clients and the simulated lines share its cores.
"""

import argparse
import compileall
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import gateway
from gateway.demo.gatewayd import GatewaydError

from . import arbiter, fleet, footprint, modbus, outage, raw, watch, wear
from .neighbours import Neighbours
from .simulator import Simulator
from .table import Effort, Row, head

ROWS: dict[str, Callable[[Effort], Iterator[Row]]] = {
    "modbus": modbus.paced,
    "strict": modbus.strict,
    "same": arbiter.identical,
    "dead": arbiter.dead,
    "fair": arbiter.hosts,
    "polled": arbiter.polled,
    "overhead": modbus.unpaced,
    "raw": raw.throughput,
    "echo": raw.latency,
    "eight": raw.eight,
    "ports32": raw.thirty_two,
    "memory": footprint.memory,
    "start": footprint.start,
    "watch": watch.idle,
    "fleet": fleet.comeback,
    "buffer": outage.throughput,
    "drain-bus": outage.beside_a_bus,
    "wear": wear.wear,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway.")
    parser.add_argument("rows", nargs="*", metavar="ROWS", help=f"any of {', '.join(ROWS)} (default: all)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=Effort.seconds,
        help="of each run; buffer and wear shrink with it (default: %(default)s)",
    )
    parser.add_argument("--runs", type=int, default=Effort.runs, help="of each figure (default: %(default)s)")
    options = parser.parse_args(arguments)
    if unknown := set(options.rows) - ROWS.keys():
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    effort = Effort(options.seconds, options.runs)
    compileall.compile_dir(Path(gateway.__file__).parent, quiet=1)  # as an installation does
    print(f"{_machine()}\nMedian of {effort.runs} runs of {effort.seconds:g} s.\n\n{head()}", flush=True)
    with Neighbours() as neighbours:
        try:
            rows = [_shown(row) for name in options.rows or ROWS for row in ROWS[name](effort)]
        except GatewaydError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"\nMeanwhile others, the kernel's own work included, used {neighbours.share:.0%} of one core.")
    return 1 if any(row.ok is False for row in rows) else 0


def _shown(row: Row) -> Row:
    print(row, flush=True)
    return row


def _machine() -> str:
    """What the figures belong to. Asks for precedence before others' programs, for all that is measured."""
    try:
        priority = f"nice {os.nice(-10)}"
    except PermissionError:
        priority = "ordinary priority"
    with Simulator() as lines:
        clock = lines.priority
    return (
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}; simulated lines at {clock}, all else at {priority}."
    )


if __name__ == "__main__":
    sys.exit(main())
