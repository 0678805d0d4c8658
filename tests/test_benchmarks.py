"""The benchmarks of whole conversions run, so that they are there when figures are wanted."""

import subprocess
import sys
from pathlib import Path

import pytest
from thorough import IS_THOROUGH

pytest.importorskip("resource", reason="the benchmarks ask Unix for what processes took")
pytest.importorskip("scipy", reason="the benchmarks make supervoxels with SciPy")

ROOT = Path(__file__).parents[1]
REPORTS = sorted(path.stem for path in ROOT.glob("benchmarks/report_*.py"))


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_report_finds_what_it_imports() -> None:
    # Those of the kernels take their peers' packages, which only `make bench` installs.
    names = [f"benchmarks.{name}" for name in REPORTS if name != "report_kernels"]
    assert len(names) > 5
    _run("-c", f"import {', '.join(names)}")


def test_the_profile_times_every_stage() -> None:
    only = "" if IS_THOROUGH else ".nii.gz"
    printed = _run("-m", "benchmarks.report_stages", "--side", "128", "--only", only)
    stages = ["reading", "downsampling", "encoding", "digesting", "compressing", "writing"]
    assert all(f"| {stage} |" in printed for stage in [*stages, "waiting for work"])
