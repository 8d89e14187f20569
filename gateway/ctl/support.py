"""gatewayctl support: a bundle for whoever is to help. What the gateway, its config and the machine say of
themselves, as far as they can be read; without a daemon, too.

Promises: no secret of the config is in it, nor any content of a key or certificate. What cannot be had is
said in its place and spoils nothing else. The file is its owner's alone, and never replaces one unasked.
"""

import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..show.columns import count
from . import machine, papers
from .asking import GOOD, Answer, Failed, Options, good, one, print_json
from .newfile import new_file
from .secrets import Secrets

CONFIG = Path("/etc/gateway/gateway.toml")
CREDENTIALS = Path("/etc/gateway/credentials")
STATE = Path("/var/lib/gateway")
_LIBRARIES = ("paho-mqtt", "pydantic", "pydantic-core", "pymodbus", "pyserial")
_WITHIN = 10.0  # seconds, for systemctl and journalctl
_LARGEST = 4 << 20  # characters of one file
_UNIT = "ActiveState,SubState,StatusText,Result,ExecMainCode,ExecMainStatus,NRestarts,ActiveEnterTimestamp"
_JOURNAL = ("journalctl", "-u", "gatewayd", "-n", "1000", "--no-pager", "-o", "short-iso")
_INDEX = "contents.txt"


def support(options: Options) -> int:
    bundle = Bundle(options)
    files = dict(bundle.files())
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    root = f"gateway-support-{bundle.name}-{stamp}"
    path = options.file or f"{root}.tar.gz"
    with new_file(path, force=options.force, mode=0o600) as file:
        file.write(_packed(root, files))
    if options.json:
        print_json({"ok": True, "file": path, "missing": bundle.missing})
    else:
        for name, why in bundle.missing.items():
            print(f"{name}: {why}")
        print(f"{count(len(files), 'file')} in {path}, without passwords and keys: see for yourself")
    return GOOD


def _packed(root: str, files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            content = text[-_LARGEST:].encode("utf-8", "replace")
            about = tarfile.TarInfo(f"{root}/{name}")
            about.size, about.mode, about.mtime = len(content), 0o600, int(time.time())
            archive.addfile(about, io.BytesIO(content))
    return packed.getvalue()


class Bundle:
    """What is in it, and `missing`: why something is not."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._secrets = Secrets(os.environ)
        self.missing: dict[str, str] = {}
        self._status = self._answer("status")
        gateway = self._status.get("gateway", {})
        self._config = Path(options.config or gateway.get("config") or CONFIG)
        self._data: dict[str, Any] = {}
        self._configs = {name: self._learned(path) for name, path in self._paths()}
        self._learn_files()  # from here on all secrets are known
        named = gateway.get("name") or self._data.get("gateway", {}).get("name") or os.uname().nodename
        self.name = re.sub(r"[^\w.-]", "_", self._secrets.cleaned(str(named)))

    def files(self) -> Iterator[tuple[str, str]]:
        """Each with its text, clean; the last one says what they are."""
        names = []
        for name, make in self._parts():
            try:
                text = make()
            except Exception as error:  # one that fails must not spoil the others
                self.missing[name] = _why(error)
                text = f"cannot be had: {self.missing[name]}"
            name = self._secrets.cleaned(name)
            names.append(name)
            yield name, self._secrets.cleaned(text) + "\n"
        self.missing = self._secrets.clean(self.missing)
        missing = [f"{name} cannot be had: {why}" for name, why in self.missing.items()]
        about = f"gatewayctl support, {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
        yield _INDEX, "\n".join([about, *names, *missing]) + "\n"

    def _parts(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "versions.txt", self._versions
        yield "status.json", lambda: self._json(good(self._status))
        yield "buffers.json", lambda: self._json(good(self._answer("buffer")))
        yield "events.txt", self._events
        for name, text in self._configs.items():
            yield name, partial(_read, text)
        yield "check.txt", self._check
        yield "files.txt", lambda: "\n".join(papers.named(self._data, self._config.parent)) or "none"
        yield "service.txt", lambda: _said("systemctl", "show", "gatewayd", "--no-pager", "-p", _UNIT)
        yield "journal.txt", lambda: _said(*_JOURNAL)
        yield "system.txt", machine.system
        yield "ttys.txt", machine.ttys
        yield "kernel.txt", machine.kernel_log
        yield "network.txt", machine.network

    def _answer(self, verb: str) -> Answer:
        try:
            return one(self._options, verb)
        except Failed as failed:
            return {"ok": False, "error": str(failed)}

    def _json(self, document: object) -> str:
        return json.dumps(self._secrets.clean(document), indent=2, ensure_ascii=False)

    def _versions(self) -> str:
        daemon = self._status.get("gateway", {}).get("version", "does not answer")
        rows = {"gatewayctl": __version__, "gatewayd": daemon, "python": sys.version}
        rows |= {"C library": " ".join(platform.libc_ver())}
        for library in _LIBRARIES:
            try:
                rows[library] = metadata.version(library)
            except metadata.PackageNotFoundError:
                rows[library] = "unknown"
        return "\n".join(f"{name:14}{version}" for name, version in rows.items())

    def _events(self) -> str:
        events = good(self._answer("events"))["events"]
        return "\n".join(f"{event['at']} {event['level']:8}{event['text']}" for event in events) or "none"

    def _check(self) -> str:
        from ..config import load

        return load(self._config, os.environ).report(self._config)

    # The config, and what is secret in it

    def _paths(self) -> Iterator[tuple[str, Path]]:
        state = Path(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or STATE)
        yield "config/gateway.toml", self._config
        yield "config/last-good.toml", state / "last-good/gateway.toml"
        for model in sorted((self._config.parent / "models").glob("*.toml")):
            yield f"config/models/{model.name}", model

    def _learned(self, path: Path) -> str | OSError:
        """The text of a config file without its secrets, which are known then.

        The first that is TOML is data.
        """
        try:
            text = path.read_text("utf-8", "replace")
        except OSError as error:
            return error
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            self._data = self._data or tomllib.loads(text)
        return self._secrets.learn(text)

    def _learn_files(self) -> None:
        """Secrets in files are not in the bundle; should somebody have told one, it is taken out, too."""
        named = list(papers.passwords(self._data, self._config.parent))
        for path in [*named, *sorted(CREDENTIALS.glob("*"))]:
            try:
                self._secrets.add(path.read_text("utf-8", "replace").splitlines()[:1])
            except OSError:  # what we cannot read we cannot tell
                continue


def _read(text: str | OSError) -> str:
    if isinstance(text, OSError):
        raise text
    return text


def _said(*command: str) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_WITHIN,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace").rstrip()


def _why(error: Exception) -> str:
    match error:
        case PermissionError():
            return f"{error.filename or ''}: permission denied, as root it may be".removeprefix(": ")
        case OSError(strerror=str(words)):
            return f"{error.filename or ''}: {words.lower()}".removeprefix(": ")
        case Failed():
            return str(error)
    return repr(error)
