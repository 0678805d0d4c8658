"""Repairs killed at any moment leave nothing that looks whole; they go on or start anew."""

import itertools
import os
import random
import shutil
import signal
import sys
import time

import pytest
from thorough import IS_THOROUGH, amount

from faults.conversions import all_bytes
from faults.processes import server
from faults.repairs import REPAIRS, SmallRepair, make_old
from ngcore.cli import run
from ngcore.transaction.journal import PLAN
from ngcore.validating.validate import validate

# Over a volume with meshes, names and skeletons of its own.
KILLED = {**REPAIRS, "overwrite": SmallRepair("sharded", ["--overwrite"])}
CASES = [*KILLED] if IS_THOROUGH else ["overwrite"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


def wait_for_writing(out, before):
    while not (out / PLAN).exists() and ((out / "info").exists() is (before is not None)):
        time.sleep(0.0005)
    return time.monotonic()


def work_seconds(processes, command, out):
    """Return how long a repair takes from the moment that it writes until `info` is there."""
    processes.start([*command, out])
    begin = wait_for_writing(out, None)
    while not (out / "info").exists():
        time.sleep(0.0005)
    seconds = time.monotonic() - begin
    assert processes.wait() == 0
    return seconds


@pytest.mark.parametrize("name", CASES)
def test_killed_repairs_are_never_taken_for_whole_and_end_with_the_same_bytes(name, tmp_path):
    small, rng = KILLED[name], random.Random(name)
    small.make_source(tmp_path)
    source = all_bytes(tmp_path / "source")
    command = [part for part in small.command(tmp_path) if part != "--overwrite"]
    out, old, before = tmp_path / "out", tmp_path / "old", None
    if name == "overwrite":
        make_old(tmp_path)
        before = all_bytes(old)

    def start_anew():
        shutil.rmtree(out, ignore_errors=True)
        if before is not None:
            shutil.copytree(old, out)

    kills = at_work = 0
    with server() as processes:
        seconds = work_seconds(processes, command, tmp_path / "whole")
        whole = all_bytes(tmp_path / "whole")
        assert {found.kind for found in validate(tmp_path / "whole").findings} <= {"added"}
        start_anew()
        for number in itertools.count():
            if number >= amount(3, 40) and at_work:
                break
            assert number < 100, "no run was caught at work"
            is_unfinished = (out / PLAN).exists()
            if is_unfinished and number == 1:
                assert run([*command, str(out)]) == 2  # refused: it must be asked for
            option = ["--overwrite"] if is_unfinished or before is not None else []
            if is_unfinished and number % 3:
                option = ["--resume"]
            child = processes.start([*command, *option, out])
            if number % 4 != 3:
                wait_for_writing(out, before)
                time.sleep(rng.uniform(0, seconds) if number else 0)
            else:
                time.sleep(rng.uniform(0, 0.03))  # while it starts, or clears what is there
            os.kill(child, signal.SIGKILL)
            status = processes.wait()
            assert status in (0, -signal.SIGKILL)
            kills += status != 0
            found = all_bytes(out) if out.exists() else {}
            at_work += status != 0 and (out / PLAN).exists()
            if "info" in found:
                assert found in (whole, before)
            if found == whole:
                start_anew()
        is_unfinished = (out / PLAN).exists()
        processes.start([*command, "--resume" if is_unfinished else "--overwrite", out])
        assert processes.wait() == 0
    assert all_bytes(out) == whole
    assert all_bytes(tmp_path / "source") == source
    print(f"{name}: {kills} kills, {at_work} of them at work, {seconds:.2f} s undisturbed")
