import gzip
import time

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

from ngcore.errors import FormatError, InputError
from ngcore.sources.surfaces import polygons
from ngcore.sources.surfaces.polygons import parse_obj
from ngcore.sources.surfaces.reading import read_mesh


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
        ("a.ply", PLY + b"x", "PLY: 1 bytes more than the header declares"),
        ("a.ply", TEXT_PLY[:-9], "PLY: .*cut off"),
        (
            "a.ply",
            TEXT_PLY.replace(b"\n3 1 3 0", b"\n3 1 8 0"),
            "refers to vertex 8, but there are 8",
        ),
        ("a.ply", TEXT_PLY.replace(b"\n3 1 3 0", b"\n3 1 -1 0"), "refers to vertex -1"),
        ("a.ply", TEXT_PLY.replace(b"-1.00000000", b"nan", 1), "not finite"),
        ("a.ply", TEXT_PLY.replace(b"-1.00000000", b"one", 1), "PLY: expected a number"),
        (
            "a.ply",
            TEXT_PLY[: TEXT_PLY.index(b"element face")] + b"end_header\n" + b"0 0 0\n" * 8,
            "the PLY header lacks 'face'",
        ),
        ("a.obj", b"", "no triangles"),
        ("a.obj", b"v 0 0 0\nf 1 1 1\nf 0 1 1\n", "line 3: a face refers to vertex 0"),
        ("a.obj", b"v 0 0 0\nf -2 1 1\n", "line 2: a face refers to vertex -2"),
        ("a.obj", b"v 0 0 0\nf 1 2 1\n", "refers to vertex 1, but there are 1 vertices"),
        ("a.obj", b"v 0 0 0\nf 1 1\n", "line 2: a face has 2 corners"),
        ("a.obj", b"v 0 0\n", "line 1: a vertex is three numbers"),
        ("a.obj", b"v 0 0 0\nf 1 1 " + b"9" * 40, "line 2"),
        ("a.obj", b"v 0 0 inf\nf 1 1 1\n", "not finite"),
        ("a.off", b"", "not an OFF file"),
        ("a.off", b"4OFF\n1 1 0", "not an OFF file"),
        ("a.off", b"OFF", "line 1"),
        ("a.off", b"OFF\n1", "line 2"),
        ("a.off", OFF[:-9], "line 2: 8 vertices and 12 faces are declared, but 19 lines follow"),
        ("a.off", b"OFF\n1 1 0\n0 0 0\n3 0 0 1\n", "refers to vertex 1, but there are 1"),
        ("a.off", b"OFF\n1 1 0\n0 0 0\n3 0 0 -1\n", "line 4: -1 is not a count or index"),
        (
            "a.off",
            b"OFF\n1 1 0\n0 0 0\n4 0 0 0\n",
            "line 4: a face declares 4 corners, but lists 3",
        ),
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


_TURN = np.arange(10) * np.pi / 5
_RADIUS = np.where(np.arange(10) % 2, 5.0, 2.0)
_STAR = np.stack([_RADIUS * np.cos(_TURN), _RADIUS * np.sin(_TURN), np.ones(10)], axis=1).tolist()
_INWARDS = {
    "dart": [(0.5, 0.5, 0.0), (0, 2, 0), (0, 0, 0), (2, 0, 0)],
    "U": [(0, 0, 0), (3, 0, 0), (3, 3, 0), (2, 3, 0), (2, 1, 0), (1, 1, 0), (1, 3, 0), (0, 3, 0)],
    "star": _STAR,
}


def _as_obj(points, order):
    vertices = "".join(f"v {x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in points)
    return (vertices + "f " + " ".join(str(at + 1) for at in order) + "\n").encode()


def _as_relative_obj(points, order):
    return _as_obj(points, [at - len(points) - 1 for at in order])


def _as_off(points, order):
    rows = "".join(f"{x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in points)
    face = " ".join(map(str, [len(order), *order]))
    return f"OFF\n{len(points)} 1 0\n{rows}{face}\n".encode()


def _as_ply(points, order):
    head = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n" + "".join(
        f"property double {axis}\n" for axis in "xyz"
    )
    rows = "".join(f"{x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in points)
    face = " ".join(map(str, [len(order), *order]))
    lists = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    return f"{head}{lists}{rows}{face}\n".encode()


def _as_vtk(points, order):
    rows = "\n".join(f"{x:.9g} {y:.9g} {z:.9g}" for x, y, z in points)
    face = " ".join(map(str, [len(order), *order]))
    return (
        "# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\n"
        f"POLYGONS 1 {len(order) + 1}\n{face}\nPOINTS {len(points)} double\n{rows}\n"
    ).encode()


@pytest.mark.parametrize("shape", _INWARDS)
@pytest.mark.parametrize(
    ("ending", "written"),
    [
        ("obj", _as_obj),
        ("obj", _as_relative_obj),
        ("off", _as_off),
        ("ply", _as_ply),
        ("vtk", _as_vtk),
    ],
)
def test_polygon_that_turns_inwards_is_covered_once(tmp_path, shape, ending, written):
    points = np.array(_INWARDS[shape], np.float64)
    following = np.roll(points, -1, axis=0)
    area = np.cross(points, following).sum(axis=0)[2] / 2
    for first in range(len(points)):
        order = np.roll(np.arange(len(points)), -first).tolist()
        path = tmp_path / f"{first}.{ending}"
        path.write_bytes(written(points, order))
        mesh = read_mesh(path)
        a, b, c = (mesh.vertices_nm / 1e6)[mesh.triangles].transpose(1, 0, 2)
        areas = np.cross(b - a, c - a)[:, 2] / 2
        assert len(areas) == len(points) - 2
        assert (areas * area > 0).all()
        np.testing.assert_allclose(areas.sum(), area, rtol=1e-5)


def _spiral(corners):
    turn = np.linspace(0, 12 * np.pi, corners // 2)
    around = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    return np.concatenate([(turn + 2)[:, None] * around, ((turn + 1)[:, None] * around)[::-1]])


@pytest.mark.parametrize(
    ("ending", "written", "where"),
    [
        ("obj", _as_obj, "line 6001"),
        ("obj", _as_relative_obj, "line 6001"),
        ("off", _as_off, "line 6003"),
        ("ply", _as_ply, "face 1"),
        ("vtk", _as_vtk, "polygon 1"),
    ],
)
def test_polygon_of_very_many_corners_that_turns_inwards_is_refused(
    tmp_path, ending, written, where
):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(written(_spiral(6000).tolist(), range(6000)).replace(b"uchar", b"int"))
    with pytest.raises(InputError) as caught:
        read_mesh(path)
    assert str(caught.value) == (
        f"'{path}', {where}: a face with 6000 corners turns inwards; cutting it would take "
        "too long; save the surface as triangles"
    )


def test_spirals_take_seconds_however_many_there_are(tmp_path):
    points = _spiral(512)
    path = tmp_path / "a.obj"
    data = _as_obj(points.tolist(), range(512))
    face = data[data.index(b"f ") :]
    path.write_bytes(data + 7 * face)
    start = time.process_time()
    a, b, c = (read_mesh(path).vertices_nm / 1e6)[read_mesh(path).triangles].transpose(1, 0, 2)
    assert time.process_time() - start < 3
    area = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)[2] / 2
    areas = np.cross(b - a, c - a)[:, 2] / 2
    assert (areas * area >= 0).all()
    np.testing.assert_allclose(areas.sum(), 8 * area, rtol=1e-4)
    path.write_bytes(data + 999 * face)
    start = time.process_time()
    with pytest.raises(InputError, match=r"line 633: a face with 512 corners .*the 1000 that do"):
        read_mesh(path)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("corners", [1000, 6000])
def test_rounded_coordinates_do_not_make_a_face_turn_inwards(tmp_path, corners):
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    circle = np.stack([10 * np.cos(turn), 10 * np.sin(turn), 0 * turn], axis=1).round(3)
    path = tmp_path / "a.obj"
    path.write_bytes(_as_obj(circle.tolist(), range(corners)))
    mesh = read_mesh(path)
    a, b, c = (mesh.vertices_nm / 1e6)[mesh.triangles].transpose(1, 0, 2)
    areas = np.cross(b - a, c - a)[:, 2] / 2
    np.testing.assert_allclose(areas.sum(), np.pi * 100, rtol=1e-4)
    np.testing.assert_allclose(np.abs(areas).sum(), np.pi * 100, rtol=2e-4)


def test_polygons_that_cross_themselves_take_no_time_to_speak_of(tmp_path):
    turn = np.arange(101) * 2 * np.pi * 50 / 101
    star = np.stack([np.cos(turn), np.sin(turn), np.sin(7 * turn)], axis=1)
    face = "f " + " ".join(map(str, range(1, 102))) + "\n"
    path = tmp_path / "a.obj"
    path.write_bytes(_as_obj(star.tolist(), range(101)) + 5 * face.encode())
    start = time.process_time()
    assert len(read_mesh(path).triangles) == 6 * 99
    assert time.process_time() - start < 10
