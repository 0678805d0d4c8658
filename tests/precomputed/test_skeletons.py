"""Skeletons: their `info`, and their bytes against a decoder that reads field by field."""

from __future__ import annotations

import json

import annotation_reader as reader
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngcore.errors import FormatError
from ngcore.precomputed.skeletons import Skeleton, SkeletonInfo, VertexAttribute

INFO = {
    "@type": "neuroglancer_skeletons",
    "transform": [1000, 0, 0, 0, 0, 1000, 0, 0, 0, 0, 1000, 0.5],
    "vertex_attributes": [
        {"id": "radius", "data_type": "float32", "num_components": 1},
        {"id": "orientation", "data_type": "float32", "num_components": 3},
        {"id": "kind", "data_type": "uint8", "num_components": 1},
    ],
    "segment_properties": "names",
    "spatial_index": {"of": "igneous"},
}


def test_info_comes_back_as_it_was():
    info = SkeletonInfo.from_json(json.dumps(INFO))
    assert json.loads(info.to_json()) == INFO
    assert SkeletonInfo.from_json(info.to_json()) == info
    bare = SkeletonInfo.from_json('{"@type": "neuroglancer_skeletons"}')
    assert bare.transform[0] == 1


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"@type": "neuroglancer_legacy_mesh"}, "@type: expected"),
        ({"transform": [1] * 11}, "transform: expected an array of 12 numbers"),
        ({"transform": [1] * 11 + ["a"]}, r"transform\[11\]: expected a finite number"),
        ({"vertex_attributes": {}}, "vertex_attributes: expected an array"),
        (
            {"vertex_attributes": [{"id": "a", "data_type": "uint64", "num_components": 1}]},
            r"vertex_attributes\[0\].data_type: expected one of float32",
        ),
        ({"vertex_attributes": [INFO["vertex_attributes"][0]] * 2}, "an id occurs twice"),
    ],
)
def test_faults_of_info_are_named(members, message):
    with pytest.raises(FormatError, match=message):
        SkeletonInfo.from_json(json.dumps({**INFO, **members}))


@given(
    vertices=st.integers(0, 6),
    edges=st.integers(0, 8),
    attributes=st.lists(
        st.tuples(st.sampled_from(["float32", "int8", "uint16", "int32"]), st.integers(1, 3)),
        max_size=3,
    ),
    seed=st.integers(0, 2**32),
)
def test_bytes_are_those_that_others_read_and_come_back(vertices, edges, attributes, seed):
    random = np.random.default_rng(seed)
    info = SkeletonInfo(
        tuple(VertexAttribute(f"a{n}", kind, count) for n, (kind, count) in enumerate(attributes))
    )
    values = {
        item.id: random.integers(0, 100, (vertices, item.num_components)).astype(item.dtype)
        for item in info.vertex_attributes
    }
    places = random.normal(size=(vertices, 3)).astype(np.float32)
    pairs = random.integers(0, max(1, vertices), (edges if vertices else 0, 2))
    data = Skeleton(places, pairs.astype(np.uint32), values).to_bytes(info)
    other = reader.read_skeleton(data, json.loads(info.to_json()))
    assert other["vertices"] == [tuple(place) for place in places.tolist()]
    assert other["edges"] == [tuple(pair) for pair in pairs.tolist()]
    found = Skeleton.from_bytes(data, info)
    np.testing.assert_array_equal(found.vertices, places)
    for name, expected in values.items():
        assert other["attributes"][name] == tuple(expected.reshape(-1).tolist())
        np.testing.assert_array_equal(
            found.attributes[name], expected.reshape(found.attributes[name].shape)
        )
    for wrong in (data[:-1], data + b"\0", data[:3]):
        with pytest.raises(FormatError):
            Skeleton.from_bytes(wrong, info)


def test_edges_to_no_vertex_and_coordinates_that_are_not_numbers_are_refused():
    info = SkeletonInfo()
    places = np.zeros((2, 3), np.float32)
    data = Skeleton(places, np.array([[0, 1], [1, 2]], np.uint32), {}).to_bytes(info)
    with pytest.raises(FormatError, match=r"byte 40: edge 1 joins vertices \[1, 2\], but there"):
        Skeleton.from_bytes(data, info)
    places[1, 1] = np.inf
    data = Skeleton(places, np.array([[0, 1]], np.uint32), {}).to_bytes(info)
    with pytest.raises(FormatError, match="byte 20: the coordinates of vertex 1"):
        Skeleton.from_bytes(data, info)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_skeleton_or_an_error(data):
    try:
        Skeleton.from_bytes(data, SkeletonInfo((VertexAttribute("a", "uint8"),)))
    except FormatError as error:
        assert "\n" not in str(error)  # noqa: PT017
