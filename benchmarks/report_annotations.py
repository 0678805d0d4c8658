"""A table of points to annotations: time and memory beside ngsidekick 0.0.20, in one run.

    python benchmarks/report_annotations.py --count 10000000

Both read the same Parquet file of coordinates, a number, a category and a related segment, and
write every index, sharded. Each runs in a process of its own, one after the other, `--runs` times.
`--peer PATH` names a folder where ngsidekick and its dependencies are installed, if not in this
environment.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS = 1 << 20
"""Rows of a table that are made at a time."""


def make_table(path: Path, count: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    centres = random.uniform(-80, 80, (200, 3)).astype(np.float32)
    words = pa.array(["axon", "dendrite", "soma"])
    writer = None
    for first in range(0, count, ROWS):
        number = min(ROWS, count - first)
        points = centres[random.integers(0, 200, number)]
        points += random.normal(size=(number, 3)) * 8
        columns = {
            **{axis: pa.array(points[:, place]) for place, axis in enumerate("xyz")},
            "score": pa.array(random.uniform(size=number).astype(np.float32)),
            "kind": pa.DictionaryArray.from_arrays(
                pa.array(random.integers(0, 3, number).astype(np.int8)), words
            ),
            "segment": pa.array(random.integers(1, 100_000, number).astype(np.uint64)),
        }
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def run_ngcore(table: Path, dest: Path) -> None:
    import ngcore

    ngcore.annotations(table, dest, relations={"segment": "segment"}, fsync=False)


def run_ngsidekick(table: Path, dest: Path) -> None:
    import pandas as pd
    from ngsidekick.annotations.precomputed import write_precomputed_annotations

    write_precomputed_annotations(
        pd.read_parquet(table),
        {"names": ["x", "y", "z"], "units": ["m"] * 3, "scales": [1e-3] * 3},
        "point",
        properties=["score", "kind"],
        relationships=["segment"],
        output_dir=str(dest),
        write_sharded=True,
    )


RUNS = {"ngcore": run_ngcore, "ngsidekick": run_ngsidekick}


def measured(name: str, table: Path, peer: str | None) -> dict[str, float]:
    dest = Path(tempfile.mkdtemp(dir=table.parent))
    environment = dict(os.environ)
    if peer and name == "ngsidekick":
        environment["PYTHONPATH"] = peer
    command = [sys.executable, __file__, "--one", name, str(table), str(dest / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    size = sum(p.stat().st_size for p in dest.rglob("*") if p.is_file())
    shutil.rmtree(dest)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return {**json.loads(done.stdout.splitlines()[-1]), "bytes": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", choices=RUNS)
    parser.add_argument("--peer")
    parser.add_argument("--folder")
    parser.add_argument("--one", nargs=3)
    parser.add_argument("--make")
    asked = parser.parse_args()
    if asked.make:
        make_table(Path(asked.make), asked.count)
        return
    if asked.one:
        name, table, dest = asked.one
        start = time.perf_counter()
        RUNS[name](Path(table), Path(dest))
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_SELF)
        processor = used.ru_utime + used.ru_stime
        peak = used.ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "processor": processor, "peak": peak}))
        return
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        table = folder / "table.parquet"
        # In a process of its own: a process takes over the peak memory of the one that starts it.
        command = [sys.executable, __file__, "--make", str(table), "--count", str(asked.count)]
        subprocess.run(command, check=True)
        print("| | seconds | processor | peak MiB | MiB written |\n|---|---|---|---|---|")
        for _ in range(asked.runs):
            for name in [asked.only] if asked.only else RUNS:
                found = measured(name, table, asked.peer)
                megabytes = (found["peak"] / 2**20, found["bytes"] / 2**20)
                times = f"{found['seconds']:.1f} | {found['processor']:.1f}"
                print(f"| {name} | {times} | {megabytes[0]:.0f} | {megabytes[1]:.0f} |")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
