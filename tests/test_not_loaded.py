"""pydantic starts without its search for plugins, paho without what it would ask for a proxy, and the daemon
without OpenSSL.
"""

import subprocess
import sys
from inspect import getmembers, getsource, isfunction

from paho.mqtt.client import Client, _WebsocketWrapper


def said(script: str) -> str:
    """By a new Python, without a complaint."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_settings_do_not_load_the_metadata_of_all_that_is_installed() -> None:
    script = "import sys, gateway.settings; print(*sys.modules)"

    assert not {"importlib.metadata", "zipfile"} & set(said(script).split())


def test_what_takes_the_place_of_the_loader_is_what_pydantic_would_have_asked() -> None:
    script = "import pydantic.plugin._loader as loader; print(loader.get_plugins())"

    assert said(script).strip() in ("dict_values([])", "()")


def test_an_mqtt_link_does_not_load_http_and_email_and_leaves_them_to_whoever_wants_them() -> None:
    wanted_later = "import urllib.request; urllib.request.getproxies()"
    script = f"import sys, gateway.links._paho; print(*sys.modules); {wanted_later}"

    assert not {"urllib.request", "http.client", "email.parser"} & set(said(script).split())


def test_paho_asks_for_a_proxy_only_where_it_would_dial_itself() -> None:
    asks, dials = getsource(Client._get_proxy), getsource(Client._create_socket_connection)
    others = getsource(Client).replace(asks, "").replace(dials, "")

    assert "urllib.request" in asks
    assert "_get_proxy" in dials
    assert "urllib.request" not in others
    assert "_get_proxy" not in others


OPENSSL = {"_ssl", "_hashlib"}
EVERYTHING = """
import gateway.daemon, gateway.wire.pdus
from gateway.links import _uplink, modbus_client, modbus_server, mqtt, tcp
"""


def test_the_daemon_has_all_that_it_needs_for_ports_and_links_without_openssl() -> None:
    loaded = said(f"{EVERYTHING}\nimport sys; print(*sys.modules)").split()

    assert {"asyncio", "hashlib", "hmac", "paho.mqtt.client", "pymodbus.pdu.pdu"} <= set(loaded)
    assert not OPENSSL & set(loaded)


def test_hashes_are_the_same_without_openssl() -> None:
    ask = "import hashlib, hmac; print(hashlib.sha256(b'gw').hexdigest(), hashlib.sha1(b'gw').hexdigest(), "
    ask += "hmac.new(b'key', b'gw', 'sha256').hexdigest())"

    assert said(f"import gateway._no_openssl; {ask}") == said(ask)


def test_many_threads_may_be_the_first_that_ask_for_tls() -> None:
    script = """
import gateway._no_openssl, ssl, sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
sys.setswitchinterval(1e-6)
assert "_ssl" not in sys.modules
start = Barrier(8)
def first(number):
    start.wait()
    if number % 2:
        import ssl as mine
    else:
        mine = ssl
    return mine.SSLContext, mine.SSLWantReadError, mine.create_default_context().verify_mode
with ThreadPoolExecutor(8) as threads:
    found = set(threads.map(first, range(8)))
import ssl as real
print(len(found), real.SSLContext is ssl.SSLContext, "_ssl" in sys.modules)
"""
    for _ in range(3):
        assert said(script).split() == ["1", "True", "True"]


def test_where_openssl_is_loaded_already_all_stays_as_it_is() -> None:
    loaded = "import ssl, hashlib; before = ssl, hashlib.sha256"
    after = "import gateway._no_openssl, sys, asyncio.sslproto as used"

    assert said(
        f"{loaded}; {after}; print(before == (sys.modules['ssl'], hashlib.sha256), used.ssl is ssl)"
    ) == ("True True\n")


def test_a_python_that_has_left_out_its_own_hashes_gets_those_of_openssl() -> None:
    left_out = "import sys; sys.modules['_md5'] = None"

    assert said(f"{left_out}; import gateway.daemon, hashlib; print(hashlib.md5(b'').hexdigest()[:8])") == (
        "d41d8cd9\n"
    )


def test_paho_asks_ssl_only_in_the_two_methods_that_we_replace_and_for_its_own_tls() -> None:
    methods = [*getmembers(Client, isfunction), *getmembers(_WebsocketWrapper, isfunction)]
    asking = {name for name, method in methods if "except ssl." in getsource(method)}

    assert asking == {"_sock_recv", "_sock_send", "_ssl_wrap_socket"}
