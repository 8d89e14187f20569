"""pydantic starts without its search for plugins."""

import subprocess
import sys


def test_settings_do_not_load_the_metadata_of_all_that_is_installed() -> None:
    script = "import sys, gateway.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert not {"importlib.metadata", "zipfile"} & set(loaded.split())


def test_what_takes_the_place_of_the_loader_is_what_pydantic_would_have_asked() -> None:
    script = "import pydantic.plugin._loader as loader; print(loader.get_plugins())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert "dict_values([])" in said or "()" in said
