"""`ngcore info`: what there is, where it lies, what it was made of."""

import json

import nibabel
import numpy as np
import pytest

import ngcore
from ngcore.cli import run


@pytest.fixture
def brain(tmp_path):
    source = tmp_path / "t1.nii"
    affine = np.array([[-2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 3, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 6, 7), np.uint8), affine), source)
    ngcore.convert(source, tmp_path / "brain", type="image", fsync=False)
    return tmp_path / "brain"


def test_orientation_extent_bytes_and_source_are_told(brain, capsys):
    assert run(["info", str(brain)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "image of uint8"
    assert "orientation: LAS" in lines
    assert "world (mm): 1 to 11, -21 to -9, -1.5 to 19.5" in lines
    assert "source: t1.nii" in lines
    assert "made by: ngcore convert" in lines
    assert any(line.startswith("bytes: ") for line in lines)


def test_json_holds_the_members_of_info_and_all_the_rest(brain, capsys):
    assert run(["info", str(brain), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scales"][0]["size"] == [5, 6, 7]
    assert document["orientation"] == "LAS"
    assert document["extent_mm"] == [[1, -21, -1.5], [11, -9, 19.5]]
    assert document["bytes"] == sum(p.stat().st_size for p in brain.rglob("*") if p.is_file())
    assert document["sources"] == ["t1.nii"]


def test_several_volumes_are_told_one_after_the_other(brain, tmp_path, capsys):
    ngcore.convert(np.ones((4, 4, 4), np.uint16), tmp_path / "b", resolution=(8, 8, 8))
    assert run(["info", str(brain), str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    assert f"{brain}:" in out
    assert "world: unknown" in out
    assert run(["info", str(brain), str(tmp_path / "b"), "--json"]) == 0
    assert [d["data_type"] for d in json.loads(capsys.readouterr().out)] == ["uint8", "uint16"]


ANNOTATIONS = {
    "@type": "neuroglancer_annotations_v1",
    "annotation_type": "point",
    "dimensions": {"x": [1, "m"]},
    "lower_bound": [0],
    "upper_bound": [1],
    "properties": [],
    "relationships": [],
    "by_id": {"key": "by_id"},
}
MESHES = {
    "@type": "neuroglancer_multilod_draco",
    "vertex_quantization_bits": 16,
    "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
    "lod_scale_multiplier": 1,
}


@pytest.mark.parametrize(
    ("members", "name"),
    [
        (ANNOTATIONS, "annotations (point)"),
        ({"@type": "neuroglancer_skeletons"}, "skeletons"),
        (MESHES, "multi-resolution meshes"),
    ],
)
def test_other_kinds_of_layers_are_told_and_refused_by_name(tmp_path, capsys, members, name):
    (tmp_path / "info").write_text(json.dumps(members))
    assert run(["info", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(name)
    assert run(["convert", str(tmp_path), str(tmp_path / "out")]) == 2
    assert f"is a folder of {name}, not a volume" in capsys.readouterr().err


@pytest.mark.parametrize("members", [ANNOTATIONS, MESHES], ids=["annotations", "meshes"])
def test_infos_of_other_kinds_that_break_their_rules_are_refused(tmp_path, capsys, members):
    (tmp_path / "info").write_text(json.dumps({"@type": members["@type"]}))
    assert run(["info", str(tmp_path)]) == 2
    assert "/info: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["info", "repair"])
def test_an_info_that_is_not_json_is_named(command, tmp_path, capsys):
    (tmp_path / "info").write_text("{")
    dest = [str(tmp_path / "out")] if command == "repair" else []
    assert run([command, str(tmp_path), *dest]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/info: not JSON" in line
    assert not (tmp_path / "out").exists()
