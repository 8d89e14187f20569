"""The sections of a file as tables by name: [gateway], [defaults.links], [ports.*], [links.*], [models.*] and
[devices.*].

A section that is only misspelled is told, and read all the same. A table that is bad is there as far as it
could be read (`tables`), or as None.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from ..settings import LinkTables
from ..values import FilePath, Model, Size
from . import tables
from .file import File
from .folders import Folder, quoted
from .syntax import Unread
from .words import did_you_mean, near

M = TypeVar("M", bound=Model)
Keys = tuple[str | int, ...]

_NAMED = {"ports": "port", "links": "link", "models": "model", "devices": "device"}
_TOP = ("gateway", "defaults", *_NAMED)


class Gateway(Model):
    """[gateway]: who this is, and where it keeps its things."""

    # without one it is the host's, which Sections is told
    name: Annotated[str, Field(pattern=r"^[^/#+\s]+$", description="a name without blanks, / # and +")] = ""
    state_dir: FilePath | None = None
    run_dir: FilePath | None = None
    buffer_total: Annotated[Size, Field(ge=1024 * 1024, description="bytes of all buffers on disk")] = 1024**3


class Sections:
    """What a file says, table by table. `folder` is what relative paths in it count from."""

    def __init__(self, file: File, folder: Path) -> None:
        self._file, self._folder = file, folder
        self._data: Mapping[str, Any] = file.data or {}
        self._spelling: dict[Keys, str] = {}  # (section, name) -> how the section is spelled there
        self._bad: set[Keys] = set()
        for key, value in self._data.items():
            if key not in _TOP:
                self._file.fault((key,), _unknown(key, value))

    def fault(self, path: Keys, text: str) -> None:
        """`path` begins with the right name of a section."""
        self._bad.add(path[:2])
        self._file.fault(self._written(path), text)

    def doubt(self, path: Keys, text: str) -> None:
        self._file.doubt(self._written(path), text)

    def sound(self, *path: str) -> bool:
        """Whether the table is all right so far."""
        return path not in self._bad

    def gateway(self, hostname: str) -> Gateway:
        """`hostname` is the name when none is given."""
        table: dict[str, Any] = {"name": hostname}
        for root, found in self._of("gateway"):
            if isinstance(found, dict):
                self._spelling |= {("gateway", key): root for key in found}
                table |= found
            else:
                self._file.fault((root,), "expected a table: [gateway]")
        return self._read(Gateway, table, ("gateway",))

    def kinds(self, folder: Folder[M], section: str, defaults: Mapping[str, Any]) -> dict[str, M | None]:
        """The tables of a section, each by the model of its own kind; `defaults` are filled in under them."""
        found: dict[str, M | None] = {}
        for name, table in self._named(section):
            own = self._kind(folder, table, (section, name))
            found[name] = own and self._read(own[0], _merged(defaults, own[1]), (section, name))
        return found

    def all(self, model: type[M], section: str) -> dict[str, M | None]:
        """The tables of a section whose tables are all of one kind."""
        found: dict[str, M | None] = {}
        for name, table in self._named(section):
            found[name] = None if table is None else self._read(model, table, (section, name))
        return found

    def defaults(self) -> Mapping[str, Any]:
        """The tables of [defaults.links] that are all right."""
        for root, found in self._of("defaults"):
            self._spelling["defaults", "links"] = root
            table = found if isinstance(found, dict) else {"": found}
            for key in table.keys() - {"links"}:
                self._file.fault((root, key), "unknown table: there is only [defaults.links]")
            links = table.get("links", {})
            if not isinstance(links, dict):
                self.fault(("defaults", "links"), "expected a table: [defaults.links]")
                return {}
            good = dict(links)
            for fault in tables.read(LinkTables, good, self._folder).faults:
                self.fault(("defaults", "links", *fault.key), fault.text)
                good.pop(fault.key[0], None)
            return good
        return {}

    def _of(self, section: str) -> Iterator[tuple[str, Any]]:
        """Each spelling of a section with what stands under it."""
        for root, value in self._data.items():
            if section == root or (root not in _TOP and section == near(root, _TOP)):
                yield root, value

    def _named(self, section: str) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """The tables of a section; None: the name is there, but no table."""
        noun = _NAMED[section]
        for root, found in self._of(section):
            if not isinstance(found, dict):
                self._file.fault((root,), f"each {noun} has a name: its table is [{section}.NAME]")
                continue
            for name, table in found.items():
                self._spelling[section, name] = root
                if isinstance(table, dict) and not re.fullmatch(r"[\w-]+", name):
                    self.fault((section, name), "a name is letters, digits, - and _")
                elif isinstance(table, list):
                    self.fault((section, name), f"one pair of brackets is right: [{section}.{name}]")
                elif not isinstance(table, dict | Unread):
                    self._file.fault((root,), f"each {noun} has a name: its table is [{section}.NAME]")
                yield name, table if isinstance(table, dict) else None

    def _kind(
        self, folder: Folder[M], table: dict[str, Any] | None, path: Keys
    ) -> tuple[type[M], dict[str, Any]] | None:
        """The model of a table's own kind, and the table with the key for it spelled right."""
        if table is None:
            return None
        key, names = folder.key, folder.names()
        written = key if key in table else next((word for word in table if near(word, (key,))), None)
        if written is None:
            self.fault((*path, key), f"missing: {quoted(names)}")
            return None
        if written != key:
            self.fault((*path, written), f'unknown key, did you mean "{key}"?')
        word = table[written]
        if word in names:
            return folder.model(word), {
                key if name == written else name: value for name, value in table.items()
            }
        meant = did_you_mean(str(word), names)
        known = f"{' There' if meant else ': there'} are {quoted(names, 'and')}"
        self.fault((*path, written), f'there is no {key} "{word}"{meant}{known}')
        return None

    def _read(self, model: type[M], table: Mapping[str, Any], path: Keys) -> M:
        read = tables.read(model, table, self._folder)
        for fault in read.faults:
            self.fault((*path, *fault.key), fault.text)
        return read.value

    def _written(self, path: Keys) -> Keys:
        return (self._spelling.get(path[:2], path[0]), *path[1:])


def _unknown(key: str, value: Any) -> str:
    if meant := did_you_mean(key, _TOP):
        return f"unknown table{meant}"
    if isinstance(value, dict):
        return f"unknown table: there are {', '.join(_TOP)}"
    return "a key belongs into a table: this one stands above the first [table]"


def _merged(defaults: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """Key by key inside each of the default tables."""
    merged = dict(table)
    for name, default in defaults.items():
        own = table.get(name, {})
        merged[name] = {**default, **own} if isinstance(own, dict) else own
    return merged
