import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
from surface_files import VERTICES, VOLUME, as_cube, freesurfer, read, tkras_to_scanner

from ngcore._words import in_python
from ngcore.errors import FormatError


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


def test_freesurfer_surface_without_its_volume_stays_where_it_is_and_says_so(tmp_path, caplog):
    as_cube(read(tmp_path, "lh.a", freesurfer(tmp_path)))
    assert "lh.a: doesn't describe the volume" in caplog.text
    as_cube(read(tmp_path, "lh.b", freesurfer(tmp_path, VOLUME, valid="0  # no")))
    assert "lh.b: doesn't describe the volume" in caplog.text
    assert "--coord-transform" not in caplog.text  # which view and meshes of volumes have not
    assert "`mris_convert --to-scanner`" in in_python(caplog.text)


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
