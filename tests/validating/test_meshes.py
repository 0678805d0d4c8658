import gzip
import json
from pathlib import Path

import damage
import DracoPy
import numpy as np
import pytest
from findings import edit_json, found, only

import ngcore
from ngcore.meshing.mesh import write_meshes
from ngcore.precomputed.mesh import Mesh
from ngcore.precomputed.mesh_legacy import encode_fragment, encode_manifest
from ngcore.validating.validate import validate


@pytest.fixture
def meshes(labels):
    damage.forget_provenance(labels)
    edit_json(labels / "info", lambda info: info.update(mesh="mesh"))
    folder = labels / "mesh"
    folder.mkdir()
    (folder / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    triangle = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    (folder / "left").write_bytes(encode_fragment(triangle))
    (folder / "right.gz").write_bytes(gzip.compress(encode_fragment(triangle)))
    _write_manifest(folder, "1:0", encode_manifest(["left", "right"]))
    return labels


def _write_manifest(folder: Path, name: str, content: bytes) -> None:
    try:
        (folder / name).write_bytes(content)
    except OSError:
        pytest.skip("this file system has no colons in names")


def test_legacy_meshes_are_sound(meshes):
    assert not validate(meshes).findings


def test_fragment_that_is_missing_is_named_with_its_manifest(meshes):
    (meshes / "mesh" / "left").unlink()
    assert only(found(meshes)) == "mesh/1:0: refers to a fragment 'left' that does not exist"


def test_damaged_fragment_is_named(meshes):
    path = meshes / "mesh" / "left"
    path.write_bytes(path.read_bytes()[:-4] + b"\xff\xff\xff\xff")
    assert only(found(meshes)).startswith("mesh/left: mesh fragment 'left': triangle 0 refers to")


def test_damaged_manifest_is_named(meshes):
    _write_manifest(meshes / "mesh", "2:0", b'{"fragments": "left"}')
    assert only(found(meshes)).startswith("mesh/2:0: manifest: fragments: expected an array")


def test_meshes_without_info_are_a_warning(meshes):
    (meshes / "mesh" / "info").unlink()
    assert not found(meshes)
    assert only(found(meshes, "warning")).startswith("mesh/info: is missing")


@pytest.mark.parametrize("name", ["mesh", "skeletons", "segment_properties"])
def test_folder_that_info_names_and_is_not_there_is_a_fault(labels, name):
    edit_json(labels / "info", lambda info: info.update({name: "elsewhere"}))
    assert only(found(labels)) == f"info: {name}: there is no folder 'elsewhere'"


MULTILOD_INFO = {
    "@type": "neuroglancer_multilod_draco",
    "vertex_quantization_bits": 16,
    "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
    "lod_scale_multiplier": 1,
}


def multilod_manifest(positions, sizes):
    """One level of detail."""
    header = np.array([64, 64, 64, 0, 0, 0], "<f4").tobytes() + np.array([1], "<u4").tobytes()
    lods = np.array([1, 0, 0, 0], "<f4").tobytes() + np.array([len(sizes)], "<u4").tobytes()
    places = np.array(positions, "<u4").reshape(-1, 3).T.tobytes()
    return header + lods + places + np.array(sizes, "<u4").tobytes()


def draco(*triangles):
    """A fragment, with positions of whole numbers."""
    points = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0]], np.uint32)
    encoded = DracoPy.encode(points, np.array(triangles or [[0, 1, 2]], np.uint32))
    assert isinstance(encoded, bytes)
    return encoded


FRAGMENT = draco()
SIZE = len(FRAGMENT)


@pytest.fixture
def multilod(labels):
    damage.forget_provenance(labels)
    edit_json(labels / "info", lambda info: info.update(mesh="mesh"))
    folder = labels / "mesh"
    folder.mkdir()
    (folder / "info").write_text(json.dumps(MULTILOD_INFO))
    manifest = multilod_manifest(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [SIZE, 0, SIZE, SIZE]
    )
    (folder / "7.index").write_bytes(manifest)
    (folder / "7").write_bytes(3 * FRAGMENT)
    return labels


def test_multilod_meshes_are_sound(multilod):
    assert not validate(multilod).findings


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "at least 28 bytes"),
        (multilod_manifest([[0, 0, 0]], [3 * SIZE])[:-1], "take exactly 64"),
        (multilod_manifest([[0, 0, 0]], [21]), f"take 21 bytes in total, but 7 has {3 * SIZE}"),
        (multilod_manifest([[0, 1, 0], [1, 0, 0]], [SIZE, 2 * SIZE]), "Z-order is expected"),
        (multilod_manifest([[3, 3, 0], [0, 0, 1]], [SIZE, 2 * SIZE]), "Z-order is expected"),
        (multilod_manifest([[0, 0, 0], [1, 0, 0]], [1, 3 * SIZE - 1]), "is not a Draco mesh"),
    ],
)
def test_multilod_manifest_with_wrong_arithmetic_is_named(multilod, manifest, message):
    (multilod / "mesh/7.index").write_bytes(manifest)
    line = found(multilod)[0]
    assert line.startswith("mesh/7")
    assert message in line


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        (FRAGMENT[:20] + bytes(SIZE - 20), "can't be decoded"),
        (draco([0, 1, 2], [2, 1, 0])[:-9], "can't be decoded"),
    ],
)
def test_fragments_are_decoded(multilod, fragment, message):
    (multilod / "mesh/7").write_bytes(2 * FRAGMENT + fragment)
    manifest = multilod_manifest([[0, 0, 0], [1, 0, 0]], [2 * SIZE, len(fragment)])
    (multilod / "mesh/7.index").write_bytes(manifest)
    assert message in found(multilod)[-1]


def test_positions_beyond_the_quantization_are_a_fault(multilod):
    edit_json(multilod / "mesh/info", lambda info: info.update(vertex_quantization_bits=10))
    assert not found(multilod)
    far = DracoPy.encode(np.eye(3, dtype=np.uint32) * 1024, np.array([[0, 1, 2]], np.uint32))
    (multilod / "mesh/7").write_bytes(far)
    (multilod / "mesh/7.index").write_bytes(multilod_manifest([[0, 0, 0]], [len(far)]))
    assert "a position is 1024, but the largest possible is 1023" in only(found(multilod))


def test_multilod_meshes_in_shards_are_checked(multilod):
    spec = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 0,
        "hash": "identity",
        "minishard_bits": 0,
        "shard_bits": 0,
    }
    folder = multilod / "mesh"
    manifest = (folder / "7.index").read_bytes()
    fragments = (folder / "7").read_bytes()
    (folder / "7.index").unlink()
    (folder / "7").unlink()
    (folder / "info").write_text(json.dumps({**MULTILOD_INFO, "sharding": spec}))
    body = fragments + manifest
    table = np.array([7, len(fragments), len(manifest)], "<u8").tobytes()
    index = np.array([len(body), len(body) + len(table)], "<u8").tobytes()
    (folder / "0.shard").write_bytes(index + body + table)
    assert not validate(multilod).findings
    (folder / "0.shard").write_bytes(index + b"x" + body[1:] + table)
    line = only(found(multilod))
    assert line.startswith("mesh/0.shard: segment 7, byte 16: fragment 0 of level 0")


@pytest.mark.parametrize("end", ["spatial.gz", "spatial", "frags", "labels.gz"])
def test_what_igneous_leaves_beside_sharded_meshes_is_no_stray(tmp_path, end):
    voxels = np.zeros((20, 20, 20), np.uint64)
    voxels[4:9, 4:9, 4:9] = 7
    ngcore.convert(voxels, tmp_path, type="segmentation", resolution=(8, 8, 8), fsync=False)
    write_meshes(tmp_path, workers=1)
    (tmp_path / f"mesh/0-320_0-320_0-1600.{end}").write_bytes(gzip.compress(b"{}"))
    assert not validate(tmp_path).findings
