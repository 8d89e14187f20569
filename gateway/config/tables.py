"""A table of the file as a value: complete, or as much of it as could be read.

What could be read of a bad table still serves: its own rules and the checks against other tables go on with
it, so that one mistake does not hide another. An attribute whose value was bad does not exist; whoever asks
for it inside `told` is silently done.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from ..values import Fault, Model
from .words import explained, near

M = TypeVar("M", bound=Model)
T = TypeVar("T")


class Table(NamedTuple, Generic[M]):
    """What a table says, and what is wrong with it; without faults it is complete."""

    value: M
    faults: list[Fault]


def read(model: type[M], table: Mapping[str, Any], folder: Path) -> Table[M]:
    """Relative paths in the table count from `folder`."""
    try:
        return Table(model.model_validate(table, context={"folder": folder}), [])
    except ValidationError as error:
        part = _part(model, table, folder)
        return Table(part, [*explained(error, model, table), *told(part.faults())])


def told(found: Iterator[T]) -> Iterator[T]:
    """What is found before a value is needed that could not be read."""
    try:
        yield from found
    except AttributeError as error:
        if not (isinstance(error.obj, Model) and error.name in type(error.obj).model_fields):
            raise


def _part(model: type[M], table: Mapping[str, Any], folder: Path) -> M:
    """The right values of a table, those behind a misspelled key among them."""
    keys = {near(key, model.model_fields): key for key in table if key not in model.model_fields}
    values, bad = {}, []
    for key, field in model.model_fields.items():
        written = key if key in table else keys.get(key)
        if written is not None:
            hint = Annotated[field.annotation, field]  # type: ignore[name-defined]
            try:
                values[key] = _value(hint, table[written], folder)
            except ValidationError:
                bad.append(key)
    part = model.model_construct(**values)
    for key in bad:
        part.__dict__.pop(key, None)
    return part


def _value(hint: Any, value: Any, folder: Path) -> Any:
    """ValidationError when it is no such value; of a table of named things the right ones are left."""
    adapter = TypeAdapter[Any](hint)
    try:
        return adapter.validate_python(value, strict=True, context={"folder": folder})
    except ValidationError as error:
        if not _named(hint) or not isinstance(value, dict):
            raise
        bad = {one["loc"][0] for one in error.errors() if one["loc"]}
        good = {key: inner for key, inner in value.items() if key not in bad}
        return adapter.validate_python(good, strict=True, context={"folder": folder})


def _named(hint: Any) -> bool:
    """Whether it is a dict of things under names that the user chose."""
    return get_origin(hint) is dict or any(_named(part) for part in get_args(hint))
