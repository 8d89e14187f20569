"""pydantic starts without its search for plugins, and paho without what it would ask for a proxy."""

import subprocess
import sys
from inspect import getsource

from paho.mqtt.client import Client


def test_settings_do_not_load_the_metadata_of_all_that_is_installed() -> None:
    script = "import sys, gateway.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert not {"importlib.metadata", "zipfile"} & set(loaded.split())


def test_what_takes_the_place_of_the_loader_is_what_pydantic_would_have_asked() -> None:
    script = "import pydantic.plugin._loader as loader; print(loader.get_plugins())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert "dict_values([])" in said or "()" in said


def test_an_mqtt_link_does_not_load_http_and_email_and_leaves_them_to_whoever_wants_them() -> None:
    wanted_later = "import urllib.request; urllib.request.getproxies()"
    script = f"import sys, gateway.links._paho; print(*sys.modules); {wanted_later}"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert not {"urllib.request", "http.client", "email.parser"} & set(loaded.split())


def test_paho_asks_for_a_proxy_only_where_it_would_dial_itself() -> None:
    asks, dials = getsource(Client._get_proxy), getsource(Client._create_socket_connection)
    others = getsource(Client).replace(asks, "").replace(dials, "")

    assert "urllib.request" in asks
    assert "_get_proxy" in dials
    assert "urllib.request" not in others
    assert "_get_proxy" not in others
