"""Conversions that are killed at any moment go on until they are what they would have been."""

import itertools
import os
import random
import shutil
import signal
import sys
import time

import pytest
from thorough import IS_THOROUGH, amount

from faults.conversions import CONVERSIONS, SmallConversion, all_bytes, make_sources
from faults.processes import server
from ngcore.cli import run
from ngcore.transaction.journal import PLAN
from ngcore.validating.validate import validate

KILLED = {
    **CONVERSIONS,
    # More passes than one: the cross-section does not fit in memory.
    "passes": SmallConversion(options=["--memory", "160M", "--no-sharding"]),
    "overwrite": SmallConversion(options=["--overwrite"]),
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


def work_seconds(processes, command, out):
    """Return how long a conversion takes from the moment that it writes."""
    processes.start(command)
    begin = wait_for_plan(out)
    assert processes.wait() == 0
    return time.monotonic() - begin


def wait_for_plan(out):
    while not (out / PLAN).exists() and not (out / "info").exists():
        time.sleep(0.001)
    return time.monotonic()


@pytest.mark.parametrize("name", KILLED if IS_THOROUGH else ["sharded", "nested, gzip"])
def test_killed_conversions_go_on_until_they_are_whole(name, tmp_path):
    make_sources(tmp_path, (150, 160, 130) if IS_THOROUGH else (80, 90, 70))
    rng = random.Random(name)
    out, old = tmp_path / "out", tmp_path / "old"
    command = KILLED[name].command(tmp_path)
    is_overwrite = "--overwrite" in command
    if is_overwrite:
        assert run([*CONVERSIONS["flat"].command(tmp_path), str(old)]) == 0
        shutil.copytree(old, out)
        command.remove("--overwrite")
    before = all_bytes(old) if is_overwrite else None
    with server() as processes:
        seconds = work_seconds(processes, [*command, tmp_path / "whole"], tmp_path / "whole")
        whole = all_bytes(tmp_path / "whole")
        kills, at_work = 0, 0
        for number in itertools.count():
            if number >= amount(3, 20) and at_work:
                break
            assert number < 100, "no run was caught at work"
            is_new = (out / "info").exists() and all_bytes(out) == before
            option = "--overwrite" if is_overwrite and is_new else "--resume"
            child = processes.start([*command, option, out])
            if number % 2:
                time.sleep(rng.uniform(0, 0.02))  # while it starts, or looks at what is there
            else:
                wait_for_plan(out)
                time.sleep(rng.uniform(0, seconds / 2) if number else 0)
            os.kill(child, signal.SIGKILL)
            status = processes.wait()
            assert status in (0, -signal.SIGKILL)
            kills += status != 0
            at_work += status != 0 and (out / PLAN).exists()
            found = all_bytes(out) if out.exists() else {}
            if "info" in found:
                assert found in (whole, before)
                assert not validate(out).errors
            if found == whole and status == 0:
                shutil.rmtree(out)
                if is_overwrite:
                    shutil.copytree(old, out)
        option = "--overwrite" if is_overwrite and all_bytes(out) == before else "--resume"
        processes.start([*command, option, out])
        assert processes.wait() == 0
    assert all_bytes(out) == whole
    print(f"{name}: {kills} kills, {at_work} of them at work, {seconds:.2f} s undisturbed")
