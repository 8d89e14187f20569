"""Keeps pydantic from looking for plugins of other packages, which costs every start 2 MB and 13 ms for
nothing.

It would import importlib.metadata, and with it zipfile, email and shutil, and read the metadata of all that
is installed. PYDANTIC_DISABLE_PLUGINS comes too late for that: it is read after these imports. To be imported
before pydantic. Should pydantic find its plugins another way one day, this does nothing.
"""

import sys
from types import ModuleType


class _Loader(ModuleType):
    @staticmethod
    def get_plugins() -> tuple[()]:
        return ()


sys.modules.setdefault("pydantic.plugin._loader", _Loader("pydantic.plugin._loader"))
