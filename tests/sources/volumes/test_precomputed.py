import json
import zipfile

import numpy as np
import pytest
from planes import planes_box
from source_contract import SourceContract
from volume_files import read_all, voxels
from volumes import make_info

import ngcore
from ngcore.arrays.affines import volume_to_world_nm
from ngcore.errors import FormatError, InputNotFoundError
from ngcore.precomputed.encodings import make_encoding
from ngcore.sources import open_source
from ngcore.storage import LocalStore, create_chunks
from ngcore.volume.read import open as open_volume
from ngcore.volume.scale import ScaleArray

SHAPE = (37, 29, 41, 2)
CHUNK = (16, 8, 12)
TRANSFORM = [[0.8, -0.6, 0, 1e6], [0.6, 0.8, 0, -2e6], [0, 0, 1, 5], [0, 0, 0, 1]]


def write_volume(folder, values, transform=None, **members):
    info = make_info(
        values,
        volume_type=members.pop("volume_type", "image"),
        **{
            "key": "8_8_40",
            "resolution": (8.0, 8.0, 40.0),
            "chunk_sizes": (CHUNK,),
            "voxel_offset": (-3, 100, 7),
            **members,
        },
    )
    store = LocalStore(folder)
    scale = info.scales[0]
    encoding = make_encoding(info, scale)
    writer = create_chunks(store, info, 0)
    for cell in scale.grid.cells():
        box = scale.grid.bounds(cell)
        writer.write(cell, encoding.encode(values[box.slices(scale.voxel_offset)]))
    writer.finish()
    store.put("info", info.to_json().encode())
    if transform is not None:
        store.put("transform.json", json.dumps(transform).encode())
    return folder


class TestPrecomputed(SourceContract):
    format_name = "precomputed"
    file_name = "a"
    keeps_affine = True
    keeps_sizes = True
    keeps_origin = True

    def write(self, path, values, affine):
        ngcore.convert(values, path, affine=affine, type="image", fsync=False)


@pytest.fixture
def decoded(monkeypatch):
    """Count how often each chunk is decoded."""
    counts = {}
    original = ScaleArray._decode

    def counted(self, wanted):
        counts[wanted.cell] = counts.get(wanted.cell, 0) + 1
        original(self, wanted)

    monkeypatch.setattr(ScaleArray, "_decode", counted)
    return counts


@pytest.mark.parametrize("step", [1, 5, 12, 13, 41])
def test_every_chunk_is_decoded_once_whatever_the_slabs(tmp_path, decoded, step):
    values = voxels(SHAPE, "i2")
    source = open_source(write_volume(tmp_path / "volume", values))
    np.testing.assert_array_equal(read_all(source, step), values)
    assert len(decoded) == 3 * 4 * 4
    assert set(decoded.values()) == {1}


def test_a_window_is_read(tmp_path):
    values = voxels(SHAPE, "u1")
    with open_source(write_volume(tmp_path / "volume", values)) as source:
        for window in [(slice(3, 30), slice(0, 29)), (slice(0, 37), slice(9, 11))]:
            for start, stop in [(5, 30), (30, 33), (0, 41)]:
                x, y = window
                expected = values[x, y, start:stop]
                out = np.empty(expected.shape, "u1", order="F")
                source.read(planes_box(source, start, stop, window), out)
                np.testing.assert_array_equal(out, expected)


def test_resolution_offset_and_type_are_those_of_info(tmp_path):
    values = voxels((*SHAPE[:3], 1), "u8")
    folder = write_volume(
        tmp_path / "volume",
        values,
        volume_type="segmentation",
        encoding="compressed_segmentation",
        compressed_segmentation_block_size=(8, 8, 8),
    )
    source = open_source(folder)
    assert source.header.suggested_type == ("segmentation", "the volume's info says so")
    assert source.dtype == np.uint64
    assert source.header.resolution_nm == (8, 8, 40)
    assert source.header.voxel_offset == (-3, 100, 7)
    assert source.header.affine_voxel_to_mm is None
    assert (source.header.slope, source.header.intercept) == (1, 0)
    np.testing.assert_array_equal(read_all(source), values)


def test_transform_json_comes_back(tmp_path):
    folder = write_volume(tmp_path / "volume", voxels(SHAPE, "u1"), TRANSFORM)
    with open_source(folder) as source:
        transform = volume_to_world_nm(
            source.header.affine_voxel_to_mm,
            source.header.resolution_nm,
            source.header.voxel_offset,
        )
    np.testing.assert_allclose(transform, TRANSFORM, atol=1e-9, rtol=1e-9)


def test_resolution_and_offset_can_be_overridden(tmp_path):
    folder = write_volume(tmp_path / "volume", voxels(SHAPE, "u1"), TRANSFORM)
    with open_source(folder, resolution=(4, 5, 6), voxel_offset=(0, 0, 1)) as source:
        assert source.header.resolution_nm == (4, 5, 6)
        assert source.header.voxel_offset == (0, 0, 1)


def test_a_scale_of_an_open_volume_is_an_array_whose_chunks_are_decoded_once(tmp_path, decoded):
    values = voxels(SHAPE, "i2")
    scale = open_volume(write_volume(tmp_path / "volume", values)).scales[0]
    source = open_source(scale)
    assert source.header.resolution_nm == (8, 8, 40)
    assert source.header.voxel_offset == (-3, 100, 7)
    np.testing.assert_array_equal(read_all(source), values)
    assert set(decoded.values()) == {1}


def test_a_volume_can_be_reordered(tmp_path):
    values = voxels(SHAPE, "u1")
    source = open_source(write_volume(tmp_path / "volume", values), orient="SAL")
    assert source.header.resolution_nm == (40, 8, 8)
    assert source.header.voxel_offset == (7, 100, -3)
    np.testing.assert_array_equal(read_all(source), values.transpose(2, 1, 0, 3)[:, :, ::-1])


@pytest.mark.parametrize(
    "document", [b"", b"[1, 2]", b"[[1,0,0,0]]", b"{}", b'[["a"]]', b"\xff", b"[[1,2],[3]]"]
)
def test_a_transform_that_is_no_matrix_is_refused(tmp_path, document):
    folder = write_volume(tmp_path / "volume", voxels(SHAPE, "u1"))
    (folder / "transform.json").write_bytes(document)
    with pytest.raises(FormatError, match=r"transform\.json"):
        open_source(folder)


def test_a_damaged_chunk_is_named(tmp_path):
    folder = write_volume(tmp_path / "volume", voxels(SHAPE, "u1"))
    next((folder / "8_8_40").iterdir()).write_bytes(b"short")
    with pytest.raises(FormatError, match="8_8_40/"):
        read_all(open_source(folder))


def test_a_damaged_info_is_refused(tmp_path):
    (tmp_path / "info").write_text("{")
    with pytest.raises(FormatError, match="info"):
        open_source(tmp_path)


def test_a_folder_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(InputNotFoundError):
        open_source(tmp_path / "nothing")


def test_what_is_no_voxels_is_told_of(tmp_path):
    write_volume(tmp_path, voxels((20, 20, 20, 1), "u4"), volume_type="segmentation")
    with open_source(tmp_path) as source:
        assert not source.header.notes
    info = json.loads((tmp_path / "info").read_text())
    info |= {"mesh": "surfaces", "segment_properties": "names"}
    (tmp_path / "info").write_text(json.dumps(info))
    with open_source(tmp_path) as source:
        (note,) = source.header.notes
    assert "its mesh ('surfaces'), segment_properties ('names') are not converted" in note


def test_a_zip_of_a_volume_is_a_source(tmp_path):
    values = voxels(SHAPE, "u1")
    write_volume(tmp_path / "volume", values)
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as file:
        for one in (tmp_path / "volume").rglob("*"):
            if one.is_file():
                file.write(one, one.relative_to(tmp_path / "volume"))
    with open_source(tmp_path / "v.zip") as source:
        assert source.header.files == (tmp_path / "v.zip",)
        np.testing.assert_array_equal(read_all(source).reshape(values.shape), values)
