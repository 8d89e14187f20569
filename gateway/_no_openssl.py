"""Keeps OpenSSL out of a daemon that speaks no TLS: it would cost 5 MB.

asyncio, hashlib and hmac load it as soon as they are imported, and can do without: hashlib has functions of
its own, and asyncio's TLS is not what we use (host.tunnel is). Whoever imports ssl later, we or a library,
gets a module that loads the real one when it is first asked for something; from then on they are the same.
To be imported before anything that imports asyncio. Where OpenSSL is loaded already, this does nothing.
"""

import sys
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any

_OWN_HASHES = "_md5", "_sha1", "_sha3", "_blake2"  # CPython's, which a distribution may leave out


class _Later(ModuleType):
    """Stands where ssl will be."""

    _lock = Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:  # links load their certificates in threads
            if sys.modules.get("ssl") is self:
                del sys.modules["ssl"]
        real = import_module("ssl")
        vars(self).update(vars(real))
        return getattr(real, name)


def _import_without(hidden: str, *modules: str) -> None:
    """Not when it is there already, then they need it no more."""
    if hidden in sys.modules:
        return
    sys.modules[hidden] = None  # type: ignore[assignment]  # how Python marks what cannot be imported
    try:
        for module in modules:
            import_module(module)
    finally:
        del sys.modules[hidden]


def _has(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


if all(map(_has, _OWN_HASHES)):
    _import_without("_hashlib", "hashlib", "hmac")
if "ssl" not in sys.modules:
    _import_without("ssl", "asyncio")
    sys.modules["ssl"] = _Later("ssl")
