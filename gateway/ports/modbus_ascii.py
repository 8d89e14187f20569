"""mode = "modbus-ascii": we ask the devices on this line, or its master asks us, in hex digits."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..values import Duration
from ..wire import ascii as frames
from ..wire import ascii_line
from ._asked import Hearing
from ._framing import Framing, Rules
from ._modbus import ModbusConfig

_GAP = 1  # characters: frames need no silence, a device on two wires needs time to let go of them


class Config(ModbusConfig):
    """[ports.NAME] with mode = "modbus-ascii"."""

    framing: ClassVar[Framing] = frames
    hearing: ClassVar[Hearing] = ascii_line
    mode: Literal["modbus-ascii"]
    character_timeout: Annotated[Duration, Field(gt=0)] = 1.0

    @property
    def rules(self) -> Rules:
        return self.rules_by(
            character_bits=frames.CHARACTER_BITS,
            gap=_GAP * frames.CHARACTER_BITS / self.baudrate,
            quiet=self.character_timeout,
        )
