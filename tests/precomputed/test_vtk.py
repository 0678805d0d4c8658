"""The VTK dialect of Neuroglancer."""

import re

import numpy as np
import pytest

from ngcore.errors import InputError
from ngcore.precomputed.mesh import Mesh
from ngcore.precomputed.vtk import encode_vtk


def read_as_neuroglancer_does(text: str):
    """Read with the patterns the client documents: line by line, triangles only."""
    head = re.match(r"# vtk DataFile Version (\S+)\n(.*)\nASCII\nDATASET POLYDATA\n", text[:1000])
    assert head is not None
    lines = text[head.end() :].split("\n")
    points = re.fullmatch(r"POINTS ([0-9]+) (\S+)", lines[0])
    count = int(points[1])
    vertices = [[float(word) for word in line.split(" ")] for line in lines[1 : 1 + count]]
    polygons = re.fullmatch(r"POLYGONS ([0-9]+) ([0-9]+)", lines[1 + count])
    assert int(polygons[2]) == 4 * int(polygons[1])
    rows = lines[2 + count : 2 + count + int(polygons[1])]
    triangles = [re.fullmatch(r"3 ([0-9]+) ([0-9]+) ([0-9]+)", row).groups() for row in rows]
    assert lines[2 + count + int(polygons[1]) :] == [""]
    return np.array(vertices), np.array(triangles, dtype=int), head[2], points[2]


def test_small_mesh_is_written_line_by_line():
    mesh = Mesh(np.array([[0, 0, 0], [1.5e6, 0, 0], [0, -1e8, 0.1]]), np.array([[0, 1, 2]]))
    assert encode_vtk(mesh) == (
        b"# vtk DataFile Version 3.0\n"
        b"Triangle mesh in nanometres, written by ngcore\n"
        b"ASCII\nDATASET POLYDATA\nPOINTS 3 float\n"
        b"0 0 0\n1500000 0 0\n0 -100000000 0.100000001\n"
        b"POLYGONS 1 4\n3 0 1 2\n"
    )


def test_vtk_gives_each_float32_back_exactly():
    rng = np.random.default_rng(1)
    # More rows than are formatted at once.
    vertices = rng.normal(size=(70_000, 3)) * 10.0 ** rng.integers(-3, 12, (70_000, 1))
    triangles = rng.integers(0, len(vertices), (66_000, 3))
    text = encode_vtk(Mesh(vertices, triangles)).decode("ascii")
    positions, indices, title, kind = read_as_neuroglancer_does(text)
    np.testing.assert_array_equal(positions.astype(np.float32), vertices.astype(np.float32))
    np.testing.assert_array_equal(indices, triangles)
    assert len(title) < 256
    assert kind == "float"


def test_vtk_itself_reads_the_same_mesh(tmp_path):
    legacy = pytest.importorskip("vtkmodules.vtkIOLegacy", reason="VTK is for `thorough`")
    numpy_support = pytest.importorskip("vtkmodules.util.numpy_support")
    rng = np.random.default_rng(2)
    vertices = rng.normal(size=(500, 3)) * 1e8
    triangles = rng.integers(0, len(vertices), (900, 3))
    (tmp_path / "a.vtk").write_bytes(encode_vtk(Mesh(vertices, triangles)))
    reader = legacy.vtkPolyDataReader()
    reader.SetFileName(str(tmp_path / "a.vtk"))
    reader.Update()
    found = reader.GetOutput()
    points = numpy_support.vtk_to_numpy(found.GetPoints().GetData())
    np.testing.assert_array_equal(points, vertices.astype(np.float32))
    corners = numpy_support.vtk_to_numpy(found.GetPolys().GetConnectivityArray())
    np.testing.assert_array_equal(corners.reshape(-1, 3), triangles)


def test_vtk_coordinates_beyond_float32_are_refused():
    with pytest.raises(InputError, match="too far away"):
        encode_vtk(Mesh(np.full((3, 3), 1e39), np.array([[0, 1, 2]])))
