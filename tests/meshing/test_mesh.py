"""Meshes of labels, read back by CloudVolume."""

import json
import os
import shutil
from contextlib import nullcontext

import cloudvolume
import numpy as np
import pytest
import thorough
import trimesh
from surfaces import enclosed_volume, open_edges

import ngcore
from ngcore.arrays.triangles import Surface, joined
from ngcore.errors import (
    DestinationError,
    FormatError,
    InputError,
    InputNotFoundError,
    StorageError,
)
from ngcore.meshing import blocks
from ngcore.meshing import mesh as meshing
from ngcore.meshing.fragments import mesh_to_precomputed
from ngcore.precomputed.mesh_multilod import MultilodManifest
from ngcore.storage import LocalStore
from ngcore.validating.validate import validate

SHAPE = (44, 40, 37)
OFFSET = (-7, 12, 5)
RESOLUTION = (4.0, 6.0, 10.0)
HUGE = 2**63 + 12345


def scene(dtype=np.uint64):
    """A ball, a box that leaves the volume on two sides, a single voxel, two that touch."""
    x, y, z = np.indices(SHAPE)
    labels = np.zeros(SHAPE, dtype)
    labels[(x - 20) ** 2 + (y - 19) ** 2 + (z - 18) ** 2 < 14**2] = 3
    labels[30:, 25:33, 30:] = HUGE if dtype == np.uint64 else 7
    labels[2, 3, 4] = 8
    labels[38:41, 3:9, 3:9] = 9
    labels[41:44, 3:9, 3:9] = 10
    return labels


def make(dest, labels, **options):
    options = {"chunk_size": 16, "resolution": RESOLUTION, "voxel_offset": OFFSET} | options
    return ngcore.convert(labels, dest, type="segmentation", fsync=False, **options)


def write_meshes(dest, **options):
    """Write meshes in this process, unless a test asks for others: they take a second."""
    return meshing.write_meshes(dest, **({"workers": 1} | options))


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def mesh_of(dest, label, lod=0):
    """Return a label's mesh in voxels of the volume, from 0, as CloudVolume reads it."""
    found = cloudvolume.CloudVolume(f"file://{dest}", progress=False).mesh.get(label, lod=lod)
    mesh = found[label] if isinstance(found, dict) else found
    # CloudVolume reads float32 nanometres of each fragment, whose last bits differ.
    vertices = np.round(np.asarray(mesh.vertices, np.float64) / RESOLUTION - OFFSET, 3)
    return joined([Surface(vertices, np.asarray(mesh.faces).astype(np.int64))])


@pytest.fixture(scope="module")
def meshed(tmp_path_factory):
    """The scene with meshes, in blocks so small that every label but one lies in several."""
    dest = tmp_path_factory.mktemp("meshed") / "volume"
    make(dest, scene())
    assert write_meshes(dest, block_side=16) == (3, 8, 9, 10, HUGE)
    return dest


def test_meshes_enclose_their_labels(meshed):
    labels = scene()
    for label in (3, 8, 9, 10, HUGE):
        mesh = mesh_of(meshed, label)
        assert open_edges(mesh) == 0
        voxels = np.argwhere(labels == label)
        assert mesh.vertices.min(axis=0) == pytest.approx(voxels.min(axis=0), abs=0.6)
        assert mesh.vertices.max(axis=0) == pytest.approx(voxels.max(axis=0) + 1, abs=0.6)
        if label != 8:  # of a single voxel marching cubes keeps a sixth
            size = enclosed_volume(mesh)
            assert size == pytest.approx(len(voxels), rel=0.08)


def test_vertices_of_a_ball_are_on_its_surface(meshed):
    vertices = mesh_of(meshed, 3).vertices
    away = np.linalg.norm(vertices - (20.5, 19.5, 18.5), axis=1)
    assert away == pytest.approx(14, abs=1)
    assert len(vertices) > 300


def test_volume_with_meshes_is_valid(meshed):
    report = validate(meshed)
    assert not report.findings


@pytest.mark.parametrize("workers", [2, 3][: thorough.amount(1, 2)])
def test_bytes_are_the_same_whoever_makes_them(meshed, tmp_path, workers):
    shutil.copytree(meshed, tmp_path / "again")
    write_meshes(tmp_path / "again", block_side=16, overwrite=True, workers=workers)
    assert [*tree(tmp_path / "again" / "mesh-2")] == [*tree(meshed / "mesh")]
    assert tree(tmp_path / "again" / "mesh-2") == tree(meshed / "mesh")


def test_files_of_their_own_hold_the_same_meshes(meshed, tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene())
    write_meshes(dest, sharding=False, block_side=16)
    files = tree(dest / "mesh")
    names = {f"{label}{ending}" for label in (3, 8, 9, 10, HUGE) for ending in ("", ".index")}
    assert set(files) == {"info", "provenance", "empty.index", *names}
    assert MultilodManifest.from_bytes(files["empty.index"]).data_size == 0
    assert "sharding" not in json.loads(files["info"])
    shard = (meshed / "mesh" / "0.shard").read_bytes()
    assert all(files[f"{label}"] + files[f"{label}.index"] in shard for label in (3, 8, HUGE))
    assert mesh_of(dest, 9).vertices.tolist() == mesh_of(meshed, 9).vertices.tolist()
    assert not validate(dest).findings


def test_size_of_blocks_changes_the_surface_by_little(meshed, tmp_path):
    make(tmp_path / "volume", scene())
    write_meshes(tmp_path / "volume")
    one = mesh_of(tmp_path / "volume", 3)
    assert open_edges(one) == 0
    assert enclosed_volume(one) == pytest.approx(enclosed_volume(mesh_of(meshed, 3)), rel=0.01)


def test_labels_that_are_asked_for_are_meshed_and_no_other(tmp_path, caplog):
    make(tmp_path / "volume", scene(np.uint32))
    assert write_meshes(tmp_path / "volume", labels=(9, 3, 1000)) == (3, 9)
    assert "1 label has no voxel, so no mesh (1000)" in caplog.text
    volume = cloudvolume.CloudVolume(f"file://{tmp_path / 'volume'}", progress=False)
    assert volume.mesh.get_manifest(10) is None


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_narrow_types_are_meshed_too(tmp_path, dtype):
    labels = scene(np.uint32).astype(dtype)
    dest = tmp_path / "volume"
    ngcore.convert(
        labels, dest, resolution=RESOLUTION, voxel_offset=OFFSET, encoding="raw", data_type=dtype
    )
    info = json.loads((dest / "info").read_text())
    (dest / "info").write_text(json.dumps(info | {"type": "segmentation"}))
    assert write_meshes(dest) == (3, 7, 8, 9, 10)
    assert enclosed_volume(mesh_of(dest, 3)) == pytest.approx((labels == 3).sum(), rel=0.02)


def test_coarser_scale_gives_meshes_in_the_same_place(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32), max_scales=2)
    write_meshes(dest, labels=[3], scale=1)
    mesh = mesh_of(dest, 3)
    assert mesh.vertices.mean(axis=0) == pytest.approx((20.5, 19.5, 18.5), abs=1)
    assert enclosed_volume(mesh) == pytest.approx((scene() == 3).sum(), rel=0.1)


def test_surfaces_become_meshes_beside_those_of_voxels(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))
    low, high = np.array([1e-3, 2e-3, 3e-3]), np.array([4e-3, 4e-3, 5e-3])  # mm
    trimesh.creation.box(bounds=[low, high]).export(tmp_path / "box.stl")
    surfaces = {77: tmp_path / "box.stl"}
    assert write_meshes(dest, surfaces=surfaces, names={77: "Box"}) == (77,)
    vertices = (mesh_of(dest, 77).vertices + OFFSET) * RESOLUTION / 1e6
    assert vertices.min(axis=0) == pytest.approx(low, rel=1e-3)
    assert vertices.max(axis=0) == pytest.approx(high, rel=1e-3)
    properties = json.loads((dest / "segment_properties" / "info").read_text())["inline"]
    assert properties["ids"] == ["77"]
    assert properties["properties"][0]["values"] == ["Box"]
    assert write_meshes(dest, surfaces=surfaces, labels=[9], overwrite=True) == (9, 77)
    assert not validate(dest).findings


def test_surface_of_the_world_goes_through_the_inverse_transform(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))
    turned = [[0, -1, 0, 5e3], [1, 0, 0, -2e3], [0, 0, 1, 7e3], [0, 0, 0, 1]]
    (dest / "transform.json").write_text(json.dumps(turned))
    corners = np.array([(100.0, 200.0, 300.0), (150, 200, 300), (100, 260, 300), (100, 200, 340)])
    world = corners @ np.array(turned)[:3, :3].T + np.array(turned)[:3, 3]
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    trimesh.Trimesh(world / 1e6, faces, process=False).export(tmp_path / "corner.ply")
    write_meshes(dest, surfaces={5: tmp_path / "corner.ply"}, space="world")
    native = (mesh_of(dest, 5).vertices + OFFSET) * RESOLUTION
    assert np.sort(native, axis=0) == pytest.approx(np.sort(corners, axis=0), abs=0.1)


@pytest.mark.parametrize("away", [2**23 + 1, 2**28 + 5])
def test_meshes_far_away_lie_where_float32_can_say(tmp_path, away):
    """float32 nanometres have steps of 32 and 1024 there, where voxels have 40."""
    labels = (np.linalg.norm(np.indices((40,) * 3).T - 19.5, axis=-1) < 15).astype(np.uint32)
    make(tmp_path / "far", labels, resolution=(40.0,) * 3, voxel_offset=(away,) * 3)
    write_meshes(tmp_path / "far")
    cloud = cloudvolume.CloudVolume(f"file://{tmp_path / 'far'}", progress=False)
    found = cloud.mesh.get(1)
    vertices = np.asarray((found[1] if isinstance(found, dict) else found).vertices, np.float64)
    off = np.abs(np.linalg.norm(vertices / 40 - away - 20, axis=1) - 15).max()
    assert off < 1 + 3 * np.spacing(np.float32(40 * away)) / 40


def thin_labels():
    """A plate, a line, steps along a diagonal, a checkerboard, corners, two that touch in one."""
    labels = np.zeros((32,) * 3, np.uint32)
    labels[:, :, 20] = 1
    labels[5, 5, :18] = 2
    steps = np.arange(14)
    labels[10 + steps, 10 + steps, 2 + steps] = 3
    corner = labels[24:30, 24:30, 8:14]
    corner[np.indices(corner.shape).sum(axis=0) % 2 == 0] = 4
    for number in range(8):
        labels[tuple(np.array([number & 1, number >> 1 & 1, number >> 2]) * 31)] = 5 + number
    labels[[15, 16], [15, 16], [27, 28]] = 13
    return labels


@pytest.mark.parametrize("offset", [0, 2**23 + 1][: thorough.amount(1, 2)])
@pytest.mark.parametrize("block_side", [16, 64])
def test_what_is_one_voxel_thin_is_closed_wherever_blocks_cut_it(tmp_path, block_side, offset):
    dest, labels = tmp_path / "volume", thin_labels()
    make(dest, labels, voxel_offset=(offset,) * 3)
    assert write_meshes(dest, block_side=block_side) == tuple(range(1, 14))
    for label in range(1, 14):
        mesh = mesh_of(dest, label)
        assert len(mesh.triangles) >= 4
        assert open_edges(mesh) == 0
        if not offset:  # there float32 has steps of voxels
            voxels = np.argwhere(labels == label) - OFFSET
            assert mesh.vertices.min(axis=0) == pytest.approx(voxels.min(axis=0), abs=0.6)
            assert mesh.vertices.max(axis=0) == pytest.approx(voxels.max(axis=0) + 1, abs=0.6)
            assert enclosed_volume(mesh) > 0.1 * len(voxels)


def test_meshes_are_replaced_only_when_asked(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))
    write_meshes(dest, labels=[3], sharding=False)
    before = tree(dest)
    with pytest.raises(DestinationError, match="pass --overwrite"):
        write_meshes(dest, labels=[9])
    assert tree(dest) == before
    write_meshes(dest, labels=[9], overwrite=True)
    assert json.loads((dest / "info").read_text())["mesh"] == "mesh-2"
    assert not (dest / "mesh").exists()
    write_meshes(dest, labels=[9, 10], overwrite=True)
    assert json.loads((dest / "info").read_text())["mesh"] == "mesh"
    assert not (dest / "mesh-2").exists()
    assert not validate(dest).findings


def stopped_at(dest, calls, error, monkeypatch, **options):
    """Let a run fail when it is about to write its n-th file; say whether it did."""
    count = 0
    put = LocalStore._put

    def failing_put(self, *arguments, **named):
        nonlocal count
        count += 1
        if count > calls:
            raise error
        put(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "_put", failing_put)
        try:
            write_meshes(dest, block_side=16, **options)
        except type(error):
            return True
    return False


def hidden(dest):
    return {path.name for path in dest.iterdir() if path.name.startswith(".")}


@pytest.mark.parametrize("sharding", [True, False][: thorough.amount(1, 2)])
def test_interrupted_anywhere_a_resumed_run_gives_the_same_bytes(tmp_path, monkeypatch, sharding):
    options = {"sharding": sharding, "names": {3: "Ball"}}
    make(tmp_path / "volume", scene())
    write_meshes(tmp_path / "volume", labels=[8])
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "volume", whole)
    write_meshes(whole, block_side=16, overwrite=True, **options)
    error = StorageError("the disk is full")
    for calls in range(thorough.amount(20, 0), 200, thorough.amount(31, 1)):
        dest = tmp_path / "interrupted"
        shutil.copytree(tmp_path / "volume", dest)
        was_stopped = stopped_at(dest, calls, error, monkeypatch, overwrite=True, **options)
        assert validate(dest).is_sound
        if was_stopped and calls:
            stopped_at(dest, 2, error, monkeypatch, resume=True, **options)
            shutil.move(dest, dest := tmp_path / "moved")
            labels = write_meshes(dest, block_side=16, resume=True, **options)
            assert labels == (3, 8, 9, 10, HUGE)
        if calls:
            assert tree(dest) == tree(whole)
        shutil.rmtree(dest)
        if not was_stopped:
            return
    raise AssertionError("no run got to its end")


def test_resumed_run_makes_nothing_twice(tmp_path, monkeypatch):
    dest = tmp_path / "volume"
    make(dest, scene())
    assert stopped_at(dest, 30, StorageError("the disk is full"), monkeypatch)
    assert hidden(dest) == {".ngcore-mesh"}
    before = {path: path.stat().st_mtime_ns for path in dest.rglob("blocks/*")}
    assert before
    found = []
    find = blocks.find_surfaces
    monkeypatch.setattr(blocks, "find_surfaces", lambda *where: found.append(0) or find(*where))
    write_meshes(dest, block_side=16, resume=True)
    assert len(found) == 27 - len(before)
    assert not hidden(dest)


def test_unfinished_meshes_are_continued_by_the_same_run_alone(tmp_path, monkeypatch):
    dest = tmp_path / "volume"
    make(dest, scene())
    assert stopped_at(dest, 9, KeyboardInterrupt(), monkeypatch)
    before = tree(dest)
    for options, message in (
        ({}, "holds unfinished meshes; pass --resume to continue"),
        ({"resume": True, "labels": [3]}, "begun with another options: labels was None"),
        ({"resume": True, "sharding": False}, "another options: sharding was True"),
        ({"resume": True, "scale": 1}, "another source: .* of the voxels of"),
        ({"resume": True, "names": {3: "x"}}, "another options: names was"),
    ):
        with pytest.raises(DestinationError, match=message):
            write_meshes(dest, block_side=16, **options)
    assert tree(dest) == before
    write_meshes(dest, block_side=16, overwrite=True, labels=[3])
    assert not hidden(dest)


def test_resume_is_refused_where_the_voxels_were_changed(tmp_path, monkeypatch):
    dest = tmp_path / "volume"
    make(dest, scene())
    assert stopped_at(dest, 9, KeyboardInterrupt(), monkeypatch)
    shard = next((dest / "4_6_10").glob("*.shard"))
    os.utime(shard, (1, 2**31))
    with pytest.raises(DestinationError, match="another source: time of the voxels of 4_6_10 was"):
        write_meshes(dest, block_side=16, resume=True)


def test_complete_meshes_are_left_by_a_resumed_run_of_the_same_kind(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene())
    made = write_meshes(dest, labels=[3, HUGE], resume=True)
    before = {path: path.stat().st_mtime_ns for path in dest.rglob("*")}
    assert write_meshes(dest, labels=[3, HUGE], resume=True) == made == (3, HUGE)
    assert {path: path.stat().st_mtime_ns for path in dest.rglob("*")} == before
    with pytest.raises(DestinationError, match="meshes of another source or other options"):
        write_meshes(dest, labels=[3], resume=True)
    shard = next((dest / "4_6_10").glob("*.shard"))
    for path in (dest / "mesh").iterdir():
        os.utime(path, (0, 0))
    os.utime(shard)
    with pytest.raises(DestinationError, match="the source has changed since the meshes"):
        write_meshes(dest, labels=[3, HUGE], resume=True)


def test_what_was_left_by_a_run_that_was_being_removed_goes_with_the_next(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene())
    write_meshes(dest, labels=[3])
    before = tree(dest)
    for options, is_refused in (({}, True), ({"resume": True}, False)):
        (dest / ".ngcore-mesh" / "blocks").mkdir(parents=True)
        (dest / ".ngcore-mesh" / "blocks" / "0_0_0").write_bytes(b"left")
        with pytest.raises(DestinationError) if is_refused else nullcontext():
            write_meshes(dest, labels=[3], **options)
        assert tree(dest) == before


def test_file_that_is_cut_short_is_made_again(meshed, tmp_path, monkeypatch):
    dest = tmp_path / "volume"
    make(dest, scene())
    assert stopped_at(dest, 34, KeyboardInterrupt(), monkeypatch)
    for number, path in enumerate(sorted(dest.rglob("blocks/*")) + sorted(dest.rglob("labels/*"))):
        os.truncate(path, (0, 5, 20, path.stat().st_size - 1)[number % 4] if number % 5 else 8)
    write_meshes(dest, block_side=16, resume=True)
    assert tree(dest) == tree(meshed)


@pytest.mark.parametrize("way", ["overwrite", "resume"])
def test_folder_that_has_its_name_but_is_not_in_info_goes_with_the_next_run(
    tmp_path, monkeypatch, way
):
    dest = tmp_path / "volume"
    make(dest, scene())
    put_durably = LocalStore.put_durably

    def no_info(self, name, data):
        if name == "info":
            raise KeyboardInterrupt
        put_durably(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_durably", no_info)
        with pytest.raises(KeyboardInterrupt):
            write_meshes(dest)
    assert (dest / "mesh" / "info").exists()
    assert "mesh" not in json.loads((dest / "info").read_text())
    write_meshes(dest, **{way: True})
    assert not validate(dest).findings
    assert json.loads((dest / "info").read_text())["mesh"] == "mesh"
    assert not (dest / "mesh-2").exists()


def test_folder_of_somebody_else_keeps_its_name(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene())
    (dest / "mesh").mkdir()
    (dest / "mesh" / "mine").write_bytes(b"mine")
    write_meshes(dest, labels=[3])
    assert json.loads((dest / "info").read_text())["mesh"] == "mesh-2"
    assert (dest / "mesh" / "mine").read_bytes() == b"mine"


def meanwhile(what):
    """Return a progress callback that does something once in the middle of a run."""
    todo = [what]

    def progress(_done, _total):
        while todo:
            todo.pop()()

    return progress


def test_second_run_at_once_is_refused_and_so_is_replacing_the_volume(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))

    def others():
        for start in (
            lambda: write_meshes(dest, labels=[9], overwrite=True),
            lambda: write_meshes(dest, labels=[10], resume=True),
            lambda: make(dest, scene(np.uint32), overwrite=True),
        ):
            with pytest.raises(DestinationError, match="is in use by another ngcore"):
                start()

    write_meshes(dest, labels=[10], progress=meanwhile(others))
    assert mesh_of(dest, 10).triangles.size
    assert not validate(dest).findings


def test_meshes_that_came_meanwhile_are_not_replaced(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))
    trimesh.creation.box().export(tmp_path / "box.stl")
    other = meanwhile(lambda: mesh_to_precomputed(tmp_path / "box.stl", dest, mesh_dir="theirs"))
    with pytest.raises(DestinationError, match="already has meshes, in 'theirs'"):
        write_meshes(dest, labels=[10], progress=other)
    assert not hidden(dest)
    assert json.loads((dest / "info").read_text())["mesh"] == "theirs"


def test_voxels_that_change_while_they_are_read_are_told_of(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))
    shard = next((dest / "4_6_10").glob("*.shard"))
    with pytest.raises(InputError, match="was changed while it was read"):
        write_meshes(dest, progress=meanwhile(lambda: os.utime(shard, (1, 1))))
    assert not hidden(dest)


def test_unfinished_meshes_go_with_the_volume_that_is_replaced(tmp_path, monkeypatch):
    dest = tmp_path / "volume"
    make(dest, scene())
    assert stopped_at(dest, 9, KeyboardInterrupt(), monkeypatch)
    assert "left by a run of `ngcore mesh`" in str(validate(dest).findings)
    make(dest, scene(), overwrite=True)
    assert not hidden(dest)


def test_both_parts_of_the_work_tell_how_far_they_are(tmp_path):
    make(tmp_path / "volume", scene())
    first, second = [], []
    write_meshes(
        tmp_path / "volume",
        block_side=16,
        progress=lambda *done: first.append(done),
        mesh_progress=lambda *done: second.append(done),
    )
    for told in (first, second):
        assert len(told) > 3
        assert told == sorted(told)
        assert told[-1][0] == told[-1][1] > 0
    assert first[-1][1] == np.prod(SHAPE)


def test_failure_leaves_the_old_meshes_and_nothing_else(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))
    write_meshes(dest, labels=[3])
    before = tree(dest)
    shard = next((dest / "4_6_10").glob("*.shard"))
    shard.write_bytes(shard.read_bytes()[:-40])
    damaged = tree(dest)
    with pytest.raises(FormatError):
        write_meshes(dest, overwrite=True)
    assert tree(dest) == damaged
    assert set(damaged) == set(before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": [0]}, InputError, "label 0 can't have a mesh"),
        ({"labels": [2**64]}, InputError, "label 18446744073709551616 can't have a mesh"),
        ({"labels": [999]}, InputError, "holds none of these labels"),
        ({"labels": []}, InputError, "holds none of these labels"),
        ({"scale": 9}, InputError, "has no scale 9"),
        ({"surfaces": {3: "absent.stl"}}, InputNotFoundError, "no mesh file 'absent.stl'"),
        ({"surfaces": {3: "a.stl"}, "labels": [3]}, InputError, "label 3 is in both"),
        ({"surfaces": {3: "a.stl"}, "space": "world"}, InputNotFoundError, "no transform.json"),
    ],
)
def test_impossible_wish_is_refused_before_anything_is_written(tmp_path, options, error, message):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))
    (dest / "transform.json").unlink()
    before = tree(dest)
    with pytest.raises(error, match=message):
        write_meshes(dest, **options)
    assert tree(dest) == before


def test_image_and_empty_segmentation_have_no_meshes(tmp_path):
    ngcore.convert(np.ones((4, 4, 4), np.uint8), tmp_path / "image", resolution=RESOLUTION)
    with pytest.raises(InputError, match="is an image, and only labels have meshes"):
        write_meshes(tmp_path / "image")
    make(tmp_path / "empty", np.zeros((4, 4, 4), np.uint32))
    with pytest.raises(InputError, match="holds no label but 0"):
        write_meshes(tmp_path / "empty")
