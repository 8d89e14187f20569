"""gatewayctl as its users run it: a process of its own against a control socket; output and exit codes."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from control_kit import RECORDS, Daemon, connected
from ctl_kit import ROOT, Run, ctl, impostor, run

from gateway import __version__, control
from gateway.control import Reloaded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


# status


async def test_status_is_the_picture(path: Path) -> None:
    code, out, err = await ctl(path, Daemon("broker_refused"), "status")
    assert (code, err) == (0, "")
    drawn, golden = out.splitlines(), (RECORDS / "broker_refused.txt").read_text().splitlines()
    assert drawn[0] == golden[0]
    told = "    broker refused: not authorized; tried 37 times, next try in 42 s"
    assert drawn[drawn.index(told) - 1].startswith("! cloud    waiting")
    assert len(drawn) == len(golden)


async def test_status_of_a_name_is_all_about_it(path: Path) -> None:
    code, out, err = await ctl(path, Daemon("missing_tty"), "status", "scale")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("port scale: waiting for ")
    assert "  reason       no such device /dev/ttyUSB1" in lines
    assert "  next try     in 0.7 s; tried 763 times" in lines
    assert not any("cloud" in line for line in lines)


async def test_status_of_an_unknown_name_is_bad_news(path: Path) -> None:
    assert await ctl(path, Daemon(), "status", "scael") == Run(
        1, "", 'gatewayctl: no port, link or device is called "scael"; did you mean "scale"?\n'
    )


@pytest.mark.parametrize("arguments", [("--json", "status"), ("status", "--json")])
async def test_json_is_the_answer_of_the_daemon(path: Path, arguments: tuple[str, ...]) -> None:
    daemon = Daemon()
    code, out, err = await ctl(path, daemon, *arguments)
    assert (code, err) == (0, "")
    assert json.loads(out) == {"ok": True, **daemon.record}


async def test_json_of_an_error_is_json_too(path: Path) -> None:
    code, out, _ = await ctl(path, Daemon("empty"), "--json", "status", "x")
    assert code == 1
    answer = {"ok": False, "error": 'no port, link or device is called "x"; there are: none'}
    assert json.loads(out) == answer


@pytest.mark.parametrize(
    ("record", "name", "code"),
    [
        ("all_fine", "", 0),
        ("empty", "", 0),
        ("broker_refused", "", 1),
        ("missing_tty", "", 1),
        ("silent_device", "", 1),
        ("last_good_config", "", 1),
        ("broker_refused", "cloud", 1),
        ("broker_refused", "scada", 0),
        ("last_good_config", "scada", 0),
    ],
)
async def test_strict_is_0_only_when_all_that_was_asked_for_is_up(
    path: Path, record: str, name: str, code: int
) -> None:
    done = await ctl(path, Daemon(record), "status", *filter(None, [name]), "--strict")
    assert (done.code, done.err) == (code, "")
    assert done.out


async def test_strict_is_1_while_the_daemon_calls_itself_degraded(path: Path) -> None:
    daemon = Daemon()
    daemon.record["gateway"]["state"] = "degraded"
    assert (await ctl(path, daemon, "status", "--strict")).code == 1
    assert (await ctl(path, daemon, "--json", "status", "--strict")).code == 1
    assert (await ctl(path, daemon, "status")).code == 0


async def test_a_console_that_knows_ascii_only_gets_what_it_can_show(path: Path) -> None:
    daemon = Daemon()
    daemon.record["gateway"]["name"] = "Kläranlage"
    done = await ctl(path, daemon, "status", PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Kl?ranlage: ok, all 7 up")


# the other verbs


async def test_reload_says_what_changed(path: Path) -> None:
    daemon = Daemon()
    assert (await ctl(path, daemon, "reload")).out == "reloaded; changed: nothing\n"
    daemon.reloaded = Reloaded([], ["gateway.toml:3:1: doubtful"], ["links.cloud", "ports.meters"])
    assert await ctl(path, daemon, "reload") == Run(
        0, "gateway.toml:3:1: doubtful\nreloaded; changed: links.cloud, ports.meters\n", ""
    )
    assert daemon.reloads == 2


async def test_a_bad_file_is_not_loaded_and_every_problem_is_said(path: Path) -> None:
    daemon = Daemon()
    daemon.reloaded = Reloaded(["g.toml:1:1: a: unknown", "g.toml:2:1: b: unknown"], ["g.toml:3:1: c"], [])
    assert await ctl(path, daemon, "reload") == Run(
        1,
        "",
        "g.toml:1:1: a: unknown\ng.toml:2:1: b: unknown\ng.toml:3:1: c\n"
        "gatewayctl: the config file has problems; nothing was changed\n",
    )
    done = await ctl(path, daemon, "--json", "reload")
    assert done.code == 1
    assert json.loads(done.out)["problems"] == ["g.toml:1:1: a: unknown", "g.toml:2:1: b: unknown"]


async def test_version_tells_both(path: Path) -> None:
    both = f"gatewayctl {__version__}\ngatewayd {__version__}\n"
    assert await ctl(path, Daemon(), "version") == Run(0, both, "")
    done = await ctl(path, Daemon(), "version", "--json")
    assert json.loads(done.out) == {"gatewayctl": __version__, "gatewayd": __version__}
    alone = await run(path, "v")
    assert alone.code == 0
    assert alone.out.startswith(f"gatewayctl {__version__}\nno gatewayd answers on {path}: ")


async def test_version_says_when_the_daemon_is_another_one(path: Path) -> None:
    async with impostor(path, b'{"ok":true,"version":"0.0.9"}\n'):
        done = await run(path, "version")
    assert done == Run(0, f"gatewayctl {__version__}\ngatewayd 0.0.9: another one, restart it\n", "")


async def test_check_of_a_good_file_needs_no_daemon(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nname = "pump-house-7"\n')
    assert await run(path, "check", str(file)) == Run(0, f"{file}: good\n", "")
    assert json.loads((await run(path, "--json", "check", str(file))).out) == {
        "ok": True,
        "problems": [],
        "warnings": [],
        "at_rest": {},
    }


async def test_check_says_every_problem_and_counts_them(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nnaem = "a"\n\n[links.x]\nkind = "tcp"\nprot = "y"\nlisten = ":4001"\n')
    code, out, err = await run(path, "check", str(file))
    *problems, last = out.splitlines()
    assert (code, err) == (1, "")
    assert problems[0] == f'{file}:2:1: gateway.naem: unknown key, did you mean "name"?'
    assert f'{file}:6:1: links.x.prot: unknown key, did you mean "port"?' in problems
    assert last == f"{file}: {len(problems)} problems"
    answer = json.loads((await run(path, "--json", "check", str(file))).out)
    assert answer == {"ok": False, "problems": problems, "warnings": [], "at_rest": {}}


async def test_a_warning_does_not_make_a_file_bad(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nname = "raspberrypi"\n')
    code, out, err = await run(path, "check", str(file))
    warning, last = out.splitlines()
    assert (code, err) == (0, "")
    assert warning.startswith(f"{file}:2:1: warning: gateway.name: ")
    assert last == f"{file}: good, 1 warning"


async def test_schema_is_a_json_schema(path: Path) -> None:
    code, out, err = await run(path, "schema")
    assert (code, err) == (0, "")
    assert {"gateway", "ports", "links", "devices"} <= set(json.loads(out)["properties"])


# cost


async def test_status_loads_nothing_of_the_daemon(path: Path) -> None:
    code = "import sys; from gateway.ctl import main; main(); print(*sys.modules, file=sys.stderr)"
    async with control.serve(path, Daemon()):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", code, "--socket", str(path), "status"),
            cwd=ROOT,
            stdout=PIPE,
            stderr=PIPE,
        )
        _, err = await process.communicate()
    loaded = set(err.decode().split())
    assert {name for name in loaded if name.startswith("gateway")} == {
        "gateway",
        "gateway.ctl",
        "gateway.ctl.arguments",
        "gateway.ctl.asking",
        "gateway.ctl.terminal",
        "gateway.show",
        "gateway.show.columns",
        "gateway.show.picture",
    }
    assert not {"asyncio", "pydantic", "logging", "ssl", "subprocess", "tomllib"} & loaded


async def test_what_other_programs_speak_is_what_gatewayctl_speaks(path: Path) -> None:
    async with control.serve(path, Daemon()), connected(path) as client:
        assert await client.ask(verb="status") == json.loads((await run(path, "--json", "status")).out)
