import gzip

import numpy as np
import pytest
from nibabel.gifti import GiftiDataArray, GiftiImage
from surface_files import (
    OBLIQUE,
    TRIANGLES,
    VERTICES,
    as_cube,
    gifti,
    read,
    tkras_to_scanner,
    volgeom,
)

from ngcore.errors import FormatError, InputError
from ngcore.sources.surfaces.reading import read_mesh


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


@pytest.mark.parametrize("triangles_have_one", [True, False])
def test_gifti_of_several_coordinate_systems_says_which_counts(
    tmp_path, caplog, triangles_have_one
):
    xml = gifti(affine=OBLIQUE).decode()
    end = "</CoordinateSystemTransformMatrix>"
    head, _, rest = xml.partition(end)
    _, start, last = head.rpartition("<CoordinateSystemTransformMatrix>")
    words = " ".join(map(str, np.eye(4).ravel()))
    matrix = last[: last.index("<MatrixData>")] + f"<MatrixData>{words}</MatrixData>"
    if not triangles_have_one:  # as most programs write them
        first, _, others = rest.partition(start)
        rest = first + others.partition(end)[2]
    several = f"{head}{end}{start}{matrix}{end}{rest}"
    assert several.count(end) == 2 + triangles_have_one
    as_cube(read(tmp_path, "a.gii", several.encode()))
    assert "several coordinate systems; its coordinates go through the last one" in caplog.text


def test_gifti_coordinate_system_that_mirrors_flips_the_triangles(tmp_path):
    mesh = read(tmp_path, "a.gii", gifti(affine=np.diag([-1.0, 1, 1, 1])))
    np.testing.assert_array_equal(mesh.vertices_nm, VERTICES * [-1e6, 1e6, 1e6])
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES[:, ::-1])


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
        (gifti(triangles=TRIANGLES[:0]), "has no triangles|not a valid GIfTI"),
        (gifti(triangles=TRIANGLES + 1), "refers to vertex 8, but there are 8 vertices"),
        (gifti(triangles=TRIANGLES - 1), "refers to vertex -1"),
        (gifti(triangles=TRIANGLES.reshape(-1, 4)), r"shape \(m, 3\)"),
        (gifti(vertices=VERTICES * np.float32(np.nan)), "vertex 0 is not finite"),
        (gifti(vertices=VERTICES[:, :2].copy()), r"shape \(n, 3\)"),
        (GiftiImage().to_bytes(), "has no POINTSET array;"),
        (b"", "not a valid GIfTI file"),
        (b"<a/>", "has no POINTSET array;"),
    ],
)
def test_bad_gifti_is_refused_by_name(tmp_path, data, message):
    with pytest.raises(FormatError, match=rf"bad\.gii.*({message})"):
        read(tmp_path, "bad.gii", data)


@pytest.mark.parametrize(
    ("intent", "words"),
    [
        ("LABEL", "labels for each vertex"),
        ("SHAPE", r"values for each vertex \(NIFTI_INTENT_SHAPE\)"),
    ],
)
def test_a_gifti_of_values_says_what_it_is(tmp_path, intent, words):
    array = GiftiDataArray(np.arange(4, dtype="i4"), intent=f"NIFTI_INTENT_{intent}", datatype=8)
    path = tmp_path / "lh.gii"
    GiftiImage(darrays=[array]).to_filename(path)
    with pytest.raises(InputError, match=f"not a surface; it holds {words}; pass the surface"):
        read_mesh(path)
