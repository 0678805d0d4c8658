"""PLY, VTK and MNI's OBJ in their odder dialects, and what headers say of coordinates."""

import logging
import struct

import numpy as np
import pytest
from surface_files import (
    CUBE,
    TRIANGLES,
    VERTICES,
    as_cube,
    binary_stl,
    gifti,
    read,
    solid,
    text_stl,
)

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.mesh import Mesh
from ngcore.precomputed.vtk import encode_vtk
from ngcore.sources.surfaces.reading import read_mesh

POINTS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (2, 0, 1.5)])
FACES = [(0, 1, 2, 3), (1, 4, 2)]
FANS = [[0, 1, 2], [0, 2, 3], [1, 4, 2]]


def ply(order, *, coordinate="float", index="int", count="uchar", extra=True):
    codes = {"float": "f", "double": "d", "int": "i", "uint": "I", "uchar": "B", "ushort": "H"}
    word = {"<": "binary_little_endian", ">": "binary_big_endian", "": "ascii"}[order]
    lines = ["ply", f"format {word} 1.0", "comment made here", "element vertex 5"]
    lines += [f"property {coordinate} {axis}" for axis in "xyz"]
    lines += ["property uchar red"] * extra
    lines += ["element face 2", *["property uchar flags"] * extra]
    lines += [f"property list {count} {index} vertex_indices"]
    lines += ["property list uchar float texcoord"] * extra
    lines += ["element edge 1", "property int v1", "end_header", ""]
    body = []
    for point in POINTS:
        body += [(codes[coordinate], value) for value in point] + [("B", 7)] * extra
    for number, face in enumerate(FACES):
        body += [("B", 1)] * extra + [(codes[count], len(face))]
        body += [(codes[index], corner) for corner in face]
        body += ([("B", number), *[("f", 0.5)] * number]) * extra
    body.append(("i", 3))
    header = "\n".join(lines).encode()
    if not order:
        return header + b" ".join(b"%g" % value for _, value in body) + b"\n"
    return header + b"".join(struct.pack(order + code, value) for code, value in body)


@pytest.mark.parametrize("order", ["<", ">", ""])
@pytest.mark.parametrize(
    "types",
    [
        {},
        {"extra": False},
        {"coordinate": "double", "index": "uint", "count": "ushort"},
    ],
)
def test_ply_of_triangles_and_quads_is_read(tmp_path, order, types):
    mesh = read(tmp_path, "a.ply", ply(order, **types))
    assert mesh.triangles.tolist() == FANS
    np.testing.assert_allclose(mesh.vertices_nm, POINTS * 1e6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"element vertex 5", b"element vertex 6", "PLY"),
        (b"element face 2", b"element face 3", "PLY"),
        (b"element face 2", b"element face 999999999999999", "not understood"),
        (b"float x", b"half x", "type 'half'"),
        (b"property float x\n", b"", "PLY"),
        (b"list uchar int", b"list float int", "PLY"),
        (b"vertex_indices", b"corners", "lacks 'vertex_index'"),
        (b"element edge 1", b"element edge", "'element edge' is not understood"),
        (b"property uchar red", b"property float x", "'x' occurs twice"),
    ],
)
@pytest.mark.parametrize("order", ["<", ""])
def test_bad_ply_headers_are_refused(tmp_path, old, new, message, order):
    data = ply(order)
    assert old in data
    with pytest.raises(FormatError, match=message):
        read(tmp_path, "a.ply", data.replace(old, new))


CELLS = [4, 0, 1, 2, 3, 3, 1, 4, 2]


def vtk(kind="ASCII", *, polygons=None, version="3.0", points="float", title="cube", more=b""):
    def numbers(values, code):
        if kind == "BINARY":
            return np.array(values).astype(code).tobytes()
        return " ".join(map(str, np.ravel(values).tolist())).encode()

    code = {"float": ">f4", "double": ">f8"}[points]
    parts = [f"# vtk DataFile Version {version}\n{title}\n{kind}\nDATASET POLYDATA\n".encode()]
    parts += [more, f"POINTS 5 {points}\n".encode(), numbers(POINTS, code), b"\n"]
    parts += [b"METADATA\nINFORMATION 1\nNAME L2_NORM_RANGE LOCATION vtkDataArray\nDATA 2 0 1\n\n"]
    parts += [b"VERTICES 1 2\n", numbers([1, 0], ">i4"), b"\n"]
    if polygons is not None:
        parts.append(polygons)
    elif version == "5.1":
        parts += [b"POLYGONS 3 7\nOFFSETS vtktypeint64\n", numbers([0, 4, 7], ">i8"), b"\n"]
        parts += [b"CONNECTIVITY vtktypeint64\n", numbers([0, 1, 2, 3, 1, 4, 2], ">i8"), b"\n"]
    else:
        parts += [b"POLYGONS 2 9\n", numbers(CELLS, ">i4"), b"\n"]
    parts += [b"POINT_DATA 5\nSCALARS thickness float 1\nLOOKUP_TABLE default\n"]
    return b"".join([*parts, numbers(np.zeros(5), ">f4"), b"\n"])


@pytest.mark.parametrize("kind", ["ASCII", "BINARY"])
@pytest.mark.parametrize("version", ["3.0", "4.2", "5.1"])
@pytest.mark.parametrize("points", ["float", "double"])
def test_vtk_polydata_is_read(tmp_path, kind, version, points):
    mesh = read(tmp_path, "lh.vtk", vtk(kind, version=version, points=points))
    assert mesh.triangles.tolist() == FANS
    np.testing.assert_allclose(mesh.vertices_nm, POINTS * 1e6)


def test_vtk_strips_turn_every_other_triangle(tmp_path):
    data = vtk(polygons=b"TRIANGLE_STRIPS 1 5\n4 0 1 3 2\n")
    assert read(tmp_path, "a.vtk", data).triangles.tolist() == [[0, 1, 3], [2, 3, 1]]


def test_what_ngcore_writes_as_vtk_is_read_in_its_nanometres(tmp_path):
    mesh = Mesh(VERTICES * 1e6, TRIANGLES)
    as_cube(read(tmp_path, "a.vtk", encode_vtk(mesh)))


def test_vtk_with_carriage_returns_and_fields_is_read(tmp_path):
    more = b"FIELD FieldData 1\nNAME 1 1 string\nx\n"
    data = vtk(more=more).replace(b"\n", b"\r\n")
    assert read(tmp_path, "a.vtk", data).triangles.tolist() == FANS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (vtk(polygons=b""), "has no triangles"),
        (vtk().replace(b"POLYDATA", b"UNSTRUCTURED_GRID"), "VTK UNSTRUCTURED_GRID, not PolyData"),
        (vtk().replace(b"POINTS 5", b"POINTS 6"), "15 values, but 18 are expected"),
        (vtk().replace(b"POLYGONS 2 9", b"POLYGONS 3 9"), "the sizes of cells differ"),
        (vtk().replace(b"POLYGONS 2 9", b"POLYGONS 1 9"), "4 values more than the cells take"),
        (vtk().replace(b"POLYGONS 2 9", b"POLYGONS x 9"), "expected a count, got 'x'"),
        (vtk().replace(b"5 float", b"5 half"), "values of type 'half'"),
        (vtk("BINARY")[:120], "truncated"),
        (vtk(version="5.1").replace(b"0 4 7", b"0 8 7"), "offsets of cells don't fit"),
        (vtk().replace(b"4 0 1 2 3", b"4 0 1 2 9"), "refers to vertex 9"),
        (vtk().replace(b"1.5", b"one"), "expected a number"),
        (b"# vtk DataFile Version 3.0\n", "four header lines are malformed"),
    ],
)
def test_bad_vtk_is_refused_by_name(tmp_path, data, message):
    with pytest.raises((FormatError, InputError), match=rf"a\.vtk.*{message}"):
        read(tmp_path, "a.vtk", data)


def mni(*, colours="0 1 1 1 1"):
    points = "\n".join(f"{x:g} {y:g} {z:g}" for x, y, z in POINTS)
    return (
        f"P 0.3 0.3 0.4 10 1 5\n{points}\n\n" + " 0 0 1\n" * 5 + f"\n 2\n {colours}\n\n 4 7\n\n"
        " 0 1 2 3 1 4 2\n"
    ).encode()


@pytest.mark.parametrize("colours", ["0 1 1 1 1", "1 " + "1 0 0 1 " * 2, "2\n" + " 1 0 0 1\n" * 5])
def test_mni_obj_is_read(tmp_path, colours):
    mesh = read(tmp_path, "white_left.obj", mni(colours=colours))
    assert mesh.triangles.tolist() == FANS
    np.testing.assert_allclose(mesh.vertices_nm, POINTS * 1e6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (mni()[:-4], "expected 7 numbers, but 5 follow"),
        (mni() + b"4", "1 numbers more"),
        (mni(colours="3 1 1 1 1"), "colour flag 3"),
        (mni().replace(b"4 7\n", b"2 7\n"), "a face has 2 corners"),
        (mni().replace(b"1.5", b"one"), "expected a number"),
        (mni().replace(b"P 0.3", b"L 0.3"), "MNI OBJ file of lines"),
        (b"p" + bytes(40), "MNI OBJ file of binary"),
    ],
)
def test_bad_mni_obj_is_refused_by_name(tmp_path, data, message):
    with pytest.raises((FormatError, InputError), match=rf"a\.obj.*{message}"):
        read(tmp_path, "a.obj", data)


def with_note(name, note):
    """Return a cube in a file whose header says something."""
    exported = CUBE.export(file_type=name[-3:]) if name[-3:] in ("ply", "obj", "off") else b""
    text = exported if isinstance(exported, bytes) else exported.encode()
    note = note.encode()
    match name:
        case "binary.stl":
            return binary_stl(header=b"3D Slicer output. " + note)
        case "text.stl":
            return text_stl().replace(b"solid", b"solid " + note + b" x", 1)
        case "a.ply":
            return text.replace(b"element", b"comment " + note + b"\nelement", 1)
        case "a.obj":
            return b"# " + note + b"\n" + text
        case "a.off":
            return text.replace(b"OFF\n", b"OFF\n# " + note + b"\n")
    return encode_vtk(Mesh(VERTICES, TRIANGLES)).replace(b"in nanometres", note)


@pytest.mark.parametrize("name", ["binary.stl", "text.stl", "a.ply", "a.obj", "a.off", "a.vtk"])
def test_coordinate_systems_and_units_that_headers_name_are_followed(tmp_path, name):
    def make(note):
        return with_note(name, note)

    cube = solid(Mesh(VERTICES * 1e6, TRIANGLES))
    flipped = solid(Mesh(VERTICES * [-1e6, -1e6, 1e6], TRIANGLES))
    assert solid(read(tmp_path, name, make("SPACE=RAS"))) == cube
    assert solid(read(tmp_path, name, make("SPACE=LPS"))) == flipped
    assert solid(read(tmp_path, name, make("space=left-posterior-superior"))) == flipped
    small = read(tmp_path, name, make("UNITS=um"))
    assert solid(Mesh(small.vertices_nm * 1000, small.triangles)) == cube
    told = read_mesh(tmp_path / name, units="mm")
    assert solid(told) == cube


def test_a_coordinate_system_that_is_not_known_is_warned_of(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        read(tmp_path, "a.stl", binary_stl(header=b"SPACE=XYZ UNITS=furlong"))
    assert [message.split(": ", 1)[1] for message in caplog.messages] == [
        "its header says units of 'furlong', which ngcore does not know; mm is assumed; pass "
        "--units if that is wrong",
        "its header says SPACE=XYZ, which ngcore does not know; RAS is assumed",
    ]


def test_units_are_nm_um_or_mm(tmp_path):
    (tmp_path / "a.stl").write_bytes(binary_stl())
    with pytest.raises(InputError, match="units must be nm, um or mm, got 'm'"):
        read_mesh(tmp_path / "a.stl", units="m")


def test_a_mesh_beyond_float32_is_refused_by_name(tmp_path):
    with pytest.raises(FormatError, match=r"a\.obj.*too far away for float32"):
        read(tmp_path, "a.obj", b"v 7e234 0 0\nv 8e234 0 0\nv 7e234 1 0\nf 1 2 3\n")


@pytest.mark.parametrize("ending", ["ply", "vtk", "gii", "off"])
def test_the_first_bytes_tell_the_kind_whatever_the_ending(tmp_path, ending):
    data = {
        "ply": ply("<"),
        "vtk": vtk(),
        "gii": gifti(),
        "off": CUBE.export(file_type="off").encode(),
    }[ending]
    assert len(read(tmp_path, "mesh.dat", data).triangles)


def test_an_empty_file_is_no_mesh_of_any_kind(tmp_path):
    (tmp_path / "mesh").write_bytes(b"")
    for kind in ("gii", "stl", "ply", "obj", "mni", "off", "vtk", "freesurfer"):
        with pytest.raises((FormatError, InputError), match="mesh"):
            read_mesh(tmp_path / "mesh", kind=kind)
