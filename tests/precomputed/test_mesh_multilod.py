"""Rules of multi-resolution meshes: of their `info`, and of the manifest of a segment."""

import json

import numpy as np
import pytest

from ngcore.errors import FormatError
from ngcore.precomputed.mesh_multilod import MultilodInfo, MultilodManifest

INFO = {
    "@type": "neuroglancer_multilod_draco",
    "vertex_quantization_bits": 10,
    "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0.5],
    "lod_scale_multiplier": 1.5,
}
SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "hash": "murmurhash3_x86_128",
    "minishard_bits": 2,
    "shard_bits": 3,
}


@pytest.mark.parametrize("bits", [10, 16])
def test_sound_info_is_understood(bits):
    info = MultilodInfo.from_json({**INFO, "vertex_quantization_bits": bits, "sharding": SHARDING})
    assert info.vertex_quantization_bits == bits
    assert info.transform[-1] == 0.5
    assert info.sharding is not None
    assert info.sharding.shard_bits == 3
    assert MultilodInfo.from_json(INFO).sharding is None


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"vertex_quantization_bits": 8}, "vertex_quantization_bits: expected 10 or 16, got 8"),
        ({"vertex_quantization_bits": "10"}, "vertex_quantization_bits: expected an integer"),
        ({"transform": [1] * 16}, "transform: expected an array of 12 numbers"),
        ({"transform": None}, "transform: expected an array of 12 numbers"),
        ({"transform": [True] + [1] * 11}, r"transform\[0\]: expected a number"),
        ({"transform": [10**400] + [1] * 11}, r"transform\[0\]: expected a number"),
        ({"lod_scale_multiplier": "1"}, "lod_scale_multiplier: expected a number"),
        ({"sharding": None}, "sharding: expected an object"),
        ({"sharding": {**SHARDING, "hash": "md5"}}, r"sharding\.hash: expected one of"),
    ],
)
def test_broken_rule_of_info_is_named(members, message):
    with pytest.raises(FormatError, match=message):
        MultilodInfo.from_json({**INFO, **members})


@pytest.mark.parametrize("name", ["vertex_quantization_bits", "transform", "lod_scale_multiplier"])
def test_member_that_is_missing_is_named(name):
    members = {key: value for key, value in INFO.items() if key != name}
    with pytest.raises(FormatError, match=f"{name}: missing"):
        MultilodInfo.from_json(members)


def manifest(levels, *, chunk_shape=(64, 64, 64), scales=None):
    """Return the manifest of levels, each a list of (position, size)."""
    scales = scales or [2.0**lod for lod in range(len(levels))]
    parts = [np.array([*chunk_shape, 0, 0, 0], "<f4"), np.array([len(levels)], "<u4")]
    parts += [np.array(scales, "<f4"), np.zeros((len(levels), 3), "<f4")]
    parts += [np.array([len(level) for level in levels], "<u4")]
    for level in levels:
        parts.append(np.array([place for place, _ in level], "<u4").reshape(-1, 3).T)
        parts.append(np.array([size for _, size in level], "<u4"))
    return b"".join(part.tobytes() for part in parts)


FINE = [((0, 0, 0), 7), ((1, 0, 0), 0), ((0, 1, 0), 2**32 - 1), ((0, 0, 1), 5)]


def test_manifest_has_positions_axis_by_axis_and_one_size_per_fragment():
    data = manifest([FINE, [((0, 0, 0), 9)]])
    assert len(data) == 28 + 20 * 2 + 16 * 5
    parsed = MultilodManifest.from_bytes(data)
    assert parsed.lod_scales.tolist() == [1, 2]
    assert [place.tolist() for place in parsed.positions[0]] == [list(p) for p, _ in FINE]
    assert parsed.data_size == 7 + 2**32 - 1 + 5 + 9


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (manifest([FINE])[:27], "at least 28 bytes"),
        (manifest([FINE])[:30], "1 levels of detail take 48"),
        (manifest([FINE]) + b"\0", "take exactly 112"),
        (manifest([FINE])[:-1], "take exactly 112"),
        (manifest([]), "expected 1 to 64 levels of detail, got 0"),
        (manifest([FINE], chunk_shape=(64, 0, 64)), "must be positive"),
        (manifest([FINE], chunk_shape=(64, np.nan, 64)), "is not finite"),
        (manifest([FINE], scales=[np.inf]), "is not finite"),
        (manifest([FINE], scales=[-1]), "must be positive"),
        (manifest([FINE[::-1]]), r"fragment 1 of level 0 at \[0, 1, 0\] must come before"),
        (manifest([FINE, [((1, 1, 1), 1)] * 2]), "fragment 1 of level 1 .* Z-order is expected"),
    ],
)
def test_broken_rule_of_a_manifest_is_named(data, message):
    with pytest.raises(FormatError, match=message):
        MultilodManifest.from_bytes(data)


def test_info_and_manifest_are_written_as_they_are_read():
    for members in (INFO, {**INFO, "sharding": SHARDING}):
        info = MultilodInfo.from_json(members)
        assert MultilodInfo.from_json(json.loads(info.to_json())) == info
    data = manifest([FINE, [((0, 0, 0), 9)]], chunk_shape=(1.5, 64, 3))
    assert MultilodManifest.from_bytes(data).to_bytes() == data
