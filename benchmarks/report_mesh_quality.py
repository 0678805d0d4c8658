"""`python -m benchmarks.report_mesh_quality [--of KIND] [--seed N] [--other NAME=NGCORE]`.

Meshes of labels that wind like neurites, of smooth supervoxels, or of a real brain's parcels,
beside igneous's, if it is on PATH, and beside those of other versions of ngcore. For each level of
detail: triangles, the volume beside the voxels', how far the mesh is from the voxels' own surface
(marching cubes) and that surface from the mesh, and edges that are not of two triangles. All is
read back by CloudVolume.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cloudvolume
import numpy as np
import trimesh
import zmesh
from benchmarks import workloads
from benchmarks.report_convert import BIN, program
from benchmarks.report_mesh import RESOLUTION, write_volume
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

KINDS = ("neurites", "supervoxels", "brain")
_NEAREST = 12
"""Triangles, by their middles, that the nearest point may be on."""
_FINE = 1.0
"""Voxels: triangles are divided until no edge is longer, so that a middle tells where one is."""
_SAME = 3e-4
"""Voxels: vertices of two fragments that are closer are one."""
_POINTS = 20_000
"""Of one surface, at most, that are measured."""


class Measured(NamedTuple):
    """One level of one label, distances in voxels."""

    triangles: int
    volume: float
    voxels: int
    to_voxels: NDArray[np.float64]
    from_voxels: NDArray[np.float64]
    open_edges: int


def made_by(ngcore_program: str) -> list[list[str]]:
    """Return the commands of a version of ngcore."""
    return [[ngcore_program, "mesh", "OUT"]]


def made_by_igneous(igneous: str, shape: Sequence[int]) -> list[list[str]]:
    """Return the commands of igneous, which makes three levels here."""
    execute = f"{igneous} execute QUEUE --exit-on-empty -q".split()
    return [
        f"{igneous} mesh forge file://OUT --queue QUEUE --sharded --shape "
        f"{','.join(map(str, shape))}".split(),
        execute,
        f"{igneous} mesh merge-sharded file://OUT --queue QUEUE --nlod 3".split(),
        execute,
    ]


def measure(
    volume: Path, labels: NDArray[np.uint64], chosen: Sequence[int]
) -> Iterator[tuple[int, int, Measured]]:
    """Yield label, level and what was measured, for every level that a label has."""
    cloud = cloudvolume.CloudVolume(f"file://{volume}", progress=False)
    for label in chosen:
        surface = voxel_surface(labels == label)
        voxels = int((labels == label).sum())
        for level in range(cloud.mesh.get_manifest(label).num_lods):
            found = cloud.mesh.get(label, lod=level)
            mesh = found[label] if isinstance(found, dict) else found
            whole = merged(np.asarray(mesh.vertices, np.float64) / RESOLUTION, mesh.faces)
            yield (
                label,
                level,
                Measured(
                    len(whole.faces),
                    float(whole.volume),
                    voxels,
                    distances(sampled(whole), surface),
                    distances(surface.vertices, whole),
                    open_edges(whole),
                ),
            )


def voxel_surface(mask: NDArray[np.bool_]) -> trimesh.Trimesh:
    """Return the surface of one label's voxels by marching cubes; voxel 0 spans 0 to 1."""
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(np.asfortranarray(np.pad(mask, 1).astype(np.uint32)), close=False)
    mesh = mesher.get(1, normals=False, reduction_factor=0)
    return trimesh.Trimesh(mesh.vertices.astype(np.float64) - 0.5, mesh.faces, process=False)


def merged(vertices: NDArray[np.float64], faces: NDArray[np.integer]) -> trimesh.Trimesh:
    """Return a mesh whose vertices are one where fragments share them; flat triangles go."""
    pairs = cKDTree(vertices).query_pairs(_SAME, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), (len(vertices),) * 2)
    _, part = connected_components(links, directed=False)
    _, first = np.unique(part, return_index=True)
    named = part[faces.astype(np.int64)]
    a, b, c = named.T
    return trimesh.Trimesh(vertices[first], named[(a != b) & (b != c) & (c != a)], process=False)


def open_edges(mesh: trimesh.Trimesh) -> int:
    """Return how many edges are not of as many triangles in one direction as in the other."""
    _, edge, count = np.unique(mesh.edges_sorted, axis=0, return_inverse=True, return_counts=True)
    direction = np.where(mesh.edges[:, 0] < mesh.edges[:, 1], 1, -1)
    balance = np.bincount(edge.reshape(-1), direction)
    return int(((balance != 0) | (count % 2 != 0)).sum())


def sampled(mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    """Return points that are spread over a mesh, two for a square voxel."""
    count = int(min(_POINTS, max(100, 2 * mesh.area)))
    points, _ = trimesh.sample.sample_surface(mesh, count, seed=0)
    return np.asarray(points)


def distances(points: NDArray[np.float64], mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    """Return how far points are from a mesh."""
    if len(points) > _POINTS:
        points = np.random.default_rng(0).choice(points, _POINTS, replace=False)
    vertices, faces = trimesh.remesh.subdivide_to_size(
        mesh.vertices, mesh.faces, _FINE, max_iter=20
    )
    corners = np.asarray(vertices)[faces]
    nearest = min(_NEAREST, len(corners))
    _, near = cKDTree(corners.mean(axis=1)).query(points, nearest)
    near = near.reshape(len(points), nearest)
    best = np.full(len(points), np.inf)
    for column in near.T:
        on_triangle = trimesh.triangles.closest_point(corners[column], points)
        best = np.minimum(best, np.linalg.norm(on_triangle - points, axis=1))
    return best


def table(name: str, found: list[tuple[int, int, Measured]], large: int) -> Iterator[str]:
    """Yield a row for each level: of all labels but the large one, and of that one."""
    for who, is_of in (("small", lambda label: label != large), ("large", lambda x: x == large)):
        for level in sorted({level for label, level, _ in found if is_of(label)}):
            rows = [row for label, at, row in found if at == level and is_of(label)]
            to, back = (
                np.concatenate([getattr(row, name) for row in rows])
                for name in ("to_voxels", "from_voxels")
            )
            volume = sum(row.volume for row in rows) / sum(row.voxels for row in rows)
            yield (
                f"| {name} | {who}, {len(rows)} | {level} | "
                f"{sum(row.triangles for row in rows)} | {volume:.3f} | "
                f"{to.mean():.3f} | {to.max():.2f} | {back.mean():.3f} | {back.max():.2f} | "
                f"{sum(row.open_edges for row in rows)} |"
            )


def labels_of(asked: argparse.Namespace) -> NDArray[np.uint64]:
    """Return the labels that are asked for."""
    if asked.of == "neurites":
        return workloads.neurites(asked.side, asked.labels, seed=asked.seed)
    if asked.of == "supervoxels":
        return workloads.supervoxels(asked.side, "uint64", rough=False)
    return workloads.brain_parcels()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", choices=KINDS, default="neurites")
    parser.add_argument(
        "--side", type=int, default=128, help="but of the brain, which is as it is"
    )
    parser.add_argument("--labels", type=int, default=60, help="neurites")
    parser.add_argument("--seed", type=int, default=5, help="of neurites")
    parser.add_argument("--measured", type=int, default=30, help="labels, the large one included")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=NGCORE")
    asked = parser.parse_args()
    makers = {"ngcore": made_by(str(BIN / "ngcore"))}
    makers |= {name: made_by(at) for name, _, at in (one.partition("=") for one in asked.other)}
    labels = labels_of(asked)
    igneous = program("igneous")
    if igneous is not None:
        makers["igneous"] = made_by_igneous(igneous, labels.shape)
    known, sizes = np.unique(labels[labels != 0], return_counts=True)
    by_size = known[np.argsort(-sizes.astype(np.int64), kind="stable")].tolist()
    chosen = by_size[:: max(1, len(by_size) // asked.measured)]
    voxels = " x ".join(map(str, labels.shape))
    print(f"{asked.of}, {voxels} voxels, {len(known)} labels, {len(chosen)} measured; voxels.\n")
    print(
        "| meshes | labels | level | triangles | volume, of the voxels' | to the voxels' surface, "
        "mean | most | from it, mean | most | open edges |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        volume = write_volume(Path(folder) / "volume", labels)
        for name, commands in makers.items():
            out = Path(folder) / name
            shutil.copytree(volume, out)
            for command in commands:
                subprocess.run(
                    [
                        word.replace("OUT", str(out)).replace("QUEUE", f"{out}-queue")
                        for word in command
                    ],
                    check=True,
                    capture_output=True,
                )
            found = list(measure(out, labels, chosen))
            print("\n".join(table(name, found, by_size[0])), flush=True)


if __name__ == "__main__":
    main()
