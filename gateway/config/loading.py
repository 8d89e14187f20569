"""From a path to a Tree, or to everything that is wrong with the file."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ..devices.model import DeviceConfig, ModelConfig
from ..settings import LinkConfig, PortConfig
from ..show.columns import count
from ..values import Model
from ..wire.points import Gives
from . import tables
from .checks import Draft, mismatches, missing_points
from .doubts import doubtful_addresses, doubts
from .file import File, Problem
from .folders import LINKS, PORTS
from .sections import Gateway, Sections
from .tables import told
from .volume import Volume, volume
from .words import Keys, did_you_mean

M = TypeVar("M", bound=Model)
_ROOT = Path("/")


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What is configured, complete and checked. Devices have their model's points in them."""

    gateway: Gateway
    ports: Mapping[str, PortConfig]
    links: Mapping[str, LinkConfig]
    devices: Mapping[str, DeviceConfig]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """`tree` is None when there are problems. Both lists are in the order of the file.

    `state_dir` is told even then, if it could be read.
    """

    tree: Tree | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    state_dir: Path | None = None

    @property
    def volumes(self) -> dict[str, Volume]:
        """Of a good file: what each link costs at rest, if anything."""
        links = self.tree.links.items() if self.tree else ()
        return {name: volume(link) for name, link in links if link.connections}

    def report(self, file: Path) -> str:
        """For people: a line for each problem and warning, the verdict, and what each link costs at rest."""
        verdict = count(len(self.problems), "problem") if self.problems else "good"
        if self.warnings:
            verdict += f", {count(len(self.warnings), 'warning')}"
        costs = [cost.told_of(link) for link, cost in self.volumes.items()]
        return "\n".join([*map(str, self.problems), *map(str, self.warnings), f"{file}: {verdict}", *costs])


def load(
    path: Path,
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    hostname: str | None = None,
    root: Path = _ROOT,
) -> Loaded:
    """The file at `path`, and the models/NAME.toml beside it that its devices name.

    Other relative paths in it count from `folder`, which is the file's own unless the file is a copy.
    `hostname` is the name of a gateway that has none: by default this host's. `root` is where the system's
    files are, some of which say what a tty is used for besides.
    """
    text = _text(path)
    if isinstance(text, Problem):
        return Loaded(tree=None, problems=(text,))
    reading = _Reading(path, text, environ, folder or path.parent, root)
    tree = reading.tree(hostname or os.uname().nodename)
    problems = reading.problems()
    return Loaded(
        tree=None if problems else tree,
        problems=problems,
        warnings=reading.warnings(),
        state_dir=reading.state_dir,
    )


def _text(path: Path) -> str | Problem:
    """The text of a file, or why there is none."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        return Problem(file=str(path), text=os.strerror(error.errno or 0).lower())
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = octets[: error.start].split(b"\n")
        return Problem(
            file=str(path),
            line=len(before),
            col=len(before[-1]) + 1,
            text="this is not UTF-8: save the file as UTF-8",
        )


class _Reading:
    """One reading of one file and of the models beside it."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str], folder: Path, root: Path) -> None:
        self._path, self._environ, self._folder, self._root = path, environ, folder, root
        self._file = File(str(path), text, environ)
        self._sections = Sections(self._file, folder)
        self._files = [self._file]
        self._models: dict[str, ModelConfig | None] = {}  # None: there is one, but it is bad
        self.state_dir: Path | None = None

    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for file in self._files for problem in file.problems())

    def warnings(self) -> tuple[Problem, ...]:
        return tuple(warning for file in self._files for warning in file.warnings())

    def tree(self, hostname: str) -> Tree | None:
        """None when there are problems."""
        if self._file.data is None:
            return None
        sections = self._sections
        gateway = sections.gateway(hostname)
        self.state_dir = getattr(gateway, "state_dir", None)  # it is not there if its value was bad
        draft = Draft(
            ports=sections.kinds(PORTS, "ports", {}),
            links=sections.kinds(LINKS, "links", sections.defaults()),
            devices=sections.all(DeviceConfig, "devices"),
        )
        for fault in mismatches(draft):
            sections.fault(fault.key, fault.text)
        models = sections.all(ModelConfig, "models")
        self._models = {
            name: model if sections.sound("models", name) else None for name, model in models.items()
        }
        devices = {name: self._complete(name, device) for name, device in draft.devices.items()}
        for fault in missing_points(draft.links, self._gives(draft.ports, devices)):
            sections.fault(fault.key, fault.text)
        complete = [device for device in devices.values() if device]
        for fault in doubts(self._path, gateway, draft, models, complete, self._root):
            sections.doubt(fault.key, fault.text)
        if not all(file.good for file in self._files):
            return None
        ports, links, whole = _all(draft.ports), _all(draft.links), _all(devices)
        timeouts = _response_timeouts(whole.values())
        sampled = (*whole, *(name for name, port in ports.items() if port.picks))
        return Tree(
            gateway=gateway,
            ports={name: port.completed(timeouts.get(name, {})) for name, port in ports.items()},
            links={name: link.completed(ports, sampled) for name, link in links.items()},
            devices=whole,
        )

    def _gives(
        self, ports: Mapping[str, PortConfig | None], devices: Mapping[str, DeviceConfig | None]
    ) -> dict[str, Mapping[str, Gives] | None]:
        """By device, or port with values, and point; None: something is wrong with it."""
        found: dict[str, Mapping[str, Gives] | None] = {}
        for name, port in ports.items():
            sound = port is not None and self._sections.sound("ports", name)
            found[name] = port.picks if port is not None and sound else None
        for name, device in devices.items():
            points = device.points.items() if device is not None else ()
            found[name] = {point: rule.codec.gives for point, rule in points} or None
        return found

    def _complete(self, name: str, device: DeviceConfig | None) -> DeviceConfig | None:
        """With its model's points; None when something is wrong with either."""
        if device is None:
            return None
        wanted = getattr(device, "model", None)  # it is not there if its value was bad
        model = None if wanted is None else self._model(("devices", name, "model"), wanted)
        if not self._sections.sound("devices", name) or (model is None and wanted is not None):
            return None
        try:
            return device.with_model(model)
        except ValidationError as error:
            for one in error.errors():
                self._sections.fault(("devices", name, *one["loc"]), one["msg"])
            return None

    def _model(self, path: Keys, name: str) -> ModelConfig | None:
        """[models.NAME] or models/NAME.toml; None when it is bad. That there is none is a fault of `path`."""
        folder = self._path.parent / "models"
        if name not in self._models:
            known = {*self._models, *(file.stem for file in folder.glob("*.toml"))}
            if name not in known:
                self._sections.fault(path, f'there is no model "{name}"{did_you_mean(name, known)}')
                return None
            self._models[name] = self._model_file(path, folder / f"{name}.toml")
        return self._models[name]

    def _model_file(self, path: Keys, file_path: Path) -> ModelConfig | None:
        text = _text(file_path)
        if isinstance(text, Problem):
            self._sections.fault(path, str(text))
            return None
        file = File(str(file_path), text, self._environ)
        self._files.append(file)
        if file.data is None:
            return None
        if "models" in file.data:
            file.fault(("models",), f"this file holds what would stand under [models.{file_path.stem}]")
            return None
        read = tables.read(ModelConfig, file.data, self._folder)
        for fault in read.faults:
            file.fault(fault.key, fault.text)
        for doubt in told(doubtful_addresses((), read.value)):
            file.doubt(doubt.key, doubt.text)
        return read.value if file.good else None


def _all(tables: Mapping[str, M | None]) -> dict[str, M]:
    return {name: table for name, table in tables.items() if table is not None}


def _response_timeouts(devices: Iterable[DeviceConfig]) -> dict[str, dict[int, float]]:
    """By port and unit id; the longest where two devices share one."""
    found: dict[str, dict[int, float]] = {}
    for device in devices:
        if device.response_timeout is not None:
            units = found.setdefault(device.port, {})
            units[device.unit_id] = max(device.response_timeout, units.get(device.unit_id, 0.0))
    return found
