"""Each kind of source, spoiled in each way it can be: one line, exit status 2, nothing left."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
from source_contract import bad_input_exits_2
from volume_files import save_nifti, voxels

h5py = pytest.importorskip("h5py")
mrcfile = pytest.importorskip("mrcfile")
nrrd = pytest.importorskip("nrrd")
pydicom = pytest.importorskip("pydicom")
tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")

from dicom_files import dataset, place  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = voxels((9, 8, 7))
HUGE = 1 << 20
"""To the third power: 2^60 voxels."""


def replaced(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    return path


def cut(path: Path, count: int = 40) -> Path:
    path.write_bytes(path.read_bytes()[:-count])
    return path


def zarr_of(path: Path, change: Callable[[dict], object] = lambda _: None) -> Path:
    zarr.create_array(path / "a", data=VALUES, dimension_names=("x", "y", "z"))
    document = json.loads((path / "a/zarr.json").read_text())
    change(document)
    (path / "a/zarr.json").write_text(json.dumps(document))
    return path / "a"


def zarr_cut(path: Path) -> Path:
    array = zarr_of(path)
    for chunk in (path / "a/c").rglob("*"):
        if chunk.is_file():
            cut(chunk, 5)
    return array


def n5_of(path: Path, **attributes: object) -> Path:
    (path / "a.n5/0/0").mkdir(parents=True)
    known = {"dimensions": [9, 8, 7], "blockSize": [9, 8, 7], "dataType": "int16"}
    known |= {"compression": {"type": "raw"}, **attributes}
    (path / "a.n5/attributes.json").write_text(json.dumps(known))
    head = struct.pack(">HH3I", 0, 3, 9, 8, 7)
    (path / "a.n5/0/0/0").write_bytes(head + VALUES.astype(">i2").tobytes("F"))
    return path / "a.n5"


def n5_cut(path: Path) -> Path:
    found = n5_of(path)
    cut(found / "0/0/0")
    return found


def hdf5_of(path: Path, shape: tuple[int, ...] | None = None, **options: object) -> Path:
    with h5py.File(path / "a.h5", "w") as file:
        if shape is None:
            file.create_dataset("a", data=VALUES, **options)
        else:
            file.create_dataset("a", shape, "i2", chunks=tuple(min(64, n) for n in shape))
    return path / "a.h5"


def hdf5_codec(path: Path) -> Path:
    hdf5_of(path, chunks=(9, 8, 7))
    with h5py.File(path / "a.h5", "a") as file:
        del file["a"]
        space = h5py.h5s.create_simple(VALUES.shape)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((9, 8, 7))
        plist.set_filter(40000, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file.id, b"a", h5py.h5t.STD_I16LE, space, plist)
        file["a"].id.write_direct_chunk((0, 0, 0), VALUES.tobytes())
    return path / "a.h5"


def nrrd_of(path: Path) -> Path:
    fields = {"encoding": "raw", "spacings": [1, 1, 1]}
    nrrd.write(str(path / "a.nrrd"), VALUES, fields, index_order="F")
    return path / "a.nrrd"


def mha_of(path: Path) -> Path:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 9 8 7\nElementType = MET_SHORT\n"
    head += "ElementSpacing = 1 1 1\nCompressedData = False\nElementDataFile = LOCAL\n"
    (path / "a.mha").write_bytes(head.encode() + VALUES.tobytes("F"))
    return path / "a.mha"


def mrc_of(path: Path, **fields: object) -> Path:
    with mrcfile.new(path / "a.mrc") as file:
        file.set_data(np.ascontiguousarray(VALUES.transpose(2, 1, 0)))
        file.voxel_size = 1
        for name, value in fields.items():
            file.header[name] = value
    return path / "a.mrc"


def dicom_of(path: Path, **fields: object) -> Path:
    at = place(np.diag([-1.0, -1, 1, 1]))
    image = dataset(VALUES[:, :, 0].T.copy(), **{**at, **fields})
    image.save_as(path / "a.dcm", enforce_file_format=True)
    return path / "a.dcm"


def dicom_codec(path: Path) -> Path:
    found = dicom_of(path)
    image = pydicom.dcmread(found)
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"  # HTJ2K
    image.PixelData = pydicom.encaps.encapsulate([b"nothing"])
    image.save_as(found)
    return found


def nifti_of(path: Path, **fields: object) -> Path:
    return save_nifti(path / "a.nii", VALUES, **fields)


def mgh_of(path: Path, old: bytes = b"", new: bytes = b"") -> Path:
    nibabel.save(nibabel.MGHImage(VALUES, np.eye(4)), path / "a.mgh")
    return replaced(path / "a.mgh", old, new)


def npy_of(path: Path) -> Path:
    np.save(path / "a.npy", VALUES)
    return path / "a.npy"


def tiff_of(path: Path, shape: tuple[int, ...] = (7, 8, 9), **options: object) -> Path:
    values = voxels(shape)
    tifffile.imwrite(path / "a.tif", values, photometric="minisblack", metadata=None, **options)
    return path / "a.tif"


def with_tag(path: Path, code: int, kind: int, value: int) -> Path:
    """Set a tag of a little-endian TIFF's first page, which has it with another value."""
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, at)[0] == code:
            struct.pack_into("<HIi", data, at + 2, kind, 1, value)
            path.write_bytes(data)
            return path
    raise AssertionError(f"no tag {code}")


SIZES = struct.pack(">3i", 9, 8, 7)
CASES: dict[str, Callable[[Path], Path | str]] = {
    "Zarr, truncated": zarr_cut,
    "Zarr, wrong dimension": lambda p: zarr_of(p, lambda d: d.update(shape=[9, 8])),
    "Zarr, absent": lambda p: f"{zarr_of(p).parent}:/b",
    "Zarr, unknown codec": lambda p: zarr_of(p, lambda d: d["codecs"].append({"name": "what"})),
    "Zarr, lying": lambda p: zarr_of(p, lambda d: d.update(data_type="float64")),
    "Zarr, 2^60": lambda p: zarr_of(p, lambda d: d.update(shape=[HUGE] * 3)),
    "N5, truncated": n5_cut,
    "N5, wrong dimension": lambda p: n5_of(p, dimensions=[9, 8]),
    "N5, absent": lambda p: f"{n5_of(p)}:/b",
    "N5, unknown codec": lambda p: n5_of(p, compression={"type": "what"}),
    "N5, lying": lambda p: n5_of(p, dataType="float64"),
    "N5, 2^60": lambda p: n5_of(p, dimensions=[HUGE] * 3),
    "HDF5, truncated": lambda p: cut(hdf5_of(p)),
    "HDF5, wrong dimension": lambda p: hdf5_of(p, (3,) * 6),
    "HDF5, absent": lambda p: f"{hdf5_of(p)}:/b",
    "HDF5, unknown codec": hdf5_codec,
    "HDF5, 2^60": lambda p: hdf5_of(p, (HUGE,) * 3),
    "NRRD, truncated": lambda p: cut(nrrd_of(p)),
    "NRRD, wrong dimension": lambda p: replaced(nrrd_of(p), b"sizes: 9 8 7", b"sizes: 9 8"),
    "NRRD, absent": lambda p: replaced(
        nrrd_of(p), b"encoding: raw", b"encoding: raw\ndata file: b"
    ),
    "NRRD, unknown codec": lambda p: replaced(nrrd_of(p), b"encoding: raw", b"encoding: what"),
    "NRRD, lying": lambda p: replaced(nrrd_of(p), b"type: int16", b"type: double"),
    "NRRD, 2^60": lambda p: replaced(nrrd_of(p), b"9 8 7", b"1048576 1048576 1048576"),
    "MetaImage, truncated": lambda p: cut(mha_of(p)),
    "MetaImage, wrong dimension": lambda p: replaced(mha_of(p), b"NDims = 3", b"NDims = 2"),
    "MetaImage, absent": lambda p: replaced(mha_of(p), b"LOCAL", b"b.raw"),
    "MetaImage, unknown codec": lambda p: replaced(mha_of(p), b"Data = False", b"Data = True"),
    "MetaImage, lying": lambda p: replaced(mha_of(p), b"MET_SHORT", b"MET_DOUBLE"),
    "MetaImage, 2^60": lambda p: replaced(mha_of(p), b"9 8 7", b"1048576 1048576 1048576"),
    "MRC, truncated": lambda p: cut(mrc_of(p)),
    "MRC, wrong dimension": lambda p: mrc_of(p, nz=-7),
    "MRC, unknown codec": lambda p: mrc_of(p, mode=77),
    "MRC, lying": lambda p: mrc_of(p, mode=2),
    "MRC, 2^60": lambda p: mrc_of(p, nx=HUGE, ny=HUGE, nz=HUGE),
    "DICOM, truncated": lambda p: cut(dicom_of(p)),
    "DICOM, wrong dimension": lambda p: dicom_of(p, ImagePositionPatient=[1.0, 1]),
    "DICOM, absent": lambda p: f"{dicom_of(p).parent}:/77",
    "DICOM, unknown codec": dicom_codec,
    "DICOM, lying": lambda p: dicom_of(p, Rows=800),
    "DICOM, 2^60": lambda p: dicom_of(p, Rows=65535, Columns=65535, NumberOfFrames=2**28),
    "NIfTI, truncated": lambda p: cut(nifti_of(p)),
    "NIfTI, wrong dimension": lambda p: nifti_of(p, dim=[6, 9, 8, 7, 1, 2, 2, 1]),
    "NIfTI, unknown codec": lambda p: nifti_of(p, datatype=999),
    "NIfTI, lying": lambda p: nifti_of(p, datatype=64, bitpix=64),
    "NIfTI, 2^60": lambda p: nifti_of(p, dim=[4, *[1 << 14] * 4, 1, 1, 1]),
    "MGH, truncated": lambda p: cut(mgh_of(p), 400),
    "MGH, wrong dimension": lambda p: mgh_of(p, SIZES, struct.pack(">3i", 9, 8, -7)),
    "MGH, lying": lambda p: mgh_of(p, SIZES, struct.pack(">3i", 9, 8, 700)),
    "MGH, 2^60": lambda p: mgh_of(p, SIZES, struct.pack(">3i", *[HUGE] * 3)),
    "npy, truncated": lambda p: cut(npy_of(p)),
    "npy, wrong dimension": lambda p: replaced(npy_of(p), b"(9, 8, 7)", b"(504,)   "),
    "npy, unknown codec": lambda p: replaced(npy_of(p), b"'<i2'", b"'<M8'"),
    "npy, lying": lambda p: replaced(npy_of(p), b"'<i2'", b"'<f8'"),
    "npy, 2^60": lambda p: replaced(
        npy_of(p), b"(9, 8, 7), }    ", b"(1152921504606846976, 1, 1), }"
    ),
    "TIFF, truncated": lambda p: cut(tiff_of(p)),
    "TIFF, unknown codec": lambda p: with_tag(tiff_of(p), 259, 3, 12345),
    "TIFF, lying": lambda p: with_tag(tiff_of(p), 258, 3, 64),
    "TIFF, 2^60": lambda p: with_tag(with_tag(tiff_of(p), 256, 4, 1 << 30), 257, 4, 1 << 30),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_of_each_kind_is_one_line_and_leaves_nothing(tmp_path, name):
    source = CASES[name](tmp_path)
    before = sorted(tmp_path.rglob("*"))
    options = ["--resolution", "1mm", "--type", "image"]
    if name.startswith("HDF5"):
        options += ["--quiet"]
    line = bad_input_exits_2(source, tmp_path / "out", *options)
    assert Path(str(source).partition(":/")[0]).name in line
    assert sorted(tmp_path.rglob("*")) == before
