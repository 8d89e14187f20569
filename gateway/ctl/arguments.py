"""What the verbs that work on a line take on the command line, in the words of argparse."""

from collections.abc import Mapping
from typing import Any

Arguments = Mapping[str, Mapping[str, Any]]


def number(text: str) -> int:
    """Also 0x1F."""
    return int(text, 0)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def texts(text: str) -> list[str]:
    return text.split(",")


_PORT = {"metavar": "PORT", "help": "its name in the config"}
_UNIT = {"metavar": "UNIT_ID", "type": number, "help": "1 to 255"}
_ADDRESS = {"metavar": "ADDRESS", "type": number, "help": "of the first one, counted from 0"}
_TYPES: Arguments = {
    "--type": {"metavar": "TYPE", "help": "of the values: float32, int16, ..., as in the config"},
    "--byte-order": {"metavar": "ORDER", "default": "ABCD", "help": "ABCD (default), CDAB, BADC or DCBA"},
}
_FLAG = {"action": "store_true"}


def _table(*names: str) -> Mapping[str, Any]:
    return {"metavar": "TABLE", "choices": names, "help": " or ".join(names)}


READ: Arguments = {
    "name": _PORT,
    "unit_id": _UNIT,
    "table": _table("holding", "input", "coil", "discrete_input"),
    "address": _ADDRESS,
    "count": {"metavar": "COUNT", "nargs": "?", "type": number, "help": "of registers or bits"},
    "--all-orders": {**_FLAG, "help": "as every type, in every byte order, side by side"},
    **_TYPES,
}
WRITE: Arguments = {
    "name": _PORT,
    "unit_id": _UNIT,
    "table": _table("holding", "coil"),
    "address": _ADDRESS,
    "values": {"metavar": "VALUE", "nargs": "+", "help": "a number; of a coil true or false"},
    "--yes": {**_FLAG, "help": "does not ask"},
    **_TYPES,
}
SCAN: Arguments = {
    "name": _PORT,
    "--unit-ids": {"metavar": "IDS", "default": "1-247", "help": "such as 1-10,17; default: %(default)s"},
    "--baudrate": {"metavar": "LIST", "type": numbers, "help": "such as 9600,19200; default: the port's own"},
    "--format": {"metavar": "LIST", "type": texts, "help": "such as 8E1,8N1; default: the port's own"},
}
PAUSE: Arguments = {
    "name": _PORT,
    "--for": {"dest": "duration", "metavar": "TIME", "required": True, "help": "such as 10m"},
}
RESUME: Arguments = {"name": _PORT}
