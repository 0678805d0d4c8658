"""`python -m benchmarks.report_convert [--side N] [--rounds N]`: conversions beside the peers.

Every figure is a ratio of medians of whole processes, ours and theirs run alternately in one run:
of wall time, and of processor time, which other work on the machine changes less.
Peers that are neither beside this Python nor on PATH are left out, and the last line says so.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from benchmarks.side_by_side import Ratio, Seconds, ratio_of
from benchmarks.workloads import tiled_supervoxels

BIN = Path(sys.executable).parent
HEADER = (
    "| conversion | against | theirs, s | ours, s | ratio | asked | "
    "processor time: theirs | ours | ratio |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
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
    is_conversion : bool
        Whether it is an ordinary conversion of a large source, which `report_safety` times too.
    """

    name: str
    peer: str
    ours: list[list[str]]
    theirs: list[list[str]]
    bar: float
    rounds: int | None = None
    is_conversion: bool = True


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


def write_sources(folder: Path, side: int) -> Path:
    """Write the image and the labels that are converted, unless an earlier run left them.

    Returns the folder of those of this size.
    """
    folder = folder / str(side)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "small.npy").exists():
        return folder
    image = nibabel.Nifti1Image(brain(side), np.diag([8e-6, 8e-6, 8e-6, 1]))
    nibabel.save(image, folder / "image.nii")
    nibabel.save(image, folder / "image.nii.gz")
    np.save(folder / "labels.npy", tiled_supervoxels(side, "uint64"))
    np.save(folder / "small.npy", np.zeros((32, 32, 32), np.uint8))
    return folder


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

    def alone(suffix: str) -> list[str]:
        (words,) = ours(labels, *as_labels, "--workers", "1")
        return [word.replace("OUT", f"OUT{suffix}") for word in words]

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
            is_conversion=False,
        ),
        Case(
            "the same twice at once, --workers 1: what the machine gives",
            "one after the other",
            at_once(alone("-a"), alone("-b")),
            [alone("-a"), alone("-b")],
            1,
            is_conversion=False,
        ),
        Case(
            "the cost of fsync: uint8 .nii to raw, sharded",
            "ngcore --fsync",
            ours(image),
            [[word for word in ours(image)[0] if word != no_sync]],
            1,
            is_conversion=False,
        ),
        Case(
            "ngcore --help",
            "importing numpy and nibabel",
            [[str(BIN / "ngcore"), "--help"]],
            [[sys.executable, "-c", "import numpy, nibabel"]],
            1,
            is_conversion=False,
        ),
        Case(
            "a volume of 32^3",
            "importing numpy and nibabel",
            ours(str(folder / "small.npy"), "--type", "image"),
            [[sys.executable, "-c", "import numpy, nibabel"]],
            1,
            is_conversion=False,
        ),
    ]
    scripts = program("volume-to-precomputed-pyramid")
    if scripts is not None:
        compressed = str(folder / "image.nii.gz")
        found.append(
            Case(
                "uint8 .nii.gz to raw, gzip chunks",
                "neuroglancer-scripts",
                ours(compressed, "--no-sharding", "--layout", "nested", "--gzip"),
                [[scripts, "--type", "image", compressed, "OUT"]],
                30,
                rounds=1,
            )
        )
    igneous = program("igneous")
    if igneous is not None:
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
            )
        )
    return found


def at_once(*commands: list[str]) -> list[list[str]]:
    """Return one command that runs several at once, and fails if any does."""
    script = "; ".join(
        [
            *(f"{shlex.join(words)} & p{number}=$!" for number, words in enumerate(commands)),
            *(f"wait $p{number} || exit 1" for number in range(len(commands))),
        ]
    )
    return [["sh", "-c", script]]


def program(name: str) -> str | None:
    """Return where a peer's program is: beside this Python, or on PATH."""
    beside = BIN / name
    return str(beside) if beside.exists() else shutil.which(name)


def seconds(commands: list[list[str]], folder: Path) -> Seconds:
    """Run commands in a destination that is not there yet; return the time they took.

    Outputs stay until all is measured: ext4 without a journal takes up to a millisecond to make a
    file while it passes over those that were deleted in the last minutes.
    """
    number = sum(1 for _ in folder.iterdir())
    out, queue = folder / f"out-{number}", folder / f"queue-{number}"
    start, used = time.perf_counter(), processor_seconds()
    for command in commands:
        words = [word.replace("OUT", str(out)).replace("QUEUE", str(queue)) for word in command]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, env=environment()
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return Seconds(time.perf_counter() - start, processor_seconds() - used)


def processor_seconds() -> float:
    """Return the processor time of every process that was run from here and ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def environment() -> dict[str, str]:
    """Return the environment of the processes: bytecode is kept, as for an installed program."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument(
        "--sources", type=Path, help="folder to keep the sources in for later runs"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sources = write_sources(asked.sources or Path(name, "sources"), asked.side)
        print(
            f"Whole processes, {asked.side}^3 voxels, {SCALES} scales, {os.cpu_count()} cores.\n"
        )
        print(HEADER)
        found = cases(sources)
        for case in found:
            if asked.only in case.name:
                print(row(case, case.rounds or asked.rounds, Path(name)), flush=True)
    print(f"\nLeft out, not installed: {', '.join(missing_peers()) or 'none'}.")


def missing_peers() -> list[str]:
    """Return the peers whose cases are left out."""
    return [name for name in ("volume-to-precomputed-pyramid", "igneous") if not program(name)]


def row(case: Case, rounds: int, folder: Path) -> str:
    """Measure a case and return its row of the table."""
    found = measured(case, rounds, folder)
    ours, theirs = found.ours, found.theirs
    used = theirs.processor / ours.processor
    return (
        f"| {case.name} | {case.peer} | {theirs.wall:.2f} | {ours.wall:.2f} | "
        f"**{theirs.wall / ours.wall:.1f}** | {case.bar:.2g} | "
        f"{theirs.processor:.2f} | {ours.processor:.2f} | {used:.1f} |"
    )


def measured(case: Case, rounds: int, folder: Path) -> Ratio:
    """Measure a case, ours and theirs alternately."""
    outputs = folder / "outputs"
    outputs.mkdir(exist_ok=True)
    if rounds > 1:  # warm up: page cache, bytecode, and memory that is slow to touch first
        seconds(case.ours, outputs)
        seconds(case.theirs, outputs)
    pairs = [(seconds(case.ours, outputs), seconds(case.theirs, outputs)) for _ in range(rounds)]
    return ratio_of(case.name, case.peer, case.bar, pairs)


if __name__ == "__main__":
    main()
