"""ports/ and links/ as lists: a file is a mode or a kind, and one that begins with _ is a part of others."""

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Generic, NamedTuple, TypeVar

from .. import links, ports
from ..settings import LinkConfig, PortConfig
from ..values import Model

M = TypeVar("M", bound=Model)


class Folder(NamedTuple, Generic[M]):
    """A package whose files are the kinds of one thing. `key` is the key of a table that says its own."""

    package: ModuleType
    key: str
    base: type[M]

    def names(self) -> list[str]:
        """As they are written in a config file: modbus_server.py is "modbus-server"."""
        files = [module.name for module in iter_modules(self.package.__path__)]
        return sorted(name.replace("_", "-") for name in files if not name.startswith("_"))

    def model(self, name: str) -> type[M]:
        """The Config of one of `names()`. Only its own file is imported."""
        module = import_module(f"{self.package.__name__}.{name.replace('-', '_')}")
        model: type[M] = module.Config
        assert issubclass(model, self.base)
        return model


PORTS = Folder(ports, "mode", PortConfig)
LINKS = Folder(links, "kind", LinkConfig)


def quoted(words: Iterable[str], last: str = "or") -> str:
    """ "a", "b" or "c"."""
    *front, end = [f'"{word}"' for word in words]
    return f"{', '.join(front)} {last} {end}" if front else end
