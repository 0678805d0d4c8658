"""Tables of other programs, as they write them: text, XML, JSON, and FreeSurfer's binary ones."""

import gzip
import json
import struct

import nibabel
import numpy as np
import pytest

from ngcore.errors import FormatError
from ngcore.precomputed.segment_properties import SegmentProperties, TextProperty
from ngcore.sources.tables.rows import Label
from ngcore.sources.tables.tables import read_label_table

PONS = Label(1, "Pons", (255, 0, 10))


def read(tmp_path, data, name="table"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_label_table(path).labels


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("1 1.0 0.0 0.03922 Left  Pons\n", Label(1, "Left  Pons", (255, 0, 10))),
        ("1 1 0 0.03922 Pons\n", PONS),
        ("# Color table file C:/x.ctbl\n# 1 values\n1 Pons 255 0 10 255\n", PONS),
        ("1 PN Pons 255 0 10 255\n", Label(1, "Pons", (255, 0, 10), "PN")),
        ("Left Pons\n1 255 0 10 255\n", Label(1, "Left Pons", (255, 0, 10))),
        ("1 Left  Pons\n", Label(1, "Left Pons")),
        ("1: Pons\n", Label(1, "Pons")),
        ("1\tPons\n", Label(1, "Pons")),
        ('1 "Left Pons"\n', Label(1, "Left Pons")),
        ("1 Precentral_L 2001\n", Label(1, "Precentral_L", None, "2001")),
        ("1 Area 44\n", Label(1, "Area 44")),
    ],
)
def test_lines_of_words_are_read(tmp_path, text, label):
    assert read(tmp_path, text) == (label,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0.5 0.5 0.5 a\n2 0.5 1.5 0.5 b\n", "line 2: the colour '0.5 1.5 0.5' must be .* to 1"),
        ("A\n1 2 3 4 5\nB\n", "ends after the name 'B'"),
        ("A\n1 2 3 4 5\nB\nx\n", "line 4: expected key, red"),
        ("1 a\nx b\n", "line 2: expected an id and a name"),
        ("1 PN Pons 1 2 3\n2 PN Pons 1 2\n", "line 2: expected id, short name"),
    ],
)
def test_bad_lines_are_refused_by_number(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        read(tmp_path, text)


def test_atlases_of_spm_and_cat_are_read(tmp_path):
    text = (
        '<?xml version="1.0"?>\n<atlas version="2.0"><header><name>N</name></header><data>\n'
        "<label><index>1</index><name>Pons</name></label>\n"
        "<label><index>2</index><short_name>lAcc</short_name><name>Left A</name>"
        "<RGBA>255 0 10 255</RGBA><XYZmm>1,2,3</XYZmm></label></data></atlas>"
    )
    assert read(tmp_path, text) == (
        Label(1, "Pons"),
        Label(2, "Left A", (255, 0, 10), "lAcc"),
    )
    with pytest.raises(FormatError, match="line 3: <label> has no <name>"):
        read(tmp_path, text.replace("<name>Pons</name>", ""))


TREE = {
    "id": 997, "acronym": "root", "name": "root", "color_hex_triplet": "FFFFFF", "children": [
        {"id": 8, "acronym": "grey", "name": "Grey matter", "color_hex_triplet": "BFDAE3",
         "parent_structure_id": 997, "children": [
             {"id": 567, "acronym": "CH", "name": "Cerebrum", "color_hex_triplet": "B0F0FF",
              "children": []}]}],
}  # fmt: skip


@pytest.mark.parametrize("document", [TREE, [TREE], {"success": True, "msg": [TREE]}])
def test_a_tree_of_the_allen_institute_is_read(tmp_path, document):
    assert read(tmp_path, json.dumps(document)) == (
        Label(8, "Grey matter", (0xBF, 0xDA, 0xE3), "grey", ("root", "grey")),
        Label(567, "Cerebrum", (0xB0, 0xF0, 0xFF), "CH", ("root", "grey")),
        Label(997, "root", (255, 255, 255), "root", ("root",)),
    )


def test_structures_of_brainglobe_are_read(tmp_path):
    structures = [
        {"acronym": "root", "id": 1, "name": "root", "structure_id_path": [1],
         "rgb_triplet": [255, 255, 255]},
        {"acronym": "Hb", "id": 9, "name": "habenula", "structure_id_path": [1, 9],
         "rgb_triplet": [15, 2, 200]},
    ]  # fmt: skip
    assert read(tmp_path, json.dumps(structures)) == (
        Label(1, "root", (255, 255, 255), "root", ("root",)),
        Label(9, "habenula", (15, 2, 200), "Hb", ("root",)),
    )


@pytest.mark.parametrize(
    "document",
    [
        {"1": "Pons", "2": "b"},
        {"labels": {"background": 0, "Pons": 1, "b": 2}},
        {"labels": {"0": "background", "1": "Pons", "2": "b"}, "modality": {"0": "CT"}},
        {"segmentAttributes": [[{"labelID": 1, "SegmentLabel": "Pons"}],
                               [{"labelID": 2, "SegmentLabel": "b"}]]},
        [{"id": 1, "name": "Pons"}, {"id": 2, "name": "b"}],
    ],
)  # fmt: skip
def test_json_of_networks_and_tools_is_read(tmp_path, document):
    labels = read(tmp_path, json.dumps(document))
    assert [label for label in labels if label.id] == [Label(1, "Pons"), Label(2, "b")]


def test_segment_properties_are_a_table_too(tmp_path):
    own = SegmentProperties((1, 7), (TextProperty("label", ("Pons", "b")),))
    assert read(tmp_path, own.to_json()) == (Label(1, "Pons"), Label(7, "b"))


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": [1]}', "[]", '{"1": 2.5}', "[" * 100000])
def test_json_of_something_else_is_refused(tmp_path, text):
    with pytest.raises(FormatError, match="JSON"):
        read(tmp_path, text)


def test_an_annotation_is_read(tmp_path):
    colours = np.array([[25, 5, 25, 0], [255, 0, 10, 0]])
    path = tmp_path / "lh.aparc.annot"
    nibabel.freesurfer.write_annot(path, np.array([0, 1, 1]), colours, ["unknown", "Pons"])
    assert read_label_table(path).labels == (Label(0, "unknown", (25, 5, 25)), PONS)


def colour_table():
    def text(word):
        return struct.pack(">i", len(word) + 1) + word + b"\0"

    entry = struct.pack(">i", 1) + text(b"Pons") + struct.pack(">4i", 255, 0, 10, 0)
    return struct.pack(">ii", -2, 2) + text(b"lut.txt") + struct.pack(">i", 1) + entry


@pytest.mark.parametrize("is_packed", [True, False])
def test_the_table_at_the_end_of_an_mgz_is_read(tmp_path, is_packed):
    path = tmp_path / "aseg.mgh"
    nibabel.save(nibabel.MGHImage(np.ones((3, 4, 5), np.int32), np.eye(4)), path)
    command = struct.pack(">iq", 3, 5) + b"mri_x"
    data = path.read_bytes() + command + struct.pack(">i", 1) + colour_table()
    assert read(tmp_path, gzip.compress(data) if is_packed else data) == (PONS,)
    with pytest.raises(FormatError, match="truncated or damaged"):
        read(tmp_path, data[:-3])
    with pytest.raises(FormatError, match="no colour table follows its voxels"):
        read(tmp_path, path.read_bytes())
