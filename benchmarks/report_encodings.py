"""`python -m benchmarks.report_encodings [--side N] [--rounds N]`: jxl, and export to `.nii.gz`.

Whole processes, ours and theirs alternately, as in `report_convert`. jxl is measured beside raw
chunks that are gzipped, both of ngcore: with effort 1, and with the effort that ngcore has.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
from benchmarks.report_convert import BIN, HEADER, Case, brain, row

import ngcore

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCALE = ["--resolution", "8,8,8", "--chunk-size", "64", "--max-scales", "1", "--no-fsync"]
_EFFORT_1 = """
from ngcore.precomputed.encodings import jxl

jxl._EFFORT = 1
from ngcore.__main__ import main

main()
"""


def cases(folder: Path, side: int) -> list[Case]:
    """Return the comparisons, on sources that are written into a folder."""
    image, volume = folder / "image.nii", folder / "volume"
    voxels = brain(side)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([8e-6, 8e-6, 8e-6, 1])), image)
    ngcore.convert(
        voxels.astype(np.int16), volume, resolution=(8.0,) * 3, chunk_size=64, max_scales=1
    )
    convert = ["convert", str(image), "OUT", *_SCALE]
    ours = [str(BIN / "ngcore"), *convert]
    peer = str(Path(__file__).with_name("export_with_tensorstore.py"))
    return [
        Case(
            "uint8 to jxl of effort 1, sharded",
            "ngcore, raw and gzip",
            [[sys.executable, "-c", _EFFORT_1, *convert, "--encoding", "jxl"]],
            [ours],
            1 / 1.5,
        ),
        Case(
            "the same, of the effort that ngcore has",
            "ngcore, raw and gzip",
            [[*ours, "--encoding", "jxl"]],
            [ours],
            0,
        ),
        Case(
            "`export` of int16 to .nii.gz",
            "tensorstore and nibabel",
            [[str(BIN / "ngcore"), "export", str(volume), "OUT.nii.gz"]],
            [[sys.executable, peer, str(volume), "OUT.nii.gz"]],
            3,
        ),
    ]


def rows(side: int = 512, rounds: int = 5) -> Iterator[str]:
    """Measure, and yield the rows of the table, as `report_convert` prints its own."""
    with tempfile.TemporaryDirectory() as name:
        for case in cases(Path(name), side):
            yield row(case, rounds, Path(name))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"Whole processes, {asked.side}^3 voxels, 1 scale, {os.cpu_count()} cores.\n")
    print(HEADER)
    for line in rows(asked.side, asked.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
