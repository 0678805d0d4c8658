"""What users name to look at: paths with settings, names of layers, and what is kept."""

import json
import os
import signal
import subprocess
import sys
import urllib.parse

import nibabel
import numpy as np
import pytest

import ngcore
from ngcore.cli import run
from ngcore.errors import InputError
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.server.layers import VolumeLayer
from ngcore.server.look import layers_of, make_ready, workshop
from ngcore.server.states import viewer_state
from ngcore.server.things import parse_thing

AFFINE = np.diag([2.0, 2, 2, 1])


def save(path, values, affine=AFFINE, step=None):
    image = nibabel.Nifti1Image(values, affine)
    if step is not None:
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_zooms((*image.header.get_zooms()[:3], step))
    nibabel.save(image, path)
    return path


@pytest.fixture
def t1(tmp_path):
    values = np.random.default_rng(0).integers(1, 200, (20, 21, 22)).astype(np.uint8)
    return save(tmp_path / "sub-01_T1w.nii.gz", values)


@pytest.fixture
def zmap(tmp_path):
    values = np.zeros((20, 21, 22), np.float32)
    values[3:6, 3:6, 3:6], values[9:12, 3:6, 3:6] = 5, -4
    return save(tmp_path / "z.nii.gz", values)


def state_of(*things, folder, **options):
    shown = make_ready(list(map(str, things)), folder)
    return viewer_state(layers_of(shown, lambda _, root: f"precomputed://x/{root}"), **options)


def shader_of(thing, folder):
    (layer,) = state_of(thing, folder=folder)["layers"]
    return layer["shader"]


def test_settings_are_taken_from_the_end_and_paths_keep_their_colons(tmp_path):
    thing = parse_thing("https://a.b/c:8080/vol:min=2:opacity=0.5:visible=0")
    assert thing.place == "https://a.b/c:8080/vol"
    assert (thing.asked.low, thing.asked.opacity, thing.asked.is_visible) == (2, 0.5, False)
    odd = tmp_path / "a:min=3"
    odd.write_text("")
    assert parse_thing(odd).place == str(odd)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("colour=red", "'colour' can't be set; the settings are colormap"),
        ("colormap=jet", "'jet' is not a colour map"),
        ("min=low", "min=low must be a number"),
        ("opacity=2", "must be a number from 0 to 1"),
        ("visible=yes", "visible=yes must be 0 or 1"),
        ("volume=-1", "must be a whole number"),
        ("type=label", "must be image or segmentation"),
        ("min=1:min=2", "sets min twice"),
        ("labels=", "must be the path"),
    ],
)
def test_settings_that_make_no_sense_exit_2_in_one_line(capsys, t1, settings, message):
    assert run(["view", f"{t1}:{settings}", "--no-browser"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("volume=3", "has the volumes 0 to 0"),
        ("min=9:max=3", "max must be above min"),
        ("type=segmentation:min=3", "min is for images"),
        ("labels=absent.csv:type=image", "no label table"),
    ],
)
def test_settings_that_do_not_fit_are_refused(t1, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        state_of(f"{t1}:{settings}", folder=tmp_path / "w")


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("sub-01_T1w.nii.gz", "sub-01_T1w"),
        ("lh.pial", "lh.pial"),
        ("hemi-L_pial.surf.gii", "hemi-L_pial"),
        ("a.b.csv", "a.b"),
        ("x.zip", "x"),
    ],
)
def test_a_layer_has_the_name_of_its_file_without_endings(name, layer):
    assert parse_thing(name).name == layer


def test_a_folder_keeps_all_of_its_name(tmp_path):
    (tmp_path / "v1.nii").mkdir()
    assert parse_thing(tmp_path / "v1.nii").name == "v1.nii"


def test_colour_maps_and_ranges_are_in_the_shader(t1, tmp_path):
    shader = shader_of(f"{t1}:colormap=hot:min=20:max=90", tmp_path / "w")
    assert "range=[20, 90]" in shader
    assert "emitTransparent" in shader
    assert "vec3(1.0000, 1.0000, 0.0000)" in shader
    assert "vec3(1.0000, 0.5020, 0.0000)" in shader_of(f"{t1}:color=#ff8000", tmp_path / "w2")


def test_a_map_over_an_image_diverges_and_takes_threshold_and_top(t1, zmap, tmp_path):
    state = state_of(f"{zmap}:min=1.5:max=4", t1, folder=tmp_path / "w")
    assert [layer["name"] for layer in state["layers"]] == ["sub-01_T1w", "z"]
    shader = state["layers"][1]["shader"]
    assert "#uicontrol float threshold slider(min=0, max=5.0, default=1.5)" in shader
    assert "#uicontrol float top slider(min=0, max=5.0, default=4.0)" in shader
    alone = state_of(zmap, folder=tmp_path / "w2")
    assert "threshold" not in alone["layers"][0]["shader"]


def test_one_volume_of_a_series_has_no_time(tmp_path):
    series = np.random.default_rng(0).integers(1, 200, (20, 21, 12, 5)).astype(np.int16)
    save(tmp_path / "bold.nii", series, step=1.5)
    state = state_of(tmp_path / "bold.nii", folder=tmp_path / "w")
    assert state["dimensions"]["t"] == [1.5, "s"]
    assert state["layers"][0]["source"]["transform"]["matrix"][3] == [0, 0, 0, 1, 0]
    one = state_of(f"{tmp_path / 'bold.nii'}:volume=3", folder=tmp_path / "w")
    assert list(one["dimensions"]) == ["x", "y", "z"]
    assert "channel=3" in one["layers"][0]["shader"]


def test_frames_of_two_series_lie_at_their_times():
    slow, fast = (
        VolumeLayer(name, "precomputed://x", info, time_step=step)
        for name, step in (("slow", 2.0), ("fast", 0.5))
        for info in [VolumeInfo("image", "int16", 4, (ScaleInfo("k", (9, 9, 9), (1e6,) * 3),))]
    )
    state = viewer_state([slow, fast])
    assert state["dimensions"]["t"] == [0.5, "s"]
    times = [x["source"]["transform"]["matrix"][3] for x in state["layers"]]
    assert times == [[0, 0, 0, 4, -2], [0, 0, 0, 1, 0]]  # a frame around its time


def test_the_range_of_a_series_is_that_of_all_of_it(tmp_path):
    series = np.full((20, 21, 12, 30), 100, np.int16)
    series[..., 0], series[:10, ..., 15:] = 50, 900
    save(tmp_path / "bold.nii", series, step=1.5)
    assert "range=[50, 900]" in shader_of(tmp_path / "bold.nii", tmp_path / "w")
    shares = np.zeros((20, 21, 12, 5), np.float32)
    shares[:8, ..., 0], shares[8:, ..., 3] = 0.25, 1
    save(tmp_path / "probseg.nii", shares)
    assert "range=[0, 1.0]" in shader_of(tmp_path / "probseg.nii", tmp_path / "w")


def test_a_table_names_and_colours_labels_for_this_view_alone(t1, tmp_path):
    (tmp_path / "t.csv").write_text("id,name,r,g,b\n17,Hippocampus,220,216,20\n")
    state = state_of(f"{t1}:labels={tmp_path / 't.csv'}", folder=tmp_path / "w")
    (layer,) = state["layers"]
    assert layer["type"] == "segmentation"
    assert layer["segmentColors"] == {"17": "#dcd814"}
    assert layer["source"][1] == "precomputed://x/sub-01_T1w.labels"
    assert not (tmp_path / "w" / "sub-01_T1w" / "segment_properties").exists()


def test_an_array_without_a_world_has_the_clients_layout(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(1, 99, (20, 21, 22), np.uint8))
    ngcore.convert(tmp_path / "a.npy", tmp_path / "a", resolution=(8, 8, 8), fsync=False)
    assert state_of(tmp_path / "a", folder=tmp_path)["layout"] == "4panel"


def test_native_layout_changes_the_panels_alone(t1, tmp_path):
    anatomical = state_of(t1, folder=tmp_path / "w")
    native = state_of(t1, folder=tmp_path / "w", layout="native")
    assert native["layout"] == "4panel"
    assert native["layers"] == anatomical["layers"]
    assert native["position"] == anatomical["position"]


def test_what_has_not_changed_is_kept_and_what_has_is_made_again(t1, zmap, tmp_path):
    (tmp_path / "s.off").write_text("OFF 4 1 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n")
    keep = tmp_path / "keep"
    things = [str(path) for path in (t1, zmap, tmp_path / "s.off")]
    names = ("sub-01_T1w/info", "z/info", "s/info")

    def times():
        make_ready(things, keep)
        return [(keep / name).stat().st_mtime_ns for name in names]

    first = times()
    assert times() == first
    os.utime(t1, ns=(0, 10**18))
    save(zmap, np.ones((20, 21, 22), np.float32))
    assert [a == b for a, b in zip(times(), first, strict=True)][1:] == [False, True]
    assert ngcore.open(keep / "z").scales[0][3, 3, 3, 0] == 1


_KILLED = """
import os, signal, sys
from ngcore.storage.local import LocalStore
from ngcore.server.look import make_ready
LocalStore.put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
make_ready([sys.argv[1]], __import__("pathlib").Path(sys.argv[2]))
"""


@pytest.mark.usefixtures("t1")
@pytest.mark.parametrize("name", ["s.off", "points.csv", "sub-01_T1w.nii.gz"])
def test_what_a_killed_run_left_in_keep_is_made_again(tmp_path, name):
    (tmp_path / "s.off").write_text("OFF 4 1 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n")
    (tmp_path / "points.csv").write_text("x,y,z\n1,2,3\n4,5,6\n")
    keep = tmp_path / "keep"
    keep.mkdir()
    done = subprocess.run([sys.executable, "-c", _KILLED, tmp_path / name, keep], check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(keep.iterdir())
    (shown,) = make_ready([tmp_path / name], keep)
    assert (keep / shown.root / "info").is_file()


def test_the_temporary_folder_goes_whatever_happens():
    folders = []

    def interrupted():
        with workshop(None) as folder:
            folders.append(folder)
            (folder / "volume").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not folders[0].exists()


def test_link_writes_a_state_and_prints_the_short_link(t1, tmp_path, capsys):
    ngcore.convert(t1, tmp_path / "T1", fsync=False)
    out = tmp_path / "my state.json"
    arguments = [
        str(tmp_path / "T1:opacity=0.5"),
        "--url",
        "https://a.b/data",
        "--state",
        str(out),
    ]
    assert run(["link", *arguments]) == 0
    line = capsys.readouterr().out.strip()
    assert line == "https://neuroglancer-demo.appspot.com/#!https://a.b/data/my%20state.json"
    state = json.loads(out.read_text())
    assert state["layers"][0]["opacity"] == 0.5
    assert state["layers"][0]["source"]["url"] == "precomputed://https://a.b/data"
    assert run(["link", *arguments]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["link", str(t1), "--url", "https://a.b"]) == 2
    assert "no volume in" in capsys.readouterr().err
    assert urllib.parse.unquote(line).isprintable()


def test_an_array_without_voxel_sizes_is_shown_as_if_they_were_a_millimetre(tmp_path, caplog):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(1, 99, (20, 21, 22), np.uint8))
    for _ in range(2):  # the second time it is kept
        state = state_of(tmp_path / "a.npy", folder=tmp_path / "w")
    assert state["layout"] == "4panel"
    assert state["dimensions"]["x"] == [0.001, "m"]
    assert "a.npy has no voxel size" in caplog.text


def test_brightness_is_that_of_the_volume_that_is_shown(tmp_path):
    series = np.random.default_rng(0).integers(1, 100, (20, 21, 12, 5)).astype(np.float32)
    series[..., 3] *= 1000
    series[..., 4] -= 50
    save(tmp_path / "stats.nii", series)
    shader = shader_of(f"{tmp_path / 'stats.nii'}:volume=3", tmp_path / "w")
    assert "range=[1000.0, 99000.0]" in shader
    state = state_of(
        f"{tmp_path / 'stats.nii'}:volume=0",
        f"{tmp_path / 'stats.nii'}:volume=4",
        folder=tmp_path / "w",
    )
    below, above = (layer["shader"] for layer in state["layers"])
    assert "threshold" in above
    assert "threshold" not in below


def test_all_of_a_signed_map_that_is_shown_in_grey_fits(zmap, tmp_path):
    assert state_of(zmap, folder=tmp_path / "w")["ngcore"]["extent"] == [40, 42, 44]
    assert state_of(f"{zmap}:colormap=cold-hot", folder=tmp_path / "w")["ngcore"]["extent"] == [
        18,
        6,
        6,
    ]


@pytest.mark.parametrize(("size", "unit_m"), [(30, 1e-6), (3000, 1e-3)])
def test_a_neuron_fills_its_panel_whatever_its_size(size, unit_m, tmp_path):
    (tmp_path / "n.swc").write_text(f"1 1 0 0 0 1 -1\n2 3 {size} {size} 0 1 1\n")
    state = state_of(tmp_path / "n.swc", folder=tmp_path / "w")
    assert state["dimensions"]["x"] == [unit_m, "m"]
    assert state["ngcore"]["extent"][0] == pytest.approx(size * 1e-6 / unit_m)


TABLES = {
    "points.csv": ("x,y,z,group\n1,2,3,grid\n4,5,6,grid\n7,8,9,strip\n", "POINT", 3),
    "Lines.csv": ("X1,Y1,Z1,X2,Y2,Z2\n1,2,3,4,5,6\n0,0,0,1,1,1\n", "LINE", 2),
    "cells.tsv": ("x\ty\tz\trx\try\trz\n1\t2\t3\t1\t1\t1\n", "ELLIPSOID", 1),
    "paths.csv": ("polyline,x,y,z\na,0,0,0\na,1,0,0\nb,5,5,5\nb,6,6,6\nb,7,7,8\n", "POLYLINE", 2),
    "both.csv": ("x,y,z,x1,y1,z1,x2,y2,z2\n1,2,3,1,2,3,4,5,6\n", "POINT", 1),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_columns_of_a_table_tell_its_kind(tmp_path, caplog, name):
    text, kind, count = TABLES[name]
    (tmp_path / name).write_text(text)
    (shown,) = make_ready([tmp_path / name], tmp_path / "keep")
    folder = tmp_path / "keep" / shown.root
    info = json.loads((folder / "info").read_text())
    assert info["annotation_type"].upper() == kind
    ngcore.export(folder, tmp_path / "back.csv")
    ids = [line.split(",")[0] for line in (tmp_path / "back.csv").read_text().splitlines()[1:]]
    assert len(set(ids)) == count
    assert ("--kind box" in caplog.text) == (kind == "LINE")


def test_a_table_of_two_kinds_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("polyline,x,y,z,rx,ry,rz\n1,2,3,1,1,1,1\n")
    with pytest.raises(InputError, match="radii rx, ry, rz as ellipsoids do and a column 'poly"):
        make_ready([tmp_path / "t.csv"], tmp_path / "keep")


def test_rotations_called_as_radii_are_shown_as_points(tmp_path, caplog):
    (tmp_path / "poses.csv").write_text("x,y,z,rx,ry,rz\n1,2,3,0.5,-0.25,3\n4,5,6,0,0,n/a\n")
    (ready,) = make_ready([tmp_path / "poses.csv"], tmp_path / "keep")
    info = json.loads((tmp_path / "keep" / ready.root / "info").read_text())
    assert info["annotation_type"].upper() == "POINT"
    assert [entry["id"] for entry in info["properties"]] == ["rx", "ry", "rz"]
    assert "shown as points, not as ellipsoids" in caplog.text
