"""NRRD written by pynrrd; where voxels lie is asked of ITK."""

import nrrd
import numpy as np
import pytest
from source_contract import SourceContract, bad_input_exits_2, itk_places, oblique
from volume_files import read_all, voxels

import ngcore
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources import open_source
from ngcore.sources.base import Segment
from ngcore.validating.validate import validate

LPS = np.diag([-1.0, -1, 1, 1])


def header_of(affine, space="left-posterior-superior", **fields):
    own = LPS @ affine if space.startswith("left-post") else affine
    return {
        "space": space,
        "space directions": own[:3, :3].T,
        "space origin": own[:3, 3],
        "kinds": ["domain"] * 3,
        **fields,
    }


class Nrrd(SourceContract):
    format_name = "NRRD"
    file_name = "a.nrrd"
    keeps_affine = True
    keeps_sizes = True
    keeps_origin = True
    dtypes = ("uint8", "int16", "uint16", "float32", "int64", "float64")
    encoding = "raw"
    space = "left-posterior-superior"

    def write(self, path, values, affine):
        header = header_of(affine, self.space, encoding=self.encoding)
        nrrd.write(str(path), values, header, index_order="F")

    def reference(self, path, values, affine):
        return (values, affine) if self.encoding == "bzip2" else itk_places(path)


class TestRaw(Nrrd):
    pass


class TestGzip(Nrrd):
    encoding = "gzip"
    space = "right-anterior-superior"


class TestBzip2(Nrrd):
    encoding = "bzip2"


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_data_may_lie_in_another_file(tmp_path, encoding):
    values = voxels((6, 5, 4))
    path = tmp_path / "a.nhdr"
    nrrd.write(str(path), values, {"encoding": encoding, "spacings": [1, 2, 3]}, index_order="F")
    with open_source(path) as source:
        assert source.header.resolution_nm == (1e6, 2e6, 3e6)
        assert source.header.affine_voxel_to_mm is None
        assert len(source.header.files) == 2
        np.testing.assert_array_equal(read_all(source)[..., 0], values)
    next(file for file in tmp_path.iterdir() if file != path).unlink()
    with pytest.raises(InputNotFoundError, match=r"'a\.raw.*', which belongs to it, is missing"):
        open_source(path)


def test_units_and_space_count(tmp_path):
    affine = oblique("RAS")
    micrometres = affine.copy()
    micrometres[:3] *= 1000
    header = header_of(micrometres, "right-anterior-superior")
    header["space units"] = ["um", "um", "um"]
    nrrd.write(str(tmp_path / "a.nrrd"), voxels((3, 4, 5)), header, index_order="F")
    with open_source(tmp_path / "a.nrrd") as source:
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, affine)
    header = header_of(affine, "superior-left-anterior")
    nrrd.write(str(tmp_path / "b.nrrd"), voxels((3, 4, 5)), header, index_order="F")
    with open_source(tmp_path / "b.nrrd") as source:
        expected = affine.copy()
        expected[[2, 0, 1]] = affine[[0, 1, 2]] * np.array([[1], [-1], [1]])
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, expected)


@pytest.mark.parametrize("channels_first", [True, False])
def test_lists_and_colours_become_channels(tmp_path, channels_first):
    values = voxels((5, 4, 3, 2))
    stored = np.moveaxis(values, -1, 0) if channels_first else values
    rows = [[1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]]
    none = [np.nan] * 3
    directions = [none, *rows] if channels_first else [*rows, none]
    kinds = ["list", *["domain"] * 3] if channels_first else [*["domain"] * 3, "list"]
    header = {"space": "RAS", "space directions": np.array(directions), "kinds": kinds}
    nrrd.write(str(tmp_path / "a.nrrd"), stored, header, index_order="F")
    source = open_source(tmp_path / "a.nrrd")
    if source.cost.access == "unpack":
        source = source.spooled(tmp_path / "spool")
    assert source.header.resolution_nm == (1e6, 2e6, 3e6)
    np.testing.assert_array_equal(read_all(source), values)


def segmentation(path, values, **fields):
    header = header_of(np.eye(4))
    for number, (value, name, color) in enumerate(
        [(2, "left lung", "1 0.5 0"), (1, "fat", "0 0 1")]
    ):
        start = f"Segment{number}_"
        header |= {
            f"{start}ID": f"id{number}",
            f"{start}Name": name,
            f"{start}Color": color,
            f"{start}LabelValue": str(value),
            f"{start}Layer": str(fields.get("layers", [0, 0])[number]),
        }
    nrrd.write(str(path), values, header, index_order="F")
    return path


def test_segments_bring_names_and_colours(tmp_path):
    values = voxels((5, 4, 3), "u1") % 3
    with open_source(segmentation(tmp_path / "a.seg.nrrd", values)) as source:
        assert source.header.suggested_type.type == "segmentation"
        assert source.header.segments == (
            Segment(1, "fat", "#0000ff"),
            Segment(2, "left lung", "#ff8000"),
        )
    volume = ngcore.convert(tmp_path / "a.seg.nrrd", tmp_path / "out", fsync=False)
    assert validate(tmp_path / "out").findings == ()
    assert volume.labels == {1: "fat", 2: "left lung"}
    with pytest.raises(InputError, match="segments that overlap, in 2 layers"):
        open_source(segmentation(tmp_path / "b.seg.nrrd", values, layers=[0, 1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"encoding: raw", b"encoding: hex"), "encoding 'hex' is not read"),
        ((b"type: int16", b"type: block"), "type 'block'"),
        ((b"sizes: 5 4 3", b"sizes: 5 4"), "1 line|space directions|more|corrupt"),
        ((b"sizes: 5 4 3", b"sizes: 5 4 x"), "corrupt NRRD header"),
        ((b"sizes: 5 4 3", b"sizes: 1048576 1048576 1048576"), "truncated: its header says"),
        ((b"endian: little", b"endian: middle"), "endian is 'middle'"),
        ((b"space origin: (", b"space origin: (nan,"), "corrupt|origin"),
    ],
)
def test_bad_headers_are_one_line(tmp_path, change, message):
    header = header_of(np.eye(4), encoding="raw")
    nrrd.write(str(tmp_path / "a.nrrd"), voxels((5, 4, 3)), header, index_order="F")
    data = (tmp_path / "a.nrrd").read_bytes()
    assert change[0] in data
    (tmp_path / "a.nrrd").write_bytes(data.replace(*change))
    with pytest.raises((FormatError, InputError), match=message):
        open_source(tmp_path / "a.nrrd")


def test_bad_input_leaves_nothing(tmp_path):
    TestGzip().write(tmp_path / "a.nrrd", voxels((9, 8, 7)), np.eye(4))
    data = bytearray((tmp_path / "a.nrrd").read_bytes())
    data[-6] ^= 1
    (tmp_path / "a.nrrd").write_bytes(data)
    assert "gzip stream" in bad_input_exits_2(tmp_path / "a.nrrd", tmp_path / "out")
