"""Serial lines inside a container, on which instruments speak: a meter on a bus (/dev/ttyUSB0), a scale that
prints twenty lines a second (/dev/ttyUSB1), and two lines without anybody (/dev/ttyUSB2, /dev/ttyUSB3).

Runs with the container's own python3. As udev would have it, the ttys belong to the group dialout.
"""

import os
import shutil
import sys
from pathlib import Path

from gateway.demo.bus import Bus
from gateway.demo.line import Line, Lines, Wire
from gateway.demo.registers import Registers
from gateway.demo.scale import Scale


def tty(number: int) -> Path:
    return Path(f"/dev/ttyUSB{number}")


def main() -> None:
    meter = Registers(coils={3: False}, holding={address: 4711 + address for address in range(20)})
    every = float(sys.argv[1]) if sys.argv[1:] else 0.05
    lines: list[Line] = [Bus({1: meter}, Wire(), link=tty(0)), Scale(every, link=tty(1))]
    lines += [Line(Wire(), tty(number)) for number in (2, 3)]
    for line in lines:
        shutil.chown(line.tty, "root", "dialout")
        os.chmod(line.tty, 0o660)
    Lines(*lines).run()


if __name__ == "__main__":
    main()
