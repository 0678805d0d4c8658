"""`ngcore mesh` that is interrupted leaves the old meshes, or all of the new ones."""

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

import ngcore
from ngcore.pipelines.meshing.mesh import write_meshes
from ngcore.pipelines.validate import validate
from thorough import amount

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


def command(dest: Path) -> list[str]:
    return [sys.executable, "-m", "ngcore", "mesh", str(dest), "--overwrite", "--workers", "2"]


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
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
    shutil.copytree(folder / "old", folder / "new")
    write_meshes(folder / "new", overwrite=True, workers=1)
    return folder / "old", tree(folder / "new")


def test_killed_runs_leave_the_old_meshes_or_the_new_ones(
    volumes: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    old, new = volumes
    begin, dest = time.monotonic(), tmp_path / "whole"
    shutil.copytree(old, dest)
    subprocess.run(command(dest), check=True)
    seconds = time.monotonic() - begin
    assert tree(dest) == new
    rng = random.Random(0)
    for number in range(amount(1, 60)):
        dest = tmp_path / str(number)
        shutil.copytree(old, dest)
        with subprocess.Popen(command(dest), text=True) as process:
            time.sleep(rng.uniform(0.3, 1) * seconds)
            workers = workers_of(process)
            process.kill()
        assert validate(dest).is_sound
        assert json.loads((dest / "info").read_text())["mesh"] in ("mesh", "mesh-2")
        for worker in workers:
            until_gone(worker)
        subprocess.run(command(dest), check=True)
        assert validate(dest).is_sound
        meshes = json.loads((dest / "info").read_text())["mesh"]
        assert tree(dest / meshes) == tree_of_meshes(new)
        shutil.rmtree(dest)


def tree_of_meshes(files: dict[str, bytes]) -> dict[str, bytes]:
    return {
        name.removeprefix("/mesh-2"): data
        for name, data in files.items()
        if name.startswith("/mesh-2/")
    }


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
def test_signal_ends_it_soon_and_leaves_nothing(
    volumes: tuple[Path, dict[str, bytes]], tmp_path: Path, number: int, status: int, word: str
) -> None:
    old, _ = volumes
    shutil.copytree(old, tmp_path / "volume")
    before = set((tmp_path / "volume").rglob("*"))
    with subprocess.Popen(
        command(tmp_path / "volume"), stderr=subprocess.PIPE, text=True
    ) as process:
        while not workers_of(process):
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=15)
    assert process.returncode == status
    assert err == f"ngcore: error: {word}\n"
    assert set((tmp_path / "volume").rglob("*")) == before
