"""The info of segment properties: written, read back, and every rule refused by its JSON path."""

import json

import pytest

from ngcore.errors import FormatError
from ngcore.precomputed.names import MAX_SEGMENT_ID
from ngcore.precomputed.segment_properties import (
    NumberProperty,
    SegmentProperties,
    TagsProperty,
    TextProperty,
    problem_of_tag,
)

WHOLE = SegmentProperties(
    (0, 9, 10, MAX_SEGMENT_ID),
    (
        TextProperty("label", ("Unknown", "Tälamus", "", "丘脳 \U0001f9e0")),
        TextProperty("description", ("", "a", "b", "c"), "description"),
        TextProperty("atlas", ("x", "x", "y", "y"), "string", "Where it comes from"),
        TagsProperty("tags", ("left", "right"), ((), (0,), (1,), (0, 1)), ("L side", "R side")),
        NumberProperty("voxels", "uint32", (0, 1, 2, 2**32 - 1), "Voxels"),
        NumberProperty("volume", "float32", (0, 1.5, 2e10, 3)),
    ),
)


def document(ids=("1", "2"), properties=(), **members):
    inline = {"ids": list(ids), "properties": list(properties)}
    return json.dumps(
        {"@type": "neuroglancer_segment_properties", "inline": inline, **members}
    ).encode()


def text_property(**members):
    return {"id": "label", "type": "label", "values": ["a", "b"], **members}


def tags_property(**members):
    return {"id": "t", "type": "tags", "tags": ["x", "y"], "values": [[0], [0, 1]], **members}


def number_property(**members):
    return {"id": "n", "type": "number", "data_type": "uint8", "values": [0, 255], **members}


def test_properties_come_back_from_their_json():
    assert SegmentProperties.from_json(WHOLE.to_json()) == WHOLE


def test_ids_are_decimal_strings_in_numerical_order():
    assert json.loads(WHOLE.to_json())["inline"]["ids"] == ["0", "9", "10", str(2**64 - 1)]


def test_no_inline_properties_are_no_properties():
    empty = SegmentProperties.from_json('{"@type": "neuroglancer_segment_properties"}')
    assert empty == SegmentProperties((), ())


def test_the_file_is_ascii_whatever_the_names():
    assert WHOLE.to_json().isascii()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "expected a JSON object"),
        (b'{"@type": "neuroglancer_skeletons"}', "@type"),
        (document(ids=("2", "10", "9")), r"inline.ids\[2\]: 9 is out of numerical order"),
        (document(ids=("2", "2")), r"inline.ids\[1\]: 2 is listed twice"),
        (document(ids=(1, 2)), r"inline.ids\[0\]: expected a string of a decimal number"),
        (document(ids=("01",)), r"inline.ids\[0\]"),
        (document(ids=("-1",)), r"inline.ids\[0\]"),
        (document(ids=(str(2**64),)), r"inline.ids\[0\]"),
        (document(inline={"ids": []}), "inline.properties: missing"),
        (document(properties=[1]), r"inline.properties\[0\]: expected an object"),
        (document(properties=[text_property(type="name")]), r"properties\[0\].type: expected one"),
        (
            document(properties=[text_property(values=["a"])]),
            r"\[0\].values: expected 2 items",
        ),
        (document(properties=[text_property(values=["a", 1])]), r"values\[1\]: expected a string"),
        (document(properties=[text_property(values="ab")]), "values: expected an array"),
        (
            document(properties=[text_property(), text_property()]),
            r"\[1\]: has id .*, as properties\[0\] does",
        ),
        (
            document(properties=[text_property(), text_property(id="other")]),
            "has type 'label', as properties",
        ),
        (
            document(properties=[tags_property(), tags_property(id="other")]),
            "has type 'tags', as properties",
        ),
        (document(properties=[tags_property(values=[[1, 0], []])]), "increasing order"),
        (document(properties=[tags_property(values=[[0, 0], []])]), "increasing order"),
        (document(properties=[tags_property(values=[[2], []])]), r"values\[0\]\[0\]"),
        (document(properties=[tags_property(values=[0, 1])]), r"values\[0\]: expected an array"),
        (document(properties=[tags_property(tags=["#x", "y"])]), "without its '#'"),
        (document(properties=[tags_property(tags=["a b", "y"])]), "write 'a_b'"),
        (document(properties=[tags_property(tags=["x", "X"])]), r"'X' is tags\[0\] again"),
        (document(properties=[tags_property(tags=["x", ""])]), "an empty tag"),
        (
            document(properties=[tags_property(tag_descriptions=["x"])]),
            "descriptions: expected 2 items",
        ),
        (document(properties=[tags_property(description="x")]), "description: tags have none"),
        (document(properties=[number_property(data_type="uint64")]), "data_type: expected one of"),
        (document(properties=[number_property(values=[0, 256])]), r"values\[1\]: .* type uint8"),
        (document(properties=[number_property(values=[0, 0.5])]), r"values\[1\]: .* type uint8"),
        (document(properties=[number_property(values=[0, True])]), r"values\[1\]"),
        (document(properties=[number_property(values=[0, 10**400])]), r"values\[1\]"),
        (document(properties=[number_property(values=[0, None])]), r"values\[1\]"),
        (document(properties=[number_property(data_type="float32", values=[0, 1e39])]), "float32"),
    ],
)
def test_broken_properties_are_refused_with_their_place(data, message):
    with pytest.raises(FormatError, match=message):
        SegmentProperties.from_json(data)


def test_tags_are_told_what_is_wrong_with_them():
    assert problem_of_tag("left") is None
    assert "space" in problem_of_tag("left\u00a0side")
