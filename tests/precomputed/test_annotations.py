"""Annotations: their `info`, and their bytes against a decoder that reads field by field."""

from __future__ import annotations

import json
from typing import Any

import annotation_reader as reader
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngcore.errors import FormatError
from ngcore.precomputed.annotation_property import AnnotationProperty
from ngcore.precomputed.annotation_records import (
    decode_annotation,
    decode_list,
    encode_annotations,
    encode_list,
    make_records,
    offsets_of,
)
from ngcore.precomputed.annotations import (
    KINDS,
    AnnotationIndex,
    AnnotationInfo,
)

MINIMAL: dict[str, Any] = {
    "@type": "neuroglancer_annotations_v1",
    "dimensions": {"x": [0.001, "m"], "y": [0.001, "m"], "z": [0.001, "m"]},
    "lower_bound": [0, -1, 2.5],
    "upper_bound": [10, 20, 30],
    "annotation_type": "point",
    "properties": [
        {"id": "size", "type": "float32", "description": "in mm"},
        {"id": "kind", "type": "uint8", "enum_values": [0, 1], "enum_labels": ["a", "b"]},
        {"id": "colour", "type": "rgb", "default": "#ff0000"},
    ],
    "relationships": [{"id": "cell", "key": "rel_cell"}],
    "by_id": {
        "key": "by_id",
        "sharding": {
            "@type": "neuroglancer_uint64_sharded_v1",
            "preshift_bits": 0,
            "hash": "murmurhash3_x86_128",
            "minishard_bits": 2,
            "shard_bits": 3,
            "minishard_index_encoding": "gzip",
            "data_encoding": "raw",
        },
    },
    "spatial": [{"key": "s0", "grid_shape": [1, 1, 1], "chunk_size": [10, 21, 28], "limit": 100}],
}


def with_member(path: list[Any], value: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(MINIMAL))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


def test_info_comes_back_as_it_was():
    info = AnnotationInfo.from_json(json.dumps({**MINIMAL, "note": "kept"}))
    assert json.loads(info.to_json()) == {**MINIMAL, "note": "kept"}
    assert AnnotationInfo.from_json(info.to_json()) == info
    assert info.property_offsets == (0, 4, 5)
    assert info.record_bytes == 12 + 8


def test_time_may_be_a_fourth_dimension_and_kinds_are_written_in_capitals():
    other = with_member(["dimensions", "t"], [1, "s"]) | {
        "lower_bound": [0] * 4,
        "upper_bound": [1] * 4,
        "annotation_type": "POINT",
        "spatial": [],
    }
    info = AnnotationInfo.from_json(json.dumps(other))
    assert (info.rank, info.annotation_type) == (4, "point")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["by_id"], None, "by_id: missing"),
        (["relationships"], None, "relationships: missing"),
        (["dimensions"], {}, "dimensions: expected one or more"),
        (["dimensions", "x"], [0, "m"], r"dimensions.x\[0\]: expected a positive number"),
        (["dimensions", "x"], [1, "inch"], "dimensions.x: expected a number and a unit"),
        (["lower_bound"], [0, 0], "lower_bound: expected 3 numbers"),
        (["upper_bound"], [10, 20, 1], r"upper_bound\[2\]: expected no less than lower_bound"),
        (["annotation_type"], "blob", "annotation_type: expected one of point"),
        (["properties", 0, "id"], "Size", r"properties\[0\].id: expected a lower-case letter"),
        (["properties", 0, "id"], "kind", r"properties\[1\].id: 'kind' occurs twice"),
        (["properties", 0, "type"], "float64", r"properties\[0\].type: expected one of"),
        (["properties", 1, "enum_values"], [0, 256], r"enum_values\[1\]: expected an integer"),
        (["properties", 1, "enum_values"], [0], r"properties\[1\].enum_labels: 2 labels for 1"),
        (["spatial", 0, "chunk_size"], None, r"spatial\[0\].chunk_size: missing"),
        (["spatial", 0, "chunk_size"], [1, 1, 0], r"chunk_size\[2\]: expected a positive"),
        (["spatial", 0, "grid_shape"], [1, 1], r"spatial\[0\].grid_shape: expected 3 numbers"),
        (["spatial", 0, "limit"], 0, r"spatial\[0\].limit: expected a positive integer"),
        (["by_id", "sharding", "hash"], "md5", "by_id.sharding.hash: expected one of"),
    ],
)
def test_faults_of_info_are_named(path, value, message):
    with pytest.raises(FormatError, match=message):
        AnnotationInfo.from_json(json.dumps(with_member(path, value)))


def test_records_larger_than_the_client_takes_are_refused():
    many = [{"id": f"p{n}", "type": "float32"} for n in range(61)]
    with pytest.raises(FormatError, match="an annotation takes 256 bytes"):
        AnnotationInfo.from_json(json.dumps(with_member(["properties"], many)))


PROPERTY_TYPES = [
    *("rgb", "uint8", "float32", "int16", "rgba", "uint32", "int8", "uint16", "int32"),
]


def made_info(kind: str, types: list[str], relations: int = 0) -> AnnotationInfo:
    return AnnotationInfo(
        {"x": (0.001, "m"), "y": (0.001, "m"), "z": (0.001, "m")},
        (0, 0, 0),
        (1, 1, 1),
        kind,
        tuple(AnnotationProperty(f"p{n}", kind) for n, kind in enumerate(types)),
        tuple(AnnotationIndex(f"r{n}", None, f"rel{n}") for n in range(relations)),
        AnnotationIndex("by_id"),
        (),
    )


def made_arrays(info: AnnotationInfo, count: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    offsets = None
    rows = count
    if info.annotation_type == "polyline":
        offsets = offsets_of(random.integers(2, 6, count))
        rows = int(offsets[-1])
    properties = {}
    for item in info.properties:
        shape = (count, item.components) if item.components > 1 else (count,)
        properties[item.id] = random.integers(0, 100, shape).astype(item.dtype)
    geometry = random.normal(size=(rows, info.geometry_floats)).astype(np.float32)
    return {"geometry": geometry, "properties": properties, "vertex_offsets": offsets}


def made_relations(count: int, number: int, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        offsets = offsets_of(random.integers(0, 3, count))
        segments = random.integers(0, 2**64, offsets[-1], dtype=np.uint64)
        found.append((offsets, segments))
    return found


def expected_annotation(arrays: dict[str, Any], row: int) -> dict[str, Any]:
    offsets = arrays["vertex_offsets"]
    part = slice(row, row + 1) if offsets is None else slice(offsets[row], offsets[row + 1])
    points = [tuple(point) for point in arrays["geometry"][part].reshape(-1, 3).tolist()]
    return {
        "points": points,
        "properties": {
            name: tuple(values[row].tolist()) if values.ndim > 1 else values[row].item()
            for name, values in arrays["properties"].items()
        },
    }


@given(
    kind=st.sampled_from(KINDS),
    types=st.lists(st.sampled_from(PROPERTY_TYPES), max_size=9),
    count=st.integers(0, 6),
    relations=st.integers(0, 2),
    seed=st.integers(0, 2**32),
)
def test_bytes_are_those_that_others_read_and_come_back(kind, types, count, relations, seed):
    info = made_info(kind, types, relations)
    arrays = made_arrays(info, count, seed)
    ids = np.arange(count, dtype=np.uint64) * 7
    links = made_relations(count, relations, seed)
    records = make_records(info, **arrays)

    data = encode_list(records, ids)
    members = json.loads(info.to_json())
    expected = [{"id": 7 * row, **expected_annotation(arrays, row)} for row in range(count)]
    assert reader.read_list(data, members) == expected
    found = decode_list(data, info)
    assert found.ids.tolist() == ids.tolist()
    np.testing.assert_array_equal(found.geometry, arrays["geometry"])
    for name, values in arrays["properties"].items():
        np.testing.assert_array_equal(found.properties[name], values)

    singles = encode_annotations(records, links)
    for row in range(count):
        words = singles.words[singles.offsets[row] : singles.offsets[row + 1]]
        single = reader.read_annotation(words.tobytes(), members)
        segments = [values[a:b].tolist() for o, values in links for a, b in [o[row : row + 2]]]
        assert single.pop("relations") == {f"rel{n}": s for n, s in enumerate(segments)}
        assert single == expected_annotation(arrays, row)
        annotation, related = decode_annotation(words.tobytes(), info, 7 * row)
        assert annotation.ids.tolist() == [7 * row]
        assert [part.tolist() for part in related] == segments


@given(order=st.permutations(range(6)), kind=st.sampled_from(["point", "polyline"]))
def test_records_are_taken_in_any_order(order, kind):
    info = made_info(kind, ["uint16"])
    arrays = made_arrays(info, 6, 1)
    taken = make_records(info, **arrays).take(np.array(order[:4], np.int64))
    data = encode_list(taken, np.array(order[:4], np.uint64))
    found = reader.read_list(data, json.loads(info.to_json()))
    assert found == [{"id": row, **expected_annotation(arrays, row)} for row in order[:4]]


@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_another_length_are_refused(kind):
    info = made_info(kind, ["uint8"])
    arrays = made_arrays(info, 3, 2)
    data = encode_list(make_records(info, **arrays), np.arange(3, dtype=np.uint64))
    for wrong in (data[:-1], data + b"\0", data[:4], b"", b"\xff" * 8 + data[8:]):
        with pytest.raises(FormatError):
            decode_list(wrong, info)


def test_coordinates_that_are_not_numbers_are_refused():
    info = made_info("point", [])
    arrays = made_arrays(info, 2, 3)
    arrays["geometry"][1, 2] = np.nan
    data = encode_list(make_records(info, **arrays), np.arange(2, dtype=np.uint64))
    with pytest.raises(FormatError, match="row 1 of 2"):
        decode_list(data, info)


@given(data=st.binary(max_size=80), kind=st.sampled_from(KINDS))
def test_any_bytes_are_annotations_or_an_error(data, kind):
    info = made_info(kind, ["uint8", "float32"], 1)
    for decode in (decode_list, decode_annotation):
        try:
            decode(data, info)
        except FormatError as error:
            assert "\n" not in str(error)  # noqa: PT017
