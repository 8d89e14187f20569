"""Imports paho without what it would only ask for a proxy: urllib.request, and with it http.client and email,
which cost 1 MB and 30 ms.

Our sockets are dialled by host.net, so that question never comes up (a test sees to it). To be imported
before anything else of paho. Whoever else wants urllib.request gets the real one.
"""

import sys
from types import ModuleType

_UNUSED = "urllib.request"

if _UNUSED not in sys.modules:
    sys.modules[_UNUSED] = ModuleType(_UNUSED)
    try:
        import paho.mqtt.client  # noqa: F401
    finally:
        del sys.modules[_UNUSED]
