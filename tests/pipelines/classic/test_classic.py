"""The steps of the classic pipeline, each on its own and in chains."""

import gzip
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import ngcore
import oracles
from classic_peer import decompressed_chunks
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.formats.sharding import ShardingSpec
from ngcore.pipelines.classic.chunks_from_source import slices_to_raw_chunks, volume_to_raw_chunks
from ngcore.pipelines.classic.compute_scales import compute_scales
from ngcore.pipelines.classic.fullres_info import generate_fullres_info
from ngcore.pipelines.classic.recode import convert_chunks
from ngcore.pipelines.classic.scale_stats import scale_stats
from ngcore.pipelines.classic.scales_info import generate_scales_info
from ngcore.pipelines.validate import validate
from peers import read_with_tensorstore
from slice_stacks import slices_of, write_png_slices
from thorough import amount
from volume_files import save_nifti, voxels

AFFINE = np.diag([0.5, 0.5, 1.25, 1])
SPEC = ShardingSpec(
    preshift_bits=3,
    hash="identity",
    minishard_bits=1,
    shard_bits=2,
    minishard_index_encoding="gzip",
    data_encoding="gzip",
)


@pytest.fixture
def image(tmp_path):
    return save_nifti(tmp_path / "t1.nii.gz", voxels((75, 50, 31), "uint16"), AFFINE)


def make_info(folder, *, scales, data_type="uint8", volume_type="image", **members):
    """Write an info of one's own making; each scale is (size, resolution, offset)."""
    folder.mkdir(exist_ok=True)
    document = {
        "type": volume_type,
        "data_type": data_type,
        "num_channels": 1,
        "scales": [
            {
                "key": f"s{index}",
                "size": size,
                "resolution": resolution,
                "voxel_offset": offset,
                "chunk_sizes": [[16, 12, 9]],
                "encoding": "raw",
                **members,
            }
            for index, (size, resolution, offset) in enumerate(scales)
        ],
    }
    (folder / "info").write_text(json.dumps(document))
    return folder


def chain(source, dest, **scales_options):
    generate_fullres_info(source, dest)
    generate_scales_info(dest / "info_fullres.json", dest, **scales_options)
    volume_to_raw_chunks(source, dest)
    compute_scales(dest)
    return ngcore.open(dest)


def test_chain_gives_the_voxels_and_scales_that_convert_gives(tmp_path, image):
    ours = chain(image, tmp_path / "chain", target_chunk_size=32)
    whole = ngcore.convert(image, tmp_path / "whole", chunk_size=32, fsync=False)
    assert len(ours.scales) == 3
    for ours_scale, whole_scale in zip(ours.scales, whole.scales, strict=False):
        assert np.array_equal(ours_scale[...], whole_scale[...])
    transforms = [(tmp_path / name / "transform.json").read_bytes() for name in ("chain", "whole")]
    assert transforms[0] == transforms[1]


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("use_gzip", [True, False])
def test_chunks_lie_as_asked_and_a_rerun_leaves_no_other_copies(tmp_path, image, flat, use_gzip):
    volume = chain(image, tmp_path, target_chunk_size=32)
    first = decompressed_chunks(tmp_path)
    volume_to_raw_chunks(image, tmp_path, flat=flat, use_gzip=use_gzip)
    compute_scales(tmp_path, flat=flat, use_gzip=use_gzip)
    for scale in volume.scales:
        names = {
            path.relative_to(tmp_path / scale.key).as_posix()
            for path in (tmp_path / scale.key).rglob("*")
            if path.is_file()
        }
        grid = scale.info.grid
        of_cell = grid.name if flat else grid.nested_name
        assert names == {of_cell(cell) + ".gz" * use_gzip for cell in grid.cells()}
    assert decompressed_chunks(tmp_path) == first


def test_sharding_in_info_is_followed_by_every_step(tmp_path, image):
    generate_fullres_info(image, tmp_path, sharding=SPEC)
    generate_scales_info(tmp_path / "info_fullres.json", tmp_path, target_chunk_size=16)
    volume_to_raw_chunks(image, tmp_path, sharding=SPEC)
    compute_scales(tmp_path)
    volume = ngcore.open(tmp_path)
    plain = chain(image, tmp_path / "plain", target_chunk_size=16)
    for index, scale in enumerate(volume.scales):
        assert scale.info.sharding == SPEC
        assert np.array_equal(scale[...], plain.scales[index][...])
        assert np.array_equal(read_with_tensorstore(tmp_path, index), scale[...])
        assert {path.suffix for path in (tmp_path / scale.key).iterdir()} == {".shard"}
    for options in ({"flat": True}, {"use_gzip": False}):
        with pytest.raises(InputError, match="the info file says sharding"):
            compute_scales(tmp_path, **options)
        with pytest.raises(InputError, match="the info file says sharding"):
            volume_to_raw_chunks(image, tmp_path, **options)


def test_sharding_that_info_does_not_say_is_refused(tmp_path, image):
    chain(image, tmp_path)
    with pytest.raises(InputError, match="info says otherwise"):
        volume_to_raw_chunks(image, tmp_path, sharding=SPEC)


@pytest.mark.parametrize("offset", [(0, 0, 0), (-7, 5, 1)])
@pytest.mark.parametrize("method", ["average", "majority", "min"])
def test_scales_follow_each_other_at_any_whole_ratio(tmp_path, method, offset):
    levels = [((70, 41, 30), (4, 4, 4), offset)]
    for factors in ((3, 1, 2), (1, 5, 1), (4, 2, 3)):
        size, resolution, start = levels[-1]
        stop = [-(-(o + n) // f) for o, n, f in zip(start, size, factors, strict=True)]
        start = [o // f for o, f in zip(start, factors, strict=True)]
        levels.append(
            (
                [b - a for a, b in zip(start, stop, strict=True)],
                [r * f for r, f in zip(resolution, factors, strict=True)],
                start,
            )
        )
    dest = make_info(tmp_path / "out", scales=levels)
    source = voxels((70, 41, 30), "uint8") % 5
    np.save(tmp_path / "v.npy", source)
    volume_to_raw_chunks(tmp_path / "v.npy", dest)
    compute_scales(dest, downsampling=method)
    scales = ngcore.open(dest).scales
    assert np.array_equal(scales[0][..., 0], source)
    for fine, coarse in itertools.pairwise(scales):
        factors = tuple(b // a for a, b in zip(fine.resolution, coarse.resolution, strict=True))
        expected = oracles.downsample(fine[...], factors, method, fine.voxel_offset)
        assert np.array_equal(coarse[...], expected)


three = st.tuples(*[st.integers(1, 5)] * 3)


@settings(max_examples=amount(12, 600), deadline=None)
@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.tuples(*[st.integers(-30, 30)] * 3),
    st.lists(three, min_size=1, max_size=3),
    st.lists(st.tuples(*[st.integers(3, 20)] * 3), min_size=4, max_size=4),
    st.sampled_from(["average", "majority", "max"]),
    st.booleans(),
)
def test_scales_of_any_ratio_offset_and_chunk_size_are_those_of_the_oracle(
    size, offset, ratios, chunk_sizes, method, is_sharded
):
    levels = [(size, (4, 4, 4), offset)]
    for factors in ratios:
        size, resolution, start = levels[-1]
        stop = [-(-(o + n) // f) for o, n, f in zip(start, size, factors, strict=True)]
        start = [o // f for o, f in zip(start, factors, strict=True)]
        size = [b - a for a, b in zip(start, stop, strict=True)]
        levels.append((size, [r * f for r, f in zip(resolution, factors, strict=True)], start))
    members = {"sharding": SPEC.to_json()} if is_sharded else {}
    with tempfile.TemporaryDirectory() as folder:
        dest = make_info(Path(folder) / "out", scales=levels, data_type="uint16", **members)
        info = json.loads((dest / "info").read_text())
        for scale, chunk_size in zip(info["scales"], chunk_sizes, strict=False):
            scale["chunk_sizes"] = [chunk_size]
        (dest / "info").write_text(json.dumps(info))
        source = voxels(levels[0][0], "uint16") % 7
        np.save(Path(folder) / "v.npy", source)
        volume_to_raw_chunks(Path(folder) / "v.npy", dest)
        compute_scales(dest, downsampling=method)
        scales = ngcore.open(dest).scales
        assert np.array_equal(scales[0][..., 0], source)
        for (fine, coarse), factors in zip(itertools.pairwise(scales), ratios, strict=True):
            expected = oracles.downsample(fine[...], factors, method, fine.voxel_offset)
            assert np.array_equal(coarse[...], expected)


def test_labels_are_downsampled_by_majority_and_images_padded_as_asked(tmp_path):
    source = np.zeros((5, 4, 4), np.uint8)
    source[4] = 100
    np.save(tmp_path / "v.npy", source)
    levels = [((5, 4, 4), (1, 1, 1), (0, 0, 0)), ((3, 2, 2), (2, 2, 2), (0, 0, 0))]
    labels = make_info(tmp_path / "labels", scales=levels, volume_type="segmentation")
    padded = make_info(tmp_path / "padded", scales=levels)
    for dest, options in ((labels, {}), (padded, {"outside_value": 0})):
        volume_to_raw_chunks(tmp_path / "v.npy", dest)
        compute_scales(dest, **options)
    assert ngcore.open(labels).scales[1][2].tolist() == [[[100]] * 2] * 2
    assert ngcore.open(padded).scales[1][2].tolist() == [[[50]] * 2] * 2
    with pytest.raises(InputError, match="--outside-value is for --downsampling average"):
        compute_scales(labels, outside_value=1)
    with pytest.raises(InputError, match="--outside-value must be a number"):
        compute_scales(padded, outside_value=np.nan)


def test_memory_bounds_what_compute_scales_holds_and_changes_no_byte(tmp_path):
    shape = (900, 800, 70)
    levels = [(shape, (1, 1, 1), (0, 0, 0)), ((450, 400, 35), (2, 2, 2), (0, 0, 0))]
    source = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)
    np.save(tmp_path / "v.npy", source)
    for name, memory in (("wide", "1G"), ("narrow", "136M")):
        dest = make_info(tmp_path / name, scales=levels, data_type="uint32")
        info = json.loads((dest / "info").read_text())
        for scale in info["scales"]:
            scale["chunk_sizes"] = [[64, 64, 64]]
        (dest / "info").write_text(json.dumps(info))
        volume_to_raw_chunks(tmp_path / "v.npy", dest, memory=memory, use_gzip=False, workers=2)
        compute_scales(dest, memory=memory, use_gzip=False, workers=2)
    assert decompressed_chunks(tmp_path / "wide") == decompressed_chunks(tmp_path / "narrow")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (((35, 25, 16), (15, 10, 10), (0, 0, 0)), "no multiple of 10"),
        (((34, 25, 16), (20, 20, 20), (0, 0, 0)), "has size"),
        (((35, 25, 16), (20, 20, 20), (1, 0, 0)), "has size"),
    ],
)
def test_scales_that_do_not_follow_are_refused_by_place(tmp_path, second, message):
    dest = make_info(tmp_path / "out", scales=[((70, 50, 31), (10, 10, 10), (0, 0, 0)), second])
    with pytest.raises(InputError, match=rf"scales\[1\].*{message}"):
        compute_scales(dest)


def test_compute_scales_without_a_finest_scale_says_what_to_run(tmp_path):
    dest = make_info(tmp_path / "out", scales=[((70, 50, 31), (10, 10, 10), (0, 0, 0))])
    with pytest.raises(InputError, match="write the finest scale first"):
        compute_scales(dest)
    with pytest.raises(InputNotFoundError, match="generate-scales-info first"):
        compute_scales(tmp_path)


def test_a_damaged_chunk_is_named_and_leaves_no_coarser_chunks(tmp_path, image):
    volume = chain(image, tmp_path, target_chunk_size=32)
    chunk = max((tmp_path / volume.scales[0].key).rglob("*.gz"))
    chunk.write_bytes(chunk.read_bytes()[:-5])
    with pytest.raises(FormatError, match=chunk.name):
        compute_scales(tmp_path)
    assert chunk.exists()
    for scale in volume.scales[1:]:
        assert not (tmp_path / scale.key).exists()


def test_minimal_hand_written_info_is_enough(tmp_path):
    (tmp_path / "full.json").write_text(
        json.dumps(
            {
                "type": "image",
                "data_type": "uint8",
                "num_channels": 1,
                "scales": [
                    {
                        "size": [300, 300, 40],
                        "resolution": [8.0, 8, 40],
                        "voxel_offset": [0, 0, 0],
                    }
                ],
            }
        )
    )
    info = generate_scales_info(tmp_path / "full.json", tmp_path)
    assert [scale.key for scale in info.scales] == ["8_8_40", "16_16_40", "32_32_40", "64_64_80"]
    assert info.scales[0].chunk_size == (128, 128, 32)
    assert {scale.encoding for scale in info.scales} == {"raw"}
    assert ngcore.open(tmp_path).info == info


def test_info_made_anew_keeps_the_folders_of_meshes_and_properties(tmp_path):
    full = {"type": "segmentation", "data_type": "uint32", "num_channels": 1}
    full["scales"] = [{"size": [9, 9, 9], "resolution": [1, 1, 1]}]
    (tmp_path / "full.json").write_text(json.dumps(full))
    generate_scales_info(tmp_path / "full.json", tmp_path)
    folders = {"mesh": "surfaces", "skeletons": "lines", "segment_properties": "names"}
    info = json.loads((tmp_path / "info").read_text())
    (tmp_path / "info").write_text(json.dumps(info | folders))
    generate_scales_info(tmp_path / "full.json", tmp_path, encoding="compressed_segmentation")
    assert json.loads((tmp_path / "info").read_text()).items() >= folders.items()
    (tmp_path / "full.json").write_text(json.dumps(full | {"mesh": "others"}))
    generate_scales_info(tmp_path / "full.json", tmp_path)
    assert ngcore.open(tmp_path).info.mesh == "others"
    (tmp_path / "info").write_text("{")
    generate_scales_info(tmp_path / "full.json", tmp_path)
    assert ngcore.open(tmp_path).info.mesh == "others"


@pytest.mark.parametrize("data_type", ["uint8", "int8", "uint16", "int16", "int32", "uint32"])
def test_compressed_labels_become_uint32(tmp_path, data_type):
    full = {"data_type": data_type, "num_channels": 1}
    full["scales"] = [{"size": [9, 9, 9], "resolution": [1, 1, 1]}]
    (tmp_path / "full.json").write_text(json.dumps(full))
    info = generate_scales_info(
        tmp_path / "full.json", tmp_path, encoding="compressed_segmentation"
    )
    assert (info.type, info.data_type) == ("segmentation", "uint32")
    assert info.scales[0].compressed_segmentation_block_size == (8, 8, 8)
    np.save(tmp_path / "v.npy", np.full((9, 9, 9), -1, np.int16))
    with pytest.raises(InputError, match="negative"):
        volume_to_raw_chunks(tmp_path / "v.npy", tmp_path)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ('{"data_type": "uint8", "num_channels": 1}', "scales: missing"),
        ('{"data_type": "uint8", "num_channels": 1, "scales": []}', "an array with one scale"),
        (
            '{"data_type": "uint8", "num_channels": 1, "scales": [{"size": [1, 2, 0],'
            ' "resolution": [1, 1, 1]}]}',
            r"scales\[0\].size\[2\]",
        ),
        (
            '{"data_type": "int64", "num_channels": 1, "scales": [{"size": [1, 2, 3],'
            ' "resolution": [1, 1, 1]}]}',
            "data_type: expected one of",
        ),
    ],
)
def test_bad_fullres_info_is_refused_by_place(tmp_path, document, message):
    (tmp_path / "full.json").write_text(document)
    with pytest.raises(FormatError, match=f"full.json: .*{message}"):
        generate_scales_info(tmp_path / "full.json", tmp_path)
    assert not (tmp_path / "info").exists()


def test_float_labels_can_not_be_compressed(tmp_path):
    full = {"data_type": "float32", "num_channels": 1, "type": "image"}
    full["scales"] = [{"size": [9, 9, 9], "resolution": [1, 1, 1]}]
    (tmp_path / "full.json").write_text(json.dumps(full))
    with pytest.raises(InputError, match="hold uint32 or uint64, got float32"):
        generate_scales_info(tmp_path / "full.json", tmp_path, encoding="compressed_segmentation")


def test_fullres_info_says_what_the_header_says(tmp_path):
    header = {"scl_slope": 1, "scl_inter": 5}
    scaled = save_nifti(tmp_path / "s.nii", voxels((5, 6, 7, 2), "int16"), AFFINE, **header)
    full = json.loads(generate_fullres_info(scaled, tmp_path / "s").read_text())
    assert (full["type"], full["data_type"], full["num_channels"]) == ("image", "int32", 2)
    assert full["scales"][0]["size"] == [5, 6, 7]
    assert full["scales"][0]["resolution"] == [500000, 500000, 1250000]
    stored = generate_fullres_info(scaled, tmp_path / "stored", ignore_scaling=True)
    assert json.loads(stored.read_text())["data_type"] == "int16"
    labels = save_nifti(tmp_path / "x_dseg.nii", voxels((5, 6, 7), "uint8"), AFFINE)
    full = json.loads(generate_fullres_info(labels, tmp_path / "labels").read_text())
    assert (full["type"], full["data_type"]) == ("segmentation", "uint32")
    np.save(tmp_path / "v.npy", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(InputError, match="pass --resolution"):
        generate_fullres_info(tmp_path / "v.npy", tmp_path / "v")
    assert generate_fullres_info(tmp_path / "v.npy", tmp_path / "v", resolution=(8, 8, 8)).exists()


def test_values_become_the_data_type_of_info_and_changes_are_counted(tmp_path, caplog):
    source = save_nifti(tmp_path / "v.nii", np.array([[[-3.0, 1.6, 300.0]]], np.float32))
    dest = make_info(tmp_path / "out", scales=[((1, 1, 3), (2e6, 3e6, 4e6), (0, 0, 0))])
    volume_to_raw_chunks(source, dest)
    assert ngcore.open(dest).scales[0][0, 0, :, 0].tolist() == [0, 2, 255]
    assert "2 voxels were clipped" in caplog.text
    volume_to_raw_chunks(source, dest, input_min=-3, input_max=300)
    assert ngcore.open(dest).scales[0][0, 0, :, 0].tolist() == [0, 4, 255]


def test_a_volume_of_another_size_or_resolution_is_refused_or_told(tmp_path, caplog):
    source = save_nifti(tmp_path / "v.nii", voxels((5, 6, 7), "uint8"))
    dest = make_info(tmp_path / "out", scales=[((5, 6, 8), (1, 1, 1), (0, 0, 0))])
    with pytest.raises(InputError, match="5 x 6 x 7 x 1, but the info file says 5 x 6 x 8 x 1"):
        volume_to_raw_chunks(source, dest)
    dest = make_info(tmp_path / "out", scales=[((5, 6, 7), (1, 1, 1), (0, 0, 0))])
    volume_to_raw_chunks(source, dest)
    assert "2000000 x 3000000 x 4000000 nm, but the info file says 1 x 1 x 1 nm" in caplog.text


def test_bad_labels_found_midway_leave_no_chunks(tmp_path):
    labels = np.zeros((20, 20, 200), np.int16)
    labels[0, 0, -1] = -1
    source = save_nifti(tmp_path / "v.nii", labels)
    levels = [((20, 20, 200), (2e6, 3e6, 4e6), (0, 0, 0))]
    dest = make_info(
        tmp_path / "out", scales=levels, volume_type="segmentation", data_type="uint32"
    )
    with pytest.raises(InputError, match="negative"):
        volume_to_raw_chunks(source, dest)
    assert {path.name for path in dest.iterdir()} == {"info"}


def test_slices_in_folders_are_channels_in_ras_order(tmp_path):
    channels = voxels((20, 15, 12, 2), "uint8")
    for index in range(2):
        slices = slices_of(channels[..., index], "RIA")
        write_png_slices(tmp_path / f"channel{index}", slices)
    dest = make_info(tmp_path / "out", scales=[((20, 15, 12), (1, 1, 1), (3, -4, 5))])
    info = json.loads((dest / "info").read_text())
    info["num_channels"] = 2
    (dest / "info").write_text(json.dumps(info))
    folders = [tmp_path / "channel0", tmp_path / "channel1"]
    slices_to_raw_chunks(folders, dest, input_orientation="ria")
    assert np.array_equal(ngcore.open(dest).scales[0][...], channels)
    with pytest.raises(InputError, match="x, y, z and channels"):
        slices_to_raw_chunks(folders[:1], dest, input_orientation="RIA")


def test_a_slice_that_is_missing_is_named(tmp_path):
    write_png_slices(tmp_path / "slices", slices_of(voxels((8, 7, 6), "uint8"), "RAS"))
    missing = sorted((tmp_path / "slices").iterdir())[3]
    missing.unlink()
    dest = make_info(tmp_path / "out", scales=[((8, 7, 6), (8, 8, 8), (0, 0, 0))])
    with pytest.raises(InputError, match=r"8 x 7 x 5 x 1.*numbers jump from 2 to 4"):
        slices_to_raw_chunks([tmp_path / "slices"], dest)


def test_a_tiff_stack_stands_for_its_slices(tmp_path):
    image = voxels((20, 15, 12), "uint16")
    tifffile.imwrite(tmp_path / "stack.tif", slices_of(image, "LPS"))
    dest = make_info(
        tmp_path / "out", scales=[((20, 15, 12), (1, 1, 1), (3, -4, 5))], data_type="uint16"
    )
    slices_to_raw_chunks([tmp_path / "stack.tif"], dest, input_orientation="LPS")
    assert np.array_equal(ngcore.open(dest).scales[0][..., 0], image)
    np.save(tmp_path / "v.npy", image)
    with pytest.raises(InputError, match="neither a folder of slices nor a TIFF stack"):
        slices_to_raw_chunks([tmp_path / "v.npy"], dest)


@pytest.mark.parametrize("encoding", ["jpeg", "png", "compressed_segmentation", "raw"])
def test_chunks_are_recoded_in_every_scale(tmp_path, encoding):
    source = np.clip(voxels((70, 40, 33), "uint8"), 0, 9)
    is_label = encoding == "compressed_segmentation"
    save_nifti(tmp_path / "v.nii", source, AFFINE)
    raw = chain(tmp_path / "v.nii", tmp_path / "raw", target_chunk_size=16)
    fullres = tmp_path / "raw" / "info_fullres.json"
    generate_scales_info(fullres, tmp_path / "out", target_chunk_size=16, encoding=encoding)
    convert_chunks(tmp_path / "raw", tmp_path / "out", encoding=encoding, flat=True)
    place = (tmp_path / "raw" / "transform.json").read_bytes()
    assert (tmp_path / "out" / "transform.json").read_bytes() == place
    out = ngcore.open(tmp_path / "out")
    assert out.info.data_type == ("uint32" if is_label else "uint8")
    for before, after in zip(raw.scales, out.scales, strict=True):
        assert after.info.encoding == encoding
        difference = before[...].astype(int) - after[...].astype(int)
        assert abs(difference).max() <= (8 if encoding == "jpeg" else 0)


def test_chunks_of_another_size_and_sharding_are_recoded(tmp_path, image):
    raw = chain(image, tmp_path / "raw", target_chunk_size=16)
    fullres = json.loads((tmp_path / "raw" / "info_fullres.json").read_text())
    fullres["scales"][0]["sharding"] = SPEC.to_json()
    (tmp_path / "full.json").write_text(json.dumps(fullres))
    generate_scales_info(tmp_path / "full.json", tmp_path / "out", target_chunk_size=32)
    convert_chunks(tmp_path / "raw", tmp_path / "out", workers=3)
    out = ngcore.open(tmp_path / "out")
    for before, after in zip(raw.scales, out.scales, strict=False):
        assert np.array_equal(before[...], after[...])


def test_copied_info_copies_jpeg_bytes(tmp_path):
    save_nifti(tmp_path / "v.nii", voxels((40, 40, 33), "uint8"), AFFINE)
    generate_fullres_info(tmp_path / "v.nii", tmp_path / "a")
    generate_scales_info(tmp_path / "a" / "info_fullres.json", tmp_path / "a", encoding="jpeg")
    volume_to_raw_chunks(tmp_path / "v.nii", tmp_path / "a")
    compute_scales(tmp_path / "a")
    convert_chunks(tmp_path / "a", tmp_path / "b", copy_info=True, use_gzip=False)
    assert decompressed_chunks(tmp_path / "a") == decompressed_chunks(tmp_path / "b")


def test_recoding_between_volumes_that_differ_is_refused(tmp_path, image):
    chain(image, tmp_path / "raw", target_chunk_size=32)
    with pytest.raises(InputError, match="same folder"):
        convert_chunks(tmp_path / "raw", tmp_path / "raw")
    generate_scales_info(tmp_path / "raw" / "info_fullres.json", tmp_path / "out")
    with pytest.raises(InputError, match="encoding is raw"):
        convert_chunks(tmp_path / "raw", tmp_path / "out", encoding="jpeg")
    other = make_info(tmp_path / "other", scales=[((9, 9, 9), (7, 7, 7), (0, 0, 0))])
    with pytest.raises(InputError, match="has no scale s0"):
        convert_chunks(tmp_path / "raw", other)
    empty = make_info(tmp_path / "empty", scales=[((9, 9, 9), (7, 7, 7), (0, 0, 0))])
    with pytest.raises(InputError, match="holds no chunks"):
        convert_chunks(empty, other)


def test_stats_count_what_is_written_and_take_no_time_for_a_petavoxel(tmp_path, image):
    volume = chain(image, tmp_path / "out", target_chunk_size=16)
    stats = scale_stats(tmp_path / "out")
    for scale, counted in zip(volume.scales, stats.scales, strict=True):
        paths = list((tmp_path / "out" / scale.key).rglob("*"))
        assert counted.files == counted.chunks == sum(path.is_file() for path in paths)
        assert counted.folders == sum(path.is_dir() for path in paths)
        assert counted.bytes == np.prod(scale.shape) * 2
    assert stats.bytes == sum(scale.bytes for scale in stats.scales)
    full = {"data_type": "uint64", "num_channels": 1}
    full["scales"] = [{"size": [2**18, 2**17, 2**15], "resolution": [4, 4, 40]}]
    boxes = SPEC.to_json() | {"shard_bits": 30, "preshift_bits": 9}
    hashed = boxes | {"hash": "murmurhash3_x86_128"}
    for sharding in ({}, {"sharding": boxes}, {"sharding": hashed}):
        full["scales"][0] |= sharding
        (tmp_path / "full.json").write_text(json.dumps(full))
        generate_scales_info(tmp_path / "full.json", tmp_path / "big")
        stats = scale_stats(tmp_path / "big")
        assert stats.scales[0].bytes == 2**53
        assert stats.scales[0].chunks == 2**50 // 64**3


def test_damage_after_the_steps_is_found_by_their_digests(tmp_path):
    save_nifti(tmp_path / "v.nii", voxels((40, 40, 33), "uint8"), AFFINE)
    volume = chain(tmp_path / "v.nii", tmp_path / "out", target_chunk_size=16)
    assert len(validate(tmp_path / "out").digests) == len(volume.scales)
    for index in (0, 1):
        scale = volume.scales[index]
        chunk = tmp_path / "out" / scale.key / f"{scale.info.grid.nested_name((0, 0, 0))}.gz"
        sound = chunk.read_bytes()
        changed = bytearray(gzip.decompress(sound))
        changed[100] ^= 1
        chunk.write_bytes(gzip.compress(changed))
        errors = [
            (finding.kind, finding.where)
            for finding in validate(tmp_path / "out").findings
            if finding.severity == "error"
        ]
        assert ("digest", scale.key) in errors
        chunk.write_bytes(sound)


def test_provenance_names_the_steps_and_keeps_digests_up_to_date(tmp_path, image):
    chain(image, tmp_path / "out", target_chunk_size=32)
    first = json.loads((tmp_path / "out" / "provenance").read_text())
    whole = ngcore.convert(
        image, tmp_path / "whole", chunk_size=32, sharding=False, fsync=False, max_scales=1
    )
    steps = [step["method"] for step in first["processing"]]
    assert [step["task"] for step in steps] == [
        "ngcore volume-to-raw-chunks",
        "ngcore compute-scales",
    ]
    assert first["sources"] == ["t1.nii.gz"]
    assert len(steps[1]["digests"]["scales"]) == 3
    compute_scales(tmp_path / "out", downsampling="stride")
    again = json.loads((tmp_path / "out" / "provenance").read_text())["processing"]
    assert len(again) == 2
    digests, old = again[1]["method"]["digests"]["scales"], steps[1]["digests"]["scales"]
    changed = {key for key in digests if digests[key] != old[key]}
    assert changed == set(digests) - {next(iter(digests))}
    assert whole.info.scales[0].key in digests


def test_chunks_are_gzip_files_without_time_or_name(tmp_path, image):
    volume = chain(image, tmp_path)
    for path in Path(tmp_path / volume.scales[0].key).rglob("*.gz"):
        data = path.read_bytes()
        assert data[:4] == b"\x1f\x8b\x08\x00"
        assert data[4:8] == bytes(4)
        gzip.decompress(data)
