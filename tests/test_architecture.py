"""The rules of the house, read from the imports of every file: hidden ones in functions count too.

Who may import whom is LAYERS; a new file at the top of the package has to be given its place there.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import gateway.links

ROOT = Path(gateway.__file__).parent
OUTSIDE = "demo"  # a program beside the gateway: the whole plant around it
LAYERS = (  # imports go down only; what stands in one line does not know each other
    {"daemon", "ctl"},
    {"site", "lastgood"},
    {"control", "config", "supervise"},
    {"links", "devices"},
    {"ports"},
    {"host", "store"},
    {"settings"},
    {"registers", "values"},
    {"buffer"},
    {"contracts"},
    {"flow", "scope", "wire", "policy"},
    {"status", "toml", "show", "version", "_no_plugins", "_no_openssl"},
    {"errors"},
)
PURE = {"wire", "policy"}
DATA_MODULES = {
    *("bisect", "collections", "dataclasses", "decimal", "enum", "functools", "ipaddress"),
    *("itertools", "math", "random", "re", "struct", "typing"),
}
KERNEL = {"fcntl", "serial", "socket", "ssl", "termios"}
TOUCH_THE_KERNEL = {"host", "control", "ctl"}  # ctl is the other end of the control socket
LIBRARIES = {"serial": "host.", "paho": "links._", "pymodbus": "wire.pdus", "sqlite3": "store."}
STARTS_TASKS = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe"}
LONGEST = 400  # lines; 300 is what we like


class Import(NamedTuple):
    name: str  # "gateway.host.tty", "asyncio"
    at_once: bool  # not only when a function is called

    @property
    def ours(self) -> bool:
        return self.name.partition(".")[0] == "gateway"


class Module(NamedTuple):
    name: str  # "gateway.host.tty"
    path: Path

    @property
    def inside(self) -> str:
        """ "host.tty"; the package itself holds the version."""
        return self.name.partition(".")[2] or "version"

    @property
    def place(self) -> str:
        return self.inside.partition(".")[0]

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")


def module_at(path: Path) -> Module:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)


MODULES = {module.name: module for module in map(module_at, sorted(ROOT.rglob("*.py")))}
DAEMON = [module for module in MODULES.values() if module.place != OUTSIDE]


@cache
def imports(module: Module) -> tuple[Import, ...]:
    return tuple(_imports(module, ast.parse(module.text), at_once=True))


def _imports(module: Module, node: ast.AST, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                yield from (Import(alias.name, at_once) for alias in child.names)
            case ast.ImportFrom():
                base = _base(module, child)
                for alias in child.names:
                    inner = f"{base}.{alias.name}"
                    yield Import(inner if inner in MODULES else base, at_once)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports(module, child, at_once=False)
            case _:
                yield from _imports(module, child, at_once)


def _base(module: Module, node: ast.ImportFrom) -> str:
    """What the dots and the name of `from ..x import y` mean in this module."""
    package = module.name.split(".")
    if node.level:
        up = node.level - (module.path.name == "__init__.py")
        package = package[: len(package) - up]
        return ".".join([*package, node.module] if node.module else package)
    return node.module or ""


def layer(module: Module) -> int:
    return next((depth for depth, places in enumerate(LAYERS) if module.place in places), -1)


def each(modules: list[Module]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("module", modules, ids=[module.inside for module in modules])


every_module_of_the_daemon = each(DAEMON)


@every_module_of_the_daemon
def test_imports_go_down_only(module: Module) -> None:
    assert layer(module) >= 0, f"{module.place} has no place in LAYERS"
    for one in imports(module):
        if one.ours and (other := MODULES[one.name]).place != module.place:
            assert layer(other) > layer(module), f"{module.inside} imports {other.inside}"


def test_there_is_no_circle() -> None:
    graph = {
        name: {one.name for one in imports(module) if one.ours and one.name != name}
        for name, module in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@each([module for module in DAEMON if module.place in PURE])
def test_what_is_pure_knows_bytes_and_numbers_and_our_errors_only(module: Module) -> None:
    for one in imports(module):
        if one.ours:
            assert MODULES[one.name].place in {module.place, "errors"}, one.name
        elif module.inside != "wire.pdus" or not one.name.startswith("pymodbus"):
            assert one.name.partition(".")[0] in DATA_MODULES, one.name


@every_module_of_the_daemon
def test_only_the_host_touches_the_kernel(module: Module) -> None:
    if module.place not in TOUCH_THE_KERNEL:
        assert not {one.name.partition(".")[0] for one in imports(module)} & KERNEL


@every_module_of_the_daemon
def test_a_library_has_one_place(module: Module) -> None:
    for one in imports(module):
        home = LIBRARIES.get(one.name.partition(".")[0], "")
        assert module.inside.startswith(home), f"{one.name} is for {home}*"


@each([module for module in DAEMON if module.place in {"links", "ports"}])
def test_a_kind_and_a_mode_share_only_what_has_an_underscore(module: Module) -> None:
    for one in imports(module):
        if one.ours and (other := MODULES[one.name]).place == module.place:
            assert other.path.name.startswith("_"), f"{module.inside} imports {other.inside}"


@every_module_of_the_daemon
def test_the_gateway_does_not_know_its_demo(module: Module) -> None:
    assert not [one.name for one in imports(module) if one.ours and MODULES[one.name].place == OUTSIDE]


@every_module_of_the_daemon
def test_no_import_is_for_the_type_checker_only(module: Module) -> None:
    assert "TYPE_CHECKING" not in module.text


@every_module_of_the_daemon
def test_only_a_scope_starts_tasks(module: Module) -> None:
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(ast.parse(module.text))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    assert module.place == "scope" or not names & STARTS_TASKS


def closure(name: str) -> set[str]:
    """What is imported, directly or not, when `name` is."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [one.name for one in imports(MODULES[module]) if one.ours and one.at_once]
    return found


def test_ctl_imports_nothing_of_the_daemon_and_nothing_that_is_slow_to_load() -> None:
    """One `gatewayctl status` is to cost 60 ms of CPU at most."""
    assert {MODULES[name].place for name in closure("gateway.ctl")} <= {"ctl", "show", "version"}
    loaded = subprocess.run(
        [sys.executable, "-c", "import gateway.ctl, sys; print(*sys.modules)"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    assert "gateway.ctl" in loaded
    assert not {"asyncio", "pydantic", "serial", "paho", "pymodbus", "logging", "ssl"} & set(loaded)


@each([module for module in DAEMON if module.place in {"links", "ports"} and module.path.name[0] != "_"])
def test_the_file_of_a_kind_is_cheap_to_import_for_its_config(module: Module) -> None:
    assert not [name for name in closure(module.name) if name.startswith("gateway.links._paho")]
    loaded = subprocess.run(
        [sys.executable, "-c", f"import {module.name}, sys; print(*sys.modules)"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"paho", "pymodbus"} & set(loaded)


def test_the_links_say_which_parts_belong_to_which_kind() -> None:
    parts = {path.stem for path in (ROOT / "links").glob("_[a-z]*.py")}

    assert set(re.findall(r"_\w+", gateway.links.__doc__ or "")) - {"_server", "_client"} == parts


@each(list(MODULES.values()))
def test_a_file_is_short_finished_and_says_what_it_is(module: Module) -> None:
    assert len(module.text.splitlines()) <= LONGEST
    assert not [word for word in ("TODO", "FIXME", "XXX:") if word in module.text]
    assert ast.get_docstring(ast.parse(module.text))


def test_the_rules_see_what_they_are_about() -> None:
    """A reader of imports that finds none would let everything pass."""
    tty = MODULES["gateway.host.tty"]
    assert Import("gateway.errors", at_once=True) in imports(tty)
    assert Import("termios", at_once=True) in imports(tty)
    assert Import("gateway.host.tty", at_once=True) in imports(MODULES["gateway.host.serial"])
    assert Import("gateway.wire.pdus", at_once=False) in imports(MODULES["gateway.ports._bus"])
    assert all(one.name in MODULES for module in MODULES.values() for one in imports(module) if one.ours)
