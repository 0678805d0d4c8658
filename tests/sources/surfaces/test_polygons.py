import gzip

import numpy as np
import pytest
from surface_files import (
    FANS,
    OBJ,
    OBJ_OF_POLYGONS,
    OFF,
    OFF_OF_POLYGONS,
    PLY,
    TEXT_PLY,
    TEXT_PLY_OF_POLYGONS,
    as_cube,
    read,
)

from ngcore.errors import FormatError
from ngcore.sources.surfaces import polygons
from ngcore.sources.surfaces.polygons import parse_obj


@pytest.mark.parametrize(
    ("name", "data"), [("a.ply", PLY), ("a.ply", TEXT_PLY), ("a.obj", OBJ), ("a.OFF", OFF)]
)
def test_what_trimesh_writes_is_read(tmp_path, name, data):
    as_cube(read(tmp_path, name, data))
    as_cube(read(tmp_path, f"{name}.gz", gzip.compress(data)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ply", TEXT_PLY_OF_POLYGONS),
        ("a.off", OFF_OF_POLYGONS),
        ("a.off", OFF_OF_POLYGONS.replace("OFF 5", "COFF\n5").replace("\n", "\r\n")),
        ("a.obj", OBJ_OF_POLYGONS),
    ],
)
def test_polygons_are_cut_into_triangles(tmp_path, name, text):
    mesh = read(tmp_path, name, text.encode())
    corners = mesh.triangles.astype(int)
    # Which corner a triangle is listed from does not matter.
    turned = sorted(tuple(np.roll(row, -int(row.argmin())).tolist()) for row in corners)
    assert turned == FANS
    assert len(mesh.vertices_nm) == 5


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.ply", b"", "not a PLY file"),
        ("a.ply", PLY[:-1], "PLY: the file is truncated: 12 of 'face'"),
        ("a.ply", PLY + b"x", "PLY: 1 bytes more than the header announces"),
        ("a.ply", TEXT_PLY[:-9], "PLY: .*cut off"),
        ("a.ply", TEXT_PLY.replace(b"\n3 1 3 0", b"\n3 1 8 0"), "names vertex 8, but there are 8"),
        ("a.ply", TEXT_PLY.replace(b"\n3 1 3 0", b"\n3 1 -1 0"), "names vertex -1"),
        ("a.ply", TEXT_PLY.replace(b"-1.00000000", b"nan", 1), "not finite"),
        ("a.ply", TEXT_PLY.replace(b"-1.00000000", b"one", 1), "PLY: a number was expected"),
        (
            "a.ply",
            TEXT_PLY[: TEXT_PLY.index(b"element face")] + b"end_header\n" + b"0 0 0\n" * 8,
            "the PLY header lacks 'face'",
        ),
        ("a.obj", b"", "no triangles"),
        ("a.obj", b"v 0 0 0\nf 1 1 1\nf 0 1 1\n", "line 3: a face names vertex 0"),
        ("a.obj", b"v 0 0 0\nf -2 1 1\n", "line 2: a face names vertex -2"),
        ("a.obj", b"v 0 0 0\nf 1 2 1\n", "names vertex 1, but there are 1 vertices"),
        ("a.obj", b"v 0 0 0\nf 1 1\n", "line 2: a face of 2 corners"),
        ("a.obj", b"v 0 0\n", "line 1: a vertex is three numbers"),
        ("a.obj", b"v 0 0 0\nf 1 1 " + b"9" * 40, "line 2"),
        ("a.obj", b"v 0 0 inf\nf 1 1 1\n", "not finite"),
        ("a.off", b"", "not an OFF file"),
        ("a.off", b"4OFF\n1 1 0", "not an OFF file"),
        ("a.off", b"OFF", "line 1"),
        ("a.off", b"OFF\n1", "line 2"),
        ("a.off", OFF[:-9], "line 2: 8 vertices and 12 faces are announced, but 19 lines follow"),
        ("a.off", b"OFF\n1 1 0\n0 0 0\n3 0 0 1\n", "names vertex 1, but there are 1"),
        ("a.off", b"OFF\n1 1 0\n0 0 0\n3 0 0 -1\n", "line 4: -1 is not a count or index"),
        ("a.off", b"OFF\n1 1 0\n0 0 0\n4 0 0 0\n", "line 4: a face of 4 corners names 3"),
        ("a.off", b"OFF\n1 1 0\n0 0\n3 0 0 0\n", "line 3: a vertex is three numbers"),
        ("a.off", b"OFF\n1 -1 0\n0 0 0\n", "line 2: -1"),
        ("a.off", b"OFF\n1 0 0\n0 0 0\n", "no triangles"),
    ],
)
def test_bad_polygons_are_refused_by_name(tmp_path, name, data, message):
    with pytest.raises(FormatError, match=rf"{name}.*({message})"):
        read(tmp_path, name, data)


@pytest.mark.parametrize(
    "text",
    [
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "v 0 0 0 1\nv 1 0 0 1\nv 0 1 0 1\nv 1 1 0 1\nf 1/2/3 2//1 3/4 4\n",
        "v 0 0 0 .5 .5 .5\r\nv 1 0 0 .5 .5 .5\r\nv 0 1 0 .5 .5 .5\r\nvn 0 0 1\r\nf 3 2 1\r\n",
        "v 0 0 0\nv 1 0 0 9\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 1 2 3 4\n",
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1 -2 -3\nf 1 2 3\n",
        " v 0 0 0\nv\t1 0 0\nv 0 1 0\nf 1 2 3\n  f 3 2 1\n",
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 \\\n3\n",
        "v 0 0 0\nv 1 0\nv 0 1 0 7\nf 1 2 3\n",
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3/x\nf 0 1 2\n",
        "v 0 0 0\nv 1 0 0\nv 0 x 0\nf 1 2 3\n",
    ],
)
def test_obj_read_as_a_whole_is_obj_read_line_by_line(text, monkeypatch):
    def outcome():
        try:
            parsed = parse_obj(text.encode(), "a.obj")
        except FormatError as error:
            return str(error)
        return parsed.vertices.tolist(), parsed.triangles.tolist(), parsed.header

    at_once = outcome()
    monkeypatch.setattr(polygons, "_uniform_obj", lambda _lines: None)
    assert at_once == outcome()
