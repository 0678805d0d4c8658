import numpy as np
import pytest
from surface_files import TRIANGLES, VERTICES, binary_stl, gifti, read, solid, text_stl

from ngcore.errors import FormatError


@pytest.mark.parametrize(
    "data",
    [text_stl(), binary_stl(), text_stl().replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + text_stl()],
)
def test_stl_is_read_and_its_equal_vertices_merged(tmp_path, data):
    mesh = read(tmp_path, "a.STL", data)
    assert mesh.vertices_nm.shape == (8, 3)
    assert mesh.triangles.shape == (12, 3)
    assert solid(mesh) == solid(read(tmp_path, "a.gii", gifti()))


def test_stl_vertices_at_minus_zero_are_merged_with_those_at_zero(tmp_path):
    triangles = np.array(
        [[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[-0.0, 0, -0.0], [0, 1, 0], [1, 1, 1]]]
    )
    mesh = read(tmp_path, "a.stl", binary_stl(triangles))
    assert len(mesh.vertices_nm) == 4


def test_stl_vertices_that_differ_in_the_last_bit_stay_apart(tmp_path):
    triangles = np.array([[[0, 0, 0], [1, 0, 0], [np.nextafter(np.float32(1), 2), 0, 0]]])
    assert len(read(tmp_path, "a.stl", binary_stl(triangles)).vertices_nm) == 3


def test_stl_of_several_solids_is_one_mesh(tmp_path):
    faces = VERTICES[TRIANGLES]
    mesh = read(tmp_path, "a.stl", text_stl(faces[:5], "one") + text_stl(faces[5:], "two"))
    assert mesh.vertices_nm.shape == (8, 3)
    assert mesh.triangles.shape == (12, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an STL file"),
        (b"hello", "not an STL file"),
        (binary_stl()[:-1], "declares 12 facets, which take 684 bytes, but it has 683 bytes"),
        (binary_stl(header=b"x")[:-1], "declares 12 facets"),
        (binary_stl(header=b"x")[:83], "not an STL file"),
        (binary_stl(VERTICES[TRIANGLES][:0]), "has no triangles"),
        (text_stl()[: text_stl().rindex(b"endsolid")], "ends without 'endsolid'"),
        (text_stl(VERTICES[TRIANGLES][:0]), "has no triangles"),
        (text_stl().replace(b"vertex", b"vertx", 1), "line 4: unexpected 'vertx'"),
        (text_stl().replace(b"  vertex -1", b"  vertex one", 1), "a vertex is three numbers"),
        (text_stl().replace(b"  vertex -1", b"  vertex", 1), "a vertex is three numbers"),
        (text_stl().replace(b" endloop", b"vertex 0 0 0\n endloop", 1), "a facet has 4 corners"),
        (text_stl().replace(b" endloop\n", b"", 1), "unexpected 'endfacet'"),
        (text_stl().replace(b"  vertex -1", b"  vertex nan", 1), "not finite"),
        (binary_stl(VERTICES[TRIANGLES] * np.float32(np.inf)), "not finite"),
    ],
)
def test_bad_stl_is_refused_by_name(tmp_path, data, message):
    with pytest.raises(FormatError, match=rf"bad\.stl.*{message}"):
        read(tmp_path, "bad.stl", data)
