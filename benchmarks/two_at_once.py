"""How much more two threads encode than one, beside two processes: what the machine can give.

Threads of one process share the GIL, processes do not. What slows both is the machine: its memory,
its clock, and whatever else runs on its processors.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from benchmarks import workloads

from ngcore import compressed_segmentation

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

ROUNDS = 25
VOXELS = 20 << 20
"""Encoded by each thread or process in a round: some 50 ms."""


@dataclass(frozen=True, slots=True)
class TwoAtOnce:
    """Throughput of two over that of one: medians of rounds of one, two threads, two processes."""

    threads: float
    processes: float


@cache
def _labels(size: int) -> NDArray[Any]:
    return workloads.supervoxels(size, "uint64", rough=True)


def _encode(size: int) -> None:
    """Encode chunk after chunk, as a worker of a conversion does."""
    labels = _labels(size)
    for _ in range(VOXELS // labels.size):
        compressed_segmentation.encode(labels)


def _seconds(executors: list[Executor], size: int) -> float:
    start = time.perf_counter()
    for future in [executor.submit(_encode, size) for executor in executors]:
        future.result()
    return time.perf_counter() - start


def two_at_once(size: int) -> TwoAtOnce:
    """Measure on size^3 uint64 labels with rough edges."""
    with ExitStack() as stack:
        threads: list[Executor] = [
            stack.enter_context(ThreadPoolExecutor(max_workers=1)) for _ in range(2)
        ]
        context = get_context("spawn")
        processes: list[Executor] = [
            stack.enter_context(ProcessPoolExecutor(max_workers=1, mp_context=context))
            for _ in range(2)
        ]
        _seconds(threads, size), _seconds(processes, size)
        rounds = [
            (_seconds(threads[:1], size), _seconds(threads, size), _seconds(processes, size))
            for _ in range(ROUNDS)
        ]
    return TwoAtOnce(
        threads=statistics.median(2 * one / two for one, two, _ in rounds),
        processes=statistics.median(2 * one / two for one, _, two in rounds),
    )
