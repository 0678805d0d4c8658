"""Measure the kernels beside their peers; write docs/benchmarks-kernels.md and .svg.

    python -m benchmarks.report_kernels [FOLDER]

One thread. Ours and theirs run alternately, so that whatever else the machine does hits both;
ratios are of medians. Ends with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from benchmarks import workloads
from benchmarks.kernel_cases import OTHER_FACTORS, Case, all_cases, other_paths, written
from benchmarks.two_at_once import TwoAtOnce, two_at_once

from ngcore import _downsample

if TYPE_CHECKING:
    from collections.abc import Callable

PATH_BAR = 4
TWO_BAR = 1.8
PATH_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Measured:
    """One case, in seconds."""

    case: Case
    ours: float
    theirs: float
    rounds: int

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(case: Case, rounds: int, seconds_each: float) -> Measured:
    """Run both sides alternately, after one round that is not counted."""
    seconds(case.ours), seconds(case.theirs)
    ours, theirs = [], []
    stop = time.perf_counter() + seconds_each
    while time.perf_counter() < stop or len(ours) < rounds:
        ours.append(seconds(case.ours))
        theirs.append(seconds(case.theirs))
    return Measured(case, statistics.median(ours), statistics.median(theirs), len(ours))


def read_bandwidth() -> float:
    """Return how fast one thread reads memory, in bytes per second: a sum over 256 MB."""
    data = np.ones(32 << 20, np.uint64)
    return data.nbytes / statistics.median(
        seconds(lambda: np.bitwise_or.reduce(data)) for _ in range(9)
    )


def path_costs(rounds: int) -> list[tuple[str, str, float, list[tuple[float, str]]]]:
    """Return (method, type, ns per voxel of 2x2x2, multiples of it elsewhere, worst first).

    Each path runs alternately with its own 2x2x2: the machine changes its speed from second to
    second.
    """
    rows = []
    for (method, dtype), paths in groupby(other_paths(), lambda path: (path.method, path.dtype)):
        usual, *others = paths
        least = float("inf")
        worst = []
        for path in others:
            pairs = [(seconds(path.call), seconds(usual.call)) for _ in range(rounds)]
            cost, usual_cost = (min(column) for column in zip(*pairs, strict=True))
            worst.append((cost / path.voxels / (usual_cost / usual.voxels), path.path))
            least = min(least, usual_cost)
        rows.append((method, dtype, 1e9 * least / usual.voxels, sorted(worst, reverse=True)))
    return rows


def path_section(paths: list[tuple[str, str, float, list[tuple[float, str]]]]) -> str:
    others = ", ".join(written(factors) for factors in OTHER_FACTORS)
    rows = "".join(
        f"| {method} | {dtype} | {usual:.3f} | "
        + " | ".join(f"{path}: **{ratio:.1f}**" for ratio, path in worst[:3])
        + " |\n"
        for method, dtype, usual, worst in paths
    )
    return f"""## Other factors, methods and types

Cost per voxel of the input, as multiples of that of 2x2x2 of the same method and type, on
128 x 128 x 16 voxels, best of {PATH_ROUNDS} alternate calls of each. The slowest three of
{others},
and of 2x2x2 with an odd offset, with and without `outside_value`. Bar: {PATH_BAR}, aim: 2.

| method | type | 2x2x2, ns per voxel | slowest | second | third |
|---|---|---:|---:|---:|---:|
{rows}"""


def two_section(twos: dict[int, TwoAtOnce]) -> str:
    rows = "".join(
        f"| {size}^3 | **{two.threads:.2f}** | {two.processes:.2f} |\n"
        for size, two in twos.items()
    )
    return f"""## Two threads

Throughput of encoding with two threads as a multiple of that with one, on uint64 labels with rough
edges. Two processes, which share no GIL, say what the machine can give. Bar: {TWO_BAR}.

| labels | two threads | two processes |
|---|---:|---:|
{rows}"""


def machine() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [
            line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        name = lines[0].partition(":")[2].strip() if lines else name
    return (
        f"{name}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"
    )


def table(results: list[Measured], bandwidth: float) -> str:
    lines = [
        "| kernel | on | against | theirs, ms | ours, ms | ratio | bar | ours, GB/s read | of "
        "bandwidth |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        case = result.case
        rate = case.read_bytes / result.ours
        lines.append(
            f"| {case.kernel} | {case.on} | {case.against} | {1e3 * result.theirs:.2f} | "
            f"{1e3 * result.ours:.2f} | **{result.ratio:.1f}** | {case.bar:g} | "
            f"{rate / 1e9:.1f} | {rate / bandwidth:.0%} |"
        )
    return "\n".join(lines)


def chart(results: list[Measured], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 0.26 * len(results) + 1.2))
    names = [result.case.name for result in results]
    colors = ["#2b6cb0" if result.ratio >= result.case.bar else "#c05621" for result in results]
    axes.barh(names, [result.ratio for result in results], color=colors)
    axes.scatter([r.case.bar for r in results], names, marker="|", s=90, color="black", zorder=3)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    axes.set_xlabel("times as fast as the peer (bar: the least we ask for)")
    axes.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def report(folder: Path, *, side: int, rounds: int, seconds_each: float) -> int:
    bandwidth = read_bandwidth()
    results = [measure(case, rounds, seconds_each) for case in all_cases(side)]
    twos = {size: two_at_once(size) for size in (64, 128)}
    paths = path_costs(min(PATH_ROUNDS, 7 * rounds))
    fewest = min(result.rounds for result in results)
    text = f"""# The kernels beside their peers

One thread, ours and theirs run alternately, ratios of medians of {fewest} or more rounds.
Made by `make bench-kernels` on: {machine()}; kernels for `{_downsample.INSTRUCTIONS}`.
The machine reads memory at {bandwidth / 1e9:.1f} GB/s with one thread (a NumPy reduction over
256 MB). Labels are supervoxels of about {workloads.SUPERVOXEL_EDGE} voxels across, unless
their row says another number.

![ratios](benchmarks-kernels.svg)

{table(results, bandwidth)}

{two_section(twos)}
{path_section(paths)}"""
    (folder / "benchmarks-kernels.md").write_text(text, encoding="utf-8")
    chart(results, folder / "benchmarks-kernels.svg")
    missed = [result for result in results if result.ratio < result.case.bar]
    sys.stdout.write(text)
    for result in missed:
        sys.stderr.write(f"bar missed: {result.case.name}: {result.ratio:.2f}\n")
    slow = [
        f"{method} {dtype} {path}: {ratio:.1f} times the cost of 2x2x2"
        for method, dtype, _, worst in paths
        for ratio, path in worst
        if ratio > PATH_BAR
    ]
    sys.stderr.write("".join(f"bar missed: {line}\n" for line in slow))
    blocked = [
        f"two threads encode {two.threads:.2f} times as much as one on {size}^3, "
        f"two processes {two.processes:.2f} times"
        for size, two in twos.items()
        if two.threads < TWO_BAR
    ]
    sys.stderr.write("".join(f"bar missed: {line}\n" for line in blocked))
    return bool(missed or slow or blocked)


def main() -> int:
    """Write the page and its chart; return 1 if a bar is missed."""
    docs = Path(__file__).parents[1] / "docs"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=docs,
        help="where table and chart go (default: docs)",
    )
    parser.add_argument(
        "--side", type=int, default=256, help="of the volumes that are downsampled"
    )
    parser.add_argument("--rounds", type=int, default=9, help="of each case, at least")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each case, at least")
    asked = parser.parse_args()
    return report(asked.folder, side=asked.side, rounds=asked.rounds, seconds_each=asked.seconds)


if __name__ == "__main__":
    sys.exit(main())
