"""Meshes of labels, read back by CloudVolume."""

import json
import shutil

import cloudvolume
import numpy as np
import pytest
import trimesh

import ngcore
import thorough
from ngcore.errors import DestinationError, FormatError, InputError, InputNotFoundError
from ngcore.pipelines.meshing import mesh as meshing
from ngcore.pipelines.validate import validate
from ngcore.surfaces import Surface, joined
from surfaces import enclosed_volume, open_edges

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
    assert set(files) == {"info", *names}
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


def meanwhile(dest, **options):
    """Return a progress callback that lets another run begin and end in the middle of one."""
    runs = [options]

    def progress(_done, _total):
        while runs:
            write_meshes(dest, **runs.pop())

    return progress


def test_of_two_runs_at_once_the_last_to_end_replaces_the_other(tmp_path):
    dest = tmp_path / "volume"
    make(dest, scene(np.uint32))
    write_meshes(dest, labels=[3])
    other = meanwhile(dest, labels=[9], overwrite=True)
    write_meshes(dest, labels=[10], overwrite=True, progress=other)
    assert mesh_of(dest, 10).triangles.size
    assert not validate(dest).findings
    again = tmp_path / "again"
    make(again, scene(np.uint32))
    with pytest.raises(DestinationError, match="has meshes already"):
        write_meshes(again, labels=[10], progress=meanwhile(again, labels=[9]))
    assert mesh_of(again, 9).triangles.size
    assert not validate(again).findings


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
        ({"surfaces": {3: "a.stl"}, "labels": [3]}, InputError, "label 3 is given a surface"),
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
