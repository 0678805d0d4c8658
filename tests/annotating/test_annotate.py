"""Tables to annotations, read back field by field."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thorough import amount

import ngcore
from ngcore.annotating.annotate import annotations
from ngcore.annotating.blocks import Block
from ngcore.cli import run
from ngcore.errors import DestinationError, FormatError, InputError, NgcoreError
from ngcore.precomputed.annotation_cells import Grid, cells_met
from ngcore.precomputed.annotation_records import offsets_of
from ngcore.precomputed.annotations import AnnotationInfo


def test_properties_get_the_types_that_hold_them(convert):
    made = convert(
        "x,y,z,small,neg,big,real,gap,word,colour,Two words,2nd,size\n"
        "1,2,3,0,-1,70000,0.5,n/a,b,#ff8000,u,1,1\n"
        "4,5,6,255,127,0,2,7,a,#000001,v,2,2\n"
        "7,8,9,3,-128,1,1e3,,n/a,#ffffff,w,3,3\n"
    )
    types = {item["id"]: item["type"] for item in made.info["properties"]}
    assert types == {
        "small": "uint8",
        "neg": "int8",
        "big": "uint32",
        "real": "float32",
        "gap": "float32",
        "word": "uint8",
        "colour": "rgb",
        "two_words": "uint8",
        "p_2nd": "uint8",
        "size": "uint8",
    }
    described = {item["id"]: item.get("description") for item in made.info["properties"]}
    assert (described["two_words"], described["small"]) == ("Two words", None)
    word = next(item for item in made.info["properties"] if item["id"] == "word")
    labels = dict(zip(word["enum_values"], word["enum_labels"], strict=True))
    found = [made.by_id[number]["properties"] for number in (1, 2, 3)]
    assert [labels[item["word"]] for item in found] == ["b", "a", "n/a"]
    assert [item["colour"] for item in found] == [(255, 128, 0), (0, 0, 1), (255, 255, 255)]
    assert [item["big"] for item in found] == [70000, 0, 1]
    assert np.isnan(found[0]["gap"])
    assert (found[1]["gap"], found[2]["real"]) == (7, 1000)
    assert made.by_id[2]["points"] == [(4, 5, 6)]
    assert made.info["dimensions"] == {axis: [0.001, "m"] for axis in "xyz"}
    assert (made.info["lower_bound"], made.info["upper_bound"]) == ([1, 2, 3], [7, 8, 9])


def test_a_column_that_turns_into_words_midway_keeps_its_first_ones(convert, monkeypatch):
    monkeypatch.setattr("ngcore.sources.points.delimited._CHUNK_BYTES", 4096)
    rows = "".join(f"0,0,{n},{n % 7:03d}\n" for n in range(2000))
    made = convert(f"x,y,z,code\n{rows}0,0,1,none\n")
    (code,) = made.info["properties"]
    assert code["enum_labels"] == [*(f"{n:03d}" for n in range(7)), "none"]
    assert made.by_id[9]["properties"]["code"] == 1
    assert made.by_id[2001]["properties"]["code"] == 7


def test_relations_hold_one_segment_or_several_or_none(convert):
    made = convert(
        "id,x,y,z,cell,part\n"
        f"10,0,0,0,1,{2**64 - 1}\n"
        "20,1,1,1,1;2,\n"
        "18446744073709551615,2,2,2,n/a,5\n",
        id="id",
        relations={"cell": "cell", "the part": "part"},
    )
    assert {key: item["relations"] for key, item in made.by_id.items()} == {
        10: {"cell": [1], "the part": [2**64 - 1]},
        20: {"cell": [1, 2], "the part": []},
        2**64 - 1: {"cell": [], "the part": [5]},
    }
    found = {
        name: {key: sorted(item["id"] for item in items) for key, items in lists.items()}
        for name, lists in made.relations.items()
    }
    assert found == {
        "cell": {1: [10, 20], 2: [20]},
        "the part": {2**64 - 1: [10], 5: [2**64 - 1]},
    }
    assert made.info["properties"] == []
    assert [item["key"] for item in made.info["relationships"]] == ["rel_cell", "rel_the_part"]


def table_of(kind: str, count: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    centre = random.normal(size=(count, 3)) * [40, 30, 2]
    if kind == "point":
        return dict(zip("xyz", centre.T, strict=True))
    names = ("x1", "y1", "z1", "x2", "y2", "z2")
    if kind == "ellipsoid":
        names = ("x", "y", "z", "rx", "ry", "rz")
        other = random.uniform(0, 6, (count, 3))
        other[::5] = 0
    else:
        other = centre + random.normal(size=(count, 3)) * random.uniform(0, 8, (count, 1))
    return dict(zip(names, np.concatenate([centre, other], axis=1).T, strict=True))


def is_met(kind: str, points: list[Any], low: np.ndarray, high: np.ndarray) -> bool:
    """The slow twin: whether an annotation meets a closed cell."""
    points = np.array(points)
    if kind == "box":
        return bool(((points.max(0) >= low) & (points.min(0) <= high)).all())
    if kind == "ellipsoid":
        away = np.abs(np.clip(points[0], low, high) - points[0])
        share = [a / r if a else 0 for a, r in zip(away, points[1], strict=True) if a == 0 or r]
        return len(share) == 3 and sum(s * s for s in share) <= 1
    if kind == "point":
        return bool(((points[0] >= low) & (points[0] <= high)).all())
    return any(_segment_meets(*pair, low, high) for pair in itertools.pairwise(points))


def _segment_meets(a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    enter, leave = 0.0, 1.0
    for axis in range(3):
        step = b[axis] - a[axis]
        if step == 0:
            if not low[axis] <= a[axis] <= high[axis]:
                return False
            continue
        first, second = sorted(((low[axis] - a[axis]) / step, (high[axis] - a[axis]) / step))
        enter, leave = max(enter, first), min(leave, second)
    return enter <= leave


def assert_levels_are_right(made: Any, kind: str, limit: int) -> None:
    """Every annotation is in one level, there in the cells that it meets; none is too full."""
    level_of: dict[int, int] = {}
    lower = np.array(made.info["lower_bound"])
    upper = np.array(made.info["upper_bound"])
    assert made.info["spatial"][0]["grid_shape"] == [1, 1, 1]
    for number, (cells, info) in enumerate(zip(made.levels, made.info["spatial"], strict=True)):
        side, grid = np.array(info["chunk_size"]), np.array(info["grid_shape"])
        assert (lower + side * grid >= upper - 1e-9 * np.abs(upper)).all()
        places: dict[int, set[Any]] = {}
        for cell, items in cells.items():
            assert len(items) <= limit + 5 * limit**0.5
            for item in items:
                assert level_of.setdefault(item["id"], number) == number
                places.setdefault(item["id"], set()).add(cell)
                expected = made.by_id[item["id"]]
                assert item["properties"] == expected["properties"]
                assert item["points"] == expected["points"]
        for key, met in places.items():
            points = made.by_id[key]["points"]
            for cell in np.ndindex(*grid) if grid.prod() <= 600 else met:
                low = lower + side * cell
                slack = 1e-6 * side
                if is_met(kind, points, low + slack, low + side - slack):
                    assert cell in met
                if cell in met:
                    assert is_met(kind, points, low - slack, low + side + slack)
    assert level_of.keys() == made.by_id.keys()


@pytest.mark.parametrize("kind", ["point", "line", "box", "ellipsoid"])
@pytest.mark.parametrize("sharding", [True, False])
def test_each_annotation_is_in_one_level_and_there_in_the_cells_it_meets(convert, kind, sharding):
    count = amount(300, 3000)
    made = convert(table_of(kind, count, 1), kind=kind, max_per_cell=40, sharding=sharding)
    assert len(made.by_id) == count
    assert len(made.levels) > 2
    assert_levels_are_right(made, kind, 40)


@pytest.mark.parametrize("sharding", [True, False])
def test_polylines_are_groups_of_rows_in_the_order_of_their_first_rows(convert, sharding):
    random = np.random.default_rng(3)
    groups = [f"g{n}" for n in random.integers(0, 60, 900)]
    groups += [f"g{n}" for n in range(60)] * 2  # two vertices each at the least
    walk = random.normal(size=(len(groups), 3)).astype(np.float32) * 10
    table = {**dict(zip("xyz", walk.T, strict=True)), "line": np.array(groups)}
    table["rank"] = np.array([int(group[1:]) for group in groups])
    made = convert(table, kind="polyline", group="line", max_per_cell=20, sharding=sharding)
    order = list(dict.fromkeys(groups))
    assert list(made.by_id)
    assert sorted(made.by_id) == list(range(1, 61))
    for number, group in enumerate(order, start=1):
        rows = [row for row, name in enumerate(groups) if name == group]
        assert made.by_id[number]["points"] == [tuple(walk[row].tolist()) for row in rows]
        assert made.by_id[number]["properties"] == {"rank": int(group[1:])}
    assert_levels_are_right(made, "polyline", 20)


def test_values_that_change_along_a_polyline_are_warned_of(convert, caplog):
    text = "x,y,z,g,v,c\n1,2,3,a,5,1;2\n2,2,3,a,6,1;2\n3,2,3,b,7,3\n4,2,3,b,7,3\n"
    options = {"kind": "polyline", "group": "g", "relations": {"c": "c"}}
    made = convert(text, **options)
    assert made.by_id[1]["properties"] == {"v": 5}
    assert "1 polylines have rows whose properties" in caplog.text
    caplog.clear()
    convert(text, skip=["v"], **options)
    assert not caplog.text


def test_order_in_a_cell_is_by_chance_and_the_same_each_time(convert, tmp_path):
    table = {axis: np.arange(2000.0) for axis in "xyz"}
    made = convert(table, max_per_cell=5000)
    (cells,) = made.levels
    ids = [item["id"] for item in cells[0, 0, 0]]
    assert sorted(ids) == list(range(1, 2001))
    assert abs(np.corrcoef(np.arange(2000), ids)[0, 1]) < 0.1
    first = {p.name: p.read_bytes() for p in (tmp_path / "out").rglob("*.shard")}
    annotations(table, tmp_path / "again", max_per_cell=5000, memory="128M", fsync=False)
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").rglob("*.shard")} == first


def test_memory_changes_no_byte(tmp_path, monkeypatch):
    random = np.random.default_rng(5)
    table = {
        **dict(zip("xyz", random.normal(size=(3, 30_000)), strict=True)),
        "cell": random.integers(0, 9, 30_000),
        "kind": random.choice(["a", "b"], 30_000),
    }
    options: Any = {"relations": {"cell": "cell"}, "max_per_cell": 500, "fsync": False}
    annotations(table, tmp_path / "a", **options)
    monkeypatch.setattr("ngcore.annotating.sorting._PAGE_BYTES", 1 << 14)
    monkeypatch.setattr("ngcore.annotating.index_files._WAITING_BYTES", 1 << 14)
    monkeypatch.setattr("ngcore.annotating.annotate.parse_memory", lambda _: 1 << 20)
    annotations(table, tmp_path / "b", **options)
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*"))
    assert names == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*"))
    for name in names:
        if (tmp_path / "a" / name).is_file():
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_points_in_one_place_take_a_level_for_each_limit(convert):
    made = convert({axis: np.full(100, 3.0) for axis in "xyz"}, max_per_cell=30)
    assert_levels_are_right(made, "point", 30)
    assert {tuple(level["grid_shape"]) for level in made.info["spatial"]} == {(1, 1, 1)}


def test_the_last_level_states_how_full_it_is_as_the_client_draws_fewer_else(convert):
    made = convert("x,y,z\n1,2,3\n4,5,6\n7,8,9\n")
    assert [level["limit"] for level in made.info["spatial"]] == [3]


def test_large_boxes_do_not_multiply_without_end(convert):
    corners = {"x1": 0.0, "y1": 0.0, "z1": 0.0, "x2": 1.0, "y2": 1.0, "z2": 1.0}
    table = {name: np.full(400, value) for name, value in corners.items()}
    made = convert(table, kind="box", max_per_cell=50)
    assert_levels_are_right(made, "box", 50)
    assert sum(len(items) for level in made.levels for items in level.values()) <= 64 * 400


@given(
    kind=st.sampled_from(["line", "polyline", "axis_aligned_bounding_box", "ellipsoid"]),
    seed=st.integers(0, 2**32),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
)
def test_cells_are_those_that_sampled_points_lie_in(kind, seed, shape):
    random = np.random.default_rng(seed)
    grid = Grid((-1.0, 0.5, 2.0), (0.5, 1.25, 2.0), shape)
    lower = np.array(grid.lower)
    size = np.array(grid.cell) * shape
    points = (lower + random.uniform(size=(6, 2, 3)) * size).astype(np.float32)
    if kind == "ellipsoid":
        points[:, 1] = random.uniform(0, 1, (6, 3))
    offsets = offsets_of(np.full(6, 2)) if kind == "polyline" else None
    geometry = points.reshape(-1, 3) if kind == "polyline" else points.reshape(-1, 6)
    block = Block(np.arange(6, dtype=np.uint64), geometry, offsets, {})
    pairs = [pair for part in cells_met(kind, block, grid) for pair in zip(*part, strict=True)]
    met = {(int(row), int(cell)) for row, cell in pairs}
    assert len(met) == len(pairs)
    samples = random.uniform(size=(400, 3))
    for row in range(6):
        a, b = points[row].astype(np.float64)
        if kind == "axis_aligned_bounding_box":
            found = a + samples * (b - a)
        elif kind == "ellipsoid":
            ball = samples * 2 - 1
            found = a + ball[np.linalg.norm(ball, axis=1) < 0.999] * b
        else:
            found = a + samples[:, :1] * (b - a)
        inside = ((found >= lower) & (found < lower + size)).all(axis=1)
        cells = {(row, int(n)) for n in grid.numbers(grid.cells(grid.places(found[inside])))}
        assert cells <= met
    names = {"axis_aligned_bounding_box": "box"}
    for row, number in met:
        low = lower + np.array(grid.cells_of(np.array([number]))[0]) * grid.cell
        ends = points[row].astype(np.float64)
        slack = 1e-9
        assert is_met(names.get(kind, kind), ends, low - slack, low + grid.cell + slack)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("x,y,z\n", {}, "holds no rows"),
        ("", {}, "is empty"),
        ("x,y\n1,2\n", {}, "has no column 'z'"),
        ("1,2,3\n4,5,6\n", {}, "has no names of columns; add a header such as x,y,z"),
        ("x,y,z,x\n1,2,3,4\n", {}, "two columns are called 'x'"),
        ("x,y,z\n1,2,nan\n", {}, "line 2, column 'z': 'nan' is not a coordinate"),
        ("x,y,z\n1,2,3\n1,inf,3\n", {}, "line 3, column 'y': 'inf' is not a coordinate"),
        ("x,y,z\n1,,3\n", {}, "line 2, column 'y': blank is not a coordinate"),
        ("x,y,z\n1,n/a,3\n", {}, "line 2, column 'y': blank is not a coordinate"),
        ("x;y;z\n1;2;3,5\n", {}, "'3,5' is not a coordinate; .* with a decimal point"),
        ("x,y,z\r1,2,3\r", {}, "its lines end in carriage returns alone"),
        ('"x",y,z\r1,2,3\r', {}, "its lines end in carriage returns alone"),
        ('x"y,y,z\r1,2,3\r', {}, "its lines end in carriage returns alone"),
        ("x,y,z\n1,2,three\n", {}, "line 2, column 'z': 'three' is not a coordinate"),
        ("x,y,z\n1,2,1e39\n", {}, "line 2, column 'z': larger than float32 holds"),
        ("x,y,z\n1,2,3\n1,2\n", {}, "line 3: 2 cells, but the header has 3 columns"),
        ("i,x,y,z\n7,1,2,3\n7,1,2,3\n", {"id": "i"}, "csv: the id 7 occurs twice"),
        ("i,x,y,z\n-1,1,2,3\n", {"id": "i"}, "line 2, column 'i': '-1' is not a whole number"),
        ("i,x,y,z\n1.5,1,2,3\n", {"id": "i"}, "'1.5' is not a whole number"),
        ("c,x,y,z\n1;b,1,2,3\n", {"relations": {"c": "c"}}, "'1;b' is not a segment id"),
        ("x,y,z\n1,2,3\n", {"id": "i"}, "--id: .* has no column 'i'; it has 'x', 'y', 'z'"),
        ("x,y,z\n1,2,3\n", {"skip": ["i"]}, "--skip: .* has no column 'i'"),
        ("x,y,z\n1,2,3\n", {"columns": {"w": "x"}}, "--columns: a point has x, y, z, not 'w'"),
        ("x,y,z\n1,2,3\n", {"kind": "polyline"}, "--kind polyline needs --group"),
        ("x,y,z\n1,2,3\n", {"group": "x"}, "--group is for --kind polyline"),
        ("x,y,z\n1,2,3\n", {"max_per_cell": 0}, "max_per_cell must be 1 or more"),
        (
            "x,y,z,g\n1,2,3,a\n1,2,3,b\n1,2,3,a\n",
            {"kind": "polyline", "group": "g"},
            "line 3: the polyline of this row has one vertex",
        ),
        ("x,y,z,rx,ry,rz\n1,2,3,1,-1,1\n", {"kind": "ellipsoid"}, "a radius ry is negative"),
    ],
)
def test_tables_that_can_not_be_used_are_refused_in_one_line(tmp_path, text, options, message):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    with pytest.raises(NgcoreError, match=message) as caught:
        annotations(path, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InputError | FormatError)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "options", "warning"),
    [
        ("x;y;z;v\n1;2;3;0,5\n1;2;3;7\n", {}, "'v' holds numbers with decimal commas"),
        ("x;y;z;v\n1;2;3;0,5\n1;2;3;a\n", {}, None),
        ("x_um,y,z\n1,2,3\n", {"columns": {"x": "x_um"}}, "'x_um' is read in mm; .* --units um"),
        ("x [\u00b5m],y,z\n1,2,3\n", {"columns": {"x": "x [\u00b5m]"}}, "--units um"),
        ("x (nm),y,z\n1,2,3\n", {"columns": {"x": "x (nm)"}}, "--units nm"),
        ("x (nm),y,z\n1,2,3\n", {"columns": {"x": "x (nm)"}, "units": "mm"}, None),
        ("x_mm,y,z\n1,2,3\n", {"columns": {"x": "x_mm"}}, None),
        ("album,y,z\n1,2,3\n", {"columns": {"x": "album"}}, None),
    ],
)
def test_numbers_that_look_like_something_else_are_warned_of(
    tmp_path, caplog, text, options, warning
):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    annotations(tmp_path / "table.csv", tmp_path / "out", fsync=False, **options)
    assert len(caplog.records) == (warning is not None)
    assert warning is None or re.search(warning, caplog.text)


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"x,y,z,name\n1,2,3,a\n1,2,3,caf\xe9\n")
    with pytest.raises(FormatError, match="line 3: byte 0xe9 is not UTF-8 text"):
        annotations(path, tmp_path / "out")


def test_too_many_words_are_refused_and_the_column_can_be_left_out(tmp_path):
    names = np.array([f"n{i}" for i in range(65_536)])
    table = {**{axis: np.zeros(len(names)) for axis in "xyz"}, "name": names}
    with pytest.raises(InputError, match=r"65,535 different texts.*--skip name"):
        annotations(table, tmp_path / "out")
    annotations(table, tmp_path / "out", skip=["name"], fsync=False)
    few = {key: values[:300] for key, values in table.items()}
    annotations(few, tmp_path / "few", fsync=False)
    info = AnnotationInfo.from_json((tmp_path / "few" / "info").read_text())
    assert info.properties[0].type == "uint16"
    assert len(info.properties[0].enum_labels) == 300


def test_command_line_has_the_same_options(tmp_path, capsys):
    (tmp_path / "t.tsv").write_text("X\tpos\tz\tn\tc\n1\t2\t3\t5\t8;9\n")
    args = ["annotations", str(tmp_path / "t.tsv"), str(tmp_path / "out"), "--units", "um"]
    args += ["--columns", "y=pos", "--relation", "cell=c", "--no-sharding", "--no-fsync"]
    assert run(args) == 0
    info = json.loads((tmp_path / "out" / "info").read_text())
    assert info["dimensions"]["x"] == [1e-6, "m"]
    assert sorted(p.name for p in (tmp_path / "out" / "rel_cell").iterdir()) == ["8", "9"]
    assert [p.name for p in (tmp_path / "out" / "spatial0").iterdir()] == ["0_0_0"]
    assert run(args) == 2
    assert "already holds a layer" in capsys.readouterr().err
    assert run([*args, "--resume"]) == 0
    assert run([*args, "--overwrite", "--skip", "nothing"]) == 2
    assert run([*args, "--resume", "--skip", "n"]) == 2
    assert "another source or other options" in capsys.readouterr().err


def test_electrodes_have_the_unit_of_their_coordinate_system(convert, tmp_path):
    table = "name\tx\ty\tz\tsize\nLA1\t0.01\t-0.02\t0.03\tn/a\nLA2\t0.01\t-0.02\t0.04\t2.3\n"
    system = tmp_path / "sub-01_space-MNI_coordsystem.json"
    system.write_text('{"iEEGCoordinateSystem": "MNI", "iEEGCoordinateUnits": "m"}')
    name = "sub-01_ses-1_space-MNI_electrodes.tsv"
    made = convert(table, name)
    assert made.info["dimensions"]["x"] == [1, "m"]
    system.write_text('{"iEEGCoordinateUnits": "pixels"}')
    with pytest.raises(InputError, match="gives positions in 'pixels'"):
        convert(table, name)
    assert convert(table, name, units="mm").info["dimensions"]["x"] == [0.001, "m"]


def test_tables_of_every_format_give_the_same(convert, tmp_path):
    random = np.random.default_rng(9)
    frame = pd.DataFrame(random.normal(size=(50, 3)).astype(np.float32), columns=list("xyz"))
    frame["count"] = random.integers(0, 900, 50)
    frame["kind"] = random.choice(["a", "b, c", 'd"'], 50)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "semi.csv", index=False, sep=";")
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    expected = convert(frame).by_id
    for name in ("t.csv", "t.tsv", "semi.csv", "t.csv.gz", "t.parquet"):
        made = convert(tmp_path / name).by_id
        assert made.keys() == expected.keys(), name
        for key, item in expected.items():
            assert made[key]["properties"] == item["properties"], name
            np.testing.assert_allclose(made[key]["points"], item["points"], rtol=1e-6)
    points = frame[list("xyz")].to_numpy()
    np.save(tmp_path / "p.npy", points)
    np.save(tmp_path / "f.npy", np.asfortranarray(points))
    for table in (points, tmp_path / "p.npy", tmp_path / "f.npy"):
        made = convert(table).by_id
        assert [made[n + 1]["points"][0] for n in range(50)] == list(map(tuple, points.tolist()))


def test_relations_of_parquet_may_be_lists(convert, tmp_path):
    frame = pd.DataFrame({"x": [1.0, 2, 3], "y": 0.0, "z": 0.0})
    frame["cell"] = [[1, 2**60 + 1], [], [7]]
    frame.to_parquet(tmp_path / "t.parquet")
    made = convert(tmp_path / "t.parquet", relations={"cell": "cell"})
    found = [made.by_id[number]["relations"]["cell"] for number in (1, 2, 3)]
    assert found == [[1, 2**60 + 1], [], [7]]


def test_like_gives_the_bounds_of_a_volume_in_its_world(convert, tmp_path, caplog):
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) * [0.5, 0.5, 2]
    affine[:3, 3] = [-10, 5, 20]
    nibabel.save(nibabel.Nifti1Image(np.zeros((10, 8, 6), np.uint8), affine), tmp_path / "a.nii")
    ngcore.convert(tmp_path / "a.nii", tmp_path / "volume", fsync=False)
    corners = np.array(list(np.ndindex(2, 2, 2))) * [10, 8, 6] - 0.5
    corners = corners @ affine[:3, :3].T + affine[:3, 3]
    middle = corners.mean(axis=0)
    for units, factor in (("mm", 1), ("um", 1000)):
        made = convert(middle[np.newaxis] * factor, like=tmp_path / "volume", units=units)
        for name, expected in (("lower_bound", corners.min(0)), ("upper_bound", corners.max(0))):
            np.testing.assert_allclose(made.info[name], expected * factor, rtol=1e-6)
    assert not caplog.text
    made = convert(np.stack([middle, middle + 100]), like=tmp_path / "volume")
    assert "reaches beyond the volume" in caplog.text
    np.testing.assert_allclose(made.info["upper_bound"], middle + 100, rtol=1e-6)


def test_points_of_an_oblique_volume_lie_within_a_micrometre_of_their_voxels(convert, tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) * [0.5, 0.5, 2]
    affine[:3, 3] = [-110.123, 75.5, 20.25]
    nibabel.save(nibabel.Nifti1Image(np.ones((60, 50, 40), np.uint8), affine), tmp_path / "a.nii")
    ngcore.convert(tmp_path / "a.nii", tmp_path / "volume", fsync=False)
    voxels = np.random.default_rng(3).uniform(0, [60, 50, 40], (400, 3))
    points = voxels @ affine[:3, :3].T + affine[:3, 3]
    made = convert(dict(zip("xyz", points.T, strict=True)), like=tmp_path / "volume")
    found = np.array([made.by_id[number]["points"][0] for number in range(1, 401)])
    unit_mm = made.info["dimensions"]["x"][0] * 1e3
    np.testing.assert_allclose(found * unit_mm, points, atol=1e-3, rtol=0)
    # Where the volume's own transform puts those voxels, in nanometres.
    volume = ngcore.open(tmp_path / "volume")
    matrix = np.array(json.loads((tmp_path / "volume" / "transform.json").read_text()))
    native = (voxels + 0.5) * volume.scales[0].resolution
    world = native @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(found * unit_mm, world * 1e-6, atol=1e-3, rtol=0)


def test_csv_with_line_breaks_in_quotes_is_read(convert):
    made = convert('x,y,z,note\n1,2,3,"two\nlines"\n4,5,6,plain\n')
    (note,) = made.info["properties"]
    assert note["enum_labels"] == ["plain", "two\nlines"]


def test_folders_that_hold_something_else_are_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    points = np.zeros((2, 3))
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(DestinationError, match="is not empty"):
            annotations(points, tmp_path / "out", **options)
    (tmp_path / "out" / "info").write_text('{"@type": "neuroglancer_multiscale_volume"}')
    with pytest.raises(DestinationError, match="holds something other"):
        annotations(points, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "mine").read_text() == "kept"
