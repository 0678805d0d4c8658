"""SWC to skeletons: read back field by field, and by CloudVolume."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import annotation_reader as reader
import nibabel
import numpy as np
import pytest

import ngcore
from ngcore.cli import run
from ngcore.errors import DestinationError, InputError
from ngcore.tracing.skeletons import skeletons

if TYPE_CHECKING:
    from pathlib import Path

TREE = "1 1 0 0 0 2 -1\n2 3 1.5 0 0 1 1\n3 3 2 1 0 0.5 2\n4 3 2 -1 0 0.5 2\n"


def write(folder: Path, **texts: str) -> list[Path]:
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name.lstrip('n')}.swc")
        paths[-1].write_text(text)
    return paths


def found(folder: Path) -> tuple[dict[str, Any], dict[int, Any]]:
    info = json.loads((folder / "info").read_text())
    entries = reader.entries(folder, info.get("sharding"))
    values = {
        int(key): reader.read_skeleton(data, info)
        for key, data in entries.items()
        if isinstance(key, int) or key.isdigit()
    }
    return info, values


@pytest.fixture(autouse=True)
def _files_only(monkeypatch):
    """The reader of unsharded folders takes every name for an entry; leave out folders."""
    plain = reader.entries

    def entries(folder, sharding):
        if sharding is not None:
            return plain(folder, sharding)
        return {p.name: p.read_bytes() for p in folder.iterdir() if p.name.isdigit()}

    monkeypatch.setattr(reader, "entries", entries)


@pytest.mark.parametrize("sharding", [True, False])
def test_numbers_are_ids_and_lengths_are_nanometres(tmp_path, sharding):
    files = write(tmp_path, n17=TREE, n5="7 1 1 1 1 3 -1\n")
    skeletons(files, tmp_path / "out", sharding=sharding, fsync=False)
    info, values = found(tmp_path / "out")
    assert sorted(values) == [5, 17]
    assert info["vertex_attributes"] == [
        {"id": "radius", "data_type": "float32", "num_components": 1}
    ]
    assert "segment_properties" not in info
    assert values[17]["vertices"][1] == (1500, 0, 0)
    assert values[17]["attributes"]["radius"] == (2000, 1000, 500, 500)
    assert sorted(map(sorted, values[17]["edges"])) == [[0, 1], [1, 2], [1, 3]]
    assert values[5]["vertices"] == [(1000, 1000, 1000)]


def test_other_names_are_numbered_and_named(tmp_path):
    files = write(tmp_path, alpha=TREE, n1=TREE, beta=TREE)
    skeletons(files, tmp_path / "out", units="nm", fsync=False)
    info, values = found(tmp_path / "out")
    assert sorted(values) == [1, 2, 3]
    assert values[1]["vertices"][1] == (1.5, 0, 0)
    properties = json.loads((tmp_path / "out" / info["segment_properties"] / "info").read_text())
    inline = properties["inline"]
    assert dict(zip(inline["ids"], inline["properties"][0]["values"], strict=True)) == {
        "1": "1",
        "2": "alpha",
        "3": "beta",
    }


def test_two_files_of_one_id_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    files = write(tmp_path, n5=TREE) + write(tmp_path / "a", n05=TREE)
    with pytest.raises(InputError, match="both have the id 5"):
        skeletons(files, tmp_path / "out")


def oblique() -> np.ndarray:
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [0.5, 0.5, 2]
    affine[:3, 3] = [-10, 5, 20]
    return affine


@pytest.fixture
def volume(tmp_path):
    labels = np.zeros((20, 16, 6), np.uint32)
    labels[5:15, 4:12, 1:5] = 17
    nibabel.save(nibabel.Nifti1Image(labels, oblique()), tmp_path / "labels_dseg.nii")
    ngcore.convert(tmp_path / "labels_dseg.nii", tmp_path / "volume", fsync=False)
    return tmp_path / "volume"


@pytest.mark.parametrize("sharding", [True, False])
def test_a_volume_gets_skeletons_in_its_own_space_and_cloudvolume_reads_them(
    tmp_path, volume, sharding
):
    points = np.array([[4.0, 5, 2], [8, 6, 3], [12, 10, 4]])
    world = points @ oblique()[:3, :3].T + oblique()[:3, 3]
    rows = [f"{n + 1} 0 {x} {y} {z} 0.1 {n or -1}" for n, (x, y, z) in enumerate(world)]
    files = write(tmp_path, n17="\n".join(rows))
    skeletons(files, volume, units="mm", sharding=sharding, fsync=False)
    info = json.loads((volume / "info").read_text())
    assert info["skeletons"] == "skeletons"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudvolume import CloudVolume

        skeleton = CloudVolume(f"file://{volume}", progress=False).skeleton.get(17)
    expected = (points + 0.5) * info["scales"][0]["resolution"]
    moved = skeleton.physical_space().vertices
    np.testing.assert_allclose(moved, expected, atol=1)
    assert sorted(map(sorted, skeleton.edges.tolist())) == [[0, 1], [1, 2]]
    with pytest.raises(DestinationError, match="already holds a layer"):
        skeletons(files, volume, units="mm", fsync=False)
    skeletons(files, volume, units="mm", fsync=False, overwrite=True)


def test_skeletons_that_miss_their_volume_are_warned_of(tmp_path, volume, capsys):
    files = write(tmp_path, n17="1 0 -8 10 23 1 -1\n")
    args = ["skeletons", *map(str, files), str(tmp_path / "out"), "--like", str(volume)]
    assert run([*args, "--no-fsync"]) == 0
    assert "1 of 1 skeletons lie outside of the volume" in capsys.readouterr().err
    assert run([*args, "--units", "mm", "--overwrite", "--no-fsync"]) == 0
    assert "outside" not in capsys.readouterr().err


def test_bad_files_leave_nothing_behind(tmp_path, capsys):
    files = write(tmp_path, a=TREE, b=TREE + "9 1 0 0 0 1 77\n")
    assert run(["skeletons", *map(str, files), str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "b.swc, line 5: the parent 77 is not in the file" in line
    assert not (tmp_path / "out").exists()
    assert run(["skeletons", str(tmp_path / "none.swc"), str(tmp_path / "out")]) == 2
    assert "no such file" in capsys.readouterr().err
