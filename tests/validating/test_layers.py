"""Folders of annotations and skeletons: what ngcore writes is valid, and damage is found."""

import json

import numpy as np
import pytest
from findings import edit_json, found, only

from ngcore.annotating.annotate import annotations
from ngcore.precomputed.annotations import AnnotationInfo
from ngcore.tracing.skeletons import skeletons
from ngcore.validating.validate import validate
from ngcore.volume.seal import is_entry


@pytest.fixture(params=[True, False], ids=["shards", "files"])
def points(request, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{x},{y},{z},{s},{i % 7}" for i, (x, y, z, s) in enumerate(rng.normal(0, 9, (300, 4)))
    ]
    (tmp_path / "p.csv").write_text("x,y,z,size,segment\n" + "\n".join(rows) + "\n")
    out = tmp_path / "points"
    annotations(
        tmp_path / "p.csv",
        out,
        relations={"segment": "segment"},
        max_per_cell=40,
        sharding=request.param,
        fsync=False,
    )
    return out


@pytest.fixture(params=[True, False], ids=["shards", "files"])
def neurons(request, tmp_path):
    for name in (1, 2):
        (tmp_path / f"{name}.swc").write_text(f"1 1 0 0 0 2 -1\n2 3 5 0 {name} 1 1\n")
    out = tmp_path / "neurons"
    paths = [tmp_path / "1.swc", tmp_path / "2.swc"]
    skeletons(paths, out, sharding=request.param, fsync=False)
    return out


def test_annotations_that_ngcore_wrote_are_sound(points):
    report = validate(points)
    assert not report.findings
    assert report.what == "annotations (point)"
    assert report.chunks == 300


def test_skeletons_that_ngcore_wrote_are_sound(neurons):
    report = validate(neurons)
    assert not report.findings
    assert (report.what, report.chunks) == ("skeletons", 2)


def entry_files(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if is_entry(path.relative_to(folder).as_posix())]


@pytest.mark.parametrize("is_sealed", [True, False])
def test_entries_that_are_cut_are_found(points, is_sealed):
    if not is_sealed:
        (points / "provenance").unlink()
    for path in entry_files(points)[::40]:
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        assert found(points), path
        path.write_bytes(data)
    assert not found(points)


def test_a_bit_of_any_entry_is_found(points, neurons):
    for folder in (points, neurons):
        path = max(entry_files(folder), key=lambda path: path.stat().st_size)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert found(folder)


def test_skeletons_are_checked_to_the_last_byte(neurons):
    (neurons / "provenance").unlink()
    path = max(entry_files(neurons), key=lambda path: path.stat().st_size)
    if path.name == "0.shard":
        return
    path.write_bytes(path.read_bytes() + b"\0")
    assert "take exactly" in only(found(neurons))
    path.write_bytes(b"abc")
    assert "a skeleton has at least 8 bytes, got 3" in only(found(neurons))


def test_annotations_that_one_index_lacks_are_found(points):
    (points / "provenance").unlink()
    info = AnnotationInfo.from_json((points / "info").read_bytes())
    if info.by_id.sharding is not None:
        return
    cells = (path for level in info.spatial for path in (points / level.key).iterdir())
    max(cells, key=lambda path: path.stat().st_size).unlink()
    assert "are in no spatial cell" in only(found(points))
    lost = min((points / info.by_id.key).iterdir())
    lost.unlink()
    assert any(f"lists annotation {lost.name}, which by_id lacks" in m for m in found(points))


def test_points_in_a_cell_that_they_do_not_lie_in_are_found(points):
    (points / "provenance").unlink()
    info = AnnotationInfo.from_json((points / "info").read_bytes())
    level = info.spatial[-1]
    if level.sharding is not None or sum(level.grid_shape) < 5:
        return
    one, *_, other = sorted((points / level.key).iterdir())
    one_data, other_data = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_data)
    other.write_bytes(one_data)
    assert all("lies outside of this cell" in line for line in found(points))


@pytest.mark.parametrize("member", ["by_id", "spatial"])
def test_sharding_that_is_null_is_a_fault(points, member):
    def change(info):
        place = info[member] if member == "by_id" else info[member][0]
        place["sharding"] = None

    edit_json(points / "info", change)
    assert any("sharding: null" in line for line in found(points))


def test_an_info_that_says_something_else_is_found(neurons, points):
    edit_json(neurons / "info", lambda info: info.update(transform=[2.0, *info["transform"][1:]]))
    assert only(found(neurons)).startswith("info: is not what ngcore wrote")
    bounds = json.loads((points / "info").read_text())["upper_bound"]
    edit_json(points / "info", lambda info: info.update(upper_bound=[b + 1 for b in bounds]))
    assert any(line.startswith("info: is not what ngcore wrote") for line in found(points))
