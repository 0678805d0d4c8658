import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from classic_peer import decompressed_chunks
from classic_steps import SPEC, chain, make_info
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import amount
from volume_files import voxels

import ngcore
import oracles
from ngcore.classic.chunks_from_source import volume_to_raw_chunks
from ngcore.classic.coarser_scales import compute_scales
from ngcore.conversion.memory import INTERPRETER_BYTES
from ngcore.conversion.plan import make_plan
from ngcore.errors import FormatError, InputError, InputNotFoundError


@pytest.mark.parametrize("offset", [(0, 0, 0), (-7, 5, 1)])
@pytest.mark.parametrize("method", ["average", "majority", "min"])
def test_scales_follow_each_other_at_any_whole_ratio(tmp_path, method, offset):
    levels = [((50, 31, 25), (4, 4, 4), offset)]
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
    source = voxels((50, 31, 25), "uint8") % 5
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


@pytest.mark.parametrize("offset", [(0, 0, 0), (1, 7, 3)])
def test_progress_of_scales_made_in_bands_ends_at_the_number_of_voxels(
    tmp_path, monkeypatch, offset
):
    def plan_within(info, factors, **asked):
        room = INTERPRETER_BYTES + asked["scratch_bytes"] + 60_000
        return make_plan(info, factors, **asked | {"memory_bytes": room})

    calls = []
    options = {"resolution": (8, 8, 8), "chunk_size": 8, "type": "image", "sharding": False}
    voxels = np.ones((69, 75, 97), np.uint16)
    ngcore.convert(voxels, tmp_path / "v", voxel_offset=offset, max_scales=4, **options)
    monkeypatch.setattr("ngcore.conversion.plan.make_plan", plan_within)
    compute_scales(tmp_path / "v", progress=lambda *call: calls.append(call))
    assert len(calls) > 20
    assert calls == sorted(calls)
    assert calls[-1] == (calls[0][1], calls[0][1])


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
    shape = (500, 400, 70)  # a row of chunks is 51 MB
    levels = [(shape, (1, 1, 1), (0, 0, 0)), ((250, 200, 35), (2, 2, 2), (0, 0, 0))]
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
        (((35, 25, 16), (15, 10, 10), (0, 0, 0)), "not a multiple of 10"),
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
