"""The kernels beside their peers, as pytest-benchmark cases.

    pytest benchmarks/bench_kernels.py --benchmark-group-by=group

The table and the chart of the documentation come from `report_kernels.py`, which measures both
sides alternately.
"""

from __future__ import annotations

from functools import cache

import pytest
from benchmarks.kernel_cases import Case, all_cases

NAMES = [
    *(
        f"{kernel}, {size}^3 {dtype}, {edges} edges"
        for dtype in ("uint64", "uint32")
        for size in (64, 128)
        for edges in ("rough", "smooth")
        for kernel in ("encode", "decode")
    ),
    *(
        f"average {factors}, 256^3 {dtype}"
        for dtype in ("uint8", "uint16", "float32")
        for factors in ("2x2x2", "2x2x1")
    ),
    *(
        f"majority {factors}, 256^3 {dtype}, rough edges"
        for dtype in ("uint32", "uint64")
        for factors in ("2x2x2", "2x2x1")
    ),
]


@cache
def cases() -> dict[str, Case]:
    return {case.name: case for case in all_cases()}


@pytest.mark.parametrize("side", ["ours", "theirs"])
@pytest.mark.parametrize("name", NAMES)
def test_kernel(benchmark, name, side):
    case = cases()[name]
    benchmark.group = case.name
    benchmark.extra_info["against"] = case.against
    benchmark(getattr(case, side))
