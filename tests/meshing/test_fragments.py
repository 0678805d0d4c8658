"""The classic mesh commands, as library functions and from the command line."""

import gzip
import json
import os

import click.testing
import nibabel as nib
import numpy as np
import pytest
import trimesh
from nibabel.gifti import GiftiCoordSystem, GiftiDataArray, GiftiImage
from real_data import nilearn_data

import ngcore
from ngcore.cli import meshes as commands
from ngcore.cli import run as ngcore_command
from ngcore.errors import DestinationError, FormatError, InputError, InputNotFoundError
from ngcore.meshing.fragments import (
    link_mesh_fragments,
    mesh_to_precomputed,
    mesh_to_vtk,
    stl_to_precomputed,
)
from ngcore.precomputed.mesh_legacy import decode_fragment

BALL = trimesh.creation.icosphere(subdivisions=1, radius=20)
COLONS = pytest.mark.skipif(os.name == "nt", reason="Windows file names hold no colons")
OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.3, 0.4), [10, -20, 30])

INFO = {
    "@type": "neuroglancer_multiscale_volume",
    "type": "segmentation",
    "data_type": "uint32",
    "num_channels": 1,
    "somebody's own": {"x": [1, 2.5, None, "é"], "big": 2**60},
    "scales": [
        {
            "key": "1000000_1000000_1000000",
            "size": [64, 64, 64],
            "resolution": [1000000, 1000000, 1000000],
            "voxel_offset": [0, 0, 0],
            "chunk_sizes": [[64, 64, 64]],
            "encoding": "raw",
        }
    ],
}


@pytest.fixture
def volume(tmp_path):
    folder = tmp_path / "brain"
    folder.mkdir()
    (folder / "info").write_text(json.dumps(INFO))
    return folder


@pytest.fixture
def surface(tmp_path):
    """A GIfTI surface in millimetres."""
    path = tmp_path / "ball.surf.gii"
    write_gifti(path, BALL.vertices, BALL.faces)
    return path


def write_gifti(path, vertices, triangles, affine=None):
    system = GiftiCoordSystem(1, 1, np.eye(4) if affine is None else affine)
    points = GiftiDataArray(
        np.asarray(vertices, np.float32), "NIFTI_INTENT_POINTSET", coordsys=system
    )
    faces = GiftiDataArray(np.asarray(triangles, np.int32), "NIFTI_INTENT_TRIANGLE")
    nib.save(GiftiImage(darrays=[points, faces]), path)


def fragment(path):
    data = path.read_bytes()
    return decode_fragment(gzip.decompress(data) if path.suffix == ".gz" else data)


def run(name, *arguments):
    command = next(command for command in commands.commands if command.name == name)
    return click.testing.CliRunner().invoke(
        command, list(map(str, arguments)), catch_exceptions=False
    )


# mesh-to-precomputed


def test_mesh_becomes_a_gzipped_fragment_in_nanometres(volume, surface):
    assert mesh_to_precomputed(surface, volume) == "ball.surf"
    mesh = fragment(volume / "mesh/ball.surf.gz")
    expected = BALL.vertices.astype(np.float32) * np.float32(1e6)
    np.testing.assert_array_equal(mesh.vertices_nm, expected)
    np.testing.assert_array_equal(mesh.triangles, BALL.faces)
    assert json.loads((volume / "mesh/info").read_text()) == {"@type": "neuroglancer_legacy_mesh"}


def test_info_gets_its_mesh_member_and_keeps_all_others(volume, surface):
    mesh_to_precomputed(surface, volume)
    info = json.loads((volume / "info").read_text())
    assert info.pop("mesh") == "mesh"
    assert info == INFO
    assert list(info) == list(INFO)


def test_info_that_has_its_mesh_member_is_left_alone(volume, surface):
    text = json.dumps({**INFO, "mesh": "surfaces"}, indent=7)
    (volume / "info").write_text(text)
    mesh_to_precomputed(surface, volume, mesh_name="a")
    assert (volume / "info").read_text() == text
    assert (volume / "surfaces/a.gz").is_file()


def test_fragment_without_gzip_replaces_one_with(volume, surface):
    mesh_to_precomputed(surface, volume, mesh_name="a")
    mesh_to_precomputed(surface, volume, mesh_name="a", use_gzip=False)
    assert sorted(p.name for p in (volume / "mesh").iterdir()) == ["a", "info"]
    mesh_to_precomputed(surface, volume, mesh_name="a")
    assert sorted(p.name for p in (volume / "mesh").iterdir()) == ["a.gz", "info"]


@pytest.mark.parametrize("use_gzip", [True, False])
def test_another_mesh_of_the_same_name_is_replaced_only_where_that_is_asked(
    volume, surface, tmp_path, use_gzip
):
    def files():
        return {path.name: path.read_bytes() for path in (volume / "mesh").iterdir()}

    mesh_to_precomputed(surface, volume, mesh_name="a")
    mesh_to_precomputed(surface, volume, mesh_name="a", use_gzip=use_gzip)  # it is the same
    before = files()
    other = tmp_path / "other.surf.gii"
    write_gifti(other, 2 * BALL.vertices, BALL.faces)
    with pytest.raises(DestinationError, match=r"mesh/a.* already exists.*--overwrite"):
        mesh_to_precomputed(other, volume, mesh_name="a", use_gzip=use_gzip)
    assert files() == before
    mesh_to_precomputed(other, volume, mesh_name="a", use_gzip=use_gzip, overwrite=True)
    assert files().keys() == before.keys()
    (name,) = before.keys() - {"info"}
    vertices = fragment(volume / "mesh" / name).vertices_nm
    np.testing.assert_allclose(np.abs(vertices).max(), 40e6, rtol=0.2)


def test_a_file_that_is_no_fragment_is_never_replaced(volume, surface):
    (volume / "mesh").mkdir()
    (volume / "mesh" / "notes").write_text("mine")
    with pytest.raises(DestinationError, match="mesh/notes already exists, but is not a mesh"):
        mesh_to_precomputed(surface, volume, mesh_name="notes", overwrite=True)
    assert (volume / "mesh" / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("folder", "what"),
    [
        ("1000000_1000000_1000000", r"scales\[0\].key"),
        ("1000000_1000000_1000000/meshes", r"scales\[0\].key"),
        ("names", "segment_properties"),
        ("linked", r"scales\[0\].key"),
    ],
)
def test_meshes_go_into_no_folder_that_has_another_purpose(volume, surface, folder, what):
    (volume / "info").write_text(json.dumps(INFO | {"segment_properties": "names/of"}))
    (volume / INFO["scales"][0]["key"]).mkdir()
    (volume / "linked").symlink_to(INFO["scales"][0]["key"])
    before = sorted(volume.rglob("*"))
    with pytest.raises(InputError, match=f"overlaps .* which is {what}"):
        mesh_to_precomputed(surface, volume, mesh_dir=folder, mesh_name="0.shard")
    assert sorted(volume.rglob("*")) == before


def test_same_mesh_gives_the_same_bytes(volume, surface):
    mesh_to_precomputed(surface, volume, mesh_name="a")
    mesh_to_precomputed(surface, volume, mesh_name="b")
    assert (volume / "mesh/a.gz").read_bytes() == (volume / "mesh/b.gz").read_bytes()


def test_coordinate_transform_is_in_millimetres_and_flips_when_it_mirrors(volume, surface):
    mirror = [-1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 2, -0.25]
    mesh_to_precomputed(surface, volume, mesh_name="a", coord_transform=mirror)
    mesh = fragment(volume / "mesh/a.gz")
    expected = (BALL.vertices * [-1, 1, 2] + [5, 0, -0.25]) * 1e6
    np.testing.assert_allclose(mesh.vertices_nm, expected, rtol=1e-6, atol=2)
    np.testing.assert_array_equal(mesh.triangles, BALL.faces[:, ::-1])


@pytest.mark.parametrize("handedness", [1, -1])
def test_world_space_lies_on_the_volume_through_its_transform(volume, surface, handedness):
    """A mesh in world space, seen through transform.json, is where its file says."""
    to_world = OBLIQUE @ np.diag([handedness, 1, 1, 1])
    to_world[:3, 3] *= 1e6
    (volume / "transform.json").write_text(json.dumps(to_world.tolist()))
    mesh_to_precomputed(surface, volume, mesh_name="a", space="world")
    mesh_to_precomputed(surface, volume, mesh_name="b", space="native")
    seen = fragment(volume / "mesh/a.gz").transformed(to_world)
    np.testing.assert_allclose(seen.vertices_nm, BALL.vertices * 1e6, atol=5)
    np.testing.assert_array_equal(seen.triangles, BALL.faces)
    native = fragment(volume / "mesh/b.gz")
    np.testing.assert_allclose(native.vertices_nm, BALL.vertices * 1e6, atol=2)


def test_cube_of_labels_and_its_surface_coincide_in_either_space(volume, tmp_path):
    """Voxel (i, j, k) of a volume spans i to i + 1 there, and -1/2 to 1/2 around its centre."""
    size = 1.5
    affine = OBLIQUE @ np.diag([size, size, size, 1.0])
    to_world = OBLIQUE.copy()
    to_world[:3, 3] = (affine @ [-0.5, -0.5, -0.5, 1])[:3] * 1e6
    (volume / "transform.json").write_text(json.dumps(to_world.tolist()))
    cube = trimesh.creation.box(bounds=[[10, 12, 14], [20, 20, 20]])  # voxels 10 to 19, ...
    write_gifti(tmp_path / "native.gii", cube.vertices * size, cube.faces)
    in_world = nib.affines.apply_affine(affine, cube.vertices - 0.5)
    write_gifti(tmp_path / "world.gii", in_world, cube.faces)
    for space in ("native", "world"):
        mesh_to_precomputed(tmp_path / f"{space}.gii", volume, space=space)
        mesh = fragment(volume / f"mesh/{space}.gz")
        voxels = mesh.vertices_nm / (size * 1e6)
        np.testing.assert_allclose(voxels, cube.vertices, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, InputNotFoundError, "no transform.json, which --space world needs"),
        ("{}", FormatError, "transform.json is not a 4x4 affine matrix"),
        ("[[", FormatError, "transform.json is not a 4x4 affine matrix"),
        (json.dumps(np.zeros((4, 4)).tolist()), FormatError, "transform.json.*last row"),
        (json.dumps(np.diag([0.0, 0, 1, 1]).tolist()), FormatError, "transform.json.*singular"),
        ("[" * 99999, FormatError, "transform.json"),
    ],
)
def test_world_space_needs_a_sound_transform(volume, surface, text, error, message):
    if text is not None:
        (volume / "transform.json").write_text(text)
    with pytest.raises(error, match=message):
        mesh_to_precomputed(surface, volume, space="world")
    assert not (volume / "mesh").exists()


def test_gifti_transform_and_coordinate_transform_follow_each_other(volume, tmp_path):
    write_gifti(tmp_path / "a.gii", BALL.vertices, BALL.faces, OBLIQUE)
    shift = nib.affines.from_matvec(np.diag([1, 2, 3]), [1, 2, 3])
    mesh_to_precomputed(tmp_path / "a.gii", volume, coord_transform=shift)
    expected = nib.affines.apply_affine(shift @ OBLIQUE, BALL.vertices) * 1e6
    # nibabel writes six decimals of the matrix.
    np.testing.assert_allclose(fragment(volume / "mesh/a.gz").vertices_nm, expected, atol=100)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({"mesh": "m"}, {"mesh_dir": "n"}, InputError, "meshes are in 'm', not in 'n'"),
        ({"mesh": 5}, {}, FormatError, "mesh must be a folder's name, got 5"),
        ({"mesh": "../m"}, {}, InputError, "plain path inside of DEST"),
        ({"@type": "neuroglancer_skeletons"}, {}, InputError, "not that of a volume"),
        ({}, {"mesh_dir": "/m"}, InputError, "plain path inside of DEST"),
        ({}, {"mesh_dir": "a\\b"}, InputError, "plain path inside of DEST"),
        ({}, {"mesh_name": "info"}, InputError, "can't name a mesh fragment"),
        ({}, {"mesh_name": "../x"}, InputError, "can't name a mesh fragment"),
        ({}, {"coord_transform": [1] * 13}, InputError, "12 or 16 numbers"),
        ({}, {"coord_transform": [0] * 12}, InputError, "singular"),
        ({}, {"space": "other"}, InputError, "native or world, got 'other'"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_written(
    volume, surface, change, options, error, message
):
    text = json.dumps({**INFO, **change})
    (volume / "info").write_text(text)
    with pytest.raises(error, match=message):
        mesh_to_precomputed(surface, volume, **options)
    assert (volume / "info").read_text() == text
    assert [path.name for path in volume.iterdir()] == ["info"]


def test_destination_without_info_is_refused(tmp_path, surface):
    with pytest.raises(InputNotFoundError, match="holds no info"):
        mesh_to_precomputed(surface, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
def test_destination_with_malformed_info_is_refused(volume, surface, text):
    (volume / "info").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match="brain/info"):
        mesh_to_precomputed(surface, volume)


def test_bad_mesh_leaves_the_volume_as_it_was(volume, tmp_path):
    write_gifti(tmp_path / "bad.gii", BALL.vertices, BALL.faces + 1)
    with pytest.raises(FormatError, match=r"bad\.gii.*refers to vertex 42, but there are 42"):
        mesh_to_precomputed(tmp_path / "bad.gii", volume)
    assert [path.name for path in volume.iterdir()] == ["info"]


def test_folder_of_multiresolution_meshes_takes_no_fragments(volume, surface):
    (volume / "mesh").mkdir()
    (volume / "mesh/info").write_text('{"@type": "neuroglancer_multilod_draco"}')
    with pytest.raises(InputError, match="neuroglancer_multilod_draco"):
        mesh_to_precomputed(surface, volume)


def test_own_info_of_the_mesh_folder_is_kept(volume, surface):
    (volume / "mesh").mkdir()
    text = '{"@type": "neuroglancer_legacy_mesh", "mip": 2}'
    (volume / "mesh/info").write_text(text)
    mesh_to_precomputed(surface, volume)
    assert (volume / "mesh/info").read_text() == text


def test_meshes_of_an_image_are_written_with_a_warning(volume, surface, caplog):
    (volume / "info").write_text(json.dumps({**INFO, "type": "image"}))
    mesh_to_precomputed(surface, volume)
    assert "not a segmentation" in caplog.text
    assert (volume / "mesh/ball.surf.gz").is_file()


# stl-to-precomputed


def test_stl_is_scaled_by_the_voxel_size_then_transformed(volume, tmp_path):
    path = tmp_path / "ball.of.triangles"
    path.write_bytes(BALL.export(file_type="stl"))
    shift = [1, 0, 0, 100, 0, 1, 0, 0, 0, 0, 1, 0]
    name = stl_to_precomputed(path, volume, voxel_size=0.5, coord_transform=shift)
    assert name == "ball.of.triangles"
    mesh = fragment(volume / f"mesh/{name}.gz")
    assert len(mesh.vertices_nm) == len(BALL.vertices)
    expected = (BALL.vertices * 0.5 + [100, 0, 0]) * 1e6
    order, other = np.lexsort(np.round(mesh.vertices_nm, -3).T), np.lexsort(expected.T)
    np.testing.assert_allclose(
        np.sort(mesh.vertices_nm[order], 0), np.sort(expected[other], 0), atol=5
    )


@pytest.mark.parametrize("size", [0, -1, np.nan, np.inf])
def test_stl_voxel_size_must_be_positive(volume, size):
    with pytest.raises(InputError, match="positive number of mm"):
        stl_to_precomputed("x.stl", volume, voxel_size=size)


# mesh-to-vtk


def test_vtk_file_is_in_nanometres(tmp_path, surface):
    out = tmp_path / "new/ball.vtk"
    mesh_to_vtk(surface, out, coord_transform=np.diag([-1, 1, 1, 1]))
    lines = out.read_text().splitlines()
    assert lines[3:5] == ["DATASET POLYDATA", f"POINTS {len(BALL.vertices)} float"]
    x, y, z = map(float, lines[5].split())
    np.testing.assert_allclose([x, y, z], BALL.vertices[0] * [-1e6, 1e6, 1e6], rtol=1e-6)
    a, b, c = BALL.faces[0]
    assert lines[6 + len(BALL.vertices)] == f"3 {c} {b} {a}"


def test_vtk_replaces_a_file_only_where_that_is_asked_and_never_its_source(tmp_path, surface):
    out = tmp_path / "out.vtk"
    out.write_text("mine")
    with pytest.raises(DestinationError, match="already exists; pass --overwrite"):
        mesh_to_vtk(surface, out)
    assert out.read_text() == "mine"
    mesh_to_vtk(surface, out, overwrite=True)
    assert out.read_text().startswith("# vtk")
    before = surface.read_bytes()
    link = tmp_path / "link.vtk"
    link.hardlink_to(surface)
    for target in (surface, link):
        with pytest.raises(DestinationError, match="is the source"):
            mesh_to_vtk(surface, target, overwrite=True)
    assert surface.read_bytes() == before


def test_vtk_is_not_written_over_a_folder_or_under_a_file(tmp_path, surface):
    with pytest.raises(DestinationError, match="is a folder"):
        mesh_to_vtk(surface, tmp_path)
    with pytest.raises(DestinationError, match="is a file, not a folder"):
        mesh_to_vtk(surface, surface / "sub/out.vtk")


# link-mesh-fragments


@pytest.fixture
def meshed(volume, surface):
    for name in ("left", "right", "7"):
        mesh_to_precomputed(surface, volume, mesh_name=name, use_gzip=name != "right")
    return volume


def write_table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@COLONS
@pytest.mark.parametrize(
    "text",
    [
        "1,left,right\n18446744073709551615,left\n",
        "\ufeff1, left ,right,,\r\n\r\n18446744073709551615,left,\r\n",
        '"1","left","right"\n18446744073709551615,left',
    ],
)
def test_rows_become_manifests(meshed, tmp_path, text):
    assert link_mesh_fragments(write_table(tmp_path, text), meshed) == 2
    assert (meshed / "mesh/1:0").read_text() == '{"fragments":["left","right"]}'
    assert (meshed / "mesh/18446744073709551615:0").read_text() == '{"fragments":["left"]}'


def test_manifests_without_colon_suffix(meshed, tmp_path):
    link_mesh_fragments(write_table(tmp_path, "1,left\n"), meshed, colon_suffix=False)
    assert (meshed / "mesh/1").read_text() == '{"fragments":["left"]}'


@COLONS
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,left\n2,lost\n", r"table.csv', line 2: there is no fragment 'lost' in .*brain/mesh"),
        ("label,fragment\n1,left\n", "line 1: label 'label' is not a whole number"),
        ("1,left\n\n-2,left\n", "line 3: label '-2' is not a whole number"),
        ("1.0,left\n", "line 1: label '1.0'"),
        ("\u0661,left\n", "line 1: label '\u0661'"),
        (",left\n", "line 1: label ''"),
        ("18446744073709551616,left\n", "line 1: label 18446744073709551616 is outside"),
        (f"{'9' * 30},left\n", "line 1: label"),
        ("1,left\n01,right\n", "line 2: label 1 already has a row"),
        ("1,../info\n", "line 1: '../info' can't name"),
        ("1,info\n", "line 1: 'info' can't name"),
        ("", "has no rows"),
        ('1,"left', "line 1"),
        (b"1,\xff\n", "not UTF-8"),
        ("1," + "x" * 200_000, "line 1: field larger"),
    ],
)
def test_bad_table_is_refused_by_line_and_nothing_is_written(meshed, tmp_path, text, message):
    before = sorted(path.name for path in (meshed / "mesh").iterdir())
    with pytest.raises((InputError, FormatError), match=message):
        link_mesh_fragments(write_table(tmp_path, text), meshed)
    assert sorted(path.name for path in (meshed / "mesh").iterdir()) == before


@COLONS
@COLONS
def test_another_manifest_is_replaced_only_where_that_is_asked(meshed, tmp_path):
    table = tmp_path / "links.csv"
    table.write_text("3,left\n")
    link_mesh_fragments(table, meshed)
    link_mesh_fragments(table, meshed)
    table.write_text("3,right\n4,left\n")
    with pytest.raises(DestinationError, match=r"3:0 already exists.*--overwrite"):
        link_mesh_fragments(table, meshed)
    assert not (meshed / "mesh" / "4:0").exists()
    link_mesh_fragments(table, meshed, overwrite=True)
    assert json.loads((meshed / "mesh" / "3:0").read_text()) == {"fragments": ["right"]}


def test_manifest_does_not_replace_a_fragment(meshed, tmp_path):
    table = write_table(tmp_path, "7,7\n")
    assert link_mesh_fragments(table, meshed) == 1
    with pytest.raises(InputError, match="manifest '7' would replace the fragment"):
        link_mesh_fragments(table, meshed, colon_suffix=False)


@COLONS
def test_missing_table_and_volume_without_meshes_are_named(meshed, volume, tmp_path):
    with pytest.raises(InputNotFoundError, match=r"no table .*gone\.csv"):
        link_mesh_fragments(tmp_path / "gone.csv", meshed)
    with pytest.raises(InputError, match="can't be read"):
        link_mesh_fragments(tmp_path, meshed)
    (volume / "info").write_text(json.dumps(INFO))
    with pytest.raises(InputError, match="run mesh-to-precomputed first"):
        link_mesh_fragments(write_table(tmp_path, "1,left\n"), volume)


# Read back by others


@COLONS
def test_cloudvolume_reads_the_mesh_of_a_label(meshed, tmp_path):
    cloudvolume = pytest.importorskip("cloudvolume")
    link_mesh_fragments(write_table(tmp_path, "5,left,right\n"), meshed)
    source = cloudvolume.CloudVolume(f"file://{meshed}", progress=False)
    mesh = source.mesh.get(5, remove_duplicate_vertices=False)
    mesh = mesh[5] if isinstance(mesh, dict) else mesh
    expected = np.tile(BALL.vertices * 1e6, (2, 1))
    np.testing.assert_allclose(mesh.vertices, expected, rtol=1e-6, atol=2)
    faces = np.vstack([BALL.faces, BALL.faces + len(BALL.vertices)])
    np.testing.assert_array_equal(mesh.faces, faces)


@COLONS
def test_fsaverage_surfaces_become_fragments_and_vtk(volume, tmp_path):
    """Surfaces that FreeSurfer made, where nilearn with its data is installed."""
    folder = nilearn_data("fsaverage5")
    for side, label in (("left", 3), ("right", 42)):
        path = folder / f"pial_{side}.gii.gz"
        arrays = nib.load(str(path)).agg_data(("pointset", "triangle"))
        name = mesh_to_precomputed(path, volume)
        assert name == f"pial_{side}"
        mesh = fragment(volume / f"mesh/{name}.gz")
        np.testing.assert_array_equal(mesh.vertices_nm, arrays[0] * np.float32(1e6))
        np.testing.assert_array_equal(mesh.triangles, arrays[1])
        link_mesh_fragments(write_table(tmp_path, f"{label},{name}\n"), volume)
        mesh_to_vtk(path, tmp_path / f"{side}.vtk")
        lines = (tmp_path / f"{side}.vtk").read_text().split("\n")
        assert lines[4] == f"POINTS {len(arrays[0])} float"
        points = np.loadtxt(lines[5 : 5 + len(arrays[0])], dtype=np.float32)
        np.testing.assert_array_equal(points, arrays[0] * np.float32(1e6))


# From the command line


def test_commands_run_as_their_help_says(volume, surface, tmp_path):
    transform = "-1,0,0,1,0,1,0,0,0,0,1,0,0,0,0,1"
    options = ["--mesh-dir", "m", "--mesh-name", "a", "--coord-transform", transform]
    assert run("mesh-to-precomputed", surface, volume, *options, "--no-gzip").exit_code == 0
    np.testing.assert_array_equal(fragment(volume / "m/a").triangles, BALL.faces[:, ::-1])
    (tmp_path / "b.stl").write_bytes(BALL.export(file_type="stl"))
    assert run("stl-to-precomputed", tmp_path / "b.stl", volume, "--voxel-size", 2).exit_code == 0
    assert fragment(volume / "m/b.gz").vertices_nm.max() == pytest.approx(40e6, rel=0.05)
    table = write_table(tmp_path, "5,a,b\n")
    assert run("link-mesh-fragments", table, volume, "--no-colon-suffix").exit_code == 0
    assert (volume / "m/5").is_file()
    assert run("mesh-to-vtk", surface, tmp_path / "a.vtk").exit_code == 0
    assert (tmp_path / "a.vtk").is_file()


@pytest.mark.parametrize("value", ["1,2,3", "a" + ",1" * 11, "", "1;2"])
def test_coordinate_transform_of_other_length_is_a_usage_error(volume, surface, value):
    result = run("mesh-to-precomputed", surface, volume, "--coord-transform", value)
    assert result.exit_code == 2
    assert "--coord-transform" in result.output


def test_old_options_are_taken(volume, surface, caplog):
    old = ["--no-compression", "--compresslevel", "9", "--flat"]
    assert run("mesh-to-precomputed", surface, volume, *old).exit_code == 0
    assert "--compresslevel has no effect" in caplog.text
    assert "--flat has no effect" in caplog.text
    assert (volume / "mesh/ball.surf").is_file()


@COLONS
def test_a_label_without_fragments_has_an_empty_manifest(meshed, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("1,left\n2\n3,,\n")
    assert link_mesh_fragments(table, meshed) == 3
    assert [json.loads((meshed / f"mesh/{n}:0").read_bytes())["fragments"] for n in (1, 2, 3)] == [
        ["left"],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("factor", "options", "advice"),
    [
        (1, [], None),
        (1000, [], "pass --units um"),
        (1000, ["--units", "um"], None),
        (-1, [], "check --units, --space and --coord-transform"),
        (1e6, ["--units", "nm"], None),
    ],
)
def test_a_surface_far_outside_of_its_volume_is_warned_of(
    tmp_path, capsys, factor, options, advice
):
    labels = np.zeros((20, 20, 20), np.uint32)
    ngcore.convert(labels, tmp_path / "v", type="segmentation", resolution=(2e5,) * 3, fsync=False)
    path = tmp_path / "a.obj"
    corners = np.array([[1, 1, 1], [2, 1, 1], [1, 2, 1]]) * factor
    path.write_text(
        "".join(f"v {row[0]:g} {row[1]:g} {row[2]:g}\n" for row in corners) + "f 1 2 3\n"
    )
    assert ngcore_command(["mesh-to-precomputed", str(path), str(tmp_path / "v"), *options]) == 0
    err = capsys.readouterr().err
    if advice is None:
        assert err == ""
    else:
        assert err.startswith(
            f"ngcore: warning: {path}: lies far outside of {tmp_path / 'v'}: it "
        )
        assert err.count("\n") == 1
        assert advice in err


def test_a_surface_of_the_world_is_told_from_one_of_the_volume(tmp_path, capsys):
    image = nib.Nifti1Image(np.ones((9, 9, 9), np.uint8), np.diag([-1, -1, 1, 1.0]))
    nib.save(image, tmp_path / "a_dseg.nii")
    ngcore.convert(tmp_path / "a_dseg.nii", tmp_path / "v", fsync=False)
    (tmp_path / "a.obj").write_text("v -5 -5 5\nv -6 -5 5\nv -5 -6 5\nf 1 2 3\n")
    words = ["mesh-to-precomputed", str(tmp_path / "a.obj"), str(tmp_path / "v")]
    assert ngcore_command(words) == 0
    assert "if that is wrong, pass --space world" in capsys.readouterr().err
    assert ngcore_command([*words, "--space", "world", "--mesh-name", "b"]) == 0
    assert capsys.readouterr().err == ""
