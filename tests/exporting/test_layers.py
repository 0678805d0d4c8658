"""Annotations to tables and skeletons to SWC, and back again."""

from __future__ import annotations

import csv

import nibabel
import numpy as np
import pytest

import ngcore
from ngcore.annotating.sorting import Sorter
from ngcore.cli import run
from ngcore.errors import DestinationError, InputError
from ngcore.precomputed.skeletons import Skeleton, SkeletonInfo
from ngcore.sources.tracts.swc import read_swc

_add = Sorter.add


def rows_of(path, delimiter=","):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@pytest.mark.parametrize("sharding", [True, False])
def test_a_table_comes_back_as_it_was(tmp_path, sharding):
    text = (
        "id,x,y,z,Cell type,score,tint,neuron\n"
        '7,0.1,-2.5,3,"a, b",0.25,#ff8000,1;2\n'
        "9,1e-3,0,4.125,c,n/a,#000000,\n"
    )
    (tmp_path / "t.csv").write_text(text)
    options = {"id": "id", "relations": {"neuron": "neuron"}, "sharding": sharding}
    ngcore.annotations(tmp_path / "t.csv", tmp_path / "out", fsync=False, **options)
    ngcore.export(tmp_path / "out", tmp_path / "back.csv")
    assert rows_of(tmp_path / "back.csv") == [
        {
            "id": "7",
            "x": "0.1",
            "y": "-2.5",
            "z": "3.0",
            "Cell type": "a, b",
            "score": "0.25",
            "tint": "#ff8000",
            "neuron": "1;2",
        },
        {
            "id": "9",
            "x": "0.001",
            "y": "0.0",
            "z": "4.125",
            "Cell type": "c",
            "score": "n/a",
            "tint": "#000000",
            "neuron": "",
        },
    ]
    ngcore.annotations(tmp_path / "back.csv", tmp_path / "again", fsync=False, **options)
    for file in (tmp_path / "out" / "by_id").iterdir():
        assert (tmp_path / "again" / "by_id" / file.name).read_bytes() == file.read_bytes()


def test_polylines_have_a_row_for_each_vertex_and_lengths_become_millimetres(tmp_path):
    table = {"x": [1.0, 2, 3, 4], "y": [0.0] * 4, "z": [0.0] * 4, "of": [5, 5, 6, 6]}
    table = {key: np.array(values) for key, values in table.items()}
    ngcore.annotations(
        table, tmp_path / "out", kind="polyline", group="of", units="um", fsync=False
    )
    assert run(["export", str(tmp_path / "out"), str(tmp_path / "back.tsv")]) == 0
    rows = rows_of(tmp_path / "back.tsv", "\t")
    assert [(row["id"], row["x"]) for row in rows] == [
        *(("1", "0.001"), ("1", "0.002"), ("2", "0.003"), ("2", "0.004")),
    ]


def test_skeletons_come_back_as_swc_in_the_world(tmp_path):
    affine = np.array([[0, -0.5, 0, 3], [0.5, 0, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1]], float)
    labels = np.full((8, 8, 4), 17, np.uint32)
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "a_dseg.nii")
    ngcore.convert(tmp_path / "a_dseg.nii", tmp_path / "volume", fsync=False)
    text = "1 0 10 20 30 2 -1\n2 0 11 20 30 1 1\n3 0 12 21 30 0.5 2\n4 0 12 19 30 0.5 2\n"
    for number in (17, 18):
        (tmp_path / f"{number}.swc").write_text(text)
    files = [tmp_path / "17.swc", tmp_path / "18.swc"]
    ngcore.skeletons(files, tmp_path / "volume", fsync=False)
    ngcore.skeletons(files[:1], tmp_path / "one", fsync=False)
    ngcore.export(tmp_path / "volume" / "skeletons", tmp_path / "back")
    ngcore.export(tmp_path / "one", tmp_path / "one.swc")
    expected = read_swc(files[0])
    for path in (tmp_path / "back" / "17.swc", tmp_path / "one.swc"):
        found = read_swc(path)
        order = np.lexsort(found.points.T)
        other = np.lexsort(expected.points.T)
        np.testing.assert_allclose(found.points[order], expected.points[other], atol=1e-4)
        np.testing.assert_allclose(found.radii[order], expected.radii[other])
        assert len(found.edges) == 3
    with pytest.raises(InputError, match="holds 2 skeletons, but an SWC file holds one"):
        ngcore.export(tmp_path / "volume" / "skeletons", tmp_path / "two.swc")
    with pytest.raises(DestinationError, match="already exists"):
        ngcore.export(tmp_path / "one", tmp_path / "one.swc")


def test_rings_and_other_endings_are_refused(tmp_path):
    info = SkeletonInfo()
    edges = np.array([[0, 1], [1, 2], [2, 0]], np.uint32)
    skeleton = Skeleton(np.zeros((3, 3), np.float32), edges, {})
    (tmp_path / "ring").mkdir()
    (tmp_path / "ring" / "info").write_text(info.to_json())
    (tmp_path / "ring" / "5").write_bytes(skeleton.to_bytes(info))
    with pytest.raises(InputError, match="skeleton 5: its edges form a ring"):
        ngcore.export(tmp_path / "ring", tmp_path / "a.swc")
    ngcore.annotations(np.zeros((1, 3)), tmp_path / "points", fsync=False)
    with pytest.raises(InputError, match=r"must end in \.csv or \.tsv"):
        ngcore.export(tmp_path / "points", tmp_path / "a.nii")


def test_a_long_table_is_sorted_by_ids_outside_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("ngcore.exporting.layers._SORTED_BYTES", 1 << 14)
    monkeypatch.setattr("ngcore.exporting.layers._ROWS", 100)
    monkeypatch.setattr("ngcore.annotating.sorting._LEAST_RUN_BYTES", 1 << 14)
    monkeypatch.setattr("ngcore.annotating.sorting._PAGE_BYTES", 1 << 10)
    monkeypatch.setattr("ngcore.annotating.sorting._BATCH_BYTES", 1 << 12)
    in_memory = []
    monkeypatch.setattr(
        "ngcore.exporting.layers.Sorter.add",
        lambda sorter, entries: (in_memory.append(len(entries.ids)), _add(sorter, entries)),
    )
    points = np.random.default_rng(0).normal(size=(2500, 3)).astype(np.float32)
    ngcore.annotations(points, tmp_path / "out", fsync=False)
    in_memory.clear()
    ngcore.export(tmp_path / "out", tmp_path / "out.csv")
    rows = rows_of(tmp_path / "out.csv")
    assert [row["id"] for row in rows] == [str(n) for n in range(1, 2501)]
    found = np.array([[row[axis] for axis in "xyz"] for row in rows], np.float32)
    np.testing.assert_array_equal(found, points)
    assert in_memory == [100] * 25  # what sorting holds of these is bounded: test_sorting
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
