"""What ngcore leaves to other programs is told of with the way from there."""

import numpy as np
import pytest

from ngcore.errors import InputError
from ngcore.sources import open_source

DICOM = bytes(128) + b"DICM" + bytes(50)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.dcm", DICOM, "is DICOM; .* dcm2niix"),
        ("IM0001", DICOM, "is DICOM"),
        ("folder/IM0001", DICOM, "folder: is DICOM"),
        ("a.nrrd", b"NRRD0004\n", "is NRRD; .* SimpleITK"),
        ("a.mha", b"ObjectType = Image", "is MetaImage"),
        ("a.zarr/zarr.json", b"{}", "is Zarr; .* pass it to ngcore.convert"),
        ("a.zarr/.zarray", b"{}", "is Zarr"),
        ("a.n5/attributes.json", b"{}", "is N5"),
        ("other/notes.txt", b"notes", "no slices"),
        ("a.what", b"notes", "no format that can be read"),
    ],
)
def test_other_formats_are_known_by_their_content(tmp_path, name, content, expected):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    source = path if path.parent == tmp_path else path.parent
    with pytest.raises(InputError, match=expected):
        open_source(source)


def test_the_way_from_hdf5_leads_there(tmp_path):
    h5py = pytest.importorskip("h5py")
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = values
    with pytest.raises(InputError, match=r"is HDF5; .* h5py"):
        open_source(tmp_path / "a.h5")
    with (
        h5py.File(tmp_path / "a.h5") as file,
        open_source(file["data"], resolution=(1, 1, 1)) as source,
    ):
        assert source.shape == (2, 3, 4, 1)
