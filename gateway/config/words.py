"""What pydantic found wrong with a table, in words that a technician can act on.

None of pydantic's own wording goes out. Paths count from the table that was read.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..values import Fault, Model
from .syntax import is_secret

Keys = tuple[str | int, ...]

_ELSEWHERE = {  # what other programs call it, and what it may be here
    "address": ("listen", "connect"),
    "baud": ("baudrate",),
    "bind": ("listen",),
    "broker": ("connect",),
    "bytesize": ("format",),
    "databits": ("format",),
    "device": ("tty",),
    "host": ("connect", "listen"),
    "id": ("unit_id", "client_id"),
    "interval": ("poll_interval",),
    "keepalive": ("liveness",),
    "kind": ("mode",),
    "modbus-tcp": ("modbus-server",),
    "mode": ("kind",),
    "parity": ("format",),
    "path": ("tty",),
    "pass": ("password",),
    "register": ("holding",),
    "server": ("connect",),
    "slave": ("unit_id",),
    "slave_id": ("unit_id",),
    "speed": ("baudrate",),
    "stopbits": ("format",),
    "timeout": ("response_timeout",),
    "topic": ("prefix",),
    "type": ("kind", "mode"),
    "url": ("connect",),
    "user": ("username",),
}
_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "tuple_type": 'a list, such as ["a", "b"]',
}


def near(word: str, right: Collection[str]) -> str | None:
    """The one of `right` that was meant, if one was."""
    from difflib import get_close_matches  # 0.2 MB that a good file does without

    here = [name for name in _ELSEWHERE.get(word, ()) if name in right]
    return next(iter(here or get_close_matches(word.lower(), right, 1)), None)


def did_you_mean(word: str, right: Collection[str]) -> str:
    meant = near(word, right)
    return f', did you mean "{meant}"?' if meant else ""


def explained(error: ValidationError, model: type[Model], table: Mapping[str, Any]) -> list[Fault]:
    """Each mistake once: a key that is only misspelled is not missing as well."""
    told: dict[Keys, list[ErrorDetails]] = {}
    for one in error.errors(include_url=False):
        told.setdefault(_path(one, table), []).append(one)
    misspelled = set()
    for path, ones in told.items():
        if ones[0]["type"] == "extra_forbidden":
            misspelled.add((*path[:-1], near(str(path[-1]), _fields(model, path[:-1]))))
    return [
        Fault(path, _words(ones, path, model, _at(table, path)))
        for path, ones in told.items()
        if not (ones[0]["type"] == "missing" and path in misspelled)
        and not (ones[0]["type"] in _WANTED and _deeper(path, told))
    ]


def _deeper(path: Keys, paths: Collection[Keys]) -> bool:
    """Whether one form of a value got further than this one, which wants something else altogether."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in paths)


def _path(one: ErrorDetails, table: Any) -> Keys:
    """pydantic's `loc` without what it says about its own unions."""
    path: Keys = ()
    for place, key in enumerate(one["loc"], 1):
        here = _at(table, path)
        missing = place == len(one["loc"]) and one["type"] in ("missing", "fault")
        if (
            missing
            or (isinstance(here, dict) and key in here)
            or (isinstance(here, list) and isinstance(key, int))
        ):
            path = (*path, key)
    return path


def _at(value: Any, path: Keys) -> Any:
    for key in path:
        match value, key:
            case dict(), _:
                value = value.get(key)
            case list(), int():
                value = value[key]
            case _:
                return None
    return value


def _words(ones: list[ErrorDetails], path: Keys, model: type[Model], value: Any) -> str:
    wanted = [_WANTED[one["type"]] for one in ones if one["type"] in _WANTED]
    one = ones[0]
    field = _fields(model, path[:-1]).get(str(path[-1])) if path else None
    about = (field and field.description) or ""
    if wanted:
        secret = bool(path) and is_secret(str(path[-1]))
        instead = (not secret and _instead(wanted, value)) or (about and f": {about}")
        return f"expected {' or '.join(dict.fromkeys(wanted))}, not {_called(value)}{instead}"
    match one["type"]:
        case "extra_forbidden":
            return _unknown(str(path[-1]), _fields(model, path[:-1]))
        case "missing":
            return f"missing: {about}" if about else "missing"
        case "literal_error" | "enum":
            return _choice(one["ctx"]["expected"], value)
        case "string_pattern_mismatch" | "string_too_short":
            return f"expected {about}" if about else "this must not be empty"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return _range(field, one["ctx"], value)
        case "finite_number":
            return "expected a number that is finite"
        case "fault":
            return "; ".join(one["msg"] for one in ones)
    return one["msg"].removeprefix("Value error, ")


def _called(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if not value.is_integer():
            return "a fraction"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or a time"


def _instead(wanted: list[str], value: Any) -> str:
    """The same value as it should have been written, where that is beyond doubt."""
    match wanted[0], value:
        case (("a whole number" | "a number"), str()) if re.fullmatch(r"[+-]?\d+", value):
            return f": write {value} without quotes"
        case "true or false", str() | int() if str(value).lower() in ("true", "yes", "on", "1"):
            return ": write true"
        case "true or false", str() | int() if str(value).lower() in ("false", "no", "off", "0"):
            return ": write false"
        case "text in quotes", int():
            return f': write "{str(value).lower() if isinstance(value, bool) else value}"'
    return ""


def _unknown(word: str, right: Mapping[str, FieldInfo]) -> str:
    if meant := near(word, right):
        about = right[meant].description if word in _ELSEWHERE else None
        return f'unknown key, did you mean "{meant}"?' + (f" ({about})" if about else "")
    return f"unknown key: here are only {', '.join(right)}" if 0 < len(right) <= 8 else "unknown key"


def _choice(expected: str, value: Any) -> str:
    choices = re.findall(r"'[^']*'|\d+", expected)
    *front, last = [choice.replace("'", '"') for choice in choices]
    form = ""
    if isinstance(value, str) and last.isdigit():
        form = ", without quotes"
    elif not isinstance(value, str) and not last.isdigit():
        form = ", in quotes"
    return f"this must be {', '.join(front)} or {last}{form}" if front else f"this can only be {last}{form}"


_BOUNDS = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
}


def _range(field: FieldInfo | None, said: Mapping[str, Any], value: Any) -> str:
    bounds = dict(said)
    for mark in _marks(Annotated[field.annotation, field]) if field else ():
        bounds |= {key: getattr(mark, key) for key in _BOUNDS if hasattr(mark, key)}
    shown = {key: _shown(bounds[key], value) for key in _BOUNDS if key in bounds}
    if {"ge", "le"} <= shown.keys():
        return f"this must be {shown['ge']} to {shown['le']}"
    return "this must be " + " and ".join(_BOUNDS[key].format(bound) for key, bound in shown.items())


def _marks(hint: Any) -> Iterator[Any]:
    """What is annotated, at any depth: bounds among it."""
    for mark in getattr(hint, "__metadata__", ()):
        yield from mark.metadata if isinstance(mark, FieldInfo) else (mark,)
    for part in get_args(hint):
        yield from _marks(part)


_TIMES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 0.001))
_SIZES = (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024), ("B", 1))


def quantity(number: float, *, size: bool) -> str:
    """Seconds or bytes as a file has them: "20s", "64KB"."""
    units = _SIZES if size else _TIMES
    fits = ((unit, one) for unit, one in units if number >= one and (unit == "s" or not number % one))
    unit, one = next(fits, units[-1])
    return f"{number / one:g}{unit}" if number else "0s"


def _shown(bound: float, value: Any) -> str:
    """A bound as it would be written where `value` stands."""
    return f'"{quantity(bound, size=value.endswith("B"))}"' if isinstance(value, str) else f"{bound}"


def _fields(model: type[Model], path: Keys) -> dict[str, FieldInfo]:
    """The keys that the table at `path` may have."""
    hints: list[Any] = [model]
    for key in path:
        hints = [inner for hint in hints for inner in _under(hint, key)]
    return {
        key: field for hint in hints for found in _models(hint) for key, field in found.model_fields.items()
    }


def _under(hint: Any, key: str | int) -> Iterator[Any]:
    """The types of what stands under `key` of something of type `hint`."""
    if isinstance(hint, type) and issubclass(hint, Model):
        if field := hint.model_fields.get(str(key)):
            yield field.annotation
    elif get_origin(hint) is dict:
        yield get_args(hint)[1]
    else:
        for part in _parts(hint):
            yield from _under(part, key)


def _models(hint: Any) -> Iterator[type[Model]]:
    if isinstance(hint, type) and issubclass(hint, Model):
        yield hint
    else:
        for part in _parts(hint):
            yield from _models(part)


def _parts(hint: Any) -> tuple[Any, ...]:
    """Of a union or of Annotated[...]."""
    if get_origin(hint) is dict:
        return ()
    return get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
