"""The info file: its rules, each with the path that its message names, and its JSON."""

import copy
import json
import math
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.errors import FormatError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.info import (
    ENCODINGS,
    FOREIGN_ENCODINGS,
    ScaleInfo,
    VolumeInfo,
    info_warnings,
)
from ngcore.precomputed.sharding import ShardingSpec

SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 9,
    "hash": "identity",
    "minishard_bits": 0,
    "shard_bits": 3,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}
DOCUMENT = {
    "@type": "neuroglancer_multiscale_volume",
    "type": "segmentation",
    "data_type": "uint32",
    "num_channels": 1,
    "mesh": "mesh",
    "scales": [
        {
            "key": "8_8_40",
            "size": [300, 200, 100],
            "resolution": [8, 8, 40],
            "voxel_offset": [-5, 0, 7],
            "chunk_sizes": [[64, 64, 64]],
            "encoding": "compressed_segmentation",
            "compressed_segmentation_block_size": [8, 8, 8],
            "sharding": SHARDING,
        },
        {
            "key": "16_16_40",
            "size": [151, 100, 100],
            "resolution": [16, 16, 40],
            "voxel_offset": [-3, 0, 7],
            "chunk_sizes": [[64, 64, 64], [256, 256, 1]],
            "encoding": "raw",
            "hidden": True,
        },
    ],
}
ABSENT = object()


def changed(*path_and_value):
    """Return DOCUMENT as JSON with one value replaced, or taken out where it is ABSENT."""
    *path, name, value = path_and_value
    document = copy.deepcopy(DOCUMENT)
    target = document
    for step in path:
        target = target[step]
    if value is ABSENT:
        del target[name]
    else:
        target[name] = value
    return json.dumps(document)


def refused(document):
    """Return the message with which a document is refused."""
    with pytest.raises(FormatError) as caught:
        VolumeInfo.from_json(document)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_sound_document_is_understood():
    info = VolumeInfo.from_json(json.dumps(DOCUMENT))
    assert (info.type, info.data_type, info.num_channels) == ("segmentation", "uint32", 1)
    assert info.dtype == np.uint32
    assert (info.mesh, info.skeletons, info.segment_properties) == ("mesh", None, None)
    first, second = info.scales
    assert first.bounds == Box((-5, 0, 7), (295, 200, 107))
    assert first.grid.shape == (5, 4, 2)
    assert first.sharding == ShardingSpec(9, "identity", 0, 3, "gzip", "gzip")
    assert second.chunk_sizes == ((64, 64, 64), (256, 256, 1))
    assert second.chunk_size == (64, 64, 64)
    assert second.hidden
    assert second.compressed_segmentation_block_size is None
    assert info_warnings(info) == []


def test_document_survives_a_round_trip():
    info = VolumeInfo.from_json(json.dumps(DOCUMENT))
    assert json.loads(info.to_json()) == DOCUMENT
    assert list(json.loads(info.to_json())) == list(DOCUMENT)
    assert VolumeInfo.from_json(info.to_json().encode()) == info


def test_json_is_readable_and_keeps_whole_numbers_whole():
    scale = ScaleInfo(key="k", size=(10, 10, 1), resolution=(8.0, 0.5, 700000.0))
    text = VolumeInfo("image", "uint8", 1, (scale,)).to_json()
    assert text == (
        "{\n"
        '  "@type": "neuroglancer_multiscale_volume",\n'
        '  "type": "image",\n'
        '  "data_type": "uint8",\n'
        '  "num_channels": 1,\n'
        '  "scales": [\n'
        "    {\n"
        '      "key": "k",\n'
        '      "size": [10, 10, 1],\n'
        '      "resolution": [8, 0.5, 700000],\n'
        '      "voxel_offset": [0, 0, 0],\n'
        '      "chunk_sizes": [\n'
        "        [64, 64, 64]\n"
        "      ],\n"
        '      "encoding": "raw"\n'
        "    }\n"
        "  ]\n"
        "}\n"
    )


def test_members_of_others_are_kept_where_they_were():
    document = json.loads(changed("redirect", "é\n"))
    document["scales"][0]["jpeg_quality"] = 80
    document["scales"][0]["sharding"]["note"] = {"deep": [1, [2.5, None], {}]}
    again = json.loads(VolumeInfo.from_json(json.dumps(document)).to_json())
    assert again == document


def test_enums_are_taken_in_any_case_and_written_in_lower_case():
    document = copy.deepcopy(DOCUMENT)
    document |= {"type": "SEGMENTATION", "data_type": "UInt32"}
    document["scales"][1]["encoding"] = "RAW"
    document["scales"][0]["sharding"] |= {"hash": "Identity", "data_encoding": "GZIP"}
    assert json.loads(VolumeInfo.from_json(json.dumps(document)).to_json()) == DOCUMENT


@pytest.mark.parametrize("name", ["@type", "mesh"])
def test_optional_members_of_the_volume_may_be_absent(name):
    assert VolumeInfo.from_json(changed(name, ABSENT)).scales


def test_optional_members_of_a_scale_may_be_absent():
    info = VolumeInfo.from_json(changed("scales", 1, "voxel_offset", ABSENT))
    assert info.scales[1].voxel_offset == (0, 0, 0)
    assert not VolumeInfo.from_json(changed("scales", 1, "hidden", ABSENT)).scales[1].hidden
    assert (
        VolumeInfo.from_json(changed("scales", 0, "sharding", ABSENT)).scales[0].sharding is None
    )


def test_encodings_of_sharding_default_to_raw():
    document = json.loads(changed("scales", 0, "sharding", "data_encoding", ABSENT))
    del document["scales"][0]["sharding"]["minishard_index_encoding"]
    sharding = VolumeInfo.from_json(json.dumps(document)).scales[0].sharding
    assert (sharding.minishard_index_encoding, sharding.data_encoding) == ("raw", "raw")


@pytest.mark.parametrize("data_type", [t for t in DATA_TYPES if t != "float32"])
def test_segmentations_are_of_any_integer_type(data_type):
    assert VolumeInfo.from_json(changed("data_type", data_type)).data_type == data_type


@pytest.mark.parametrize("encoding", [*ENCODINGS[:3], *FOREIGN_ENCODINGS])
def test_encodings_in_the_wild_have_names(encoding):
    info = VolumeInfo.from_json(changed("scales", 1, "encoding", encoding))
    assert info.scales[1].encoding == encoding


def test_key_may_lead_out_of_the_folder():
    assert VolumeInfo.from_json(changed("scales", 0, "key", "../up/8_8_40"))


def test_numbers_with_a_zero_fraction_are_integers():
    info = VolumeInfo.from_json(changed("scales", 1, "size", [151.0, 1e2, 100]))
    assert info.scales[1].size == (151, 100, 100)
    assert "151," in info.to_json()


SCALE = ("scales", 1)
SHARDED = ("scales", 0)
BROKEN = [
    (("@type", "neuroglancer_legacy_mesh"), '@type: expected "neuroglancer_multiscale_volume"'),
    (("@type", None), "@type: expected"),
    (("type", ABSENT), "type: missing"),
    (("type", "labels"), 'type: expected one of image, segmentation, got "labels"'),
    (("type", 3), "type: expected one of"),
    (("data_type", ABSENT), "data_type: missing"),
    (("data_type", "int64"), "data_type: expected one of uint8, int8"),
    (("data_type", "float32"), "data_type: expected an integer type, as the type is segm"),
    (("num_channels", ABSENT), "num_channels: missing"),
    (("num_channels", 0), "num_channels: expected a positive integer"),
    (("num_channels", 2), "num_channels: expected 1, as the type is segmentation, got 2"),
    (("num_channels", "1"), "num_channels: expected a positive integer"),
    (("num_channels", True), "num_channels: expected a positive integer below 2^53, got true"),
    (("mesh", None), "mesh: null; leave the member out"),
    (("mesh", 3), "mesh: expected a path relative to the info file, got 3"),
    (("skeletons", ""), "skeletons: expected a path"),
    (("segment_properties", "/abs"), "segment_properties: expected a path"),
    (("scales", ABSENT), "scales: missing"),
    (("scales", {}), "scales: expected an array"),
    (("scales", []), "scales: expected one scale or more"),
    (("scales", 1, 5), "scales[1]: expected an object, got 5"),
    ((*SCALE, "key", ABSENT), "scales[1].key: missing"),
    ((*SCALE, "key", ""), "scales[1].key: expected a path"),
    ((*SCALE, "key", "/8_8_40"), "scales[1].key: expected a path"),
    ((*SCALE, "key", "http://example.org/8"), "scales[1].key: expected a path"),
    ((*SCALE, "key", "a\0b"), "scales[1].key: expected a path"),
    ((*SCALE, "key", "\ud800"), "scales[1].key: expected a path"),
    ((*SCALE, "key", 8), "scales[1].key: expected a path"),
    ((*SCALE, "size", ABSENT), "scales[1].size: missing"),
    ((*SCALE, "size", None), "scales[1].size: expected an array of three numbers, got null"),
    ((*SCALE, "size", [1, 2]), "scales[1].size: expected an array of three numbers"),
    ((*SCALE, "size", [1, 2, 3, 4]), "scales[1].size: expected an array of three numbers"),
    ((*SCALE, "size", "123"), "scales[1].size: expected an array of three numbers"),
    ((*SCALE, "size", {"x": 1, "y": 2, "z": 3}), "scales[1].size: expected an array of three"),
    ((*SCALE, "size", [1, 0, 3]), "scales[1].size[1]: expected a positive integer"),
    ((*SCALE, "size", [1, 2, 2.5]), "scales[1].size[2]: expected a positive integer"),
    ((*SCALE, "size", [1, 2, "3"]), "scales[1].size[2]: expected a positive integer below 2^53"),
    ((*SCALE, "size", [1, 2, True]), "scales[1].size[2]: expected a positive integer"),
    ((*SCALE, "size", [1, 2, None]), "scales[1].size[2]: expected a positive integer"),
    ((*SCALE, "size", [1, 2, [3]]), "scales[1].size[2]: expected a positive integer"),
    ((*SCALE, "size", [1, 2, 2**53]), "scales[1].size[2]: expected a positive integer below"),
    ((*SCALE, "size", [1, 2, 1e300]), "scales[1].size[2]: expected a positive integer below"),
    ((*SCALE, "size", [1, 2, 10**4000]), "got an integer of hundreds of digits"),
    ((*SCALE, "resolution", ABSENT), "scales[1].resolution: missing"),
    ((*SCALE, "resolution", 8), "scales[1].resolution: expected an array of three numbers"),
    ((*SCALE, "resolution", [16, 16, 0]), "scales[1].resolution[2]: expected a positive finite"),
    ((*SCALE, "resolution", [16, -16, 40]), "scales[1].resolution[1]: expected a positive"),
    ((*SCALE, "resolution", ["16", 16, 40]), "scales[1].resolution[0]: expected a positive"),
    ((*SCALE, "resolution", [True, 16, 40]), "scales[1].resolution[0]: expected a positive"),
    ((*SCALE, "resolution", [10**400, 16, 40]), "scales[1].resolution[0]: expected a positive"),
    ((*SCALE, "resolution", [16, 1e200, 40]), "scales[1].resolution[1]: expected a length from"),
    ((*SCALE, "resolution", [1e-200, 16, 40]), "scales[1].resolution[0]: expected a length from"),
    ((*SCALE, "resolution", [4, 16, 40]), "scales[1].resolution[0]: 4 is less than 8"),
    ((*SCALE, "voxel_offset", None), "scales[1].voxel_offset: expected an array"),
    ((*SCALE, "voxel_offset", [0, 0.5, 0]), "scales[1].voxel_offset[1]: expected an integer"),
    ((*SCALE, "voxel_offset", [0, 0, -(2**53)]), "scales[1].voxel_offset[2]: expected an int"),
    ((*SCALE, "chunk_sizes", ABSENT), "scales[1].chunk_sizes: missing"),
    ((*SCALE, "chunk_sizes", []), "scales[1].chunk_sizes: expected an array of one chunk size"),
    ((*SCALE, "chunk_sizes", [64, 64, 64]), "scales[1].chunk_sizes[0]: expected an array of"),
    ((*SCALE, "chunk_sizes", [[9, 9, 9], [9, 9, 0]]), "scales[1].chunk_sizes[1][2]: expected"),
    ((*SCALE, "chunk_sizes", [[2**32, 9, 9]]), "scales[1].chunk_sizes[0][0]: expected an int"),
    ((*SCALE, "encoding", ABSENT), "scales[1].encoding: missing"),
    (
        (*SCALE, "encoding", "webp"),
        "scales[1].encoding: expected one of raw, png, jpeg, jxl,",
    ),
    ((*SCALE, "encoding", ["raw"]), "scales[1].encoding: expected one of"),
    (
        (*SCALE, "encoding", "compressed_segmentation"),
        "scales[1].compressed_segmentation_block_size: missing",
    ),
    (
        (*SCALE, "compressed_segmentation_block_size", [8, 8, 8]),
        "scales[1].compressed_segmentation_block_size: expected none, as the encoding is raw",
    ),
    (
        (*SCALE, "compressed_segmentation_block_size", None),
        "scales[1].compressed_segmentation_block_size: null; leave the member out",
    ),
    (
        (*SHARDED, "compressed_segmentation_block_size", [8, 8, 0]),
        "scales[0].compressed_segmentation_block_size[2]: expected an integer from 1",
    ),
    ((*SCALE, "hidden", 1), "scales[1].hidden: expected true or false, got 1"),
    ((*SCALE, "sharding", None), "scales[1].sharding: null, which Neuroglancer rejects"),
    ((*SCALE, "sharding", []), "scales[1].sharding: expected an object"),
    ((*SCALE, "sharding", SHARDING), "scales[1].chunk_sizes: expected exactly one chunk size"),
    (
        (*SHARDED, "size", [2**52, 2**52, 100]),
        "scales[0].sharding: a grid of (70368744177664, 70368744177664, 2) chunks needs 93 bits",
    ),
    ((*SHARDED, "sharding", "@type", ABSENT), "scales[0].sharding.@type: missing"),
    ((*SHARDED, "sharding", "@type", "v2"), "scales[0].sharding.@type: expected"),
    ((*SHARDED, "sharding", "hash", ABSENT), "scales[0].sharding.hash: missing"),
    ((*SHARDED, "sharding", "hash", "md5"), "scales[0].sharding.hash: expected one of identity"),
    ((*SHARDED, "sharding", "preshift_bits", ABSENT), "scales[0].sharding.preshift_bits: missing"),
    ((*SHARDED, "sharding", "preshift_bits", -1), "scales[0].sharding.preshift_bits: expected"),
    ((*SHARDED, "sharding", "minishard_bits", ABSENT), "sharding.minishard_bits: missing"),
    ((*SHARDED, "sharding", "minishard_bits", 65), "scales[0].sharding.minishard_bits: expected"),
    ((*SHARDED, "sharding", "shard_bits", ABSENT), "scales[0].sharding.shard_bits: missing"),
    ((*SHARDED, "sharding", "shard_bits", 2.5), "scales[0].sharding.shard_bits: expected"),
    (
        (*SHARDED, "sharding", "shard_bits", 56),
        "scales[0].sharding.preshift_bits + minishard_bits + shard_bits: expected at most 64",
    ),
    (
        (*SHARDED, "sharding", "data_encoding", "zlib"),
        "scales[0].sharding.data_encoding: expected one of raw, gzip",
    ),
    (
        (*SHARDED, "sharding", "minishard_index_encoding", None),
        "scales[0].sharding.minishard_index_encoding: expected one of raw, gzip, got null",
    ),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_broken_rule_is_named_with_its_path(change, message):
    assert message in refused(changed(*change))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "not JSON: Expecting value at line 1, column 1"),
        ("{", "not JSON"),
        ("{} {}", "not JSON: Extra data"),
        (b"\xff{}", "not JSON: byte 0 is not UTF-8"),
        ("null", "expected a JSON object, got null"),
        ("[]", "expected a JSON object, got []"),
        ('"' + "x" * 100 + '"', "..."),
        ('{"size": 1, "size": 1}', 'JSON holds the member "size" twice'),
        ('{"a": [{"b": {"c": 1, "c": 2}}]}', 'JSON holds the member "c" twice'),
        ('{"a": NaN}', "JSON has no number NaN"),
        ('{"a": -Infinity}', "JSON has no number -Infinity"),
        ('{"a": 1e999}', "too large for a double"),
        ('{"a": ' + "9" * 5000 + "}", "a number of too many digits"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "nested deeper than 64 levels"),
        ("[" * 200000, "JSON nested too deeply"),
        ('{"a":' * 200000, "JSON nested too deeply"),
        ("{}", "scales: missing"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_document_that_is_no_volume_is_refused(document, message):
    assert message in refused(document)


def test_byte_order_mark_is_skipped():
    assert VolumeInfo.from_json(b"\xef\xbb\xbf" + json.dumps(DOCUMENT).encode())


@settings(max_examples=thorough.amount(60, 10000))
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_bytes_are_an_info_or_a_format_error(document):
    with pytest.raises(FormatError):
        VolumeInfo.from_json(document)


PATHS = [
    ("type",),
    ("data_type",),
    ("num_channels",),
    ("mesh",),
    ("scales",),
    ("scales", 0),
    ("scales", 0, "sharding"),
    *[("scales", 0, name) for name in DOCUMENT["scales"][0]],
    *[("scales", 1, name) for name in DOCUMENT["scales"][1]],
    ("scales", 0, "size", 1),
    ("scales", 0, "resolution", 1),
    ("scales", 0, "chunk_sizes", 0),
    *[("scales", 0, "sharding", name) for name in SHARDING],
]
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(10**400), 10**400),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.sampled_from(["raw", "image", "uint8", "gzip"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=thorough.amount(80, 10000))
@given(st.sampled_from(PATHS), json_values)
def test_any_value_anywhere_is_an_info_that_round_trips_or_a_format_error(path, value):
    document = changed(*path, value)
    try:
        info = VolumeInfo.from_json(document)
    except FormatError:
        return
    assert VolumeInfo.from_json(info.to_json()) == info
    for scale in info.scales:
        assert scale.grid.count >= 1
    info_warnings(info)


@settings(max_examples=thorough.amount(60, 10000))
@given(st.data())
def test_flipped_bytes_are_an_info_or_a_format_error(data):
    document = bytearray(json.dumps(DOCUMENT).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    try:
        info = VolumeInfo.from_json(bytes(document))
    except FormatError:
        return
    assert VolumeInfo.from_json(info.to_json()) == info


def test_values_given_in_python_are_checked_and_made_canonical():
    scale = ScaleInfo(
        key="1_1_1",
        size=np.array([10, 20, 30]),
        resolution=np.array([1.0, 1.5, 2.0]),
        chunk_sizes=[[8, 8, 8]],
    )
    assert scale.size == (10, 20, 30)
    assert scale.resolution == (1, 1.5, 2)
    assert scale.chunk_sizes == ((8, 8, 8),)
    assert {type(n) for n in scale.size} == {int}
    with pytest.raises(FormatError, match=r"size\[1\]"):
        ScaleInfo(key="1_1_1", size=(1, math.nan, 1), resolution=(1, 1, 1))


def test_extra_members_can_not_shadow_known_ones():
    with pytest.raises(FormatError, match="extra: 'encoding' is a member of its own"):
        ScaleInfo(key="k", size=(1, 1, 1), resolution=(1, 1, 1), extra={"encoding": "png"})


def test_infos_are_frozen_hashable_and_can_be_sent_to_other_processes():
    info = VolumeInfo.from_json(json.dumps(DOCUMENT))
    assert pickle.loads(pickle.dumps(info)) == info
    assert hash(info) == hash(VolumeInfo.from_json(info.to_json()))
    with pytest.raises(FrozenInstanceError):
        info.type = "image"
    with pytest.raises(FrozenInstanceError):
        info.scales[0].key = "elsewhere"


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (
            ("data_type", "int32"),
            "data_type: Neuroglancer draws signed segmentations (int32) grey",
        ),
        ((*SHARDED, "size", [2**24 + 1, 200, 100]), "scales[0].size[0]: Neuroglancer keeps it as"),
        ((*SCALE, "voxel_offset", [-3, -(2**24) - 1, 7]), "scales[1].voxel_offset[1]: Neuro"),
        ((*SCALE, "encoding", "fpzip"), "scales[1].encoding: Neuroglancer can't decode fpzip"),
        ((*SCALE, "encoding", "jpeg"), "scales[1].encoding: jpeg changes labels"),
        ((*SCALE, "key", "8_8_40"), "scales[1].key: the same folder as that of scales[0]"),
        ((*SCALE, "size", [150, 100, 100]), "scales[1].size[0]: this scale does not cover"),
        ((*SCALE, "voxel_offset", [-2, 0, 7]), "scales[1].size[0]: this scale does not cover"),
    ],
)
def test_sound_info_that_will_look_wrong_is_warned_of(change, warning):
    warnings = info_warnings(VolumeInfo.from_json(changed(*change)))
    assert any(warning in line for line in warnings), warnings


def test_sizes_up_to_two_to_the_24_are_not_warned_of():
    document = json.loads(changed(*SHARDED, "size", [2**24 - 5, 200, 100]))
    document["scales"].pop()
    assert info_warnings(VolumeInfo.from_json(json.dumps(document))) == []
