"""HDF5, Imaris and NWB, written by h5py."""

import json

import h5py
import hdf5plugin
import numpy as np
import pytest
from source_contract import SourceContract, bad_input_exits_2
from volume_files import read_all, voxels

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources import open_source


class TestHdf5(SourceContract):
    format_name = "HDF5"
    file_name = "a.h5"
    keeps_sizes = True

    def write(self, path, values, affine):
        with h5py.File(path, "w") as file:
            stored = values.transpose(2, 1, 0)
            data = file.create_dataset("raw", data=stored, chunks=(2, 3, 4), compression="gzip")
            data.attrs["element_size_um"] = np.linalg.norm(affine[:3, :3], axis=0)[::-1] * 1e3


class TestImaris(SourceContract):
    format_name = "HDF5"
    file_name = "a.ims"
    keeps_sizes = True
    keeps_origin = True

    def write(self, path, values, affine):
        sizes = np.linalg.norm(affine[:3, :3], axis=0) * 1e3
        corner = affine[:3, 3] * 1e3 - sizes / 2
        write_imaris(path, [[values]], sizes, corner)


def write_imaris(path, times, sizes, corner):
    """Write Imaris 5.5: texts are arrays of characters, data are padded to chunks."""
    with h5py.File(path, "w") as file:
        info = file.create_group("DataSetInfo/Image").attrs
        shape = times[0][0].shape
        for axis in range(3):
            info[f"ExtMin{axis}"] = characters(f"{corner[axis]:.9g}")
            info[f"ExtMax{axis}"] = characters(f"{corner[axis] + shape[axis] * sizes[axis]:.9g}")
        info["Unit"] = characters("um")
        for number, channels in enumerate(times):
            for channel, values in enumerate(channels):
                place = f"DataSet/ResolutionLevel 0/TimePoint {number}/Channel {channel}"
                group = file.create_group(place)
                for letter, length in zip("XYZ", values.shape, strict=True):
                    group.attrs[f"ImageSize{letter}"] = characters(str(length))
                padded = np.pad(values, [(0, -length % 4) for length in values.shape])
                group.create_dataset(
                    "Data", data=padded.transpose(2, 1, 0), chunks=(4, 4, 4), compression="gzip"
                )


def characters(text):
    return np.array([letter.encode() for letter in text], "S1")


@pytest.mark.parametrize("kind", ["channels", "times"])
def test_channels_or_times_of_imaris_become_channels(tmp_path, kind):
    parts = [voxels((7, 6, 5), "u1", seed) for seed in range(11)]
    times = [parts] if kind == "channels" else [[part] for part in parts]
    write_imaris(tmp_path / "a.ims", times, (1, 1, 1), (0, 0, 0))
    source = open_source(tmp_path / "a.ims")
    np.testing.assert_array_equal(read_all(source), np.stack(parts, axis=-1))


def save(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name.replace("__", "/")] = values
    return path


def test_several_data_sets_are_named_and_one_is_taken(tmp_path):
    values = voxels((5, 6, 7), "u1")
    path = save(tmp_path / "a.h5", volumes__raw=values, table=np.zeros((5, 6)), one=np.zeros(3))
    assert open_source(path).shape == (7, 6, 5, 1)
    path = save(tmp_path / "b.h5", volumes__raw=values, volumes__gt=values[1:])
    with pytest.raises(InputError, match="several data sets: 'volumes/gt', 'volumes/raw'; pass"):
        open_source(path)
    with pytest.raises(InputNotFoundError, match="no data set 'x'; it has 'volumes/gt', 'vol"):
        open_source(f"{path}:/x")
    source = open_source(f"{path}:/volumes/raw")
    assert source.name == f"{path}:/volumes/raw"
    np.testing.assert_array_equal(read_all(source)[..., 0], values.transpose(2, 1, 0))
    with pytest.raises(InputError, match="no data set of numbers"):
        open_source(save(tmp_path / "c.h5", one=np.zeros(3)))


def test_axes_are_told_or_tagged(tmp_path):
    values = voxels((2, 5, 6, 7), "u1")
    path = save(tmp_path / "a.h5", data=values)
    with pytest.raises(InputError, match="pass --axes, such as --axes czyx"):
        open_source(path)
    np.testing.assert_array_equal(
        read_all(open_source(path, axes="tzyx")), values.transpose(3, 2, 1, 0)
    )
    with h5py.File(path, "a") as file:
        tags = {"axes": [{"key": letter} for letter in "cxyz"]}
        file["data"].attrs["axistags"] = json.dumps(tags)
    np.testing.assert_array_equal(read_all(open_source(path)), values.transpose(1, 2, 3, 0))
    path = save(tmp_path / "b.h5", data=values[0])
    with h5py.File(path, "a") as file:
        for dimension, label in zip(file["data"].dims, "xzy", strict=True):
            dimension.label = label
    np.testing.assert_array_equal(
        read_all(open_source(path))[..., 0], values[0].transpose(0, 2, 1)
    )


def test_sizes_and_offset_of_cremi(tmp_path):
    path = save(tmp_path / "a.h5", raw=voxels((5, 6, 7), "u1"))
    with h5py.File(path, "a") as file:
        file["raw"].attrs["resolution"] = (40.0, 8.0, 4.0)
        file["raw"].attrs["offset"] = (400.0, 80.0, 0.0)
    with open_source(path) as source:
        assert source.header.resolution_nm == pytest.approx((4, 8, 40))
        np.testing.assert_allclose(source.header.affine_voxel_to_mm[:3, 3], [0, 8e-5, 4e-4])


@pytest.mark.parametrize(
    "filters",
    [
        {"compression": "lzf"},
        hdf5plugin.Blosc(cname="zstd"),
        hdf5plugin.Zstd(),
        hdf5plugin.LZ4(),
        hdf5plugin.Bitshuffle(),
    ],
)
def test_compressions_of_hdf5plugin_are_read(tmp_path, filters):
    values = voxels((9, 8, 7))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=values, chunks=(4, 4, 4), **filters)
    np.testing.assert_array_equal(
        read_all(open_source(tmp_path / "a.h5"))[..., 0], values.transpose(2, 1, 0)
    )


def test_a_series_of_nwb_is_time_x_y(tmp_path):
    values = voxels((4, 6, 5), "u2")
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        series = file.create_group("acquisition/two_photon")
        series.attrs["neurodata_type"] = "TwoPhotonSeries"
        series["data"] = values
        series.create_dataset("starting_time", data=0.0).attrs["rate"] = 20.0
        plane = file.create_group("general/plane")
        spacing = plane.create_dataset("grid_spacing", data=[2.0, 3.0])
        spacing.attrs["unit"] = "micrometers"
        series["imaging_plane"] = h5py.SoftLink("/general/plane")
    with open_source(tmp_path / "a.nwb") as source:
        assert source.shape == (6, 5, 1, 4)
        assert source.header.resolution_nm == pytest.approx((2e3, 3e3, 2e3))
        assert source.header.facts == {"time_step": 0.05}
        np.testing.assert_array_equal(read_all(source)[:, :, 0], values.transpose(1, 2, 0))


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path):
    asked = ("--resolution", "1,1,1")
    path = save(tmp_path / "a.h5", z=np.zeros((3, 3, 3), "c8"))
    assert "no data set of numbers" in bad_input_exits_2(path, tmp_path / "out", *asked)
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", (1 << 20,) * 3, "u1", chunks=(8, 8, 8))
    assert "voxels" in bad_input_exits_2(path, tmp_path / "out", *asked)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=voxels((9, 8, 7)), chunks=(4, 4, 4), compression=4)
        place = data.id.get_chunk_info(3).byte_offset
        data.attrs["element_size_um"] = [0, 1, 1]
    assert "element_size_um" in bad_input_exits_2(path, tmp_path / "out")
    with h5py.File(path, "a") as file:
        del file["raw"].attrs["element_size_um"]
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    assert "can't be read at" in bad_input_exits_2(path, tmp_path / "out", *asked, "--axes", "zyx")


def test_a_filter_that_is_not_known_is_named(tmp_path, monkeypatch):
    save(tmp_path / "a.h5", raw=voxels((9, 8, 7)))
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "raw", data=voxels((9, 8, 7)), chunks=(4, 4, 4), **hdf5plugin.SZ3(absolute=1)
        )
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda _code: False)
    with pytest.raises(InputError, match=r"compressed by the filter .* \(32024\)"):
        open_source(path)


def test_a_start_of_hdf5_alone_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(FormatError, match="not valid HDF5"):
        open_source(tmp_path / "a.h5")


def test_an_order_of_axes_that_is_assumed_is_warned_of_with_advice(tmp_path):
    path = tmp_path / "em.h5"
    save(path, raw=np.zeros((5, 12, 17), np.uint8))
    with open_source(path, resolution=(8, 8, 40)) as source:
        (note,) = source.header.notes
        assert "assumed to be z, y, x, slowest first; pass --axes zyx" in note
        assert source.shape == (17, 12, 5, 1)
    with open_source(path, resolution=(8, 8, 40), axes="zyx") as source:
        assert source.header.notes == ()


def test_sizes_are_those_of_the_axes_that_are_asked_for(tmp_path):
    path = tmp_path / "em.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=np.zeros((17, 12, 5), np.uint8))
        data.attrs["element_size_um"] = [1, 2, 3]
    with open_source(path, axes="xyz") as source:
        assert source.header.resolution_nm == (1000, 2000, 3000)
