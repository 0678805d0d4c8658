import json

import pytest

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.segment_properties import (
    NumberProperty,
    SegmentProperties,
    TagsProperty,
    TextProperty,
)
from ngcore.storage import LocalStore
from ngcore.volume.label_names import named_properties

INFO = {"@type": "neuroglancer_multiscale_volume", "type": "segmentation", "mine": [1]}


@pytest.fixture
def store(tmp_path):
    (tmp_path / "info").write_text(json.dumps(INFO))
    return LocalStore(tmp_path)


def named(store, known, names):
    folder, document = named_properties(store, known, names)
    assert folder == (known or "segment_properties")
    return SegmentProperties.from_json(document)


def test_names_come_in_the_order_of_their_labels(store):
    assert named(store, None, {12: "twelve", 5: "five"}) == SegmentProperties(
        (5, 12), (TextProperty("label", ("five", "twelve")),)
    )


def test_names_are_put_among_those_that_are_there(store):
    old = SegmentProperties(
        (5, 9),
        (
            TextProperty("label", ("five", "nine")),
            TextProperty("description", ("odd", "square"), "description"),
            TagsProperty("tags", ("small",), ((0,), ())),
        ),
    )
    store.put("names/info", old.to_json().encode())
    assert named(store, "names", {9: "IX", 7: "seven"}) == SegmentProperties(
        (5, 7, 9),
        (
            TextProperty("label", ("five", "seven", "IX")),
            TextProperty("description", ("odd", "", "square"), "description"),
            TagsProperty("tags", ("small",), ((0,), (), ())),
        ),
    )


def test_numbers_stay_with_their_labels_and_are_not_made_up(store):
    counts = NumberProperty("voxels", "uint32", (1, 2))
    store.put("names/info", SegmentProperties((5, 9), (counts,)).to_json().encode())
    assert named(store, "names", {9: "nine"}) == SegmentProperties(
        (5, 9), (TextProperty("label", ("5", "nine")), counts)
    )
    with pytest.raises(InputError, match="label 7 has no 'voxels' in"):
        named_properties(store, "names", {7: "seven"})


def test_damaged_and_foreign_properties_are_refused(store):
    store.put("names/info", b"{")
    with pytest.raises(FormatError, match="names/info"):
        named_properties(store, "names", {7: "seven"})
    with pytest.raises(InputError, match="outside of"):
        named_properties(store, "../names", {7: "seven"})
