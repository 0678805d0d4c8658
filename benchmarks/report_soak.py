"""`python -m benchmarks.report_soak [--gib 32] [--beside 2] [--tmp FOLDER]`: one large volume.

Labels of uint32, 1024 x 1024 x n voxels in a sparse `.npy`: one row of blocks of 128^3 in eight
holds supervoxels with ids of their own, the others are holes. They are converted with
`--memory 512M`, killed three times on the way and resumed; then validated, read in random cutouts,
meshed at scale 2 and packed. A smaller source of the same kind, and the large one once more, are
converted without a kill, to compare the time that a voxel takes with and without the work that
kills cost. Whatever does not end as it should ends the run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.report_convert import BIN, environment
from benchmarks.workloads import supervoxels

import ngcore

SIDE = 1024
BLOCK = 128
MEMORY = "512M"
KILLS = 3
CUTOUTS = 200
GIBIBYTE = 1 << 30
MEBIBYTE = 1 << 20
_PEAK = re.compile(r"VmHWM:\s+([0-9]+) kB")


class Measured(NamedTuple):
    """One process: wall and processor time in seconds, peak of resident memory in bytes."""

    wall: float
    processor: float
    peak: int


def block_ids() -> np.ndarray:
    """Return supervoxels of a block, numbered from 1, shape (x, y, z)."""
    _, numbers = np.unique(supervoxels(BLOCK // 2, "uint32", rough=True), return_inverse=True)
    half = numbers.reshape((BLOCK // 2,) * 3).astype(np.uint32) + 1
    return half.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)


def is_full(y: int, z: int) -> bool:
    """Tell which blocks of the source are not holes: one row of blocks along x in eight."""
    return (y + 3 * z) % (SIDE // BLOCK) == 0


def first_id(ids: np.ndarray, block: tuple[int, ...]) -> np.uint32:
    """Return what is added to the ids of a block, so that no other one has them."""
    x, y, z = block
    return np.uint32(int(ids.max()) * ((z * 8 + y) * 8 + x))


def expected(ids: np.ndarray, start: tuple[int, ...], size: int) -> np.ndarray:
    """Return what a cube within one block holds."""
    block = tuple(at // BLOCK for at in start)
    if not is_full(*block[1:]):
        return np.zeros((size,) * 3, np.uint32)
    x, y, z = (at % BLOCK for at in start)
    return ids[x : x + size, y : y + size, z : z + size] + first_id(ids, block)


def write_source(path: Path, ids: np.ndarray, gib: float) -> int:
    """Write a source; return how many planes it has. x lies together: `--axes zyx`."""
    planes = max(2, round(gib * GIBIBYTE / (4 * SIDE * SIDE * BLOCK))) * BLOCK
    header = {"descr": "<u4", "fortran_order": False, "shape": (planes, SIDE, SIDE)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + planes * SIDE * SIDE * 4)
        for plane in range(planes):
            z = plane // BLOCK
            for y in filter(lambda y: is_full(y, z), range(SIDE // BLOCK)):
                rows = ids[:, :, plane % BLOCK].T
                blocks = [rows + first_id(ids, (x, y, z)) for x in range(SIDE // BLOCK)]
                file.seek(start + (plane * SIDE + y * BLOCK) * SIDE * 4)
                file.write(np.concatenate(blocks, axis=1).tobytes())
    return planes


def run(*words: str, kill_after: float | None = None) -> Measured:
    """Run `ngcore`; kill it after some seconds."""
    start = time.perf_counter()
    process = subprocess.Popen([str(BIN / "ngcore"), *words], env=environment())
    peak, status = 0, 0
    while True:
        with suppress(OSError):  # the system's own figure counts this process before the start
            found = _PEAK.search(Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found[1]) * 1024 if found else 0)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if kill_after is not None and time.perf_counter() - start > kill_after:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.02)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != (0 if kill_after is None else -signal.SIGKILL):
        raise SystemExit(f"ngcore {' '.join(words)} ended with {process.returncode}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, peak)


def convert(source: Path, out: Path, *options: str, kill_after: float | None = None) -> Measured:
    """Convert a source."""
    return run(
        *("convert", str(source), str(out), "--type", "segmentation", "--axes", "zyx"),
        *("--resolution", "8,8,8", "--memory", MEMORY, "--quiet", *options),
        kill_after=kill_after,
    )


def check_cutouts(out: Path, ids: np.ndarray, shape: tuple[int, ...]) -> float:
    """Compare random cutouts with the source; return the seconds that reading took."""
    random = np.random.default_rng(0)
    scale = ngcore.open(out).scales[0]
    taken = 0.0
    for _ in range(CUTOUTS):
        block = [int(random.integers(0, side // BLOCK)) for side in shape]
        start = tuple(n * BLOCK + int(random.integers(0, BLOCK - 64)) for n in block)
        before = time.perf_counter()
        found = scale[tuple(slice(at, at + 64) for at in start)]
        taken += time.perf_counter() - before
        if not np.array_equal(found[..., 0], expected(ids, start, 64)):
            raise SystemExit(f"the cutout at {start} is not what the source holds")
    return taken


def soak(folder: Path, gib: float, beside: float) -> None:
    """Print a row for each step."""
    ids = block_ids()
    small, out = folder / "small.npy", folder / "small"
    planes = write_source(small, ids, beside)
    reference = convert(small, out)
    per_voxel = reference.wall / planes, reference.processor / planes
    print(_row(f"convert {beside:g} GiB", reference), flush=True)
    small.unlink()
    source, out = folder / "large.npy", folder / "large"
    planes = write_source(source, ids, gib)
    at_once = convert(source, folder / "at once")
    print(_row(f"convert {gib:g} GiB", at_once), flush=True)
    _print_ratios(at_once, planes, per_voxel)
    shutil.rmtree(folder / "at once")
    pause = per_voxel[0] * planes / (KILLS + 1)
    runs = [convert(source, out, "--resume", kill_after=pause) for _ in range(KILLS)]
    runs.append(convert(source, out, "--resume"))
    whole = Measured(
        sum(part.wall for part in runs),
        sum(part.processor for part in runs),
        max(part.peak for part in runs),
    )
    print(_row(f"convert {gib:g} GiB, killed {KILLS} times", whole), flush=True)
    _print_ratios(whole, planes, per_voxel)
    print(_row("validate", run("validate", str(out))), flush=True)
    taken = check_cutouts(out, ids, (SIDE, SIDE, planes))
    print(f"{CUTOUTS} cutouts of 64^3: {taken:.1f} s, all as in the source", flush=True)
    print(_row("mesh --scale 2", run("mesh", str(out), "--scale", "2")), flush=True)
    print(_row("pack", run("pack", str(out), str(folder / "large.zip"))), flush=True)
    left = sorted(path.name for path in [*out.glob(".*"), *folder.glob(".*")])
    if left:
        raise SystemExit(f"left over: {', '.join(left)}")
    print("no leftovers")


def _print_ratios(measured: Measured, planes: int, per_voxel: tuple[float, float]) -> None:
    wall, processor = measured.wall / planes, measured.processor / planes
    print(
        f"  per voxel {wall / per_voxel[0]:.2f}x wall, {processor / per_voxel[1]:.2f}x processor "
        "time of the small one",
        flush=True,
    )


def _row(name: str, measured: Measured) -> str:
    wall, processor, peak = measured
    return f"{name}: {wall:.1f} s, processor {processor:.1f} s, peak {peak / MEBIBYTE:.0f} MiB"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=32)
    parser.add_argument("--beside", type=float, default=2)
    parser.add_argument("--tmp", type=Path, help="where the sources and volumes go")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.tmp) as folder:
        soak(Path(folder), asked.gib, asked.beside)


if __name__ == "__main__":
    main()
