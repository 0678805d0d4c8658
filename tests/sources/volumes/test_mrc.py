"""MRC and CCP4, written by mrcfile."""

import gzip

import mrcfile
import numpy as np
import pytest
from source_contract import SourceContract, bad_input_exits_2
from volume_files import read_all, voxels

from ngcore.errors import FormatError, InputError
from ngcore.sources import open_source


def write_mrc(path, values, affine=None, **fields):
    """Write values of shape (x, y, z) as a volume."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(values.transpose(2, 1, 0)))
        if affine is not None:
            sizes = np.linalg.norm(affine[:3, :3], axis=0) * 1e7
            file.voxel_size = tuple(sizes)
            for letter, start in zip("xyz", affine[:3, 3] * 1e7, strict=True):
                file.header.origin[letter] = start
        for name, value in fields.items():
            file.header[name] = value
    return path


class TestMrc(SourceContract):
    format_name = "MRC"
    file_name = "a.mrc"
    keeps_sizes = True
    keeps_origin = True
    dtypes = ("int8", "int16", "uint16", "float32", "float16")

    def write(self, path, values, affine):
        write_mrc(path, values, affine)


class TestGzippedMrc(TestMrc):
    file_name = "a.mrc.gz"

    def write(self, path, values, affine):
        plain = write_mrc(path.with_name("plain.mrc"), values, affine)
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()


@pytest.mark.parametrize("order", [">", "<"])
def test_both_byte_orders_are_read(tmp_path, order):
    values = voxels((6, 5, 4))
    path = write_mrc(tmp_path / "a.mrc", values, np.diag([1e-6, 1e-6, 2e-6, 1]))
    if order == ">":
        content = path.read_bytes()
        words = np.frombuffer(content[:1024], "<i4").astype(">i4").tobytes()
        head = bytearray(words)
        head[104:108], head[208:212] = content[104:108], content[208:212]
        head[212:216] = bytes([0x11, 0x11, 0, 0])
        head[224:] = content[224:1024]
        path.write_bytes(bytes(head) + values.transpose(2, 1, 0).astype(">i2").tobytes())
        np.testing.assert_array_equal(mrcfile.read(path), values.transpose(2, 1, 0))
    with open_source(path) as source:
        assert source.header.resolution_nm == pytest.approx((1, 1, 2))
        np.testing.assert_array_equal(read_all(source)[..., 0], values)


def test_axes_are_in_the_order_that_the_header_says(tmp_path):
    values = voxels((6, 5, 4))
    path = write_mrc(tmp_path / "a.map", values, mapc=3, mapr=1, maps=2)
    with open_source(path, resolution=(1, 1, 1)) as source:
        # columns are z, rows x, sections y
        np.testing.assert_array_equal(read_all(source)[..., 0], values.transpose(1, 2, 0))


def test_starts_of_ccp4_stand_in_for_an_origin_of_0(tmp_path):
    affine = np.diag([1e-6, 1e-6, 2e-6, 1])
    path = write_mrc(tmp_path / "a.ccp4", voxels((6, 5, 4)), affine, nxstart=-3, nzstart=5)
    with open_source(path) as source:
        np.testing.assert_allclose(
            source.header.affine_voxel_to_mm[:3, 3], [-3e-6, 0, 1e-5], rtol=1e-5
        )


def test_stacks_of_volumes_become_channels(tmp_path):
    values = voxels((2, 4, 5, 6))  # volume, z, y, x
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(values)
    assert mrcfile.read(tmp_path / "a.mrc").shape == values.shape
    source = open_source(tmp_path / "a.mrc", resolution=(1, 1, 1))
    np.testing.assert_array_equal(read_all(source), values.transpose(3, 2, 1, 0))


def test_bytes_of_imod_are_unsigned_where_it_says_so(tmp_path):
    values = voxels((6, 5, 4), "i1")
    path = write_mrc(tmp_path / "a.rec", values)
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([1146047817, 0], "<i4").tobytes()
    path.write_bytes(content)
    with open_source(path, resolution=(1, 1, 1)) as source:
        assert source.dtype == np.uint8
        np.testing.assert_array_equal(read_all(source)[..., 0], values.view("u1"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": 4}, "complex numbers"),
        ({"mode": 77}, "corrupt header: mode 77"),
        ({"nx": 0}, "corrupt header"),
        ({"nx": 1 << 20, "ny": 1 << 20, "nz": 1 << 20}, "truncated: its header says"),
        ({"mapc": 3}, "corrupt header: axes"),
        ({"nsymbt": -5}, "an extended header of -5 bytes"),
    ],
)
def test_bad_headers_are_one_line(tmp_path, fields, message):
    path = write_mrc(tmp_path / "a.mrc", voxels((6, 5, 4)))
    content = bytearray(path.read_bytes())
    header = np.frombuffer(content, mrcfile.dtypes.HEADER_DTYPE, 1)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(content)
    with pytest.raises((FormatError, InputError), match=message):
        open_source(path)
    assert bad_input_exits_2(path, tmp_path / "out", "--resolution", "1,1,1")
