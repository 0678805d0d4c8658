import json

from findings import edit_json, found, only


def test_wrong_segment_properties_are_named_by_their_json_path(labels):
    edit_json(labels / "info", lambda info: info.update(segment_properties="names"))
    (labels / "names").mkdir()
    label = {"id": "label", "type": "label", "values": ["a", "b"]}
    inline = {"ids": ["2", "10"], "properties": [label]}
    document = {"@type": "neuroglancer_segment_properties", "inline": inline}
    (labels / "names/info").write_text(json.dumps(document))
    assert not found(labels)
    assert only(found(labels, "warning")).startswith("info: segment_properties: was added")
    inline["ids"] = ["10", "2"]
    (labels / "names/info").write_text(json.dumps(document))
    assert only(found(labels)).startswith("names/info: inline.ids[1]: ")
    inline["ids"] = ["2", "10"]
    (labels / "names/info").write_text(json.dumps(document))
    (labels / "names/colors.json").write_text('{"2": "#00ff00", "10": null}')
    assert only(found(labels)).startswith("names/colors.json: 10: expected a colour")
