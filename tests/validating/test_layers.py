"""Folders of annotations and skeletons: what ngcore writes is valid, and damage is found."""

import json
import tracemalloc

import numpy as np
import pytest
from findings import edit_json, found, only

from ngcore.annotating.annotate import annotations
from ngcore.precomputed.annotation_records import (
    decode_annotation,
    decode_list,
    encode_list,
    make_records,
)
from ngcore.precomputed.annotations import AnnotationInfo
from ngcore.tracing.skeletons import skeletons
from ngcore.validating import annotation_places
from ngcore.validating import annotations as annotations_module
from ngcore.validating.annotation_table import AnnotationTable
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
    assert "is in no spatial cell" in only(found(points))
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


@pytest.fixture(params=["line", "box", "ellipsoid", "polyline"])
def shapes(request, tmp_path):
    """Annotations that reach over several cells, related to segments, a file for each entry."""
    rng = np.random.default_rng(0)
    first, size = rng.uniform(0, 9, (60, 3)), rng.uniform(0.5, 1.5, (60, 3))
    names = ("x", "y", "z", "rx", "ry", "rz")
    ends = np.column_stack([first, size])
    if request.param in ("line", "box"):
        names, ends = ("x1", "y1", "z1", "x2", "y2", "z2"), np.column_stack([first, first + size])
    elif request.param == "polyline":
        names, ends = ("x", "y", "z"), np.stack([first, first + size], 1).reshape(-1, 3)
    table = dict(zip(names, ends.T, strict=True))
    table["cell"] = np.repeat(np.arange(60) % 7, len(ends) // 60)
    group = {}
    if request.param == "polyline":
        table["of"] = np.repeat(np.arange(60), 2)
        group = {"group": "of"}
    out = tmp_path / "shapes"
    relations = {"cell": "cell"}
    options = {"max_per_cell": 5, "sharding": False, "fsync": False}
    annotations(table, out, kind=request.param, relations=relations, **group, **options)
    (out / "provenance").unlink()
    assert not validate(out).findings
    return out


def without(data, info, row):
    """Return a list of annotations without one of them."""
    listed = decode_list(data, info)
    offsets = listed.vertex_offsets
    records = make_records(info, listed.geometry, listed.properties, offsets)
    rest = np.delete(np.arange(len(listed)), row)
    return encode_list(records.take(rest), listed.ids[rest])


def test_annotations_that_a_cell_they_meet_lacks_are_found(shapes):
    info = AnnotationInfo.from_json((shapes / "info").read_bytes())
    places = {}
    for level in info.spatial:
        for path in sorted((shapes / level.key).iterdir()):
            for row, number in enumerate(decode_list(path.read_bytes(), info).ids.tolist()):
                places.setdefault(number, []).append((path, row))
    in_several = [cells[0] for cells in places.values() if len(cells) > 1]
    missed = 0
    for path, row in in_several[:6]:
        data = path.read_bytes()
        path.write_bytes(without(data, info, row))
        lines = found(shapes)
        assert all("1 annotations are missing from cells of their level" in line for line in lines)
        missed += not lines
        path.write_bytes(data)
    assert missed <= 1  # one may lie at the border of a cell


@pytest.mark.parametrize("most", [8, 90])
def test_how_much_is_looked_at_together_makes_no_false_alarm(shapes, most, monkeypatch):
    monkeypatch.setattr(annotation_places, "_MOST_PAIRS", most)
    assert not found(shapes)


def test_the_cells_that_are_counted_are_those_that_are_met(shapes):
    info = AnnotationInfo.from_json((shapes / "info").read_bytes())
    by_id = sorted((shapes / "by_id").iterdir())
    for level in info.spatial:
        for path in by_id[:40:20]:
            one, _ = decode_annotation(path.read_bytes(), info)
            count = annotation_places.count_surely_met(one, info, level)
            cells = list(np.ndindex(*level.grid_shape))
            met = [annotation_places.surely_meet(one, info, level, cell)[0] for cell in cells]
            assert sum(met) == count[0], (path, level)


def write_lists(folder, info, lists):
    """Write annotations as the lists of spatial cells, each in a file."""
    folder.mkdir(parents=True)
    for name, (geometry, ids) in lists.items():
        records = make_records(info, geometry, {}, None)
        (folder / name).write_bytes(encode_list(records, np.array(ids, np.uint64)))


def test_a_long_list_beside_a_short_one_makes_no_false_alarm(tmp_path, monkeypatch):
    """A cell lists very many lines, one of which its neighbour lists alone."""
    level = {"key": "s0", "grid_shape": [8, 8, 8], "chunk_size": [1, 1, 1], "limit": 100}
    text = info_text("line", {"x": 1, "y": 1, "z": 1}, [0] * 3, [8] * 3, level)
    info = AnnotationInfo.from_json(text)
    (tmp_path / "info").write_bytes(text)
    rng = np.random.default_rng(0)
    lines = rng.uniform(5.1, 5.9, (100, 6)).astype(np.float32)
    lines[7, 3] = 6.5
    lines[7, 4:] = lines[7, 1:3]
    write_lists(tmp_path / "s0", info, {"5_5_5": (lines, range(100)), "6_5_5": (lines[7:8], [7])})
    (tmp_path / "by_id").mkdir()
    records = make_records(info, lines, {}, None)
    for number in range(100):
        one = records.take(np.array([number]))
        (tmp_path / "by_id" / str(number)).write_bytes(one.words.tobytes())
    monkeypatch.setattr(annotation_places, "_MOST_PAIRS", 50)
    assert not found(tmp_path)
    (tmp_path / "s0" / "6_5_5").unlink()
    assert "1 annotations are missing from cells of their level" in only(found(tmp_path))


def info_text(kind, dimensions, lower, upper, level, by_id=None):
    """Return the info of annotations without properties."""
    document = {
        "@type": "neuroglancer_annotations_v1",
        "dimensions": {name: [scale, "m"] for name, scale in dimensions.items()},
        "lower_bound": lower,
        "upper_bound": upper,
        "annotation_type": kind,
        "properties": [],
        "relationships": [],
        "by_id": by_id or {"key": "by_id"},
        "spatial": [level],
    }
    return json.dumps(document).encode()


def test_points_of_four_dimensions_in_shards_are_found_in_their_level(tmp_path):
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "hash": "identity",
        "preshift_bits": 0,
        "minishard_bits": 0,
        "shard_bits": 0,
        "minishard_index_encoding": "raw",
        "data_encoding": "raw",
    }
    level = {"key": "s0", "grid_shape": [1] * 4, "chunk_size": [9] * 4, "limit": 1}
    by_id = {"key": "by_id", "sharding": sharding}
    text = info_text(
        "point", dict.fromkeys("xyzt", 1), [0] * 4, [9] * 4, level | {"sharding": sharding}, by_id
    )
    info = AnnotationInfo.from_json(text)
    (tmp_path / "info").write_bytes(text)
    records = make_records(info, np.array([[1, 2, 3, 4]], np.float32), {}, None)
    listed = encode_list(records, np.array([5], np.uint64))
    for folder, number, data in (("by_id", 5, records.words.tobytes()), ("s0", 0, listed)):
        (tmp_path / folder).mkdir()
        write_shard(tmp_path / folder / "0.shard", number, data)
    assert not found(tmp_path)
    write_shard(tmp_path / "s0" / "0.shard", 0, encode_list(records, np.array([6], np.uint64)))
    lines = found(tmp_path)
    assert any("lists annotation 6, which by_id lacks" in line for line in lines)
    assert any("annotation 5 of by_id is in no spatial cell" in line for line in lines)


def write_shard(path, number, data):
    """Write a shard of one minishard, which holds one entry."""
    minishards = np.array([len(data), len(data) + 24], "<u8")
    path.write_bytes(
        minishards.tobytes() + data + np.array([number, 0, len(data)], "<u8").tobytes()
    )


def test_an_annotation_far_from_the_cell_that_lists_it_is_found(shapes):
    info = AnnotationInfo.from_json((shapes / "info").read_bytes())
    level = info.spatial[-1]
    (shapes / level.key / "0_0_0").write_bytes(
        (shapes / level.key / "_".join(str(n - 1) for n in level.grid_shape)).read_bytes()
    )
    assert any("lies outside of this cell" in line for line in found(shapes))


def test_lists_of_segments_that_by_id_does_not_state_are_found(shapes):
    info = AnnotationInfo.from_json((shapes / "info").read_bytes())
    folder = shapes / info.relationships[0].key
    (folder / "3").rename(folder / "8")
    lines = found(shapes)
    assert any("list of segment 8 differs from the annotations that by_id" in x for x in lines)
    assert any("1 segments that have no valid list, such as 3" in line for line in lines)
    (folder / "8").rename(folder / "3")
    data = (folder / "3").read_bytes()
    (folder / "3").write_bytes(without(data, info, 1))
    assert "list of segment 3 differs" in only(found(shapes))
    (folder / "3").write_bytes(data)
    entry = shapes / "by_id" / "4"
    entry.write_bytes(entry.read_bytes()[:-1] + b"\x01")  # the highest byte of its segment
    assert any("list of segment 3 differs" in line for line in found(shapes))


def test_an_annotation_that_a_cell_lists_twice_is_found(points):
    (points / "provenance").unlink()
    info = AnnotationInfo.from_json((points / "info").read_bytes())
    if info.by_id.sharding is not None:
        return
    path = max((points / info.spatial[0].key).iterdir(), key=lambda path: path.stat().st_size)
    data = path.read_bytes()
    (count,) = np.frombuffer(data, "<u8", 1)
    size = (len(data) - 8) // int(count)
    records, ids = data[8 : -8 * int(count)], data[-8 * int(count) :]
    more = np.array([count + 1], "<u8").tobytes()
    path.write_bytes(more + records + records[: size - 8] + ids + ids[:8])
    assert any("lists an annotation twice" in line for line in found(points))


def test_more_annotations_than_are_compared_are_warned_of(points, monkeypatch):
    (points / "provenance").unlink()
    monkeypatch.setattr(annotations_module, "_MOST_COMPARED", 300)
    assert not validate(points).findings
    monkeypatch.setattr(annotations_module, "_MOST_COMPARED", 299)
    assert "more than 299 annotations, or segments" in only(found(points, "warning"))
    assert not found(points)


def test_more_related_segments_than_are_compared_are_warned_of(tmp_path, monkeypatch):
    table = {name: np.arange(20.0) for name in "xyz"} | {"a": np.arange(20), "b": np.arange(20)}
    out = tmp_path / "points"
    annotations(table, out, relations={"a": "a", "b": "b"}, sharding=False, fsync=False)
    (out / "provenance").unlink()
    monkeypatch.setattr(annotations_module, "_MOST_COMPARED", 40)
    assert not validate(out).findings
    monkeypatch.setattr(annotations_module, "_MOST_COMPARED", 39)
    assert "more than 39 annotations, or segments" in only(found(out, "warning"))


def test_a_name_that_is_no_id_of_64_bits_is_found(points):
    (points / "provenance").unlink()
    info = AnnotationInfo.from_json((points / "info").read_bytes())
    if info.by_id.sharding is not None:
        return
    for index in (info.by_id, info.relationships[0]):
        one = min((points / index.key).iterdir())
        (points / index.key / str(1 << 64)).write_bytes(one.read_bytes())
    assert len([line for line in found(points) if "its name is not an id" in line]) == 2


def test_what_is_compared_takes_little_memory():
    count = 20_000
    segments = np.array([7], np.uint64)
    tracemalloc.start()
    table = AnnotationTable(1, count)
    for number in range(count):
        assert table.add(number, number, number, [segments])
    assert not table.add(count, 0, 0, [segments[:0]])
    table.close()
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 40 * count
    assert most < 120 * count
    assert table.take_segment(0, 7) == sum(range(count))
    assert table.take_segment(0, 7) == 0
    assert not len(table.segments_left(0))


def test_named_skeletons_that_are_missing_are_warned_of(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.swc").write_text("1 1 0 0 0 2 -1\n2 3 5 0 0 1 1\n")
    out = tmp_path / "neurons"
    skeletons([tmp_path / "a.swc", tmp_path / "b.swc"], out, sharding=False, fsync=False)
    (out / "provenance").unlink()
    assert not validate(out).findings
    (out / "2").unlink()
    (line,) = found(out, "warning")
    assert "1 segments that segment_properties/info names have no skeleton, such as 2" in line
