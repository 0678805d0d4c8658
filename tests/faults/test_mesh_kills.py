"""`ngcore mesh` that is interrupted leaves the old meshes or the new ones, and can go on."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from thorough import amount

import ngcore
from ngcore.meshing.mesh import write_meshes
from ngcore.validating.validate import validate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


def tree(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file that is not hidden."""
    return {
        name: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "/." not in (name := f"/{path.relative_to(folder).as_posix()}")
    }


def command(dest: Path, how: str = "--overwrite", sharding: str = "--sharding") -> list[str]:
    options = [how, sharding, "--workers", "2"]
    return [sys.executable, "-m", "ngcore", "mesh", str(dest), *options]


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, bytes]]]:
    """A volume with the mesh of one label, and what it is when all of them have one."""
    folder = tmp_path_factory.mktemp("kills")
    x, y, z = np.indices((70, 60, 50)) // 11
    labels = (x + 7 * y + 49 * z).astype(np.uint32)
    ngcore.convert(
        labels,
        folder / "old",
        type="segmentation",
        resolution=(8, 8, 8),
        chunk_size=16,
        fsync=False,
    )
    write_meshes(folder / "old", labels=[5], workers=1)
    new = {}
    for sharding in ("--sharding", "--no-sharding"):
        dest = folder / sharding
        shutil.copytree(folder / "old", dest)
        write_meshes(dest, overwrite=True, sharding=sharding == "--sharding", workers=1)
        new[sharding] = tree(dest)
    return folder / "old", new


def test_killed_runs_go_on_to_the_same_bytes(
    volumes: tuple[Path, dict[str, dict[str, bytes]]], tmp_path: Path
) -> None:
    old, new = volumes
    begin, dest = time.monotonic(), tmp_path / "whole"
    shutil.copytree(old, dest)
    subprocess.run(command(dest), check=True)
    seconds = time.monotonic() - begin
    assert tree(dest) == new["--sharding"]
    rng = random.Random(0)
    for number in range(amount(1, 60)):
        dest = tmp_path / str(number)
        shutil.copytree(old, dest)
        sharding = ("--sharding", "--no-sharding")[number % 2]
        how = "--overwrite"
        for _ in range(amount(1, 1 + number % 3)):
            kill(command(dest, how, sharding), rng.uniform(0.3, 1) * seconds)
            assert validate(dest).is_sound
            assert json.loads((dest / "info").read_text())["mesh"] in ("mesh", "mesh-2")
            # Killed before there was anything to go on with, the old meshes are untouched.
            is_begun = (dest / ".ngcore-mesh" / ".ngcore" / "plan.json").exists()
            is_done = json.loads((dest / "info").read_text())["mesh"] == "mesh-2"
            how = "--resume" if is_begun or is_done else "--overwrite"
        subprocess.run(command(dest, how, sharding), check=True)
        assert validate(dest).is_sound
        assert tree(dest) == new[sharding]
        assert not [path for path in dest.iterdir() if path.name.startswith(".")]
        shutil.rmtree(dest)


def kill(words: list[str], seconds: float) -> None:
    """Start a command, kill it some time later, and wait until its workers have ended too."""
    with subprocess.Popen(words, text=True) as process:
        time.sleep(seconds)
        workers = workers_of(process)
        process.kill()
    for worker in workers:
        until_gone(worker)


def until_gone(pid: int) -> None:
    """Wait until a process that has lost its parent ends, as it must within a call or two."""
    for _ in range(600):
        if subprocess.run(["kill", "-0", str(pid)], stderr=subprocess.DEVNULL).returncode:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} goes on")


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_signal_ends_it_soon_and_it_can_go_on(
    volumes: tuple[Path, dict[str, dict[str, bytes]]],
    tmp_path: Path,
    number: int,
    status: int,
    word: str,
) -> None:
    old, new = volumes
    dest = tmp_path / "volume"
    shutil.copytree(old, dest)
    before = tree(dest)
    with subprocess.Popen(command(dest), stderr=subprocess.PIPE, text=True) as process:
        while not workers_of(process):
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=15)
    assert process.returncode == status
    how = "pass --resume instead of --overwrite to the same command to continue"
    assert err == f"ngcore: error: {word}; {how}\n"
    assert tree(dest) == before
    write_meshes(dest, resume=True, workers=1)
    assert tree(dest) == new["--sharding"]
