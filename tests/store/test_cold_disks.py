"""Records on disk: killed, full, read-only, gone, in use by somebody else."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from cold_kit import ENVIRON, everything, fill, frames, is_true, numbers

from gateway.errors import StoreError
from gateway.store.cold import Cold


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.buffer"


WRITER = """
import sys
from cold_kit import *
cold = Cold.open(Path(sys.argv[1]))
while True:
    first = cold.last + 1
    cold.put(frames(first, first + 6), first - 500)
    print(cold.last, flush=True)
"""
IMPORTS = """
import json, os, resource, subprocess, sys
from cold_kit import *
from gateway.errors import StoreError
"""


def test_kill_9_loses_nothing_that_was_committed(path: Path) -> None:
    dice = random.Random(4)
    last = 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=ENVIRON
        ) as child:
            assert child.stdout
            for _ in range(dice.randrange(1, 60)):
                last = int(child.stdout.readline())
            time.sleep(dice.random() / 500)  # somewhere inside a transaction
            child.kill()
            last = max([last, *map(int, child.stdout.read().split("\n")[:-1])])
        cold = Cold.open(path)
        found = everything(cold)
        assert is_true(found)
        assert [one.number for one in found] == list(range(cold.confirmed + 1, cold.last + 1))
        assert last <= cold.last <= last + 7
        assert (cold.records, cold.gone) == (len(found), 0)
        cold.close()


def in_small_disk(script: str) -> dict[str, Any]:
    """Runs it in a mount namespace, in a directory that is a tmpfs of 1 MB. It prints JSON."""
    place = tempfile.mkdtemp()
    mount = f"mount -t tmpfs -o size=1m none {place} && exec {sys.executable} - {place}"
    if subprocess.run(["unshare", "-Urm", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("unshare is not allowed here")
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount],
        input=IMPORTS + script,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=ENVIRON,
    )
    os.rmdir(place)
    return dict(json.loads(done.stdout))


FULL = """
others = Path(sys.argv[1], "others")
others.write_bytes(bytes(300_000))
cold = Cold.open(Path(sys.argv[1], "q"))
def until_full():
    while True:
        try:
            cold.put(frames(cold.last + 1, cold.last + 20), 0)
        except StoreError as error:
            return [str(error), error.full, numbers(cold) == list(range(cold.first, cold.last + 1)),
            cold.records]
first = until_full()
again = until_full()
others.unlink()
gone = cold.drop_oldest(100_000)
second = until_full()
cold.close()
cold = Cold.open(Path(sys.argv[1], "q"))
print(json.dumps({"first": first, "again": again, "gone": gone, "second": second, "at_end": numbers(cold)}))
"""


@pytest.mark.needs("unshare", "mount")
def test_a_full_disk_is_told_and_keeps_what_it_has_and_goes_on_when_there_is_room() -> None:
    found = in_small_disk(FULL)
    reason, full, whole, records = found["first"]
    assert reason.endswith("the disk is full")
    assert (full, whole) == (True, True)
    assert records > 500
    assert found["again"] == found["first"]
    assert found["gone"] > 300
    assert found["second"][1:3] == [True, True]
    assert len(found["at_end"]) == found["second"][3] > records - found["gone"]
    assert found["at_end"][0] == found["gone"] + 1


BROKEN = """
path = Path(sys.argv[1])
cold = Cold.open(path)
fill(cold, 1, 500)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    fill(cold, 501, 5000)
except StoreError as error:
    told = [str(error).rpartition(": ")[2], error.full]
last = cold.last
stood = numbers(cold) == list(range(1, last + 1))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
cold.close()
cold = Cold.open(path)
print(json.dumps([told, stood, cold.records - last, cold.gone]))
"""


def test_a_disk_that_does_not_write_is_told_and_what_was_committed_is_there_later(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS + BROKEN, str(path)], stdout=subprocess.PIPE, check=True, env=ENVIRON
    )
    assert json.loads(done.stdout) == [["the disk has an error", False], True, 0, 0]


NO_ROOM_TO_SAVE = """
path, others = Path(sys.argv[1], "q"), Path(sys.argv[1], "others")
cold = Cold.open(path)
fill(cold, 1, 1000)
cold.close()
rewrite(path, lambda data: data.__setitem__(slice(0, 100), b"g" * 100))
others.write_bytes(bytes(600_000))
try:
    Cold.open(path)
except StoreError as error:
    told = [str(error).rpartition(": ")[2], error.full]
others.unlink()
cold = Cold.open(path)
print(json.dumps({"told": told, "asides": asides(path), "records": [cold.records, len(everything(cold))]}))
"""


@pytest.mark.needs("unshare", "mount")
def test_a_damaged_file_waits_where_it_is_until_there_is_room_to_save_it() -> None:
    found = in_small_disk(NO_ROOM_TO_SAVE)
    assert found == {"told": ["the disk is full", False], "asides": [".damaged-1"], "records": [1000, 1000]}


READ_ONLY = """
def refused(call):
    try:
        call()
    except StoreError as error:
        return [str(error).rpartition(": ")[2], error.full]
def remount(how):
    subprocess.run(["mount", "-o", "remount," + how, sys.argv[1]], check=True)
path = Path(sys.argv[1], "q")
cold = Cold.open(path)
fill(cold, 1, 500)
cold.close()
remount("ro")
at_start = refused(lambda: Cold.open(path))
remount("rw")
cold = Cold.open(path)
fill(cold, 501, 600)
cold.close()
print(json.dumps({"at_start": at_start, "records": Cold.open(path).records}))
"""


@pytest.mark.needs("unshare", "mount")
def test_a_read_only_disk_is_told_and_used_again_once_it_can_be_written() -> None:
    found = in_small_disk(READ_ONLY)
    assert found == {"at_start": ["the disk is read-only", False], "records": 600}


def test_a_file_that_is_gone_is_told_and_a_new_one_begun(path: Path) -> None:
    place = path.parent / "state"
    place.mkdir()
    cold = Cold.open(place / "q")
    fill(cold, 1, 100)
    shutil.rmtree(place)
    with pytest.raises(StoreError, match="it is gone") as told:
        cold.put(frames(101, 110), 0)
    assert not told.value.full
    assert cold.records == 100
    cold.close()
    cold = Cold.open(place / "q")
    cold.put(frames(101, 110), 0)
    assert numbers(cold) == list(range(101, 111))
    cold.close()


def test_nobody_else_has_the_file_meanwhile(path: Path) -> None:
    cold = Cold.open(path)
    with pytest.raises(StoreError, match="another program has it open"):
        Cold.open(path)
    fill(cold, 1, 10)
    assert cold.records == 10
    cold.close()


def test_a_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as told:
        Cold.open(tmp_path)
    assert not told.value.full
    with pytest.raises(StoreError):
        Cold.open(tmp_path / "no" / "such" / "place")
