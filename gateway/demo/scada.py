"""SCADA, played by pymodbus: reads both meters over Modbus TCP and writes a setpoint into them.

Each voltage is checked against what the meter really had: a wrong answer is not only seen but counted.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from .meters import POWER, SETPOINT, VOLTAGE, Meter
from .registers import words_float

EVERY = 0.5  # seconds between two rounds
WRITE_EVERY = 6  # rounds


@dataclass
class Row:
    """What SCADA shows of one meter."""

    voltage: float = 0.0
    power: float = 0.0
    setpoint: int = 0


@dataclass
class Scada:
    """`run` polls for ever; the rest is what it has seen."""

    port: int
    meters: Mapping[int, Meter]
    rows: dict[int, Row] = field(default_factory=dict)
    reads: int = 0
    wrong: int = 0
    failed: int = 0
    trouble: str = ""  # the last failure, "" after a good round

    async def run(self) -> None:
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        task, turn = asyncio.current_task(), 0
        assert task
        async with AsyncModbusTcpClient("127.0.0.1", port=self.port, timeout=3, retries=0) as client:
            # pymodbus waits by wait_for, and that one of Python 3.11 may swallow a cancellation
            while not task.cancelling():
                for unit in self.meters:
                    await self._round(client, unit, turn)
                turn += 1
                await asyncio.sleep(EVERY)

    async def _round(self, client: AsyncModbusTcpClient, unit: int, turn: int) -> None:
        try:
            if not client.connected:
                await client.connect()
            if turn % WRITE_EVERY == 0:
                good(await client.write_register(SETPOINT, turn // WRITE_EVERY % 101, device_id=unit))
            inputs = good(await client.read_input_registers(VOLTAGE, count=POWER + 2, device_id=unit))
            holding = good(await client.read_holding_registers(SETPOINT, device_id=unit))
        except ModbusException as error:
            self.failed += 1
            self.trouble = str(error)
            return
        words = inputs.registers
        self.trouble = ""
        self.reads += 1
        self.wrong += (words[0], words[1]) not in self.meters[unit].shown
        self.rows[unit] = Row(
            words_float(words[0], words[1]),
            words_float(words[POWER], words[POWER + 1]),
            holding.registers[0],
        )


def good(answer: ModbusPDU) -> ModbusPDU:
    """The answer, or a ModbusException when it is one."""
    if answer.isError():
        raise ModbusException(str(answer))
    return answer
