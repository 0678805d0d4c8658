"""MetaImage; where voxels lie is asked of ITK."""

import zlib

import numpy as np
import pytest
from source_contract import SourceContract, bad_input_exits_2, itk_places
from volume_files import read_all, voxels

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources import open_source

TYPES = {
    "uint8": "MET_UCHAR",
    "int16": "MET_SHORT",
    "uint16": "MET_USHORT",
    "float32": "MET_FLOAT",
}
LPS = np.diag([-1.0, -1, 1])


def write_mha(path, values, affine, *, packed=False, big=False, file="LOCAL", **fields):
    own = LPS @ affine[:3]
    sizes = np.linalg.norm(own[:, :3], axis=0)
    lines = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": big,
        "CompressedData": packed,
        "TransformMatrix": " ".join(f"{x:.17g}" for x in (own[:, :3] / sizes).T.ravel()),
        "Offset": " ".join(f"{x:.17g}" for x in own[:, 3]),
        "ElementSpacing": " ".join(f"{x:.17g}" for x in sizes),
        "DimSize": " ".join(str(n) for n in values.shape[-3:]),
        "ElementType": TYPES[values.dtype.name],
        **fields,
        "ElementDataFile": file,
    }
    data = values.astype(values.dtype.newbyteorder(">" if big else "<")).tobytes(order="F")
    data = zlib.compress(data) if packed else data
    if packed:
        file_of = lines.pop("ElementDataFile")
        lines |= {"CompressedDataSize": len(data), "ElementDataFile": file_of}
    text = "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()
    path.write_bytes(text + (data if file == "LOCAL" else b""))
    if file != "LOCAL":
        (path.parent / file).write_bytes(b"skip" * (fields.get("HeaderSize") == 4) + data)


class MetaImage(SourceContract):
    format_name = "MetaImage"
    file_name = "a.mha"
    keeps_affine = True
    keeps_sizes = True
    keeps_origin = True
    packed = False

    def write(self, path, values, affine):
        write_mha(path, values, affine, packed=self.packed)

    def reference(self, path, values, affine):
        del values, affine
        return itk_places(path)


class TestPlain(MetaImage):
    pass


class TestCompressed(MetaImage):
    packed = True


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_voxels_may_lie_in_another_file(tmp_path, packed, big):
    values = voxels((5, 4, 3))
    size = {} if packed else {"HeaderSize": 4}
    write_mha(tmp_path / "a.mhd", values, np.eye(4), packed=packed, big=big, file="a.raw", **size)
    with open_source(tmp_path / "a.mhd") as source:
        np.testing.assert_array_equal(read_all(source)[..., 0], values)
        assert len(source.header.files) == 2
    (tmp_path / "a.raw").unlink()
    with pytest.raises(InputNotFoundError, match=r"'a\.raw', which belongs to it, is missing"):
        open_source(tmp_path / "a.mhd")


def test_channels_are_interleaved(tmp_path):
    values = voxels((3, 5, 4, 2), "u1")
    write_mha(tmp_path / "a.mha", values, np.eye(4), ElementNumberOfChannels=3)
    source = open_source(tmp_path / "a.mha")
    np.testing.assert_array_equal(read_all(source), np.moveaxis(values, 0, -1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"DimSize": "5 4"}, "NDims 3 and DimSize"),
        ({"DimSize": "5 4 x"}, "DimSize must be whole numbers"),
        ({"DimSize": "1048576 1048576 1048576"}, "truncated: its header says"),
        ({"ElementType": "MET_STRING"}, "type 'MET_STRING'"),
        ({"TransformMatrix": "1 0 0 0 1 0"}, "TransformMatrix must be 9 numbers"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 0"}, "affine"),
        ({"Offset": "nan 0 0"}, "Offset must be 3 numbers"),
    ],
)
def test_bad_headers_are_one_line(tmp_path, fields, message):
    write_mha(tmp_path / "a.mha", voxels((5, 4, 3)), np.eye(4), **fields)
    with pytest.raises((FormatError, InputError), match=message):
        open_source(tmp_path / "a.mha")


def test_bad_input_leaves_nothing(tmp_path):
    write_mha(tmp_path / "a.mha", voxels((9, 8, 7)), np.eye(4), packed=True)
    data = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(data[:-9])
    assert "truncated" in bad_input_exits_2(tmp_path / "a.mha", tmp_path / "out")
