"""What neuroglancer-scripts 1.2, and what it stands on, get wrong: here it is right.

One test for each fault, which its docstring names.
"""

import gzip
import json

import nibabel
import numpy as np
import pytest
from peers import read_with_tensorstore
from slice_stacks import slices_of, write_png_slices
from volume_files import save_nifti, voxels

import ngcore
import oracles
from ngcore.classic.chunks_from_source import slices_to_raw_chunks, volume_to_raw_chunks
from ngcore.classic.coarser_scales import compute_scales
from ngcore.classic.fullres_info import generate_fullres_info
from ngcore.classic.scales_info import generate_scales_info
from ngcore.errors import FormatError, InputError
from ngcore.meshing.fragments import mesh_to_precomputed
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.storage import LocalStore

AFFINE = np.diag([0.5, 0.5, 2.0, 1])
NM = {"resolution": (8, 8, 8), "fsync": False}


def chain(source, dest, *, sharding=None, **scales_options):
    """Run the classic steps; return the volume."""
    generate_fullres_info(source, dest, sharding=sharding)
    generate_scales_info(dest / "info_fullres.json", dest, **scales_options)
    volume_to_raw_chunks(source, dest)
    compute_scales(dest)
    return ngcore.open(dest)


def write_info(dest, size, *, data_type="uint8", offset=(0, 0, 0), volume_type="image", **scale):
    full = {"type": volume_type, "data_type": data_type, "num_channels": 1}
    full["scales"] = [{"size": size, "resolution": [8, 8, 8], "voxel_offset": offset, **scale}]
    dest.mkdir(exist_ok=True)
    (dest / "full.json").write_text(json.dumps(full))
    return generate_scales_info(dest / "full.json", dest, target_chunk_size=16)


SPEC = ShardingSpec(
    preshift_bits=1,
    hash="identity",
    minishard_bits=2,
    shard_bits=1,
    minishard_index_encoding="gzip",
    data_encoding="gzip",
)


def test_chunks_that_are_not_cubes_can_be_sharded(tmp_path):
    """Sharding fails where chunks are not cubes."""
    source = save_nifti(tmp_path / "v.nii", voxels((75, 50, 31), "uint16"), AFFINE)
    volume = chain(source, tmp_path / "out", sharding=SPEC, target_chunk_size=16)
    assert len(set(volume.scales[0].chunk_size)) > 1
    assert np.array_equal(volume.scales[0][..., 0], voxels((75, 50, 31), "uint16"))
    for index, scale in enumerate(volume.scales):
        assert np.array_equal(read_with_tensorstore(tmp_path / "out", index), scale[...])


def test_shards_that_say_gzip_hold_gzip_and_no_empty_chunks(tmp_path):
    """Shards that say gzip hold zlib streams, and index entries of no length."""
    zeros_and_ones = np.zeros((64, 64, 64), np.uint8)
    zeros_and_ones[40:] = 1
    np.save(tmp_path / "v.npy", zeros_and_ones)
    info = write_info(tmp_path / "out", (64, 64, 64), sharding=SPEC.to_json())
    volume_to_raw_chunks(tmp_path / "v.npy", tmp_path / "out")
    store = LocalStore(tmp_path / "out")
    for shard in (0, 1):
        data = store.get(f"{info.scales[0].key}/{SPEC.file_name(shard)}")
        starts = np.frombuffer(data[: SPEC.shard_index_size], "<u8").reshape(-1, 2).astype(int)
        for start, stop in starts + SPEC.shard_index_size:
            if start == stop:
                continue
            index = np.frombuffer(gzip.decompress(data[start:stop]), "<u8").reshape(3, -1)
            assert (index[2] > 0).all()
            first = SPEC.shard_index_size + int(index[1, 0])
            assert data[first : first + 2] == b"\x1f\x8b"


def test_compressed_segmentation_blocks_need_not_be_cubes(tmp_path):
    """compressed_segmentation fails where blocks are not cubes."""
    labels = voxels((33, 20, 9), "uint32") % 9
    np.save(tmp_path / "v.npy", labels)
    block = {"compressed_segmentation_block_size": [8, 4, 2]}
    encoding = {"encoding": "compressed_segmentation", **block}
    write_info(tmp_path / "out", (33, 20, 9), data_type="uint32", **encoding)
    volume_to_raw_chunks(tmp_path / "v.npy", tmp_path / "out", flat=True, use_gzip=False)
    assert ngcore.open(tmp_path / "out").scales[0].info.compressed_segmentation_block_size == (
        8,
        4,
        2,
    )
    assert np.array_equal(read_with_tensorstore(tmp_path / "out")[..., 0], labels)


def test_jpeg_chunks_have_no_side_that_jpeg_can_not_have(tmp_path):
    """A JPEG chunk whose planes are more than 65500 rows in all fails."""
    image = np.full((8, 300, 300), 77, np.uint8)
    ngcore.convert(image, tmp_path, encoding="jpeg", chunk_size=(8, 300, 300), **NM)
    assert abs(read_with_tensorstore(tmp_path).astype(int) - 77).max() <= 1


def test_int16_images_stay_int16(tmp_path):
    """int16 images become float32."""
    image = voxels((20, 20, 20), "int16")
    source = save_nifti(tmp_path / "v.nii", image)
    volume = chain(source, tmp_path / "out")
    assert volume.info.data_type == "int16"
    assert np.array_equal(volume.scales[0][..., 0], image)


def test_integers_plus_an_integer_stay_integers(tmp_path):
    """With slope 1 and an integer intercept, data_type must be edited by hand."""
    header = {"scl_slope": 1, "scl_inter": -1024}
    source = save_nifti(tmp_path / "v.nii", voxels((20, 20, 20), "uint16"), **header)
    volume = chain(source, tmp_path / "out")
    assert volume.info.data_type == "int32"
    expected = voxels((20, 20, 20), "uint16").astype(int) - 1024
    assert np.array_equal(volume.scales[0][..., 0], expected)


def test_int32_labels_are_compressed(tmp_path):
    """int32 labels can't be compressed."""
    labels = np.abs(voxels((20, 20, 20), "int32") % 1000)
    source = save_nifti(tmp_path / "v.nii", labels)
    volume = chain(source, tmp_path / "out", encoding="compressed_segmentation")
    assert volume.info.data_type == "uint32"
    assert np.array_equal(volume.scales[0][..., 0], labels)


def test_2d_and_5d_and_rgb_volumes_are_read(tmp_path):
    """NIfTI of two axes, of five, and of RGB voxels, crash."""
    flat = save_nifti(tmp_path / "flat.nii", voxels((20, 10), "uint8"))
    assert np.array_equal(
        chain(flat, tmp_path / "flat").scales[0][..., 0, 0], voxels((20, 10), "uint8")
    )
    deep = save_nifti(tmp_path / "deep.nii", voxels((20, 10, 5, 3, 1), "uint8"))
    assert np.array_equal(
        chain(deep, tmp_path / "deep").scales[0][...], voxels((20, 10, 5, 3), "uint8")
    )
    colours = voxels((20, 10, 5, 3), "uint8")
    rgb = np.ascontiguousarray(colours).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii")
    assert np.array_equal(chain(tmp_path / "rgb.nii", tmp_path / "rgb").scales[0][...], colours)


def test_nan_is_an_error_where_integers_are_written(tmp_path):
    """NaN becomes 0, and nobody is told."""
    source = save_nifti(tmp_path / "v.nii", np.array([[[1, np.nan, 3]]], np.float32))
    write_info(tmp_path / "out", (1, 1, 3))
    with pytest.raises(InputError, match=r"1 .*NaN"):
        volume_to_raw_chunks(source, tmp_path / "out")


def test_int64_labels_keep_every_bit(tmp_path):
    """int64 goes to uint64 through float64: 2^62 + 1 loses its last bit."""
    labels = np.array([[[2**62 + 1, 0, 2**53 + 1]]], np.int64)
    source = save_nifti(tmp_path / "v_dseg.nii", labels)
    volume = chain(source, tmp_path / "out")
    assert volume.info.data_type == "uint64"
    assert volume.scales[0][0, 0, :, 0].tolist() == [2**62 + 1, 0, 2**53 + 1]


def test_floats_beyond_uint64_are_clipped_and_counted(tmp_path, caplog):
    """A float of 1e20 becomes 0 as uint64."""
    source = save_nifti(tmp_path / "v.nii", np.array([[[1e20, -1.0, 5.0]]], np.float64))
    write_info(tmp_path / "out", (1, 1, 3), data_type="uint64")
    volume_to_raw_chunks(source, tmp_path / "out")
    assert ngcore.open(tmp_path / "out").scales[0][0, 0, :, 0].tolist() == [2**64 - 1, 0, 5]
    assert "2 voxels were clipped" in caplog.text


def test_averages_of_uint64_are_exact(tmp_path):
    """Averages of uint64 lose bits."""
    image = voxels((6, 5, 4), "uint64") | np.uint64(1 << 63)
    averaged = ngcore.downsampling.downsample(image, (2, 2, 2))
    assert np.array_equal(averaged, oracles.downsample(image, (2, 2, 2)))
    volume = ngcore.convert(
        image, tmp_path / "whole", data_type="uint64", chunk_size=4, max_scales=2, **NM
    )
    assert np.array_equal(volume.scales[1][..., 0], averaged)


def test_a_chunk_of_two_channels_is_decoded():
    """compressed-segmentation 2.3.3 crashes on a valid chunk of two channels."""
    labels = voxels((9, 8, 7, 2), "uint32") % 5
    data = ngcore.compressed_segmentation.encode(labels)
    decoded = ngcore.compressed_segmentation.decode(data, labels.shape, np.uint32)
    assert np.array_equal(decoded, labels)


@pytest.mark.parametrize("place", ["voxels", "checksum", "length"])
def test_damage_in_a_gzipped_volume_is_found(tmp_path, place):
    """nibabel stops before a gzip file's checksum, and lets flipped bytes through."""
    save_nifti(tmp_path / "v.nii", voxels((20, 20, 20), "uint8"))
    # Stored, not deflated, so that a flipped byte of the voxels is still a sound stream.
    data = bytearray(gzip.compress((tmp_path / "v.nii").read_bytes(), compresslevel=0))
    data[{"voxels": -500, "checksum": -8, "length": -4}[place]] ^= 1
    (tmp_path / "v.nii.gz").write_bytes(data)
    with pytest.raises(FormatError, match=r"v\.nii\.gz"):
        ngcore.convert(tmp_path / "v.nii.gz", tmp_path / "out", **NM)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("code", ["RAS", "LPI", "RIA", "SPL", "AIL"])
def test_slices_of_inverted_axes_come_in_natural_order(tmp_path, code):
    """Slices fail; an inverted slice axis crashes; slice10 comes before slice2."""
    image = voxels((37, 21, 33), "uint8")
    write_png_slices(tmp_path / "slices", slices_of(image, code))
    write_info(tmp_path / "out", (37, 21, 33))
    slices_to_raw_chunks([tmp_path / "slices"], tmp_path / "out", input_orientation=code)
    assert np.array_equal(ngcore.open(tmp_path / "out").scales[0][..., 0], image)


def test_every_step_can_be_run_again(tmp_path):
    """A rerun fails."""
    source = save_nifti(tmp_path / "v.nii", voxels((75, 50, 31), "uint8"), AFFINE)
    first = chain(source, tmp_path / "out", target_chunk_size=16)
    whole = [scale[...] for scale in first.scales]
    again = chain(source, tmp_path / "out", target_chunk_size=16)
    assert all(np.array_equal(a, b[...]) for a, b in zip(whole, again.scales, strict=True))


@pytest.mark.parametrize("offset", [(5, -7, 64), (-1, 1, 0)])
def test_scales_of_a_volume_with_an_offset_lie_in_place(tmp_path, offset):
    """A voxel_offset is not implemented."""
    image = voxels((40, 33, 21), "uint8")
    np.save(tmp_path / "v.npy", image)
    write_info(tmp_path / "out", image.shape, offset=offset)
    volume_to_raw_chunks(tmp_path / "v.npy", tmp_path / "out")
    compute_scales(tmp_path / "out", flat=True, use_gzip=False)
    fine, coarse = ngcore.open(tmp_path / "out").scales[:2]
    assert fine.voxel_offset == offset
    assert coarse.voxel_offset == tuple(start // 2 for start in offset)
    expected = oracles.downsample(image[..., np.newaxis], (2, 2, 2), "average", offset)
    assert np.array_equal(coarse[...], expected)
    assert np.array_equal(read_with_tensorstore(tmp_path / "out", 1), expected)


def test_jpeg_scales_are_made_from_the_source(tmp_path):
    """With --encoding jpeg, coarser scales are averages of what JPEG has left."""
    image = voxels((64, 64, 64), "uint8")
    quality = {"encoding": "jpeg", "jpeg_quality": 1, "chunk_size": 32, **NM}
    volume = ngcore.convert(image, tmp_path / "coarse", **quality)
    exact = oracles.downsample(image[..., np.newaxis])
    alone = ngcore.convert(exact, tmp_path / "alone", **quality)
    # Quality 1 leaves little: only what was encoded once, from the same voxels, is equal.
    assert np.array_equal(volume.scales[1][...], alone.scales[0][...])


def test_a_mesh_index_equal_to_the_number_of_vertices_is_refused(tmp_path):
    """A triangle may name one vertex more than there are."""
    write_info(tmp_path / "out", (9, 9, 9))
    corners = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    arrays = [
        nibabel.gifti.GiftiDataArray(np.array(corners, np.float32), "NIFTI_INTENT_POINTSET"),
        nibabel.gifti.GiftiDataArray(np.array([[0, 1, 3]], np.int32), "NIFTI_INTENT_TRIANGLE"),
    ]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), tmp_path / "bad.surf.gii")
    with pytest.raises((FormatError, InputError), match="3"):
        mesh_to_precomputed(tmp_path / "bad.surf.gii", tmp_path / "out")
    assert not list((tmp_path / "out").glob("mesh/bad*"))
