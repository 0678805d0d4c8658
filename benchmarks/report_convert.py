"""`python -m benchmarks.report_convert [--side N] [--rounds N]`: conversions beside the peers.

Every figure is a ratio of medians of whole processes, ours and theirs run alternately in one run.
Peers that are not installed beside this Python are left out, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from benchmarks.workloads import tiled_supervoxels

BIN = Path(sys.executable).parent
SCALES = 4
NGCORE_OPTIONS = ["--resolution", "8,8,8", "--chunk-size", "64", "--max-scales", str(SCALES)]


@dataclass(frozen=True, slots=True)
class Case:
    """One conversion, ours and a peer's.

    Attributes
    ----------
    name, peer : str
        For the table.
    ours, theirs : list of list of str
        Commands to run one after the other; OUT stands for the destination.
    bar : float
        The ratio that is asked for.
    rounds : int or None
        How often, where that is not as often as the others.
    """

    name: str
    peer: str
    ours: list[list[str]]
    theirs: list[list[str]]
    bar: float
    rounds: int | None = None


def brain(side: int) -> np.ndarray:
    """Return a noisy ball of uint8 in an empty box, which compresses about as a head does."""
    random = np.random.default_rng(0)
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    voxels = np.empty((side,) * 3, np.uint8, order="F")
    for z in range(side):
        radius = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2 + axis[z] ** 2)
        plane = np.clip(1 - radius, 0, 1) * 180
        noisy = np.clip(plane + random.normal(0, 8, plane.shape), 0, 255)
        voxels[:, :, z] = np.where(plane > 20, noisy, 0)
    return voxels


def write_sources(folder: Path, side: int) -> None:
    """Write the image and the labels that are converted."""
    image = nibabel.Nifti1Image(brain(side), np.diag([8e-6, 8e-6, 8e-6, 1]))
    nibabel.save(image, folder / "image.nii")
    nibabel.save(image, folder / "image.nii.gz")
    np.save(folder / "labels.npy", tiled_supervoxels(side, "uint64"))
    np.save(folder / "small.npy", np.zeros((32, 32, 32), np.uint8))


def cases(folder: Path) -> list[Case]:
    """Return every comparison that can be made with what is installed."""
    image, labels = str(folder / "image.nii"), str(folder / "labels.npy")
    ngcore = [str(BIN / "ngcore"), "convert"]
    no_sync = "--no-fsync"

    def ours(source: str, *options: str) -> list[list[str]]:
        return [[*ngcore, source, "OUT", *NGCORE_OPTIONS, no_sync, *options]]

    def tensorstore(source: str, kind: str, layout: str) -> list[list[str]]:
        script = str(Path(__file__).with_name("convert_with_tensorstore.py"))
        return [[sys.executable, script, source, "OUT", kind, layout, str(SCALES)]]

    as_labels = ["--type", "segmentation"]
    found = [
        Case(
            "uint8 .nii to raw, unsharded",
            "tensorstore",
            ours(image, "--no-sharding"),
            tensorstore(image, "image", "unsharded"),
            1.3,
        ),
        Case(
            "uint8 .nii to raw, sharded, gzip",
            "tensorstore",
            ours(image),
            tensorstore(image, "image", "sharded"),
            10,
        ),
        Case(
            "uint64 labels .npy to compressed_segmentation, unsharded",
            "tensorstore",
            ours(labels, "--no-sharding", *as_labels),
            tensorstore(labels, "segmentation", "unsharded"),
            3,
        ),
        Case(
            "the same, sharded, gzip",
            "tensorstore",
            ours(labels, *as_labels),
            tensorstore(labels, "segmentation", "sharded"),
            4,
        ),
        Case(
            "2 workers against 1, uint64 labels, sharded",
            "ngcore --workers 1",
            ours(labels, *as_labels, "--workers", "2"),
            ours(labels, *as_labels, "--workers", "1"),
            1.7,
        ),
        Case(
            "the cost of fsync: uint8 .nii to raw, sharded",
            "ngcore --fsync",
            ours(image),
            [[word for word in ours(image)[0] if word != no_sync]],
            1,
        ),
        Case(
            "ngcore --help",
            "importing numpy and nibabel",
            [[str(BIN / "ngcore"), "--help"]],
            [[sys.executable, "-c", "import numpy, nibabel"]],
            1,
        ),
        Case(
            "a volume of 32^3",
            "importing numpy and nibabel",
            ours(str(folder / "small.npy"), "--type", "image"),
            [[sys.executable, "-c", "import numpy, nibabel"]],
            1,
        ),
    ]
    scripts = BIN / "volume-to-precomputed-pyramid"
    if scripts.exists():
        compressed = str(folder / "image.nii.gz")
        found.append(
            Case(
                "uint8 .nii.gz to raw, gzip chunks",
                "neuroglancer-scripts",
                ours(compressed, "--no-sharding", "--layout", "nested", "--gzip"),
                [[str(scripts), "--type", "image", compressed, "OUT"]],
                30,
                rounds=1,
            )
        )
    igneous = BIN / "igneous"
    if igneous.exists():
        found.append(
            Case(
                "uint64 labels, all of it",
                "igneous image create, downsample, execute",
                ours(labels, "--no-sharding", "--gzip", *as_labels),
                [
                    f"{igneous} image create {labels} file://OUT --seg --encoding cseg "
                    "--compress gzip --chunk-size 64,64,64".split(),
                    f"{igneous} image downsample file://OUT --queue QUEUE --encoding cseg "
                    f"--num-mips {SCALES - 1}".split(),
                    f"{igneous} execute QUEUE --exit-on-empty -q".split(),
                ],
                15,
                rounds=1,
            )
        )
    return found


def seconds(commands: list[list[str]], folder: Path) -> float:
    """Run commands in an empty destination and return the wall time that they took."""
    out, queue = folder / "out", folder / "queue"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(queue, ignore_errors=True)
    start = time.perf_counter()
    for command in commands:
        words = [word.replace("OUT", str(out)).replace("QUEUE", str(queue)) for word in command]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    asked = parser.parse_args()
    print(f"Whole processes, {asked.side}^3 voxels, {SCALES} scales, {os.cpu_count()} cores.\n")
    print("| conversion | against | theirs, s | ours, s | ratio | asked |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sources(folder, asked.side)
        for case in cases(folder):
            if asked.only not in case.name:
                continue
            rounds = case.rounds or asked.rounds
            if rounds > 1:  # warm up: page cache, and memory that is slow to touch first
                seconds(case.ours, folder)
                seconds(case.theirs, folder)
            pairs = [
                (seconds(case.ours, folder), seconds(case.theirs, folder)) for _ in range(rounds)
            ]
            ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(
                f"| {case.name} | {case.peer} | {theirs:.2f} | {ours:.2f} | "
                f"**{theirs / ours:.1f}** | {case.bar:g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
