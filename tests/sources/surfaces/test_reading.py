"""Surface meshes of any kind: which reader takes them, and that no bytes break one."""

import gzip
import random

import numpy as np
import pytest
import thorough
from surface_files import (
    OBJ,
    OBJ_OF_POLYGONS,
    OFF,
    OFF_OF_POLYGONS,
    PLY,
    TEXT_PLY,
    TEXT_PLY_OF_POLYGONS,
    VERTICES,
    VOLUME,
    binary_stl,
    freesurfer,
    gifti,
    read,
    text_stl,
    volgeom,
)

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.surfaces.reading import mesh_stem, read_mesh


def test_missing_mesh_is_named(tmp_path):
    with pytest.raises(InputNotFoundError, match=r"no mesh file .*gone\.gii"):
        read_mesh(tmp_path / "gone.gii")


def test_folder_is_no_mesh(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        read_mesh(tmp_path)


def test_unknown_kind_of_mesh_says_what_is_known(tmp_path):
    with pytest.raises(InputError, match=r"a\.vtp.*GIfTI, FreeSurfer, STL.*legacy \.vtk or \.ply"):
        read(tmp_path, "a.vtp", b'<?xml version="1.0"?><VTKFile type="PolyData">')


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
