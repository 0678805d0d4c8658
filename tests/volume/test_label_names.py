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
from ngcore.volume.label_names import LabelNames

INFO = {"@type": "neuroglancer_multiscale_volume", "type": "segmentation", "mine": [1]}


@pytest.fixture
def store(tmp_path):
    (tmp_path / "info").write_text(json.dumps(INFO))
    return LocalStore(tmp_path)


def written(store, folder="segment_properties"):
    return SegmentProperties.from_json(store.get(f"{folder}/info"))


def test_names_make_a_folder_that_info_tells_of(store):
    LabelNames(store, None, {12: "twelve", 5: "five"}).write()
    assert written(store) == SegmentProperties(
        (5, 12), (TextProperty("label", ("five", "twelve")),)
    )
    assert json.loads(store.get("info")) == INFO | {"segment_properties": "segment_properties"}


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
    LabelNames(store, "names", {9: "IX", 7: "seven"}).write()
    assert written(store, "names") == SegmentProperties(
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
    LabelNames(store, "names", {9: "nine"}).write()
    assert written(store, "names") == SegmentProperties(
        (5, 9), (TextProperty("label", ("5", "nine")), counts)
    )
    with pytest.raises(InputError, match="label 7 has no 'voxels' in"):
        LabelNames(store, "names", {7: "seven"})


def test_damaged_and_foreign_properties_are_refused(store):
    store.put("names/info", b"{")
    with pytest.raises(FormatError, match="names/info"):
        LabelNames(store, "names", {7: "seven"})
    with pytest.raises(InputError, match="outside of"):
        LabelNames(store, "../names", {7: "seven"})
