"""mode = "modbus-rtu": we ask the devices on this line, one transaction at a time, or its master asks us."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, WithJsonSchema

from ..values import duration
from ..wire import rtu, rtu_line
from ._asked import Hearing
from ._client import Client
from ._framing import Framing, Rules
from ._modbus import ModbusConfig

__all__ = ["Client", "Config"]
_QUIET = 0.05  # seconds of silence that end what does not tell its length, behind a USB adapter too


def _gap(value: object) -> float | None:
    return None if value == "auto" else duration(value)


class Config(ModbusConfig):
    """[ports.NAME] with mode = "modbus-rtu"."""

    framing: ClassVar[Framing] = rtu
    hearing: ClassVar[Hearing] = rtu_line
    mode: Literal["modbus-rtu"]
    frame_gap: Annotated[float | None, BeforeValidator(_gap), WithJsonSchema({"type": "string"})] = None

    @property
    def rules(self) -> Rules:
        gap = rtu.gap(self.baudrate) if self.frame_gap is None else self.frame_gap
        return self.rules_by(character_bits=rtu.CHARACTER_BITS, gap=gap, quiet=max(gap, _QUIET))
