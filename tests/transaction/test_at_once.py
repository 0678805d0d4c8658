"""Copies of a command that run at once end as one would have, or say that the place is in use."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from thorough import IS_THOROUGH

from faults.commands import PREPARED, STEPS, Step, make_inputs
from faults.record_commands import digests
from ngcore.cli import run

QUICK = ["labels, others", "mesh-to-precomputed"]


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """The disk before and after each command."""
    folder = tmp_path_factory.mktemp("states")
    (folder / "disk").mkdir()
    make_inputs(folder)
    last = list(STEPS)[-1] if IS_THOROUGH else QUICK[-1]
    for name, step in STEPS.items():
        for words in PREPARED.get(name, ()):
            assert run(Step(words, "").command(folder)) == 0
        shutil.copytree(folder / "disk", folder / name)
        assert run(step.command(folder)) == 0
        if name == last:
            break
        shutil.copytree(folder / "disk", folder / f"after {name}")
    shutil.copytree(folder / "disk", folder / f"after {last}")
    return folder


@pytest.mark.parametrize("name", STEPS if IS_THOROUGH else QUICK)
def test_two_copies_at_once_end_as_one_would_have(states, tmp_path, name):
    shutil.copytree(states / name, tmp_path / "disk")
    command = STEPS[name].command(states, after=tmp_path)
    copies = [
        subprocess.Popen([sys.executable, "-m", "ngcore", *command], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [copy.communicate()[1].decode() for copy in copies]
    statuses = [copy.returncode for copy in copies]
    assert 0 in statuses
    assert set(statuses) <= {0, 2}, told
    for text, status in zip(told, statuses, strict=True):
        assert status == 0 or "in use" in text or "already" in text
    if name != "mesh":
        assert digests(tmp_path / "disk") == digests(states / f"after {name}")


def test_a_conversion_beside_a_copy_of_itself_is_whole(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 255, (90, 80, 70), np.uint8)
    np.save(tmp_path / "a.npy", voxels)
    words = ["convert", str(tmp_path / "a.npy"), str(tmp_path / "out"), "--resolution", "8,8,8"]
    words += ["--chunk-size", "16", "--type", "image", "--resume"]
    copies = [
        subprocess.Popen([sys.executable, "-m", "ngcore", *words], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [copy.communicate()[1].decode() for copy in copies]
    assert {copy.returncode for copy in copies} <= {0, 2}, told
    assert run([*words[:2], str(tmp_path / "whole"), *words[3:]]) == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
