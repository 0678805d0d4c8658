"""`python -m benchmarks [--only TEXT] [--rounds N]`: every comparison with a peer, in one table.

Reading, also from a server 5 ms away, meshes, kernels, encodings, export, validation and whole
conversions, each small enough that all of them take some minutes. A ratio says how many times as
fast ngcore is, ours and theirs run in turn; `asked` is the least that we ask for. Rows that miss
it say so, and stand together at the end; the exit status is 0 all the same, as a busy machine
misses some. The reports that the rows are from say more: `benchmarks/report_*.py`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import (
    report_convert,
    report_encodings,
    report_http,
    report_mesh,
    report_read,
    report_validate,
    workloads,
)
from benchmarks.side_by_side import HEADER, Ratio, compared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONVERSIONS = (
    "uint8 .nii to raw, sharded, gzip",
    "uint64 labels .npy to compressed_segmentation, unsharded",
    "uint8 .nii.gz to raw, gzip chunks",
)


def reading(folder: Path, side: int, rounds: int) -> Iterator[Ratio]:  # noqa: ARG001
    """Whole scales, cutouts and planes of volumes on a disk."""
    yield from report_read.rows(side, rounds)


def over_http(folder: Path, side: int, rounds: int) -> Iterator[Ratio]:  # noqa: ARG001
    """The same from a server 5 ms away."""
    yield from report_http.rows(side, rounds)


def kernels(folder: Path, side: int, rounds: int) -> Iterator[Ratio]:  # noqa: ARG001
    """Majority of labels of three sizes, results made anew by each call."""
    from benchmarks.kernel_cases import downsampling_cases  # needs tinybrain

    for case in downsampling_cases(side):
        if case.kernel.startswith("majority"):
            yield compared(case.name, case.against, case.bar, case.ours, case.theirs, rounds)


def meshes(folder: Path, side: int, rounds: int) -> Iterator[Ratio]:
    """Meshes of labels, all levels, sharded."""
    volume = report_mesh.write_volume(
        folder / "labels", workloads.supervoxels(side, "uint64", rough=False)
    )
    yield report_convert.measured(report_mesh.case(volume, side), 1 if rounds < 5 else 3, folder)


def encodings(folder: Path, side: int, rounds: int) -> Iterator[Ratio]:
    """Jxl, and export to .nii.gz."""
    for case in report_encodings.cases(folder, 2 * side):
        yield report_convert.measured(case, rounds, folder)


def validation(folder: Path, side: int, rounds: int) -> Iterator[Ratio]:
    """What validate takes of what convert wrote."""
    yield from report_validate.rows(folder, report_convert.write_sources(folder, 2 * side), rounds)


def conversions(folder: Path, side: int, rounds: int) -> Iterator[Ratio]:
    """Those that are asked to be far ahead."""
    sources = report_convert.write_sources(folder, 2 * side)
    cases = [case for case in report_convert.cases(sources) if case.name in CONVERSIONS]
    for case in cases:
        yield report_convert.measured(case, case.rounds or rounds, folder)
    if len(cases) < len(CONVERSIONS):
        raise SystemExit("neuroglancer-scripts is neither beside this Python nor on PATH")


PARTS: dict[str, Callable[[Path, int, int], Iterator[Ratio]]] = {
    "read": reading,
    "http": over_http,
    "kernels": kernels,
    "mesh": meshes,
    "encodings": encodings,
    "validate": validation,
    "convert": conversions,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part of the table")
    parser.add_argument("--side", type=int, default=256, help="voxels; twice that of conversions")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n\n{HEADER}", flush=True)
    left_out: list[str] = []
    missed: list[Ratio] = []
    for name in [asked.only] if asked.only else PARTS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                for ratio in PARTS[name](Path(folder), asked.side, asked.rounds):
                    print(ratio.row(), flush=True)
                    if ratio.misses:
                        missed.append(ratio)
            except (ImportError, SystemExit) as error:
                left_out.append(f"{name}: {error}")
    print(f"\nRows below what is asked: {len(missed)}.")
    for ratio in missed:
        print(
            f"- {ratio.what}: {ratio.wall:.2f} of {ratio.asked:.3g} "
            f"({ratio.processor:.2f} in processor time), against {ratio.against}"
        )
    for line in left_out:
        print(f"Left out: {line}.")


if __name__ == "__main__":
    main()
