import json

import numpy as np
import pytest
import trimesh

import ngcore
from ngcore.cli import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.zeros((20, 20, 20), np.uint32)
    labels[4:12, 4:12, 4:12] = 17
    labels[13:18, 13:18, 13:18] = 53
    ngcore.convert(labels, "aseg", type="segmentation", resolution=(1e6,) * 3, fsync=False)
    trimesh.creation.box().export("box.stl")
    return tmp_path


def test_labels_surfaces_and_names_go_into_the_volume(folder, capsys):
    words = "--labels 53,17 --surface 80=box.stl --label 17=Left-Hippocampus --workers 1"
    assert run(["mesh", "aseg", *words.split(), "--no-sharding"]) == 0
    assert capsys.readouterr() == ("", "")
    names = {path.name for path in (folder / "aseg" / "mesh").iterdir()}
    assert names == {
        "info",
        "provenance",
        "empty.index",
        "17",
        "17.index",
        "53",
        "53.index",
        "80",
        "80.index",
    }
    properties = json.loads((folder / "aseg/segment_properties/info").read_text())["inline"]
    assert properties["ids"] == ["17"]
    assert run(["validate", "aseg"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("aseg --labels 1,x", "expected numbers such as 1,2,17, got '1,x'"),
        ("aseg --labels 0", "label 0 can't have a mesh"),
        ("aseg --surface box.stl", "expected LABEL=FILE, got 'box.stl'"),
        ("aseg --surface 4=", "expected LABEL=FILE, got '4='"),
        ("aseg --label -4=x", "expected LABEL=NAME, got '-4=x'"),
        ("aseg --label 4=x --label 4=y", "label 4 occurs twice"),
        ("aseg --surface 4=none.stl", "no mesh file"),
        ("aseg --labels 99", "holds none of these labels"),
        ("aseg --resume --overwrite", "--resume and --overwrite contradict each other"),
        ("absent", "not a precomputed volume: absent"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, capsys, words, message):
    before = sorted(folder.rglob("*"))
    assert run(["mesh", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ngcore: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(folder.rglob("*")) == before
