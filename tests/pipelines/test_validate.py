"""What `validate` finds, one kind of fault at a time, and that each is named with its place."""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

import damage
import ngcore
from ngcore.formats.mesh import Mesh
from ngcore.formats.mesh_legacy import encode_fragment, encode_manifest
from ngcore.pipelines.checks.findings import LISTED
from ngcore.pipelines.validate import validate


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for name in damage.VOLUMES:
        damage.make_volume(folder / name, name)
    return folder


@pytest.fixture
def sharded(made, tmp_path):
    return damage.copy(made / "sharded", tmp_path / "volume")


@pytest.fixture
def files(made, tmp_path):
    return damage.copy(made / "files", tmp_path / "volume")


@pytest.fixture
def labels(made, tmp_path):
    return damage.copy(made / "files of labels", tmp_path / "volume")


def found(folder, severity="error", **options):
    """Return the findings of a severity, each as a line."""
    report = validate(folder, workers=2, **options)
    return [str(finding) for finding in report.findings if finding.severity == severity]


def only(lines):
    assert len(lines) == 1, lines
    return lines[0]


def edit_json(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("name", damage.VOLUMES)
def test_every_kind_of_volume_that_convert_writes_is_sound(made, name):
    report = validate(made / name)
    assert report.is_sound
    assert not report.findings
    assert report.digests == ("8_8_8", "16_16_16", "32_32_32")
    assert not validate(made / name, quick=True).findings


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "compressed_segmentation"])
@pytest.mark.parametrize("sharding", [True, False])
def test_offset_channels_and_lossy_encodings_are_sound(tmp_path, encoding, sharding):
    rng = np.random.default_rng(0)
    options = {"encoding": encoding, "sharding": sharding, "chunk_size": 16}
    if encoding == "compressed_segmentation":
        voxels = damage.labels(0).astype(np.uint64) << 40
        options["type"] = "segmentation"
    else:
        voxels = rng.integers(0, 256, (50, 33, 20, 3)).astype(np.uint8)
        options |= {"outside_value": 9, "jpeg_quality": 10}
    ngcore.convert(
        voxels, tmp_path / "out", resolution=(8, 8, 8), voxel_offset=(-5, 3, 7), **options
    )
    report = validate(tmp_path / "out")
    assert not report.findings
    assert len(report.digests) == len(ngcore.open(tmp_path / "out").scales)


def test_digest_does_not_depend_on_layout_threads_memory_or_gzip(tmp_path):
    digests = set()
    for number, options in enumerate(
        [
            {},
            {"gzip": False, "workers": 1},
            {"sharding": False, "memory": "300M"},
            {"sharding": False, "layout": "nested", "gzip": True},
        ]
    ):
        out = tmp_path / str(number)
        ngcore.convert(damage.image(0), out, resolution=(8, 8, 8), chunk_size=16, **options)
        method = json.loads((out / "provenance").read_text())["processing"][-1]["method"]
        digests.add(json.dumps(method["digests"]))
    assert len(digests) == 1


def test_chunk_that_changed_is_found_by_the_digest(files):
    path = files / "8_8_8" / "0-16_16-32_16-32"
    voxels = np.frombuffer(path.read_bytes(), np.uint16).copy()
    voxels[100] ^= 1  # too little to change the average of a cell
    path.write_bytes(voxels.tobytes())
    line = only(found(files))
    assert line.startswith("8_8_8: voxels are not those that were written")
    assert not found(files, quick=True)


def test_truncated_chunk_is_named(files):
    path = files / "16_16_16" / "0-16_0-16_16-19"
    path.write_bytes(path.read_bytes()[:-1])
    for quick in (False, True):
        line = only(found(files, quick=quick))
        assert line.startswith("16_16_16/0-16_0-16_16-19: a raw chunk of ")


def test_missing_chunk_of_our_own_volume_is_an_error(files):
    (files / "8_8_8" / "16-32_16-32_16-32").unlink()
    lines = found(files)
    assert any(line.startswith("8_8_8/16-32_16-32_16-32: is missing") for line in lines)


def test_missing_chunk_of_zeros_is_a_warning_where_a_digest_knows(tmp_path):
    voxels = damage.image(0)
    voxels[:16, :16, :16] = 0
    ngcore.convert(voxels, tmp_path, resolution=(8, 8, 8), chunk_size=16, sharding=False)
    (tmp_path / "8_8_8" / "0-16_0-16_0-16").unlink()
    report = validate(tmp_path)
    assert report.is_sound
    assert "1 of 36 chunks are absent" in str(report.findings[0])


def test_missing_chunk_where_a_coarser_scale_shows_data_is_an_error(files):
    (files / "provenance").unlink()
    (files / "8_8_8" / "16-32_16-32_16-32").unlink()
    lines = found(files)
    expected = "8_8_8/16-32_16-32_16-32: is absent, but scale 16_16_16 shows data there"
    assert expected in lines


def test_missing_chunk_where_a_finer_scale_shows_data_is_an_error(files):
    (files / "provenance").unlink()
    (files / "32_32_32" / "0-13_0-11_0-10").unlink()
    expected = "32_32_32/0-13_0-11_0-10: is absent, but scale 16_16_16 shows data there"
    assert expected in found(files)


def test_missing_shard_is_an_error(sharded):
    (sharded / "16_16_16" / "0.shard").unlink()
    assert "16_16_16/0.shard: is missing, and ngcore writes every shard" in found(sharded)


def test_zlib_streams_in_shards_are_named_as_such(made, tmp_path):
    folder = damage.copy(made / "sharded, not compressed", tmp_path / "volume")
    damage.forget_digests(folder)
    _store_as(folder, zlib.compress)
    lines = found(folder)
    assert all("a zlib stream where gzip is due" in line for line in lines)
    assert "0.shard: byte " in lines[0]
    assert "chunk 0-" in lines[0]
    assert any("a zlib stream where gzip is due" in line for line in found(folder, quick=True))


def test_shard_with_gzip_written_by_hand_is_sound(made, tmp_path):
    folder = damage.copy(made / "sharded, not compressed", tmp_path / "volume")
    _store_as(folder, gzip.compress)
    assert not found(folder)


def _store_as(folder, compress):
    """Rewrite every shard with data that are compressed another way."""
    info = json.loads((folder / "info").read_text())
    for number, item in enumerate(info["scales"]):
        old = ngcore.VolumeInfo.from_json(json.dumps(info)).scales[number].sharding
        for path in (folder / item["key"]).iterdir():
            data = path.read_bytes()
            header = np.frombuffer(data, "<u8", 2 << old.minishard_bits).reshape(-1, 2).copy()
            base = header.nbytes
            body = bytearray()
            for entry in header:
                if entry[0] == entry[1]:
                    continue
                table = np.frombuffer(data[base + entry[0] : base + entry[1]], "<u8").copy()
                table = table.reshape(3, -1)
                position = 0
                for column in range(table.shape[1]):
                    position += int(table[1, column])
                    chunk = data[base + position : base + position + int(table[2, column])]
                    position += len(chunk)
                    stored = compress(chunk)
                    table[1, column] = len(body) if column == 0 else 0
                    table[2, column] = len(stored)
                    body += stored
                entry[:] = len(body), len(body) + table.nbytes
                body += table.tobytes()
            path.write_bytes(header.tobytes() + bytes(body))
        item["sharding"]["data_encoding"] = "gzip"
    (folder / "info").write_text(json.dumps(info))


def test_ids_of_another_shard_are_named(tmp_path):
    voxels = np.random.default_rng(0).integers(1, 99, (80, 80, 80)).astype(np.uint8)
    ngcore.convert(voxels, tmp_path, resolution=(8, 8, 8), chunk_size=4, max_scales=1)
    shards = sorted((tmp_path / "8_8_8").iterdir())
    first, last = shards[0].read_bytes(), shards[-1].read_bytes()
    shards[0].write_bytes(last)
    shards[-1].write_bytes(first)
    report = validate(tmp_path)
    assert any("belongs to minishard" in str(finding) for finding in report.findings)
    assert sum(report.unlisted.values()) > 0
    assert len([f for f in report.findings if f.kind == "shard"]) == LISTED


def test_data_that_overlap_and_entries_without_bytes_are_named(made, tmp_path):
    folder = damage.copy(made / "sharded, not compressed", tmp_path / "volume")
    path = folder / "16_16_16" / "0.shard"
    data = bytearray(path.read_bytes())
    start, stop = np.frombuffer(data, "<u8", 2).tolist()
    table = np.frombuffer(data[16 + start : 16 + stop], "<u8").reshape(3, -1).copy()
    sound = table.copy()
    table[2, 1] = 0
    data[16 + start : 16 + stop] = table.tobytes()
    path.write_bytes(data)
    assert any("is listed with no bytes" in line for line in found(folder))
    sound[1, 1] = 2**64 - 1  # the second chunk begins in the last byte of the first
    sound[1, 2] = 1
    data[16 + start : 16 + stop] = sound.tobytes()
    path.write_bytes(data)
    assert any("of a lower id" in line for line in found(folder))


def test_misnamed_and_stray_files_are_told_apart(files):
    (files / "8_8_8" / "0-16_0-16_0-15").write_bytes(b"")
    (files / "8_8_8" / "notes.txt").write_bytes(b"")
    (files / "README").write_bytes(b"")
    assert only(found(files)) == "8_8_8/0-16_0-16_0-15: names no chunk of this scale"
    assert found(files, "warning") == [
        "8_8_8/notes.txt: is no chunk",
        "README: belongs to nothing that info names",
    ]


def test_second_file_for_a_chunk_is_named(files):
    path = files / "8_8_8" / "0-16_0-16_0-16"
    (files / "8_8_8" / "0-16_0-16_0-16.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert "there is another file for this chunk" in found(files)[0] + found(files)[-1]


def test_chunk_that_is_not_the_gzip_of_its_name_is_named(made, tmp_path):
    folder = damage.copy(made / "files, nested, gzip", tmp_path / "volume")
    path = folder / "8_8_8/0-16/0-16/0-16.gz"
    path.write_bytes(zlib.compress(gzip.decompress(path.read_bytes())))
    line = only(found(folder))
    assert line.startswith("8_8_8/0-16/0-16/0-16.gz: a zlib stream where gzip is due")


@pytest.mark.parametrize("quick", [False, True])
def test_null_sharding_is_a_fault_that_hides_no_other(files, quick):
    edit_json(files / "info", lambda info: info["scales"][0].update(sharding=None))
    (files / "8_8_8" / "0-16_0-16_0-16").write_bytes(b"")
    lines = found(files, quick=quick)
    assert lines[0].startswith("8_8_8/0-16_0-16_0-16: ")
    assert lines[-1].startswith("info: scales[0].sharding: null")


def test_every_scale_with_a_fault_is_named_by_its_json_path(files):
    def spoil(info):
        info["scales"][0]["size"][2] = -1
        info["scales"][2]["encoding"] = "mpeg"

    edit_json(files / "info", spoil)
    lines = found(files)
    assert lines[0].startswith("info: scales[0].size[2]: ")
    assert lines[1].startswith("info: scales[2].encoding: ")
    assert len(lines) == 2


def test_info_that_is_no_json_is_a_fault(files):
    (files / "info").write_text((files / "info").read_text()[:-20])
    assert only(found(files)).startswith("info: not JSON")


def test_scale_that_covers_less_than_the_one_before_is_named(files):
    edit_json(files / "info", lambda info: info["scales"][1]["size"].__setitem__(0, 24))
    assert any(
        line.startswith("info: scales[1].size[0]: covers voxels 0 to 24") for line in found(files)
    )


def test_coarser_scale_that_shows_something_else_is_named(labels):
    damage.forget_digests(labels)
    path = labels / "16_16_16" / "0-16_0-16_0-16"
    path.write_bytes((labels / "8_8_8" / "16-32_16-32_16-32").read_bytes())
    lines = found(labels)
    assert any(line.startswith("16_16_16/0-16_0-16_0-16: ") for line in lines)
    assert any("are not the majority of those of 8_8_8" in line for line in lines)


def test_damaged_provenance_is_a_warning(files):
    (files / "provenance").write_text("{")
    assert not found(files)
    assert found(files, "warning")[0].startswith("provenance: not JSON")


def test_digest_of_an_unknown_kind_is_a_warning(files):
    def spoil(provenance):
        provenance["processing"][-1]["method"]["digests"]["algorithm"] = "md5"

    edit_json(files / "provenance", spoil)
    assert not found(files)
    assert "not one that this version of ngcore knows" in only(found(files, "warning"))


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "NaN",
        "[]",
        "[[1, 0, 0, 0]]",
        "[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,2]]",
        "[[1,0,0,0],[0,1,0,0],[0,0,0,0],[0,0,0,1]]",
        "[[1,0,0,NaN],[0,1,0,0],[0,0,1,0],[0,0,0,1]]",
    ],
)
def test_transform_that_is_no_affine_matrix_is_a_fault(files, document):
    (files / "transform.json").write_text(document)
    assert only(found(files)).startswith("transform.json: ")


def test_folder_without_info_is_no_volume(tmp_path):
    with pytest.raises(ngcore.InputNotFoundError, match="has no info file"):
        validate(tmp_path)
    with pytest.raises(ngcore.InputNotFoundError, match="is no folder"):
        validate(tmp_path / "nowhere")
    (tmp_path / ".ngcore").mkdir()
    with pytest.raises(ngcore.InputError, match="unfinished conversion"):
        validate(tmp_path)


def test_meshes_are_no_volumes(tmp_path):
    (tmp_path / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    with pytest.raises(ngcore.InputError, match="neuroglancer_legacy_mesh"):
        validate(tmp_path)


def test_conversion_that_left_its_work_folder_is_a_warning(files):
    (files / ".ngcore").mkdir()
    assert only(found(files, "warning")).startswith(".ngcore: left by a conversion")


def test_volume_without_a_single_chunk_is_a_fault(files):
    for path in (files / "8_8_8", files / "16_16_16", files / "32_32_32"):
        for file in path.iterdir():
            file.unlink()
    assert any("not one chunk of any scale is there" in line for line in found(files))


@pytest.mark.parametrize("kind", ["image", "segmentation"])
def test_volume_of_zeros_has_shards_without_a_chunk_and_is_sound(tmp_path, kind):
    zeros = np.zeros((20, 20, 20), np.uint32)
    ngcore.convert(zeros, tmp_path, type=kind, resolution=(8, 8, 8), chunk_size=8)
    report = validate(tmp_path)
    assert (report.is_sound, report.findings, report.chunks) == (True, (), 0)
    (tmp_path / "provenance").unlink()
    assert validate(tmp_path).is_sound
    for shard in tmp_path.glob("*/*.shard"):
        shard.unlink()
    assert not validate(tmp_path).is_sound


def test_encoding_that_ngcore_does_not_know_is_not_decoded_but_counted(files):
    def foreign(info):
        for item in info["scales"]:
            item["encoding"] = "jxl"

    edit_json(files / "info", foreign)
    report = validate(files)
    assert report.is_sound
    assert report.chunks == 36 + 8 + 1
    assert {finding.kind for finding in report.findings} == {"unchecked"}
    (files / "provenance").unlink()
    (files / "8_8_8" / "16-32_16-32_16-32").unlink()
    assert not found(files)
    assert any("1 of 36 chunks are absent" in line for line in found(files, "warning"))


def test_progress_ends_at_every_voxel(files):
    told = []
    validate(files, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)


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


def test_wrong_segment_properties_are_named_by_their_json_path(labels):
    edit_json(labels / "info", lambda info: info.update(segment_properties="names"))
    (labels / "names").mkdir()
    label = {"id": "label", "type": "label", "values": ["a", "b"]}
    inline = {"ids": ["2", "10"], "properties": [label]}
    document = {"@type": "neuroglancer_segment_properties", "inline": inline}
    (labels / "names/info").write_text(json.dumps(document))
    assert not validate(labels).findings
    inline["ids"] = ["10", "2"]
    (labels / "names/info").write_text(json.dumps(document))
    assert only(found(labels)).startswith("names/info: inline.ids[1]: ")
