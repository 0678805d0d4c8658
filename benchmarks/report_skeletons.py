"""Skeletons of known tubes: how far off they are, beside kimimaro, which is GPL and so no extra.

    python benchmarks/report_skeletons.py --peer OTHER/bin/python

`--peer` is a Python of an environment of its own, with kimimaro. Trees of tubes with one trunk,
five branches and seven ends, smooth and rough, in cubic and in thick voxels. kimimaro gets
`scale` 1.5, and the best of three `const`. Constants were chosen with trees 0 to 4: `--first 100`
takes others. `--shape FILE.npy` takes a shape whose lines nobody knows, such as a neuron.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZE = (160.0, 120.0, 120.0)
CASES = [((1, 1, 1), 0.0), ((1, 1, 1), 0.7), ((1, 1, 4), 0.0), ((1, 1, 4), 0.7)]
BRANCHES = 5


def tree(random: np.random.Generator) -> list[tuple[Any, float]]:
    """Return lines and their radii: a bent trunk, and straight branches."""
    size = np.array(SIZE)
    share = np.linspace(0, 1, 200)[:, np.newaxis]
    trunk = size * [0.12, 0.5, 0.5] + size * [0.76, 0, 0] * share
    phase = random.uniform(0, 2 * np.pi, 2)
    trunk[:, 1:] += 0.08 * size[1:] * (np.sin([6, 5] * share + phase) - np.sin(phase))
    lines = [(trunk, 6.0)]
    for number in range(BRANCHES):
        first = trunk[200 * (number + 1) // (BRANCHES + 1)]
        turn = random.uniform(0, 2 * np.pi)
        along = np.array([random.uniform(-0.4, 0.4), np.cos(turn), np.sin(turn)])
        length = random.uniform(0.2, 0.3) * size[1] / np.linalg.norm(along)
        points = first + along * np.linspace(0, length, 60)[:, np.newaxis]
        lines.append((points, random.uniform(3, 6)))
    return lines


def voxels_of(lines: Any, voxel: Any, rough: float, random: np.random.Generator) -> Any:
    """Return where a voxel's centre is nearer to a line than its radius, more or less."""
    from scipy.ndimage import gaussian_filter
    from scipy.spatial import cKDTree

    shape = np.ceil(np.divide(SIZE, voxel)).astype(int)
    noise = gaussian_filter(random.normal(size=shape), 1.0)
    noise *= rough / noise.std()
    centres = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * np.array(voxel)
    found = np.zeros(shape, np.bool_)
    for points, radius in lines:
        dense = np.concatenate([points, (points[1:] + points[:-1]) / 2])
        away = cKDTree(dense).query(centres, distance_upper_bound=radius + 4)[0]
        found |= away <= radius + noise
    return found


def scored(points: Any, edges: Any, lines: Any) -> dict[str, float]:
    """Return how long, how branched and how far off a skeleton is."""
    from scipy.spatial import cKDTree

    degrees = np.bincount(edges.reshape(-1), minlength=len(points))
    first, last = points[edges[:, 0]], points[edges[:, 1]]
    share = np.linspace(0, 1, 20)[:, np.newaxis, np.newaxis]
    dense = (first + (last - first) * share).reshape(-1, 3)
    right = np.concatenate([line for line, _ in lines])
    off, missed = cKDTree(right).query(dense)[0], cKDTree(dense).query(right)[0]
    truth = sum(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line, _ in lines)
    return {
        "length": float(np.linalg.norm(last - first, axis=1).sum() / truth),
        "ends": int((degrees == 1).sum()),
        "off": float(off.mean()),
        "missed": float(np.percentile(missed, 95)),
    }


def run_ngcore(mask: Any, voxel: Any) -> tuple[Any, Any]:
    from ngcore.tracing.centre_lines import centre_lines

    lines = centre_lines(mask, voxel)
    return lines.points, lines.edges


def run_kimimaro(mask: Any, voxel: Any, const: float) -> tuple[Any, Any]:
    import kimimaro

    parameters = {"scale": 1.5, "const": const}
    found = kimimaro.skeletonize(
        mask.astype(np.uint32), parameters, anisotropy=voxel, progress=False, dust_threshold=0
    )[1]
    return found.vertices.astype(float), found.edges.astype(np.int64)


def look_at(name: str, path: Path) -> None:
    """Print, for a shape in voxels, how its lines lie in it."""
    from scipy.ndimage import distance_transform_edt, maximum_filter
    from scipy.spatial import cKDTree

    mask = np.load(path)
    mask = mask.reshape(mask.shape[:3]) != 0
    filled = np.argwhere(mask)
    mask = mask[tuple(slice(a, b + 1) for a, b in zip(filled.min(0), filled.max(0), strict=True))]
    for voxel in ((1.0, 1.0, 1.0), (4.3, 4.3, 45.0)):
        depth = distance_transform_edt(np.pad(mask, 1), sampling=voxel)[1:-1, 1:-1, 1:-1]
        deepest = maximum_filter(depth, size=5)
        for const in [4.0, 8.0, 16.0] if name == "kimimaro" else [0.0]:
            start = time.process_time()
            if name == "kimimaro":
                points, edges = run_kimimaro(mask, voxel, const * voxel[0])
            else:
                points, edges = run_ngcore(mask, voxel)
            seconds = time.process_time() - start
            first, last = points[edges[:, 0]], points[edges[:, 1]]
            share = np.linspace(0, 1, 20)[:, np.newaxis, np.newaxis]
            dense = (first + (last - first) * share).reshape(-1, 3)
            at = np.clip(np.rint(dense / voxel).astype(int), 0, np.array(mask.shape) - 1)
            at = at[mask[tuple(at.T)]]
            row = {
                "length": np.linalg.norm(last - first, axis=1).sum(),
                "ends": int((np.bincount(edges.reshape(-1)) == 1).sum()),
                "inside": len(at) / len(dense),
                "depth": (depth[tuple(at.T)] / deepest[tuple(at.T)]).mean(),
                "far": np.percentile(cKDTree(dense).query(np.argwhere(mask) * voxel)[0], 95),
                "seconds": seconds,
            }
            title = name if name == "ngcore" else f"{name}, const {const:g}"
            values = " | ".join(f"{value:.2f}" for value in row.values())
            print(f"| {' x '.join(map(str, voxel))} | {title} | {values} |")


def measure(name: str, folder: Path, trees: int, first: int) -> None:
    constants = [4.0, 8.0, 16.0] if name == "kimimaro" else [0.0]
    for case, (voxel, _) in enumerate(CASES):
        best: dict[str, Any] = {}
        for const in constants:
            found = []
            for number in range(trees):
                mask = np.load(folder / f"{case}_{number}.npy")
                lines = tree(np.random.default_rng(first + number))
                start = time.process_time()
                if name == "kimimaro":
                    points, edges = run_kimimaro(mask, voxel, const)
                else:
                    points, edges = run_ngcore(mask, voxel)
                seconds = time.process_time() - start
                found.append({**scored(points, edges, lines), "seconds": seconds})
            mean = {key: np.mean([each[key] for each in found]) for key in found[0]}
            if not best or mean["off"] < best["off"]:
                best = mean
        print(json.dumps({"case": case, **best}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shape")
    parser.add_argument("--peer")
    parser.add_argument("--one", nargs=2)
    asked = parser.parse_args()
    if asked.one and asked.shape:
        look_at(asked.one[0], Path(asked.shape))
        return
    if asked.one:
        measure(asked.one[0], Path(asked.one[1]), asked.trees, asked.first)
        return
    runs = [("ngcore", sys.executable)]
    if asked.peer:
        runs.append(("kimimaro", asked.peer))
    if asked.shape:
        print("| voxel | | length | ends | inside | depth | far (95 %) | seconds |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for name, python in runs:
            subprocess.run(
                [python, __file__, "--one", name, "", "--shape", asked.shape], check=True
            )
        return
    with tempfile.TemporaryDirectory() as folder:
        for case, (voxel, rough) in enumerate(CASES):
            for number in range(asked.trees):
                random = np.random.default_rng(asked.first + number)
                mask = voxels_of(tree(random), voxel, rough, random)
                np.save(f"{folder}/{case}_{number}.npy", mask)
        print("| voxel | rough | | length | ends (7) | off | missed (95 %) | seconds |")
        print("|---|---|---|---|---|---|---|---|")
        for name, python in runs:
            command = [python, __file__, "--one", name, folder, "--trees", str(asked.trees)]
            command += ["--first", str(asked.first)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            for line in done.stdout.splitlines():
                row = json.loads(line)
                voxel, rough = CASES[row.pop("case")]
                values = " | ".join(f"{value:.2f}" for value in row.values())
                print(f"| {' x '.join(map(str, voxel))} | {rough} | {name} | {values} |")


if __name__ == "__main__":
    main()
