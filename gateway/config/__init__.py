"""The config file as a tree of frozen tables, or everything that is wrong with it.

Every problem of a file is told at once, each where it stands, and none that only follows from another.
Nothing depends on whether a tty, a network or a broker is there.

file (one TOML text: syntax, places) -> sections (each table by the model of its own kind: folders, tables,
words) -> checks (between tables) and doubts (warnings; volume: bytes a month) -> loading (the whole); schema
for editors.
"""

from .file import Problem
from .loading import Loaded, Tree, load
from .schema import schema
from .sections import Gateway

__all__ = ["Gateway", "Loaded", "Problem", "Tree", "load", "schema"]
