"""Two energy meters whose values move, as they look from the bus.

Each is a Registers; `step` moves its values. What it showed lately is remembered, so that a reader's value
can be checked against what the meter really had.
"""

import math
from collections import deque

from .registers import Registers, float_words

VOLTAGE, POWER, ENERGY = 0, 12, 342  # input registers, each a float32, as in the table of an SDM630
SETPOINT = 10  # holding register, 0..100 %
RELAY = 3  # coil


class Meter(Registers):
    """One meter; `phase` makes two of them differ."""

    def __init__(self, phase: float) -> None:
        super().__init__({RELAY: False}, {}, {SETPOINT: 0}, dict.fromkeys(range(ENERGY + 2), 0))
        self._phase = phase
        self.shown: deque[tuple[int, int]] = deque(maxlen=100)  # voltages, newest last
        self.step(0.0)

    def step(self, at: float) -> None:
        """The values at time `at` (seconds since the start)."""
        voltage = round(230 + 4 * math.sin(at / 5 + self._phase), 1)
        power = round(1500 + 400 * math.sin(at / 3 + self._phase))
        for address, value in ((VOLTAGE, voltage), (POWER, power), (ENERGY, 4711 + at / 60)):
            self.inputs[address], self.inputs[address + 1] = float_words(value)
        self.shown.append(float_words(voltage))
