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
sys.exit(main(parser.parse_args().folder))
