"""`python -m benchmarks [FOLDER]`: measure the kernels beside their peers."""

import sys
from pathlib import Path

from benchmarks.report_kernels import main

docs = Path(__file__).parents[1] / "docs"
sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else docs))
