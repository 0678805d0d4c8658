"""What has changed since ngcore wrote it is found, and told apart from what others added."""

import json
import shutil

import damage
import numpy as np
import pytest
from findings import edit_json, found, only
from sealed_volume import change_once, make_whole, seen
from thorough import amount

import ngcore
from ngcore.labelling.labels import write_labels
from ngcore.meshing.mesh import write_meshes
from ngcore.validating.validate import validate


@pytest.fixture(scope="module", params=[True, False], ids=["shards", "files"])
def made(request, tmp_path_factory):
    return make_whole(tmp_path_factory.mktemp("sealed") / "volume", sharding=request.param)


@pytest.fixture
def volume(made, tmp_path):
    return damage.copy(made, tmp_path / "volume")


def edit_info(folder, change):
    edit_json(folder / "info", change)


def mirror(folder):
    edit_json(folder / "transform.json", lambda rows: rows[0].__setitem__(0, -rows[0][0]))


def shift(folder):
    edit_json(folder / "transform.json", lambda rows: rows[2].__setitem__(3, rows[2][3] + 1))


def double_resolutions(info):
    for scale in info["scales"]:
        scale["resolution"] = [2 * n for n in scale["resolution"]]


def move_offsets(info):
    for scale in info["scales"]:
        scale["voxel_offset"] = [4, 0, 0]


def scale_meshes(folder):
    """Write the meshes 64 times as large, as another program might: by the transform."""

    def change(info):
        info["transform"] = [64 * n for n in info["transform"]]

    edit_json(folder / "mesh/info", change)


def remove_meshes(folder):
    shutil.rmtree(folder / "mesh")
    edit_info(folder, lambda info: info.pop("mesh"))


def remove_digests(folder):
    def change(document):
        document["processing"][-1]["method"].pop("digests")

    edit_json(folder / "provenance", change)


def remove_all_of_the_seal(folder):
    def change(document):
        for step in document["processing"]:
            step["method"].pop("digests", None)
            step["method"].pop("seal", None)

    edit_json(folder / "provenance", change)


CHANGES = {
    "transform mirrored": mirror,
    "transform shifted": shift,
    "transform gone": lambda folder: (folder / "transform.json").unlink(),
    "resolutions doubled": lambda folder: edit_info(folder, double_resolutions),
    "offsets moved": lambda folder: edit_info(folder, move_offsets),
    "data type changed": lambda folder: edit_info(folder, lambda i: i.update(data_type="int32")),
    "type changed": lambda folder: edit_info(folder, lambda info: info.update(type="image")),
    "scale dropped": lambda folder: edit_info(folder, lambda info: info["scales"].pop()),
    "finest scale hidden": lambda f: edit_info(f, lambda i: i["scales"][0].update(hidden=True)),
    "digests removed": remove_digests,
    "seal removed": remove_all_of_the_seal,
    "meshes gone": remove_meshes,
    "meshes not named": lambda folder: edit_info(folder, lambda info: info.pop("mesh")),
    "meshes 64 times too large": scale_meshes,
    "names gone": lambda folder: edit_info(folder, lambda i: i.pop("segment_properties")),
    "colours gone": lambda folder: (folder / "segment_properties/colors.json").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("is_noted", [False, True], ids=["silent", "with a later step"])
def test_changes_of_what_ngcore_wrote_are_found(volume, change, is_noted):
    assert not validate(volume).findings
    change(volume)
    if is_noted:
        note_step(volume)
    errors = found(volume)
    assert errors
    if is_noted and "provenance: " not in errors[0]:
        who = 'by "DownsampleTask", as provenance says, not by ngcore'
        assert any(who in line for line in errors)


def note_step(folder):
    step = {"method": {"task": "DownsampleTask"}, "by": "somebody"}
    edit_json(folder / "provenance", lambda document: document["processing"].append(step))


def test_meshes_of_another_volume_are_found(volume, tmp_path):
    is_sharded = (volume / "mesh/0.shard").exists()
    other = make_whole(tmp_path / "other", seed=1, sharding=is_sharded)
    shutil.copytree(other / "mesh", volume / "mesh", dirs_exist_ok=True)
    assert only(found(volume)).startswith("mesh: the meshes differ from what ngcore wrote")


def test_a_byte_inside_a_mesh_is_found(volume):
    path = next(path for path in (volume / "mesh").iterdir() if path.name in ("1", "0.shard"))
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(data)
    assert any(line.startswith("mesh: the meshes differ from what") for line in found(volume))


def test_json_laid_out_anew_and_members_that_nobody_knows_are_no_change(volume):
    edit_info(volume, lambda info: info.update(of_another_tool=[1]))
    edit_json(volume / "mesh/info", lambda info: info.update(spatial_index={"resolution": [1]}))
    edit_json(volume / "segment_properties/info", dict.copy)  # laid out anew, without change
    note_step(volume)
    assert not validate(volume).findings


def test_what_others_add_is_a_warning(volume):
    def add(info):
        coarsest = info["scales"][-1]
        more = {**coarsest, "key": "more", "resolution": [2 * n for n in coarsest["resolution"]]}
        info["scales"].append({**more, "size": [-(-n // 2) for n in coarsest["size"]]})
        info["skeletons"] = "skeletons"

    edit_info(volume, add)
    (volume / "skeletons").mkdir()
    (volume / "skeletons/info").write_text('{"@type": "neuroglancer_skeletons"}')
    lines = found(volume, "warning")
    for name in ("skeletons", "scales[more]"):
        assert f"info: {name}: was added: changed since, not by ngcore" in lines


def test_labels_and_meshes_made_anew_by_ngcore_are_no_change(volume, tmp_path):
    table = tmp_path / "other.csv"
    table.write_text("id,name\n1,uno\n2,dos\n3,tres\n")
    write_labels(volume, table)
    write_meshes(volume, workers=1, overwrite=True, sharding=False, names={1: "eins"})
    assert not validate(volume).findings
    steps = json.loads((volume / "provenance").read_text())["processing"]
    assert [step["method"]["task"] for step in steps] == [
        "ngcore convert",
        "ngcore labels",
        "ngcore mesh",
    ]


def test_an_interrupted_command_is_told_and_no_error(volume):
    def interrupt(document):
        document["processing"][-1]["method"]["seal"]["changing"] = ["labels"]

    edit_json(volume / "provenance", interrupt)
    (volume / "segment_properties/colors.json").unlink()
    lines = found(volume, "warning")
    assert any("ngcore labels is running, or was interrupted" in line for line in lines)


def test_single_changes_of_any_file_that_a_reader_sees_are_found(made, tmp_path):
    is_sharded = (made / "mesh/0.shard").exists()
    other = make_whole(tmp_path / "other", seed=1, sharding=is_sharded)
    before = seen(made)
    assert None not in before
    visible, missed = 0, []
    for seed in range(amount(24, 500)):
        folder = damage.copy(made, tmp_path / "changed")
        what = change_once(folder, other, np.random.default_rng(seed))
        if seen(folder) == before:
            continue
        visible += 1
        try:
            if validate(folder, workers=1).is_sound:
                missed.append(f"seed {seed}: {what}")
        except ngcore.InputError:
            continue  # there is no info any more
    print(f"{visible - len(missed)} of {visible} found")
    assert visible > amount(24, 500) // 2
    assert not missed
