"""Reading surface meshes."""

import gzip
import random
import struct

import nibabel as nib
import numpy as np
import pytest
import trimesh
from nibabel.freesurfer import write_geometry
from nibabel.gifti import GiftiCoordSystem, GiftiDataArray, GiftiImage

import thorough
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.readers.meshes.reading import mesh_stem, read_mesh

CUBE = trimesh.creation.box(extents=(2, 3, 4))
VERTICES = np.asarray(CUBE.vertices, dtype=np.float32)
TRIANGLES = np.asarray(CUBE.faces, dtype=np.int32)
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.3, 0.4) @ np.diag([1.0, 1.1, 0.9]), [10, -20, 30]
)


def gifti(vertices=VERTICES, triangles=TRIANGLES, *, affine=None, space=2, meta=None, **options):
    system = GiftiCoordSystem(space, 1, np.eye(4) if affine is None else affine)
    arrays = [
        GiftiDataArray(
            vertices, "NIFTI_INTENT_POINTSET", coordsys=system, meta=meta or {}, **options
        ),
        GiftiDataArray(triangles, "NIFTI_INTENT_TRIANGLE", **options),
    ]
    return GiftiImage(darrays=arrays).to_bytes()


def read(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return read_mesh(path)


def solid(mesh):
    """Return a mesh as a set of triangles of places, each turned to start at its least corner."""
    corners = np.round(mesh.vertices_nm[mesh.triangles], 3).tolist()
    turned = []
    for triangle in corners:
        first = triangle.index(min(triangle))
        turned.append(tuple(map(tuple, triangle[first:] + triangle[:first])))
    return sorted(turned)


def as_cube(mesh, affine_mm=None):
    places = nib.affines.apply_affine(np.eye(4) if affine_mm is None else affine_mm, VERTICES)
    np.testing.assert_allclose(mesh.vertices_nm, places * 1e6, rtol=1e-6, atol=1e-3)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)


# GIfTI


@pytest.mark.parametrize("encoding", ["ASCII", "B64BIN", "B64GZ"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_gifti_of_every_encoding_is_read(tmp_path, encoding, order, endian):
    data = gifti(encoding=encoding, ordering=order, endian=endian)
    as_cube(read(tmp_path, "a.surf.gii", data))


def test_gzipped_gifti_is_read(tmp_path):
    as_cube(read(tmp_path, "a.gii.gz", gzip.compress(gifti())))


def test_gifti_with_arrays_in_another_file_is_read(tmp_path):
    xml = gifti(encoding="B64BIN").decode()
    head, _, rest = xml.partition("<Data>")
    _, _, rest = rest.partition("</Data>")
    head = head.replace('Encoding="Base64Binary"', 'Encoding="ExternalFileBinary"')
    head = head.replace('ExternalFileName=""', 'ExternalFileName="a.dat"')
    (tmp_path / "a.dat").write_bytes(VERTICES.astype("<f4").tobytes())
    as_cube(read(tmp_path, "a.gii", f"{head}<Data/>{rest}".encode()))
    (tmp_path / "a.dat").unlink()
    with pytest.raises(FormatError, match=r"a\.gii.*a\.dat"):
        read_mesh(tmp_path / "a.gii")


def test_gifti_goes_through_its_coordinate_system(tmp_path):
    as_cube(read(tmp_path, "a.gii", gifti(affine=OBLIQUE)), OBLIQUE)


def test_gifti_coordinate_system_that_mirrors_flips_the_triangles(tmp_path):
    mesh = read(tmp_path, "a.gii", gifti(affine=np.diag([-1.0, 1, 1, 1])))
    np.testing.assert_array_equal(mesh.vertices_nm, VERTICES * [-1e6, 1e6, 1e6])
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES[:, ::-1])


VOLUME = {
    "volume": [200, 220, 180],
    "voxelsize": [0.8, 0.9, 1.1],
    "xras": [-0.98, 0.1, 0.17],
    "yras": [0.17, 0.0, -0.985],
    "zras": [0.1, 0.99, 0.02],
    "cras": [5.0, -17.5, 21.0],
}


def tkras_to_scanner(volume=VOLUME):
    """The two voxel-to-RAS matrices of FreeSurfer's wiki, one after the other."""
    size, shape = np.array(volume["voxelsize"]), np.array(volume["volume"])
    directions = np.array([volume["xras"], volume["yras"], volume["zras"]]).T
    norig = nib.affines.from_matvec(directions * size)
    norig[:3, 3] = volume["cras"] - norig[:3, :3] @ (shape / 2)
    (dx, dy, dz), (nx, ny, nz) = size, shape
    torig = np.array(
        [
            [-dx, 0, 0, dx * nx / 2],
            [0, 0, dz, -dz * nz / 2],
            [0, -dy, 0, dy * ny / 2],
            [0, 0, 0, 1],
        ]
    )
    return norig @ np.linalg.inv(torig)


def volgeom(volume=VOLUME):
    names = {
        "volume": ("Width", "Height", "Depth"),
        "voxelsize": ("Xsize", "Ysize", "Zsize"),
        **{f"{a.lower()}ras": (f"{a}_R", f"{a}_A", f"{a}_S") for a in "XYZC"},
    }
    return {
        f"VolGeom{key}": str(value)
        for field, keys in names.items()
        for key, value in zip(keys, volume[field], strict=True)
    }


def test_gifti_of_freesurfer_goes_to_the_scanner_and_not_to_the_atlas(tmp_path):
    data = gifti(affine=OBLIQUE, space=0, meta=volgeom())
    as_cube(read(tmp_path, "lh.pial.gii", data), tkras_to_scanner())


def test_gifti_of_freesurfer_that_is_in_scanner_space_stays_there(tmp_path):
    as_cube(read(tmp_path, "lh.pial.gii", gifti(space=1, meta=volgeom())))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gifti(affine=np.diag([1.0, 1, 0, 1])), "the transform is singular"),
        (gifti(affine=np.eye(4) * 2), "last row"),
        (gifti(meta={**volgeom(), "VolGeomXsize": "0"}, space=0), "VolGeom.*singular"),
        (gifti(meta={**volgeom(), "VolGeomXsize": "x"}, space=0), "VolGeom.*'x'"),
        (gifti(triangles=TRIANGLES[:0]), "has no triangles|no sound GIfTI"),
        (gifti(triangles=TRIANGLES + 1), "names vertex 8, but there are 8 vertices"),
        (gifti(triangles=TRIANGLES - 1), "names vertex -1"),
        (gifti(triangles=TRIANGLES.reshape(-1, 4)), r"shape \(m, 3\)"),
        (gifti(vertices=VERTICES * np.float32(np.nan)), "vertex 0 is not finite"),
        (gifti(vertices=VERTICES[:, :2].copy()), r"shape \(n, 3\)"),
        (GiftiImage().to_bytes(), "0 POINTSET arrays"),
        (b"", "no sound GIfTI file"),
        (b"<a/>", "0 POINTSET arrays"),
    ],
)
def test_bad_gifti_is_refused_by_name(tmp_path, data, message):
    with pytest.raises(FormatError, match=rf"bad\.gii.*({message})"):
        read(tmp_path, "bad.gii", data)


# FreeSurfer


def freesurfer(tmp_path, volume=None, *, valid="1  # volume info valid"):
    info = None
    if volume is not None:
        info = {"head": [2, 0, 20], "valid": valid, "filename": "../mri/é.mgz", **volume}
        info = {k: np.array(v) if isinstance(v, list) else v for k, v in info.items()}
    path = tmp_path / "lh.pial"
    write_geometry(path, VERTICES, TRIANGLES, create_stamp="created by x on y", volume_info=info)
    return path.read_bytes()


def test_freesurfer_surface_goes_to_scanner_ras(tmp_path):
    data = freesurfer(tmp_path, VOLUME)
    as_cube(read(tmp_path, "lh.white", data), tkras_to_scanner())
    as_cube(read(tmp_path, "lh.white.gz", gzip.compress(data)), tkras_to_scanner())


def test_freesurfer_surface_of_a_conformed_volume_is_moved_by_its_centre(tmp_path):
    conformed = {
        "volume": [256, 256, 256],
        "voxelsize": [1.0, 1.0, 1.0],
        "xras": [-1.0, 0.0, 0.0],
        "yras": [0.0, 0.0, -1.0],
        "zras": [0.0, 1.0, 0.0],
        "cras": [5.4, 18.0, -3.25],
    }
    shift = nib.affines.from_matvec(np.eye(3), conformed["cras"])
    as_cube(read(tmp_path, "rh.pial", freesurfer(tmp_path, conformed)), shift)


def test_freesurfer_surface_without_its_volume_stays_where_it_is(tmp_path):
    as_cube(read(tmp_path, "lh.a", freesurfer(tmp_path)))
    as_cube(read(tmp_path, "lh.b", freesurfer(tmp_path, VOLUME, valid="0  # no")))


def test_freesurfer_surface_in_scanner_ras_stays_where_it_is(tmp_path):
    data = freesurfer(tmp_path, VOLUME)
    at = data.index(struct.pack(">3i", 2, 0, 20))
    as_cube(read(tmp_path, "lh.a", data[:at] + struct.pack(">3i", 2, 1, 20) + data[at + 12 :]))


def test_freesurfer_volume_without_size_is_refused(tmp_path):
    data = freesurfer(tmp_path, {**VOLUME, "voxelsize": [0.0, 1.0, 1.0]})
    with pytest.raises(FormatError, match=r"lh\.pial.*singular"):
        read(tmp_path, "lh.pial", data)


@pytest.mark.parametrize("magic", [b"\xff\xff\xff", b"\xff\xff\xfd"])
def test_freesurfer_quadrangles_are_cut_as_freesurfer_cuts_them(tmp_path, magic):
    quads = np.array([[0, 1, 3, 2], [1, 5, 7, 3], [4, 6, 7, 5], [0, 2, 6, 4], [2, 3, 7, 6]])
    places = np.round(VERTICES * 100).astype(">i2") if magic[2] == 0xFF else VERTICES.astype(">f4")
    data = magic + (8).to_bytes(3, "big") + len(quads).to_bytes(3, "big") + places.tobytes()
    data += b"".join(int(i).to_bytes(3, "big") for i in quads.ravel())
    mesh = read(tmp_path, "lh.orig", data)
    vertices, triangles = nib.freesurfer.read_geometry(tmp_path / "lh.orig")
    np.testing.assert_allclose(mesh.vertices_nm, vertices * 1e6)
    assert sorted(map(sorted, mesh.triangles.tolist())) == sorted(map(sorted, triangles.tolist()))
    assert mesh.triangles.tolist() == triangles.tolist()


# STL


def text_stl(triangles=VERTICES[TRIANGLES], name="cube"):
    lines = [f"solid {name}"]
    for triangle in triangles:
        lines += ["facet normal 0 0 0", " outer loop"]
        lines += [f"  vertex {x:.9g} {y:.9g} {z:.9g}" for x, y, z in triangle]
        lines += [" endloop", "endfacet"]
    return "\n".join([*lines, f"endsolid {name}", ""]).encode()


def binary_stl(triangles=VERTICES[TRIANGLES], header=b"solid but binary"):
    record = np.zeros(len(triangles), [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    record["v"] = triangles
    return header.ljust(80) + struct.pack("<I", len(record)) + record.tobytes()


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
        (b"", "no STL file"),
        (b"hello", "no STL file"),
        (binary_stl()[:-1], "announces 12 facets, which take 684 bytes, but it has 683 bytes"),
        (binary_stl(header=b"x")[:-1], "announces 12 facets"),
        (binary_stl(header=b"x")[:83], "no STL file"),
        (binary_stl(VERTICES[TRIANGLES][:0]), "has no triangles"),
        (text_stl()[: text_stl().rindex(b"endsolid")], "ends without 'endsolid'"),
        (text_stl(VERTICES[TRIANGLES][:0]), "has no triangles"),
        (text_stl().replace(b"vertex", b"vertx", 1), "line 4: unexpected 'vertx'"),
        (text_stl().replace(b"  vertex -1", b"  vertex one", 1), "a vertex is three numbers"),
        (text_stl().replace(b"  vertex -1", b"  vertex", 1), "a vertex is three numbers"),
        (text_stl().replace(b" endloop", b"vertex 0 0 0\n endloop", 1), "a facet of 4 corners"),
        (text_stl().replace(b" endloop\n", b"", 1), "unexpected 'endfacet'"),
        (text_stl().replace(b"  vertex -1", b"  vertex nan", 1), "not finite"),
        (binary_stl(VERTICES[TRIANGLES] * np.float32(np.inf)), "not finite"),
    ],
)
def test_bad_stl_is_refused_by_name(tmp_path, data, message):
    with pytest.raises(FormatError, match=rf"bad\.stl.*{message}"):
        read(tmp_path, "bad.stl", data)


# PLY, OBJ, OFF


def exported(kind, **options):
    data = CUBE.export(file_type=kind, **options)
    return data if isinstance(data, bytes) else data.encode()


PLY = exported("ply")
TEXT_PLY = exported("ply", encoding="ascii")
OBJ = exported("obj", digits=9)
OFF = exported("off", digits=9)


@pytest.mark.parametrize(
    ("name", "data"), [("a.ply", PLY), ("a.ply", TEXT_PLY), ("a.obj", OBJ), ("a.OFF", OFF)]
)
def test_what_trimesh_writes_is_read(tmp_path, name, data):
    as_cube(read(tmp_path, name, data))
    as_cube(read(tmp_path, f"{name}.gz", gzip.compress(data)))


SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n.5 .5 1\n"
TEXT_PLY_OF_POLYGONS = f"""ply
format ascii 1.0
comment made by hand
element vertex 5
property float x
property float y
property float z
element face 3
property list uchar int vertex_indices
end_header
{SQUARE}4 0 1 2 3
3 0 1 4
5 0 1 2 3 4
"""
OFF_OF_POLYGONS = f"OFF 5 3 0 # counts\n\n{SQUARE}4 0 1 2 3 255 0 0\n3 0 1 4\n5 0 1 2 3 4\n"
OBJ_OF_POLYGONS = (
    "mtllib none.mtl\no a\n"
    + "".join(f"v {line}\n" for line in SQUARE.splitlines())
    + "vt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1 4/1/1\no b\nf -5//1 2//1 \\\n 5//1\nf 1 2 3 4 5\n"
)
FANS = sorted([(0, 1, 2), (0, 2, 3), (0, 1, 4), (0, 1, 2), (0, 2, 3), (0, 3, 4)])


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
        ("a.ply", b"", "no PLY file"),
        ("a.ply", PLY[:-1], "no sound PLY file"),
        ("a.ply", PLY + b"x", "no sound PLY file"),
        ("a.ply", TEXT_PLY[:-9], "cut off: its header announces 20 lines, 19 follow"),
        ("a.ply", TEXT_PLY.replace(b"\n3 1 3 0", b"\n3 1 8 0"), "names vertex 8, but there are 8"),
        ("a.ply", TEXT_PLY.replace(b"\n3 1 3 0", b"\n3 1 -1 0"), "names vertex -1"),
        ("a.ply", TEXT_PLY.replace(b"-1.00000000", b"nan", 1), "not finite"),
        ("a.ply", TEXT_PLY.replace(b"-1.00000000", b"one", 1), "no sound PLY file"),
        (
            "a.ply",
            TEXT_PLY[: TEXT_PLY.index(b"element face")] + b"end_header\n" + b"0 0 0\n" * 8,
            "no triangles|no sound PLY",
        ),
        ("a.obj", b"", "no triangles"),
        ("a.obj", b"v 0 0 0\nf 1 1 1\nf 0 1 1\n", "line 3: a face names vertex 0"),
        ("a.obj", b"v 0 0 0\nf -2 1 1\n", "line 2: a face names vertex -2"),
        ("a.obj", b"v 0 0 0\nf 1 2 1\n", "names vertex 1, but there are 1 vertices"),
        ("a.obj", b"v 0 0 0\nf 1 1\n", "line 2: a face of 2 corners"),
        ("a.obj", b"v 0 0\n", "line 1: a vertex is three numbers"),
        ("a.obj", b"v 0 0 0\nf 1 1 " + b"9" * 40, "line 2"),
        ("a.obj", b"v 0 0 inf\nf 1 1 1\n", "not finite"),
        ("a.off", b"", "no OFF file"),
        ("a.off", b"4OFF\n1 1 0", "no OFF file"),
        ("a.off", b"OFF", "line 1"),
        ("a.off", b"OFF\n1", "line 2"),
        ("a.off", OFF[:-9], "line 2: 8 vertices and 12 faces are announced, but 19 lines follow"),
        ("a.off", b"OFF\n1 1 0\n0 0 0\n3 0 0 1\n", "names vertex 1, but there are 1"),
        ("a.off", b"OFF\n1 1 0\n0 0 0\n3 0 0 -1\n", "line 4: -1 is no count or index"),
        ("a.off", b"OFF\n1 1 0\n0 0 0\n4 0 0 0\n", "line 4: a face of 4 corners names 3"),
        ("a.off", b"OFF\n1 1 0\n0 0\n3 0 0 0\n", "line 3: a vertex is three numbers"),
        ("a.off", b"OFF\n1 -1 0\n0 0 0\n", "line 2: -1"),
        ("a.off", b"OFF\n1 0 0\n0 0 0\n", "no triangles"),
    ],
)
def test_bad_polygons_are_refused_by_name(tmp_path, name, data, message):
    with pytest.raises(FormatError, match=rf"{name}.*({message})"):
        read(tmp_path, name, data)


# Files


def test_missing_mesh_is_named(tmp_path):
    with pytest.raises(InputNotFoundError, match=r"no mesh file .*gone\.gii"):
        read_mesh(tmp_path / "gone.gii")


def test_folder_is_no_mesh(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        read_mesh(tmp_path)


def test_unknown_kind_of_mesh_says_what_is_known(tmp_path):
    with pytest.raises(InputError, match=r"a\.vtk.*GIfTI \(\.gii\), a FreeSurfer surface, STL"):
        read(tmp_path, "a.vtk", b"# vtk DataFile Version 3.0\n")


def test_damaged_gzip_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"a\.gii\.gz.*gzip"):
        read(tmp_path, "a.gii.gz", gzip.compress(gifti())[:-5])


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("x/pial_left.gii.gz", "pial_left"),
        ("sub-01_pial.surf.gii", "sub-01_pial.surf"),
        ("a.b.STL", "a.b"),
        ("lh.pial", "lh.pial"),
        ("lh.pial.gz", "lh.pial"),
        (".stl", ".stl"),
    ],
)
def test_stem_leaves_out_what_tells_the_kind(name, stem):
    assert mesh_stem(name) == stem


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        # Headers are where it hurts.
        at = rng.randrange(len(data) if rng.random() < 0.5 else min(400, len(data)))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] = rng.choice(b"0123456789-. \n<>/")
            case 2:
                del data[at : at + rng.randrange(1, 30)]
            case 3:
                data[at:at] = bytes(rng.choices(b"0123456789 -e\n", k=rng.randrange(1, 12)))
            case 4:
                del data[at:]
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize(
    "kind",
    ["gii", "freesurfer", "quads", "stl", "stl.txt", "ply", "ply.txt", "obj", "off", "gii.gz"],
)
def test_any_bytes_are_a_mesh_or_an_error_that_names_the_file(tmp_path, kind):
    quads = b"\xff\xff\xfd\0\0\x08\0\0\x01" + VERTICES.astype(">f4").tobytes() + bytes(12)
    seeds = {
        "gii": [gifti(encoding=e, meta=volgeom()) for e in ("ASCII", "B64BIN", "B64GZ")],
        "freesurfer": [freesurfer(tmp_path, VOLUME)],
        "quads": [quads],
        "stl": [binary_stl(header=b"x"), binary_stl()],
        "stl.txt": [text_stl()],
        "ply": [PLY],
        "ply.txt": [TEXT_PLY, TEXT_PLY_OF_POLYGONS.encode()],
        "obj": [OBJ_OF_POLYGONS.encode(), OBJ],
        "off": [OFF_OF_POLYGONS.encode(), OFF],
        "gii.gz": [gzip.compress(gifti())],
    }[kind]
    path = tmp_path / f"fuzz.{kind.removesuffix('.txt')}"
    rng = random.Random(kind)
    complaints = []
    for _ in range(thorough.amount(150, 20_000)):
        path.write_bytes(mutated(rng.choice(seeds), rng))
        try:
            mesh = read_mesh(path)
        except (InputError, FormatError) as error:
            complaints.append(str(error))
        else:
            assert np.isfinite(mesh.vertices_nm).all()
            assert mesh.triangles.max() < len(mesh.vertices_nm)
    assert complaints
    assert all(str(path) in line and "\n" not in line for line in complaints)
