import json
import math
import os
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import read_with_cloudvolume, read_with_tensorstore
from PIL import Image
from thorough import amount

import ngcore
import oracles
from ngcore.arrays.data_types import DATA_TYPES
from ngcore.conversion.convert import carry_out
from ngcore.conversion.estimate import estimate
from ngcore.conversion.memory import INTERPRETER_BYTES
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.plan import make_plan
from ngcore.conversion.prepare import open_for, prepare
from ngcore.conversion.run import Work
from ngcore.errors import InputError
from ngcore.sources.identity import source_identity
from ngcore.transaction.destination import Destination
from ngcore.work.serial import SerialExecutor

SHAPES = [(19, 17, 11), (1, 1, 1), (16, 16, 16), (130, 5, 1)]


def random_voxels(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def random_labels(shape, dtype=np.uint64, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2**62, [-(-n // 7) for n in shape], np.uint64)
    fine = coarse.repeat(7, 0).repeat(7, 1).repeat(7, 2)[tuple(slice(n) for n in shape)]
    return fine.astype(dtype)


def assert_scales_follow(volume, first, method):
    """Every scale is what a slow oracle makes of the scale before."""
    assert np.array_equal(volume.scales[0][...], first, equal_nan=first.dtype.kind == "f")
    for fine, coarse in zip(volume.scales, volume.scales[1:], strict=False):
        factors = tuple(
            round(b / a) for a, b in zip(fine.resolution, coarse.resolution, strict=True)
        )
        expected = oracles.downsample(fine[...], factors, method, fine.voxel_offset)
        assert np.array_equal(coarse[...], expected, equal_nan=first.dtype.kind == "f")
        offset = tuple(o // f for o, f in zip(fine.voxel_offset, factors, strict=True))
        assert coarse.voxel_offset == offset


def all_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("sharding", [True, False])
@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_peers_read_every_data_type_and_scale_voxel_for_voxel(tmp_path, data_type, sharding):
    voxels = random_voxels((19, 17, 11), data_type)
    volume = ngcore.convert(
        voxels,
        tmp_path / "out",
        data_type=data_type,
        resolution=(8, 8, 40),
        chunk_size=8,
        sharding=sharding,
        fsync=False,
    )
    assert volume.info.data_type == data_type
    assert len(volume.scales) == 4
    assert_scales_follow(volume, voxels[..., np.newaxis], "average")
    for index, scale in enumerate(volume.scales):
        expected = scale[...]
        assert np.array_equal(read_with_tensorstore(tmp_path / "out", index), expected)
        assert np.array_equal(read_with_cloudvolume(tmp_path / "out", index), expected)


@pytest.mark.parametrize("sharding", [True, False])
@pytest.mark.parametrize("encoding", ["raw", "png", "compressed_segmentation"])
@pytest.mark.parametrize("shape", SHAPES)
def test_peers_read_every_encoding_and_shape(tmp_path, shape, encoding, sharding):
    if encoding == "compressed_segmentation":
        voxels, kind, method = random_labels(shape), "segmentation", "majority"
    else:
        voxels, kind, method = random_voxels(shape, np.uint8), "image", "average"
    out = tmp_path / "out"
    volume = ngcore.convert(
        voxels,
        out,
        type=kind,
        resolution=(8, 8, 8),
        encoding=encoding,
        chunk_size=(8, 5, 4),
        sharding=sharding,
        fsync=False,
    )
    assert_scales_follow(volume, voxels[..., np.newaxis], method)
    for index, scale in enumerate(volume.scales):
        assert np.array_equal(read_with_tensorstore(out, index), scale[...])
        assert np.array_equal(read_with_cloudvolume(out, index), scale[...])


@pytest.mark.parametrize("sharding", [True, False])
@pytest.mark.parametrize(
    ("encoding", "data_type", "channels"),
    [
        ("raw", "uint16", 3),
        ("raw", "float32", 5),
        *[("png", "uint8", channels) for channels in (1, 2, 3, 4)],
        *[("png", "uint16", channels) for channels in (1, 2, 3, 4)],
    ],
)
def test_peers_read_several_channels(tmp_path, encoding, data_type, channels, sharding):
    voxels = random_voxels((21, 17, 10, channels), data_type)
    out = tmp_path / "out"
    volume = ngcore.convert(
        voxels,
        out,
        resolution=(8, 8, 8),
        encoding=encoding,
        chunk_size=8,
        sharding=sharding,
        fsync=False,
    )
    assert_scales_follow(volume, voxels, "average")
    for index, scale in enumerate(volume.scales):
        assert np.array_equal(read_with_tensorstore(out, index), scale[...])
        if encoding == "raw":
            assert np.array_equal(read_with_cloudvolume(out, index), scale[...])


@pytest.mark.parametrize("offset", [(-5, 3, 0), (1, -1, 1), (64, 65, -64)])
@pytest.mark.parametrize("kind", ["image", "segmentation"])
def test_scales_of_an_offset_volume_lie_on_the_global_grid(tmp_path, offset, kind):
    tensorstore = pytest.importorskip("tensorstore")
    voxels = random_labels((23, 19, 11), np.uint32)
    if kind == "image":
        voxels = voxels.astype(np.uint8)
    volume = ngcore.convert(
        voxels,
        tmp_path / "out",
        type=kind,
        resolution=(8, 8, 8),
        voxel_offset=offset,
        chunk_size=(8, 5, 4),
    )
    method = "average" if kind == "image" else "majority"
    assert_scales_follow(volume, voxels[..., np.newaxis], method)
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(tmp_path / "out")},
    }
    fine = tensorstore.open(spec | {"scale_index": 0}).result()
    for index in range(1, len(volume.scales)):
        factors = [
            round(b / a)
            for a, b in zip(
                volume.scales[0].resolution, volume.scales[index].resolution, strict=True
            )
        ]
        ours = tensorstore.open(spec | {"scale_index": index}).result()
        theirs = tensorstore.downsample(fine, [*factors, 1], "mean")
        assert ours.domain.origin[:3] == theirs.domain.origin[:3]
        assert ours.shape[:3] == theirs.shape[:3]
        if index == 1:
            theirs = tensorstore.downsample(
                fine, [*factors, 1], "mean" if kind == "image" else "mode"
            )
            assert np.array_equal(ours.read().result(), theirs.read().result())


def test_jpeg_is_close_and_survives_sides_over_65500(tmp_path):
    x, y, z = np.indices((40, 300, 400), np.float32)
    voxels = (128 + 60 * np.sin(x / 9) + 60 * np.cos((y + z) / 20)).astype(np.uint8)
    volume = ngcore.convert(
        voxels, tmp_path / "out", resolution=(8, 8, 8), encoding="jpeg", chunk_size=(40, 300, 400)
    )
    assert 300 * 400 > 65500
    error = np.abs(volume.scales[0][..., 0].astype(int) - voxels)
    assert error.max() <= 12
    assert error.mean() < 1
    theirs = read_with_tensorstore(tmp_path / "out", 0)[..., 0].astype(int)
    assert np.abs(theirs - voxels).max() <= 12


conversions = st.fixed_dictionaries(
    {
        "shape": st.tuples(*[st.integers(1, amount(18, 40))] * 3, st.sampled_from([1, 1, 1, 3])),
        "offset": st.tuples(*[st.integers(-9, 9)] * 3),
        "chunk_size": st.tuples(*[st.integers(2, 17)] * 3),
        "resolution": st.sampled_from([(8, 8, 8), (4, 4, 40), (5, 20, 7)]),
        "data_type": st.sampled_from(DATA_TYPES),
        "method": st.sampled_from(["average", "majority", "stride", "min", "max"]),
        "sharding": st.booleans(),
        "order": st.sampled_from("FC"),
    }
)


@settings(max_examples=amount(16, 600), deadline=None)
@given(conversions)
def test_any_volume_is_read_back_with_every_scale_as_the_oracle_makes_it(case):
    voxels = random_voxels(case["shape"], case["data_type"]).copy(case["order"])
    if np.dtype(case["data_type"]).kind != "f":
        voxels //= 16  # so that values repeat, and a majority is worth the name
    with tempfile.TemporaryDirectory() as folder:
        volume = ngcore.convert(
            voxels,
            Path(folder) / "out",
            type="image",
            data_type=case["data_type"],
            resolution=case["resolution"],
            voxel_offset=case["offset"],
            chunk_size=case["chunk_size"],
            downsampling=case["method"],
            sharding=case["sharding"],
            max_scales=4,
            fsync=False,
        )
        assert_scales_follow(volume, voxels, case["method"])


def convert_within(buffer_bytes, source, dest, progress=None, **options):
    """Convert with a plan that has only so much room for its rows, and return the plan."""
    asked = ConvertOptions(**options)
    destination = Destination(dest, overwrite=False)
    with open_for(source, asked) as opened:
        decided = prepare(
            opened, asked, identity=source_identity(source, opened.header.files, opened)
        )
        plan = make_plan(
            decided.info,
            decided.plan.factors,
            stream_axis=decided.plan.stream_axis,
            memory_bytes=INTERPRETER_BYTES + buffer_bytes,
            scratch_bytes=0,
        )
        carry_out(Work(decided._replace(plan=plan), opened, asked, progress), destination)
    return plan


@settings(max_examples=amount(12, 300), deadline=None)
@given(conversions, st.integers(9, 16))
def test_bytes_do_not_depend_on_the_memory_there_is(case, log_bytes):
    voxels = random_voxels(case["shape"], "uint8").copy(case["order"])
    options = {
        "type": "image",
        "resolution": case["resolution"],
        "voxel_offset": case["offset"],
        "chunk_size": case["chunk_size"],
        "downsampling": case["method"],
        "sharding": case["sharding"],
        "fsync": False,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ngcore.convert(voxels, folder / "whole", **options)
        try:
            convert_within(1 << log_bytes, voxels, folder / "bands", **options)
        except InputError:
            return  # not even the narrowest band fits
        assert all_bytes(folder / "bands") == all_bytes(folder / "whole")


class ReadInOrder:
    """An array that is no NumPy array: it is read front to back, whole planes at a time."""

    def __init__(self, voxels):
        self.voxels, self.shape, self.dtype = voxels, voxels.shape, voxels.dtype

    def __getitem__(self, box):
        return self.voxels[box]


@settings(max_examples=amount(12, 300), deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 50)] * 3, st.sampled_from([1, 1, 2])),
    order=st.sampled_from("FC"),
    chunk_size=st.tuples(*[st.sampled_from([4, 6, 8, 16])] * 3),
    offset=st.tuples(*[st.sampled_from([0, 0, 4, -2, 3])] * 3),
    resolution=st.sampled_from([(8, 8, 8), (4, 4, 40), (5, 20, 7)]),
    workers=st.integers(1, 4),
)
def test_sticks_give_the_bytes_of_whole_rows(
    shape, order, chunk_size, offset, resolution, workers
):
    voxels = random_voxels(shape, "uint8").copy(order)
    voxels[: shape[0] // 2] = 0
    options = {
        "type": "image",
        "resolution": resolution,
        "voxel_offset": offset,
        "chunk_size": chunk_size,
        "workers": workers,
        "fsync": False,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ngcore.convert(voxels, folder / "sticks", **options)
        ngcore.convert(ReadInOrder(voxels), folder / "rows", **options)
        sticks, rows = all_bytes(folder / "sticks"), all_bytes(folder / "rows")
        del sticks["provenance"], rows["provenance"]  # which name the kind of array
        assert sticks == rows


def test_bands_of_several_passes_give_the_same_bytes(tmp_path):
    voxels = random_labels((100, 75, 45), np.uint32)
    options = {"type": "segmentation", "resolution": (8, 8, 8), "chunk_size": 8}
    ngcore.convert(voxels, tmp_path / "whole", **options)
    plan = convert_within(50_000, voxels, tmp_path / "bands", **options)
    assert len(plan.passes) > 1
    assert plan.work_items > 4
    assert all_bytes(tmp_path / "bands") == all_bytes(tmp_path / "whole")


def write_png(path, voxels):
    path.mkdir()
    Image.fromarray(voxels[:, :, 0].T).save(path / "only.png")


def write_nifti(path, voxels):
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


@pytest.mark.parametrize(
    ("name", "write", "shape"),
    [
        ("slices", write_png, (150, 130, 1)),
        ("a.nii.gz", write_nifti, (150, 130, 1)),
        ("a.nii.gz", write_nifti, (1, 150, 130)),
        ("a.nii.gz", write_nifti, (150, 1, 130)),
        ("a.nii.gz", write_nifti, (150, 1, 1)),
        ("a.nii.gz", write_nifti, (90, 80, 1, 2)),
        ("a.nii.gz", write_nifti, (1, 90, 80, 2)),
    ],
)
def test_spooled_source_of_one_plane_is_walked_as_it_was_planned(tmp_path, name, write, shape):
    voxels = random_voxels(shape, "uint8")
    source = tmp_path / name
    write(source, voxels)
    options = {"resolution": (8, 8, 8), "type": "image", "chunk_size": 16, "fsync": False}
    ngcore.convert(source, tmp_path / "whole", **options)
    plan = convert_within(3000, source, tmp_path / "bands", **options)
    assert plan.is_cut or math.prod(shape) == 150  # a line is too small to be cut
    assert all_bytes(tmp_path / "bands") == all_bytes(tmp_path / "whole")
    read = ngcore.open(tmp_path / "bands").scales[0][...]
    assert np.array_equal(read, voxels.reshape(*shape[:3], -1))


@pytest.mark.parametrize("kind", ["image", "segmentation"])
def test_threads_and_memory_do_not_change_a_byte(tmp_path, kind):
    path = tmp_path / "voxels.npy"
    np.save(path, random_labels((150, 140, 130), np.uint32))
    options = {"type": kind, "resolution": (8, 8, 8)}
    ngcore.convert(path, tmp_path / "one", workers=1, memory="200M", **options)
    ngcore.convert(path, tmp_path / "two", workers=2, memory="2G", **options)
    assert all_bytes(tmp_path / "one") == all_bytes(tmp_path / "two")


def test_layouts_hold_the_same_chunks(tmp_path):
    voxels = random_voxels((70, 40, 20), np.uint8)
    options = {"resolution": (8, 8, 8), "chunk_size": 32, "sharding": False}
    ngcore.convert(voxels, tmp_path / "flat", **options)
    nested = ngcore.convert(voxels, tmp_path / "nested", layout="nested", gzip=True, **options)
    assert (tmp_path / "flat/8_8_8/32-64_0-32_0-20").is_file()
    assert (tmp_path / "nested/8_8_8/32-64/0-32/0-20.gz").is_file()
    assert np.array_equal(nested.scales[0][..., 0], voxels)


def test_provenance_and_transform_lie_beside_info(tmp_path):
    ngcore.convert(np.zeros((4, 4, 4), np.uint8), tmp_path / "out", resolution=(1, 2, 3))
    assert np.array_equal(json.loads((tmp_path / "out/transform.json").read_text()), np.eye(4))
    provenance = json.loads((tmp_path / "out/provenance").read_text())
    assert {"sources", "processing", "owners", "description"} <= set(provenance)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "info",
        "provenance",
        "transform.json",
        "1_2_3",
    }


def test_labels_by_name_of_several_channels_are_refused(tmp_path):
    path = tmp_path / "sub-01_dseg.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7, 2), np.uint8), np.eye(4)), path)
    with pytest.raises(InputError, match=r"since its name ends in 'dseg'\); pass type='image'"):
        ngcore.convert(path, tmp_path / "out")


def test_segmentation_of_several_channels_is_refused(tmp_path):
    with pytest.raises(InputError, match="a segmentation has one channel"):
        ngcore.convert(
            np.zeros((4, 4, 4, 2), np.uint8),
            tmp_path / "out",
            type="segmentation",
            resolution=(1, 1, 1),
        )
    assert not (tmp_path / "out").exists()


def test_array_without_a_resolution_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"pass resolution=\(X, Y, Z\)"):
        ngcore.convert(np.zeros((4, 4, 4), np.uint8), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_progress_ends_at_the_number_of_voxels(tmp_path):
    calls = []
    ngcore.convert(
        np.zeros((40, 50, 60), np.uint8),
        tmp_path / "out",
        resolution=(1, 1, 1),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls[-1] == (40 * 50 * 60, 40 * 50 * 60)
    assert calls == sorted(calls)


@pytest.mark.parametrize("room", [30_000, 60_000, 1 << 30])
@pytest.mark.parametrize("offset", [(0, 0, 0), (1, 7, 3)])
def test_progress_counts_each_voxel_once_where_bands_overlap(tmp_path, offset, room):
    voxels, calls = np.ones((69, 75, 97), np.uint16), []
    options = {"resolution": (8, 8, 8), "voxel_offset": offset, "chunk_size": 8, "type": "image"}
    convert_within(room, voxels, tmp_path / "v", lambda *call: calls.append(call), **options)
    done, totals = zip(*calls, strict=True)
    assert len(set(totals)) == 1
    assert done[-1] == totals[0]
    assert list(done) == sorted(done)


@pytest.mark.parametrize("executor", [None, SerialExecutor()], ids=["threads", "items"])
def test_source_that_is_changed_while_it_is_read_is_told_of(tmp_path, caplog, executor):
    path, out = tmp_path / "a.npy", tmp_path / "out"
    voxels = np.arange(20 * 20 * 20, dtype=np.uint16).reshape(20, 20, 20)

    def convert(change):
        np.save(path, voxels)
        ngcore.convert(
            path,
            out,
            resolution=(1, 1, 1),
            chunk_size=4,
            executor=executor,
            overwrite=True,
            progress=lambda _done, _total: change(),
        )

    def overwrite():
        with path.open("r+b") as file:  # never shorter than it was
            np.save(file, voxels + 1)

    convert(lambda: None)
    assert not caplog.records
    if executor is None and os.name != "nt":  # items open it again, Windows removes no open file
        convert(lambda: path.unlink(missing_ok=True))
        assert not caplog.records
    convert(lambda: os.utime(path, (1, 1)))
    assert ["was written to while it was read" in record.message for record in caplog.records]
    with pytest.raises(InputError, match=r"a\.npy was changed while it was read"):
        convert(overwrite)
    assert not any(out.iterdir())


def test_what_is_clipped_and_rounded_is_counted_in_a_warning(tmp_path, caplog):
    voxels = np.array([-1.0, 0.5, 300, 7], np.float32).reshape(4, 1, 1)
    ngcore.convert(voxels, tmp_path / "out", resolution=(1, 1, 1), data_type="uint8")
    messages = [record.getMessage() for record in caplog.records]
    assert any("2 voxels were clipped to the range of uint8" in text for text in messages)
    assert any("1 voxel was rounded to what uint8 holds" in text for text in messages)


def test_zero_chunks_are_left_out_of_shards_but_every_shard_is_there(tmp_path):
    voxels = np.zeros((70, 40, 40), np.uint8)
    voxels[66] = 1
    ngcore.convert(voxels, tmp_path / "out", resolution=(1, 1, 1), chunk_size=4, max_scales=1)
    shards = sorted((tmp_path / "out/1_1_1").iterdir())
    # 18 x 10 x 10 chunks in boxes of 8 x 8 x 8; the first two planes of boxes hold zeros only.
    assert len(shards) == 3 * 2 * 2
    sizes = [path.stat().st_size for path in shards]
    assert sizes.count(16) == 2 * 2 * 2
    assert np.array_equal(read_with_tensorstore(tmp_path / "out", 0)[..., 0], voxels)
    assert np.array_equal(read_with_cloudvolume(tmp_path / "out", 0)[..., 0], voxels)


def test_long_fmri_fits_in_the_default_memory():
    volume = np.broadcast_to(np.float32(1), (65, 77, 49, 300))
    planned = estimate(volume, resolution="3mm")
    assert planned.scales[0].chunk_size == (8, 8, 8)
    assert planned.memory_bytes < 1 << 30


def test_millions_of_tiny_chunks_are_refused_with_a_size_that_works():
    line = np.broadcast_to(np.uint8(1), (2**31, 1, 1))
    with pytest.raises(InputError, match="33554432 chunks of 64 voxels") as refused:
        estimate(line, resolution=(8, 8, 8))
    advised = tuple(map(int, str(refused.value).rpartition(" ")[2].split(",")))
    assert estimate(line, resolution=(8, 8, 8), chunk_size=advised).chunks < 1 << 21


def test_chunks_that_the_client_draws_black_are_warned_of(tmp_path, caplog):
    ngcore.convert(np.zeros((3000, 2, 2), np.uint8), tmp_path, resolution=(1, 1000, 1000))
    assert "draws chunks of 3000x2x2 voxels black" in caplog.text


def test_labels_are_never_jpeg(tmp_path):
    labels = np.zeros((9, 9, 9), np.uint8)
    keywords = {"type": "segmentation", "data_type": "uint8", "resolution": (1, 1, 1)}
    with pytest.raises(InputError, match="changes labels"):
        ngcore.convert(labels, tmp_path / "out", encoding="jpeg", **keywords)
    assert not (tmp_path / "out").exists()


def test_averaging_of_labels_is_warned_of(tmp_path, caplog):
    labels = np.zeros((9, 9, 9), np.uint8)
    keywords = {"type": "segmentation", "resolution": (1, 1, 1)}
    ngcore.convert(labels, tmp_path / "out", downsampling="average", **keywords)
    assert "pass --downsampling majority" in caplog.text
