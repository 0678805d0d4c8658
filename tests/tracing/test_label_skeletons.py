"""Labels to skeletons: known tubes, in the world, in bounded memory, and what is refused."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

import annotation_reader as reader
import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ngcore
from ngcore.cli import run
from ngcore.tracing.centre_lines import CentreLines, centre_lines
from ngcore.tracing.label_skeletons import find_boxes

pytest.importorskip("skimage")

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Line = tuple[tuple[float, float, float], tuple[float, float, float], float]
FORK: list[Line] = [((8, 20, 20), (58, 24, 24), 5), ((30, 22, 22), (50, 44, 34), 3.5)]


def tubes(lines: list[Line], shape: tuple[int, ...], voxel: tuple[float, ...]) -> NDArray[Any]:
    """Voxels whose centres lie within tubes: first point, last point, radius."""
    centres = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * np.array(voxel)
    found = np.zeros(shape, np.bool_)
    for first, last, radius in lines:
        along = np.subtract(last, first)
        share = np.clip((centres - first) @ along / (along @ along), 0, 1)
        away = centres - first - share[..., np.newaxis] * along
        found |= (away**2).sum(axis=-1) <= radius**2
    return found


def distance_to(lines: list[Line], points: NDArray[Any]) -> NDArray[np.float64]:
    """How far points are from the nearest middle of a tube."""
    nearest = np.full(len(points), np.inf)
    for first, last, _ in lines:
        along = np.subtract(last, first)
        share = np.clip((points - first) @ along / (along @ along), 0, 1)
        away = points - first - share[:, np.newaxis] * along
        nearest = np.minimum(nearest, np.linalg.norm(away, axis=1))
    return nearest


def assert_is_the_fork(points: NDArray[Any], edges: Any, radii: Any, voxel: float = 1) -> None:
    edges = np.asarray(edges, np.int64)
    degrees = np.bincount(edges.reshape(-1), minlength=len(points))
    assert np.bincount(degrees).tolist()[1::2] == [3, 1]  # three ends, one branch
    assert len(edges) == len(points) - 1
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1).sum()
    expected = sum(np.linalg.norm(np.subtract(b, a)) for a, b, _ in FORK)
    assert 0.85 < length / expected < 1.12
    away = distance_to(FORK, points)
    assert np.mean(away) < voxel
    assert 4 < np.max(radii) < 6.5
    for first, last, radius in FORK:
        for end in (first, last):
            assert np.linalg.norm(points - end, axis=1).min() < radius + voxel


@pytest.mark.parametrize("thick", [1.0, 4.0])
def test_a_forked_tube_is_two_lines_along_its_middle(thick):
    shape = tubes(FORK, (64, 50, round(44 / thick)), (1, 1, thick))
    lines = centre_lines(shape, (1, 1, thick))
    assert_is_the_fork(lines.points, lines.edges, lines.radii, voxel=thick**0.5)


def test_bumps_make_no_branches_and_cavities_no_shells():
    random = np.random.default_rng(0)
    line: list[Line] = [((8, 20, 20), (58, 24, 24), 6)]
    shape = tubes(line, (64, 44, 44), (1, 1, 1))
    rough = np.repeat(np.repeat(random.uniform(size=(32, 22, 22)), 2, 0), 2, 1).repeat(2, 2)
    shape |= tubes([(*line[0][:2], 7)], shape.shape, (1, 1, 1)) & (rough > 0.5)
    shape[20:40, 21:23, 21:23] = False
    lines = centre_lines(shape, (1, 1, 1))
    degrees = np.bincount(lines.edges.reshape(-1))
    assert (degrees == 1).sum() == 2
    assert distance_to(line, lines.points).max() < 3


def test_each_part_is_a_tree_and_rings_are_cut():
    shape = np.zeros((40, 40, 12), np.bool_)
    x, y, _ = np.indices(shape.shape)
    shape[..., 4:8] = (np.abs(np.hypot(x - 20, y - 20) - 12) < 2)[..., 4:8]
    shape[0, 0, 0] = shape[39, 39, 10:12] = True
    lines: CentreLines = centre_lines(shape, (2, 2, 2))
    assert len(lines.edges) <= len(lines.points) - 3
    length = np.linalg.norm(np.subtract(*lines.points[lines.edges.T]), axis=1).sum()
    assert 100 < length < 2 * 2 * np.pi * 12


@given(st.data(), st.integers(0, 2**32), st.tuples(*[st.integers(1, 9)] * 3))
def test_boxes_are_those_of_a_slow_look(data, seed, shape):
    labels = np.random.default_rng(seed).choice(np.array([0, 1, 2**40, 7], np.uint64), shape)
    cut = tuple(data.draw(st.integers(1, side)) for side in shape)

    expected = {}
    for label in set(labels.reshape(-1).tolist()) - {0}:
        where = np.argwhere(labels == label)
        expected[label] = (tuple(where.min(0).tolist()), tuple((where.max(0) + 1).tolist()))
    if expected:
        with tempfile.TemporaryDirectory() as folder:
            volume = ngcore.convert(
                labels,
                folder,
                type="segmentation",
                resolution=(8, 8, 8),
                chunk_size=cut,
                fsync=False,
            )
            assert find_boxes(volume.scales[0], None) == expected


AFFINE = np.array([[0.4, -0.3, 0, -10], [0.3, 0.4, 0, 5], [0, 0, 0.5, 20], [0, 0, 0, 1]])


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """The fork as label 5, and a cube as label 9, in voxels of 0.5 mm."""
    labels = tubes(FORK, (64, 50, 44), (1, 1, 1)).astype(np.uint32) * 5
    labels[2:6, 40:44, 2:6] = 9
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), tmp_path / "cells_dseg.nii")
    ngcore.convert(tmp_path / "cells_dseg.nii", tmp_path / "volume", chunk_size=32, fsync=False)
    (tmp_path / "names.csv").write_text("label,name\n5,Fork\n9,Cube\n")
    return tmp_path / "volume"


def test_a_volume_gets_skeletons_of_its_labels_and_cloudvolume_reads_them(volume):
    assert run(["skeletons", "--labels", str(volume), str(volume), "--no-fsync"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudvolume import CloudVolume

        found = CloudVolume(f"file://{volume}", progress=False).skeleton.get([5, 9])
    fork, cube = sorted(found, key=lambda skeleton: skeleton.id)
    points = fork.physical_space().vertices / 500_000 - 0.5
    assert_is_the_fork(points, fork.edges, fork.radius / 500_000)
    assert len(cube.vertices) >= 1
    assert run(["validate", str(volume)]) == 0
    assert "skeletons" in json.loads((volume / "info").read_text())


def test_elsewhere_skeletons_lie_in_the_world_with_the_names_of_the_volume(volume, tmp_path):
    ngcore.labels(volume, tmp_path / "names.csv")
    out = tmp_path / "out"
    ngcore.skeletons([], out, labels=volume, ids=[5], workers=1, sharding=False, fsync=False)
    info = json.loads((out / "info").read_text())
    skeleton = reader.read_skeleton((out / "5").read_bytes(), info)
    world = np.array(skeleton["vertices"]) * 1e-6
    points = np.linalg.solve(AFFINE[:3, :3], (world - AFFINE[:3, 3]).T).T
    assert_is_the_fork(points, skeleton["edges"], np.divide(skeleton["attributes"]["radius"], 5e5))
    names = json.loads((out / "segment_properties" / "info").read_text())["inline"]
    assert (names["ids"], names["properties"][0]["values"]) == (["5"], ["Fork"])
    ngcore.skeletons([], out, labels=volume, ids=[5], sharding=False, fsync=False, resume=True)


def test_very_large_labels_are_named_and_looked_at_in_larger_voxels_whatever_the_memory(
    volume, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("ngcore.tracing.label_skeletons._MOST_BYTES", 300_000)
    found = []
    for number, options in enumerate([["--memory", "128M"], ["--memory", "4G", "--workers", "1"]]):
        out = tmp_path / str(number)
        args = ["skeletons", "--labels", str(volume), str(out), "--no-fsync", "--no-sharding"]
        assert run([*args, *options]) == 0
        (line,) = capsys.readouterr().err.splitlines()
        expected = r"warning: label 5 \(\d+ x \d+ x \d+ voxels\): so large that up to 2 x 2 x 2"
        assert re.search(expected, line)
        found.append([(out / str(label)).read_bytes() for label in (5, 9)])
    assert found[0] == found[1]
    info = json.loads((tmp_path / "0" / "info").read_text())
    skeleton = reader.read_skeleton(found[0][0], info)
    world = np.array(skeleton["vertices"]) * 1e-6
    points = np.linalg.solve(AFFINE[:3, :3], (world - AFFINE[:3, 3]).T).T
    radii = np.divide(skeleton["attributes"]["radius"], 5e5)
    assert_is_the_fork(points, skeleton["edges"], radii, voxel=2)


def test_too_little_memory_for_a_label_is_refused(volume, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ngcore.tracing.label_skeletons._LEAST_BYTES", 300_000)
    args = ["skeletons", "--labels", str(volume), str(tmp_path / "out"), "--no-fsync"]
    assert run([*args, "--memory", "128M"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"label 5 has a box of .* voxels, too many for --memory of 128 MiB", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no files; pass SWC files, or the labels of a segmentation"),
        (["a.swc", "--labels", "{volume}"], "makes its own skeletons"),
        (["a.swc", "--ids", "5"], "pass --labels"),
        (["--labels", "{volume}", "--ids", "6"], "holds no voxel of label 6"),
        (["--labels", "{volume}", "--scale", "9"], "has no scale 9"),
        (["--labels", "{image}"], "is an image, and only labels have skeletons"),
        (["--labels", "{empty}"], "holds no labels but 0"),
        (["--labels", "nowhere"], "nowhere is not a folder"),
    ],
)
@pytest.mark.usefixtures("volume")
def test_what_is_refused_leaves_nothing_behind(tmp_path, capsys, args, message):
    for name, kind in (("image", "image"), ("empty", "segmentation")):
        array = np.zeros((4, 4, 4), np.uint32)
        ngcore.convert(array, tmp_path / name, type=kind, resolution=(1, 1, 1), fsync=False)
    places = {name: tmp_path / name for name in ("volume", "image", "empty")}
    out = tmp_path / "out"
    assert run(["skeletons", *(arg.format(**places) for arg in args), str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not out.exists()


def test_without_scikit_image_the_extra_is_named(volume, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage.morphology", None)
    assert run(["skeletons", "--labels", str(volume), str(tmp_path / "out")]) == 2
    assert "pip install 'ngcore-neuroglancer[skeletons]'" in capsys.readouterr().err
