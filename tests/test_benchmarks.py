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


def test_kernels_and_their_peers_run_on_small_volumes(tmp_path: Path) -> None:
    """What `make bench-kernels` measures; all of it where there is time."""
    for peer in ("tinybrain", "compressed_segmentation", "matplotlib"):
        pytest.importorskip(peer)
    if IS_THOROUGH:
        program = [sys.executable, "-m", "benchmarks.report_kernels", str(tmp_path)]
        small = ["--side", "64", "--rounds", "1", "--seconds", "0"]
        done = subprocess.run([*program, *small], cwd=ROOT, check=False)
        assert done.returncode in {0, 1}  # 1: a bar is missed
        assert "labels of 100" in (tmp_path / "benchmarks-kernels.md").read_text()
        return
    _run(
        "-c",
        "from benchmarks.kernel_cases import downsampling_cases\n"
        "for case in downsampling_cases(32):\n"
        "    assert case.ours().size * 4 <= case.theirs()[0].size * 4 <= case.voxels, case.name",
    )


def test_conversions_and_their_peers_run_on_small_volumes() -> None:
    """What `make bench-convert` measures first."""
    pytest.importorskip("tensorstore")
    only = "" if IS_THOROUGH else "unsharded"
    small = ["--side", "64", "--rounds", "1"]
    printed = _run("-m", "benchmarks.report_convert", *small, "--only", only)
    assert printed.count("| **") >= 1
    if IS_THOROUGH:
        assert _run("-m", "benchmarks.report_encodings", *small).count("| **") == 3


@pytest.mark.parametrize("part", ["read", "http", "validate"] if IS_THOROUGH else ["validate"])
def test_the_table_has_a_row_for_each_comparison(part: str) -> None:
    """What `make bench` prints, but for the parts that take longer."""
    pytest.importorskip("tensorstore")
    printed = _run("-m", "benchmarks", "--side", "64", "--rounds", "1", "--only", part)
    rows = [line for line in printed.splitlines() if "| **" in line]
    assert len(rows) == {"read": 4 * 6, "http": 4 * 8, "validate": 4}[part]
    assert "Left out" not in printed
