"""Streamlines to bundles, annotations and density: read back field by field."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, ClassVar

import annotation_reader as reader
import nibabel
import nibabel.streamlines
import numpy as np
import pytest
from annotation_reader import Collection
from hypothesis import given
from hypothesis import strategies as st

import ngcore
from ngcore.cli import run
from ngcore.errors import DestinationError, FormatError, InputError
from ngcore.precomputed.annotation_records import offsets_of
from ngcore.tracing.thinning import directions, thinned
from ngcore.tracing.tracts import tracts

if TYPE_CHECKING:
    from pathlib import Path


def walks(count: int, seed: int, length: int = 60) -> list[np.ndarray]:
    """Smooth lines of about a millimetre a step."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        turn = random.normal(size=3) + np.cumsum(random.normal(size=(length, 3)) * 0.2, axis=0)
        steps = turn / np.linalg.norm(turn, axis=1, keepdims=True)
        lines.append((random.normal(size=3) * 10 + np.cumsum(steps, axis=0)).astype(np.float32))
    return lines


def save(path: Path, lines: list[np.ndarray]) -> Path:
    tractogram = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, path)
    return path


def bundles(folder: Path) -> tuple[dict[str, Any], dict[int, Any]]:
    info = json.loads((folder / "info").read_text())
    found = reader.entries(folder, info["sharding"])
    return info, {int(key): reader.read_skeleton(data, info) for key, data in found.items()}


def distances(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """How far points are from a line of segments."""
    best = np.full(len(points), np.inf)
    for a, b in itertools.pairwise(line):
        along = b - a
        share = np.clip((points - a) @ along / max(along @ along, 1e-12), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - share[:, None] * along, axis=1))
    return best


def test_every_streamline_is_there_related_to_its_bundle_with_its_direction(tmp_path):
    left, right = walks(30, 1), walks(12, 2)
    files = [save(tmp_path / "left.tck", left), save(tmp_path / "right.tck", right)]
    tracts(files, tmp_path / "out", fsync=False)
    made = Collection(tmp_path / "out" / "streamlines")
    assert made.info["annotation_type"] == "polyline"
    assert [item["id"] for item in made.info["relationships"]] == ["bundle"]
    assert [(item["id"], item["type"]) for item in made.info["properties"]] == [
        ("direction", "rgb")
    ]
    assert sorted(made.by_id) == list(range(1, 43))
    for number, line in enumerate([*left, *right], start=1):
        item = made.by_id[number]
        np.testing.assert_allclose(item["points"], line, atol=1e-5)
        assert item["relations"]["bundle"] == [1 if number <= 30 else 2]
        along = np.abs(line[-1] - line[0]).astype(float)
        expected = along / np.linalg.norm(along) * 255
        assert np.abs(np.array(item["properties"]["direction"]) - expected).max() <= 1
    found = {key: sorted(x["id"] for x in v) for key, v in made.relations["bundle"].items()}
    assert found == {1: list(range(1, 31)), 2: list(range(31, 43))}


@pytest.mark.parametrize("most", [2_000_000, 300])
def test_bundles_are_thinned_lines_with_names_counts_and_directions(tmp_path, most):
    lines = {"left": walks(30, 1), "right": walks(12, 2)}
    files = [save(tmp_path / f"{name}.tck", part) for name, part in lines.items()]
    tracts(files, tmp_path / "out", max_vertices=most, fsync=False)
    info, found = bundles(tmp_path / "out" / "bundles")
    assert info["vertex_attributes"] == [
        {"id": "orientation", "data_type": "float32", "num_components": 3}
    ]
    folder = tmp_path / "out" / "bundles" / info["segment_properties"]
    inline = json.loads((folder / "info").read_text())["inline"]
    assert inline["ids"] == ["1", "2"]
    label, number = inline["properties"]
    assert (label["values"], number["id"], number["values"]) == (
        ["left", "right"],
        "streamlines",
        [30, 12],
    )
    assert sum(len(item["vertices"]) for item in found.values()) <= most
    for segment, name in ((1, "left"), (2, "right")):
        vertices = np.array(found[segment]["vertices"]) / 1e6
        edges = np.array(found[segment]["edges"])
        along = np.array(found[segment]["attributes"]["orientation"]).reshape(-1, 3)
        assert len(vertices) > 2
        np.testing.assert_allclose(np.linalg.norm(along, axis=1), 1, atol=1e-5)
        breaks = np.flatnonzero(np.diff(edges[:, 0]) > 1) + 1
        runs = np.split(edges, breaks)
        if most > 1000:
            assert len(runs) == len(lines[name])
        for run_of in runs:
            place = np.append(run_of[:, 0], run_of[-1, 1])
            line = vertices[place]
            whole = min(lines[name], key=lambda x: np.abs(x[0] - line[0]).sum())
            np.testing.assert_allclose(line[[0, -1]], whole[[0, -1]], atol=1e-3)
            assert distances(whole, line).max() < 0.2001
            assert len(line) < len(whole)
            steps = np.diff(line, axis=0)
            steps /= np.linalg.norm(steps, axis=1, keepdims=True)
            assert ((steps * along[place[:-1]]).sum(axis=1) > 0.3).all()


def test_bundles_that_get_no_vertex_are_warned_of(tmp_path, caplog):
    files = [save(tmp_path / f"b{n}.tck", walks(3, n)) for n in range(1, 5)]
    tracts(files, tmp_path / "whole", fsync=False)
    assert not caplog.records
    whole = bundles(tmp_path / "whole" / "bundles")[1]
    most = max(len(item["vertices"]) for item in whole.values()) // 2
    tracts(files, tmp_path / "out", max_vertices=most, fsync=False)
    found = bundles(tmp_path / "out" / "bundles")[1]
    empty = [n for n in range(1, 5) if not len(found[n]["vertices"])]
    assert 0 < len(empty) < 4
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        f"{len(empty)} of 4 bundles, such as 'b{empty[0]}', have no streamline in {most} "
        "vertices, and are empty; raise --max-vertices"
    ]


def test_density_counts_each_streamline_once_in_each_voxel_it_passes(tmp_path):
    lines = walks(25, 5, length=30)
    path = save(tmp_path / "all.tck", lines)
    assert run(["tracts", str(path), str(tmp_path / "out"), "--density", "2mm", "--no-fsync"]) == 0
    volume = ngcore.open(tmp_path / "out" / "density")
    assert volume.info.data_type == "uint32"
    assert tuple(volume.scales[0].resolution) == (2e6, 2e6, 2e6)
    counts = np.asarray(volume.scales[0][...])[..., 0]
    to_voxel = np.linalg.inv(volume.affine)
    sampled = np.zeros_like(counts)
    for line in lines:
        share = np.linspace(0, 1, 50)[:, None]
        points = np.concatenate([a + share * (b - a) for a, b in itertools.pairwise(line)])
        voxels = np.floor(points @ to_voxel[:3, :3].T + to_voxel[:3, 3] + 0.5).astype(int)
        voxels = np.unique(voxels, axis=0)
        sampled[tuple(voxels.T)] += 1
    assert (counts >= sampled).all()
    # Sampling misses corners that a line only cuts.
    assert counts.sum() <= sampled.sum() * 1.05
    assert len(volume.scales) > 1 or max(counts.shape) <= 64


def test_groups_of_trx_are_bundles(tmp_path):
    pytest.importorskip("trx")

    class Groups:
        path = tmp_path / "a.trx"
        groups: ClassVar = {"one": np.array([0, 2]), "two": np.array([2, 3])}

        def lines(self):
            from ngcore.sources.tracts.base import Lines

            points = np.concatenate(walks(5, 3, 4))
            yield Lines(points[:8], np.array([0, 4, 8]))
            yield Lines(points[8:], np.array([0, 4, 8, 12]))

    from ngcore.storage.spool import Spool
    from ngcore.tracing.tract_spool import SpooledTracts

    spool = Spool(tmp_path)
    found = SpooledTracts(spool)
    assert found.add_file(Groups()) == 0
    related = [(starts.tolist(), segments.tolist()) for _, _, (starts, segments) in found.parts()]
    assert related == [([0, 1, 1], [1]), ([0, 2, 3, 3], [1, 2, 2])]
    assert [(bundle.name, bundle.count) for bundle in found.bundles] == [("one", 2), ("two", 2)]
    assert found.loose == 2
    spool.close()


def test_streamlines_of_one_point_are_left_out_and_told_of(tmp_path, capsys):
    path = save(tmp_path / "a.tck", [*walks(3, 1), np.zeros((1, 3), np.float32)])
    assert run(["tracts", str(path), str(tmp_path / "out"), "--no-fsync"]) == 0
    assert "1 streamline of fewer than two points is left out" in capsys.readouterr().err
    assert len(Collection(tmp_path / "out" / "streamlines").by_id) == 3


def test_bad_files_leave_nothing_behind(tmp_path):
    lines = walks(3, 1)
    lines[1][5, 2] = np.inf
    with pytest.raises(FormatError, match=r"streamline 2 has a coordinate"):
        tracts(save(tmp_path / "a.tck", lines), tmp_path / "out")
    with pytest.raises(InputError, match="no streamline of two points"):
        tracts(save(tmp_path / "b.tck", []), tmp_path / "out")
    good = save(tmp_path / "c.tck", walks(3, 1))
    with pytest.raises(InputError, match="pass a larger --density"):
        tracts(good, tmp_path / "out", density=0.01)
    assert not (tmp_path / "out").exists()
    tracts(good, tmp_path / "out", fsync=False, density=1)
    with pytest.raises(DestinationError, match="already holds a layer"):
        tracts(good, tmp_path / "out")
    tracts(good, tmp_path / "out", fsync=False, density=1, resume=True)
    before = sorted(p for p in (tmp_path / "out").rglob("*"))
    tracts(good, tmp_path / "out", fsync=False, density=1, overwrite=True)
    assert sorted(p for p in (tmp_path / "out").rglob("*")) == before


@given(seed=st.integers(0, 2**32), tolerance=st.sampled_from([0.01, 0.2, 3.0]))
def test_thinned_lines_stay_near_and_keep_their_ends(seed, tolerance):
    random = np.random.default_rng(seed)
    lines = [np.cumsum(random.normal(size=(n, 3)), axis=0) for n in random.integers(0, 30, 6)]
    offsets = offsets_of(np.array([len(line) for line in lines]))
    points = np.concatenate(lines).astype(np.float32).reshape(-1, 3)
    kept = thinned(points, offsets, tolerance)
    for start, stop in itertools.pairwise(offsets):
        if stop == start:
            continue
        assert kept[start]
        assert kept[stop - 1]
        line = points[start:stop].astype(float)
        left = line[kept[start:stop]]
        if len(left) > 1:
            assert distances(line, left).max() <= tolerance * (1 + 1e-6) + 1e-6
    along = directions(points, offsets)
    assert np.isfinite(along).all()
    assert (np.linalg.norm(along, axis=1) < 1 + 1e-5).all()
