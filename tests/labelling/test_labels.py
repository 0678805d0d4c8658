"""Names and colours into volumes: what is written, counted, measured, and refused."""

import json
import logging
import subprocess
import sys
import threading

import nibabel
import numpy as np
import pytest
import volumes
from unprivileged import bound_by_permissions

import ngcore
from ngcore.cli import run
from ngcore.errors import DestinationError, FormatError, InputError, InputNotFoundError
from ngcore.labelling.labels import count_labels, write_labels
from ngcore.precomputed.segment_properties import SegmentProperties
from ngcore.storage import LocalStore
from ngcore.storage.base import TEMPORARY_SUFFIX
from ngcore.volume.segment_colours import segment_colours

TABLE = """\
# mine
0 Unknown 0 0 0 0
17 Left-Hippocampus 220 216 20 0
53 Right-Hippocampus 220 216 20
54 Right-Amygdala 103 255 255 0
"""


@pytest.fixture(autouse=True)
def package_logger(monkeypatch):
    """The command line sets the package's logger up for the process that it is."""
    logger = logging.getLogger("ngcore")
    monkeypatch.setattr(logger, "propagate", True)
    level = logger.level
    logger.setLevel(logging.WARNING)
    yield
    logger.setLevel(level)


def hippocampi():
    labels = np.zeros((70, 40, 30), np.uint32)
    labels[:10, :10, :10] = 17
    labels[60:70, :20, :20] = 53
    return labels


@pytest.fixture
def atlas(tmp_path):
    folder = tmp_path / "atlas"
    ngcore.convert(
        hippocampi(), folder, type="segmentation", resolution=(1e6, 1e6, 2e6), fsync=False
    )
    return folder


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "lut.txt"
    path.write_text(TABLE)
    return path


def written(atlas, folder="segment_properties"):
    properties = SegmentProperties.from_json((atlas / folder / "info").read_text())
    values = {item.id: item.values for item in properties.properties}
    return dict(zip(properties.ids, values["label"], strict=True)), values


def test_labels_get_names_and_colours(atlas, table):
    returned = write_labels(atlas, table)
    names, values = written(atlas)
    assert names == {
        17: "Left-Hippocampus",
        53: "Right-Hippocampus",
        54: "Right-Amygdala",
    }
    assert list(values) == ["label"]
    volume = ngcore.open(atlas)
    assert volume.info.segment_properties == "segment_properties"
    assert segment_colours(volume.store, volume.info) == {
        17: (220, 216, 20),
        53: (220, 216, 20),
        54: (103, 255, 255),
    }
    assert returned == SegmentProperties.from_json((atlas / "segment_properties/info").read_text())


def test_descriptions_and_tags_are_written_where_there_are_some(atlas, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,name,description,tag,tag\n53,R,the right one,right,HC\n17,L,,left,HC\n")
    write_labels(atlas, table)
    properties = SegmentProperties.from_json((atlas / "segment_properties/info").read_text())
    _, description, tags = properties.properties
    assert description.values == ("", "the right one")
    assert tags.tags == ("HC", "left", "right")
    assert tags.values == ((0, 1), (0, 2))


def test_measures_are_voxels_and_cubic_millimetres(atlas, table):
    write_labels(atlas, table, measure=True)
    _, values = written(atlas)
    assert values["voxels"] == (1000, 4000, 0)
    assert values["volume_mm3"] == (2000, 8000, 0)


def test_measures_of_a_sheared_volume_are_those_of_the_world(tmp_path, table):
    affine = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    source = tmp_path / "atlas_dseg.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hippocampi(), affine), source)
    ngcore.convert(source, tmp_path / "out", fsync=False)
    write_labels(tmp_path / "out", table, measure=True)
    _, values = written(tmp_path / "out")
    assert values["volume_mm3"][0] == pytest.approx(3 * 1000, rel=1e-6)


def test_strangers_are_counted_in_one_warning(atlas, tmp_path, caplog):
    table = tmp_path / "t.csv"
    table.write_text("17,L\n" + "".join(f"{n},x\n" for n in range(100, 107)))
    write_labels(atlas, table)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].endswith(
        "atlas: 1 label has no name (53), 7 names have no voxel (100, 101, 102, 103, 104, ...)"
    )


def test_nothing_is_said_where_names_and_labels_agree(atlas, tmp_path, caplog):
    table = tmp_path / "t.csv"
    table.write_text("17,L\n53,R\n")
    write_labels(atlas, table)
    assert not caplog.records


def test_info_keeps_what_others_wrote(atlas, table):
    info = json.loads((atlas / "info").read_text())
    info["somebody's own"] = {"big": 2**60, "x": [1, None]}
    (atlas / "info").write_text(json.dumps(info))
    write_labels(atlas, table)
    after = json.loads((atlas / "info").read_text())
    assert after.pop("segment_properties") == "segment_properties"
    assert after == info


def test_another_table_replaces_names_and_colours(atlas, table, tmp_path):
    write_labels(atlas, table)
    second = tmp_path / "t.csv"
    second.write_text("17,L\n53,R\n")
    write_labels(atlas, second)
    volume = ngcore.open(atlas)
    assert written(atlas)[0] == {17: "L", 53: "R"}
    assert segment_colours(volume.store, volume.info) == {}


def test_the_folder_that_info_names_is_used(atlas, table):
    info = json.loads((atlas / "info").read_text())
    (atlas / "info").write_text(json.dumps(info | {"segment_properties": "names/v2"}))
    write_labels(atlas, table)
    assert len(written(atlas, "names/v2")[0]) == 3


def test_a_folder_outside_of_the_volume_is_refused(atlas, table):
    info = json.loads((atlas / "info").read_text())
    (atlas / "info").write_text(json.dumps(info | {"segment_properties": "../names"}))
    with pytest.raises(InputError, match="outside of the volume"):
        write_labels(atlas, table)


def test_properties_are_there_before_info_names_them(atlas, table, monkeypatch):
    """A reader in between finds all that `info` names."""
    order = []
    put = LocalStore._put
    monkeypatch.setattr(
        LocalStore,
        "_put",
        lambda self, name, *rest, **how: (order.append(name), put(self, name, *rest, **how)),
    )
    write_labels(atlas, table)
    written = [name for name in order if name != "provenance"]
    assert written == ["segment_properties/info", "segment_properties/colors.json", "info"]


def test_nothing_is_written_for_a_bad_table(atlas, tmp_path):
    before = sorted(atlas.rglob("*"))
    table = tmp_path / "bad.txt"
    table.write_text(TABLE + "17 Again 1 2 3 0\n")
    with pytest.raises(FormatError, match=r"bad.txt', line 6: the id 17 was already in line 3"):
        write_labels(atlas, table)
    assert sorted(atlas.rglob("*")) == before


def test_images_have_no_labels(tmp_path, table):
    ngcore.convert(hippocampi(), tmp_path / "x", type="image", resolution=(1, 1, 1), fsync=False)
    with pytest.raises(InputError, match="is an image"):
        write_labels(tmp_path / "x", table)


def test_a_missing_table_or_volume_is_named(atlas, table, tmp_path):
    with pytest.raises(InputNotFoundError, match="no label table"):
        write_labels(atlas, tmp_path / "gone")
    with pytest.raises(InputNotFoundError, match="not a precomputed volume"):
        write_labels(tmp_path / "gone", table)


def test_a_volume_that_cannot_be_written_is_refused(atlas, table):
    atlas.chmod(0o500)
    try:
        with bound_by_permissions(), pytest.raises(DestinationError, match="can't be written"):
            write_labels(atlas, table)
    finally:
        atlas.chmod(0o700)


def test_damaged_colours_are_named(atlas, table):
    write_labels(atlas, table)
    (atlas / "segment_properties/colors.json").write_text("{")
    volume = ngcore.open(atlas)
    with pytest.raises(FormatError, match=r"colors.json: not JSON.* run `ngcore labels` again"):
        segment_colours(volume.store, volume.info)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "uint64"])
def test_counts_are_those_of_numpy(tmp_path, dtype):
    labels = volumes.labels((37, 29, 23, 1), dtype, seed=3)
    info = volumes.make_info(labels, volume_type="segmentation", chunk_sizes=((16, 16, 8),))
    volumes.write_volume(tmp_path, labels, info)
    ids, counts = np.unique(labels, return_counts=True)
    expected = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    seen = []
    lock = threading.Lock()

    def progress(done, total):
        with lock:
            seen.append((done, total))

    counted = count_labels(ngcore.open(tmp_path).scales[0], workers=3, progress=progress)
    assert counted == expected
    assert max(seen) == (labels.size, labels.size)


def test_a_damaged_chunk_is_named(tmp_path, table):
    labels = volumes.labels((20, 20, 20, 1), "uint32")
    info = volumes.make_info(labels, volume_type="segmentation", chunk_sizes=((10, 10, 10),))
    volumes.write_volume(tmp_path / "v", labels, info)
    (tmp_path / "v/1_1_1/10-20_0-10_0-10").write_bytes(b"xx")
    with pytest.raises(FormatError, match="10-20_0-10_0-10"):
        write_labels(tmp_path / "v", table)
    assert not (tmp_path / "v/segment_properties").exists()


def test_the_command_warns_and_is_otherwise_silent(atlas, table, capsys):
    assert run(["labels", str(atlas), str(table), "--measure"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"ngcore: warning: {atlas}: 1 name has no voxel (54)\n"
    assert "voxels" in written(atlas)[1]
    assert run(["labels", str(atlas), str(table), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["labels", str(atlas), str(atlas / "info")]) == 2
    assert "is not a label table" in capsys.readouterr().err


def test_labels_and_meshes_that_are_written_at_once_are_all_named(atlas, table, tmp_path):
    """As `make -j` runs them: each changes `info`, and neither change may be lost."""
    lines = ["solid", "facet normal 0 0 0", "outer loop", "vertex 0 0 0", "vertex 1 0 0"]
    stl = tmp_path / "a.stl"
    stl.write_text("\n".join([*lines, "vertex 0 1 0", "endloop", "endfacet", "endsolid", ""]))
    commands = [["labels", atlas, table]]
    commands += [["mesh-to-precomputed", stl, atlas, "--mesh-name", f"m{n}"] for n in range(3)]
    processes = [
        subprocess.Popen([sys.executable, "-m", "ngcore", *map(str, words)]) for words in commands
    ]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    members = json.loads((atlas / "info").read_text())
    assert members["mesh"] == "mesh"
    assert members["segment_properties"] == "segment_properties"
    assert not (atlas / ".ngcore").exists()


def test_properties_of_another_kind_and_folders_of_another_purpose_are_left_alone(atlas, table):
    path = atlas / "segment_properties" / "info"
    path.parent.mkdir()
    path.write_text('{"@type": "neuroglancer_skeletons"}')
    with pytest.raises(InputError, match='"neuroglancer_skeletons", so names'):
        write_labels(atlas, table)
    assert path.read_text() == '{"@type": "neuroglancer_skeletons"}'
    members = json.loads((atlas / "info").read_text())
    key = members["scales"][0]["key"]
    (atlas / "info").write_text(json.dumps(members | {"segment_properties": key}))
    with pytest.raises(InputError, match=r"overlaps .* which is scales\[0\].key"):
        write_labels(atlas, table)


def test_what_a_killed_command_left_half_written_goes(atlas, table):
    folder = atlas / "segment_properties"
    folder.mkdir()
    left = [atlas / f".x{TEMPORARY_SUFFIX}", folder / f".y{TEMPORARY_SUFFIX}"]
    for path in left:
        path.write_bytes(b"half")
    write_labels(atlas, table)
    assert not any(path.exists() for path in left)


def test_further_columns_are_numbers_where_every_label_has_one_else_texts(atlas, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,name,count,size,gap,voxels\n0,x,,,,\n17,L,300,1.5,1,7\n53,R,4,2,,8\n")
    write_labels(atlas, table, measure=True)
    properties = SegmentProperties.from_json((atlas / "segment_properties/info").read_text())
    found = {
        item.id: (getattr(item, "data_type", item.type), item.values)
        for item in properties.properties
    }
    assert found["count"] == ("uint16", (300, 4))
    assert found["size"] == ("float32", (1.5, 2))
    assert found["gap"] == ("string", ("1", ""))
    assert found["voxels_"] == ("uint8", (7, 8))
    assert found["voxels"][1] == (1000, 4000)


def test_columns_can_be_chosen_on_the_command_line(atlas, tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("neuron,nickname,hue\n17,L,#010203\n53,R,#040506\n")
    options = ["--id-column", "neuron", "--name-column", "nickname", "--color-column", "hue"]
    assert run(["labels", str(atlas), str(table), *options]) == 0
    assert capsys.readouterr() == ("", "")
    assert written(atlas)[0] == {17: "L", 53: "R"}
