import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from findings import edit_json, found, only

from ngcore.precomputed.mesh import Mesh
from ngcore.precomputed.mesh_legacy import encode_fragment, encode_manifest
from ngcore.validating.validate import validate


@pytest.fixture
def meshes(labels):
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
    assert only(found(meshes)) == "mesh/1:0: names a fragment 'left', not there"


def test_damaged_fragment_is_named(meshes):
    path = meshes / "mesh" / "left"
    path.write_bytes(path.read_bytes()[:-4] + b"\xff\xff\xff\xff")
    assert only(found(meshes)).startswith("mesh/left: mesh fragment 'left': triangle 0 names")


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


@pytest.fixture
def multilod(labels):
    edit_json(labels / "info", lambda info: info.update(mesh="mesh"))
    folder = labels / "mesh"
    folder.mkdir()
    (folder / "info").write_text(json.dumps(MULTILOD_INFO))
    manifest = multilod_manifest([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [8, 0, 9, 5])
    (folder / "7.index").write_bytes(manifest)
    (folder / "7").write_bytes(b"DRACO___DRACO____DRACO")
    return labels


def test_multilod_meshes_are_sound(multilod):
    assert not validate(multilod).findings


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "28 bytes at least"),
        (multilod_manifest([[0, 0, 0]], [22])[:-1], "take exactly 64"),
        (multilod_manifest([[0, 0, 0]], [21]), "take 21 bytes together, but 7 has 22"),
        (multilod_manifest([[0, 1, 0], [1, 0, 0]], [8, 14]), "Z-order is due"),
        (multilod_manifest([[3, 3, 0], [0, 0, 1]], [8, 14]), "Z-order is due"),
        (multilod_manifest([[0, 0, 0], [1, 0, 0]], [9, 13]), "is no Draco mesh"),
    ],
)
def test_multilod_manifest_with_wrong_arithmetic_is_named(multilod, manifest, message):
    (multilod / "mesh/7.index").write_bytes(manifest)
    line = only(found(multilod))
    assert line.startswith("mesh/7")
    assert message in line


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
    assert line.startswith("mesh/0.shard: byte 38, manifest of 7: fragment 0 of level 0")
