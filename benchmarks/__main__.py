"""`python -m benchmarks [FOLDER]`: measure the kernels beside their peers."""

import argparse
import sys
from pathlib import Path

from benchmarks.report_kernels import main

docs = Path(__file__).parents[1] / "docs"
parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument(
    "folder", nargs="?", type=Path, default=docs, help="where table and chart go (default: docs)"
)
parser.add_argument("--side", type=int, default=256, help="of the volumes that are downsampled")
parser.add_argument("--rounds", type=int, default=9, help="of each case, at least")
parser.add_argument("--seconds", type=float, default=1.5, help="for each case, at least")
asked = parser.parse_args()
sys.exit(main(asked.folder, side=asked.side, rounds=asked.rounds, seconds_each=asked.seconds))
