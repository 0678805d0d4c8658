"""Each repair: what `validate` reports before, and what is there after."""

from __future__ import annotations

import copy
import gzip
import json
import os
import sys
import zlib
from typing import TYPE_CHECKING, Any

import damage
import numpy as np
import pytest
from classic_peer import write_sharded
from mended import files_of, mend
from thorough import amount

import ngcore
from ngcore.cli import run
from ngcore.errors import (
    DestinationError,
    FormatError,
    InputError,
    InputNotFoundError,
)
from ngcore.precomputed.shard_index import layout_shard
from ngcore.repairing.repair import repair
from ngcore.storage import LocalStore
from ngcore.storage.sharded_reader import ShardedReader
from ngcore.validating.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


PROPERTIES: dict[str, Any] = {
    "@type": "neuroglancer_segment_properties",
    "inline": {
        "ids": ["3", "20", "100"],
        "properties": [{"id": "label", "type": "label", "values": ["c", "t", "h"]}],
    },
}


def voxels(folder: Path) -> list[bytes]:
    return [scale[...].tobytes() for scale in ngcore.open(folder).scales]


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    members = json.loads(path.read_text())
    change(members)
    path.write_text(json.dumps(members))


def first_shard(folder: Path) -> Path:
    return max((folder / "8_8_8").iterdir(), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("name", damage.VOLUMES)
def test_a_sound_volume_is_copied_byte_by_byte(volume, name):
    folder = volume(name)
    assert mend(folder).changes == {}
    assert files_of(folder) == files_of(folder.parent / "repaired")


def test_a_zip_is_repaired_to_a_folder(volume, tmp_path, capsys):
    folder = volume("sharded")
    ngcore.pack(folder, tmp_path / "v.zip")
    report = repair(tmp_path / "v.zip", tmp_path / "repaired", fsync=False)
    assert report.is_sound
    assert report.source == str(tmp_path / "v.zip")
    assert voxels(tmp_path / "repaired") == voxels(folder)
    assert run(["repair", str(tmp_path / "no.zip"), str(tmp_path / "r")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("bits", ["1,1,0", "2,1,1"][: amount(1, 2)])
def test_shards_of_neuroglancer_scripts_become_readable(tmp_path, bits):
    image = np.zeros((60, 40, 37), np.uint8)
    image[5:40, 9:30, 3:] = damage.image(0)[5:40, 9:30, 3:] >> 4
    folder = tmp_path / "volume"
    write_sharded(folder, image, bits)
    assert any("zlib stream" in str(finding) for finding in validate(folder).findings)
    assert mend(folder).changes.keys() == {"zlib", "phantom"}
    assert np.array_equal(ngcore.open(tmp_path / "repaired").scales[0][..., 0], image)


def drop_null(info: dict[str, Any]) -> None:
    for scale in info["scales"]:
        scale["sharding"] = None
    info["mesh"] = None


def add_block_size(info: dict[str, Any]) -> None:
    info["scales"][1]["compressed_segmentation_block_size"] = [8, 8, 8]


@pytest.mark.parametrize(
    ("change", "expected", "name"),
    [
        (drop_null, {"null": 4}, "files"),
        (add_block_size, {"block size": 1}, "files"),
        (lambda info: info["scales"].reverse(), {"order": 1}, "sharded"),
        (lambda info: info.update({"@type": "neuroglancer_volume"}), {"type tag": 1}, "files"),
        (lambda info: info.pop("num_channels"), {"channels": 1}, "sharded labels"),
    ],
)
def test_info_is_mended(volume, change, expected, name):
    folder = volume(name)
    before = voxels(folder)
    edit_json(folder / "info", lambda info: info.update(made_by="someone"))
    edit_json(folder / "info", change)
    assert not validate(folder).is_sound
    assert mend(folder).changes == expected
    assert voxels(folder.parent / "repaired") == before
    assert json.loads((folder.parent / "repaired" / "info").read_text())["made_by"] == "someone"


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (zlib.compress, "zlib"),
        (lambda plain: gzip.compress(plain[:100]) + gzip.compress(plain[100:]), "members"),
        (lambda plain: plain, "renamed"),
    ],
)
def test_gz_files_that_hold_something_else_are_mended(volume, write, kind):
    folder = volume("files, nested, gzip")
    before = voxels(folder)
    path = next((folder / "8_8_8").rglob("*.gz"))
    path.write_bytes(write(gzip.decompress(path.read_bytes())))
    assert not validate(folder).is_sound
    assert mend(folder).changes == {kind: 1}
    assert voxels(folder.parent / "repaired") == before


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("name", ["files", "files of png", "files of labels"])
def test_compressed_files_without_gz_in_their_name_are_decompressed(volume, name, compress):
    folder = volume(name)
    before = files_of(folder)
    for path in (folder / "8_8_8").iterdir():
        path.write_bytes(compress(path.read_bytes()))
    assert not validate(folder).is_sound
    assert mend(folder).changes == {"compressed": 36}
    assert files_of(folder.parent / "repaired") == before


def test_padded_chunks_at_the_edge_are_cut_whatever_their_name(volume):
    folder = volume("files")
    before = files_of(folder)
    path = folder / "8_8_8" / "48-50_0-16_32-37"
    padded = np.full((16, 16, 16), 7, "<u2")
    padded[:2, :, :5] = np.frombuffer(path.read_bytes(), "<u2").reshape((2, 16, 5), order="F")
    path.unlink()
    path.with_name("48-64_0-16_32-48").write_bytes(padded.tobytes(order="F"))
    assert not validate(folder).is_sound
    assert mend(folder).changes == {"padded": 1, "renamed": 1}
    assert files_of(folder.parent / "repaired") == before


def test_second_copies_of_a_chunk_are_left_out_if_they_are_the_same(volume, tmp_path):
    folder = volume("files")
    path = folder / "8_8_8" / "0-16_0-16_0-16"
    second = path.with_name(path.name + ".gz")
    second.write_bytes(gzip.compress(path.read_bytes()))
    assert not validate(folder).is_sound
    assert mend(folder).changes == {"duplicate": 1}
    second.write_bytes(gzip.compress(b"\1" * path.stat().st_size))
    report = repair(folder, tmp_path / "other", fsync=False)
    assert not report.is_sound
    assert "which one is right?" in report.failures[0].message


@pytest.mark.parametrize("name", ["files, nested, gzip", "files"])
def test_hosts_that_can_do_nothing_get_flat_plain_files(volume, name):
    folder = volume(name)
    before = voxels(folder)
    mesh = folder / "mesh"
    mesh.mkdir()
    (mesh / "7:0.gz").write_bytes(gzip.compress(b'{"fragments": []}'))
    edit_json(folder / "info", lambda info: info.update(mesh="mesh"))
    count = len([path for path in folder.rglob("*.gz") if path.parent != mesh])
    flat = {"flat": count} if count else {}
    report = mend(folder, flat=True, gzip=False)
    assert report.changes == {"plain": count + 1, **flat, "mesh info": 1}
    made = folder.parent / "repaired"
    assert not list(made.rglob("*.gz"))
    assert all(path.is_file() for path in (made / "8_8_8").iterdir())
    assert voxels(made) == before


def test_missing_info_of_legacy_meshes_is_written(volume):
    folder = volume("files")
    (folder / "mesh").mkdir()
    (folder / "mesh" / "7:0").write_bytes(b'{"fragments": ["a"]}')
    (folder / "mesh" / "a").write_bytes(bytes(4))
    edit_json(folder / "info", lambda info: info.update(mesh="mesh"))
    assert any(finding.kind == "mesh" for finding in validate(folder).findings)
    assert mend(folder).changes == {"mesh info": 1}
    info = json.loads((folder.parent / "repaired" / "mesh" / "info").read_text())
    assert info == {"@type": "neuroglancer_legacy_mesh"}


def test_missing_info_of_multi_resolution_meshes_is_beyond_mending(volume, tmp_path):
    folder = volume("files")
    (folder / "mesh").mkdir()
    (folder / "mesh" / "7.index").write_bytes(b"")
    edit_json(folder / "info", lambda info: info.update(mesh="mesh"))
    report = repair(folder, tmp_path / "repaired", fsync=False)
    assert [finding.where for finding in report.failures] == ["mesh/info"]


def unsort(inline: dict[str, Any]) -> None:
    inline["ids"] = ["100", "3", "20"]
    inline["properties"][0]["values"] = ["h", "c", "t"]


def add_tags(inline: dict[str, Any]) -> None:
    tags = {"tags": ["#left", "grey matter"], "values": [[1, 0], [], [0]]}
    inline["properties"].append({"id": "t", "type": "tags", **tags})


def write_properties(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    properties = copy.deepcopy(PROPERTIES)
    change(properties["inline"])
    (folder / "names").mkdir()
    (folder / "names" / "info").write_text(json.dumps(properties))
    edit_json(folder / "info", lambda info: info.update(segment_properties="names"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (unsort, {"ids": 1}),
        (lambda inline: inline.update(ids=[3, 20, 100]), {"ids": 1}),
        (add_tags, {"tags": 3}),
    ],
)
def test_segment_properties_are_mended(volume, change, expected):
    folder = volume("sharded labels")
    write_properties(folder, change)
    assert not validate(folder).is_sound
    assert mend(folder).changes == expected
    made = json.loads((folder.parent / "repaired" / "names" / "info").read_text())["inline"]
    assert made["ids"] == PROPERTIES["inline"]["ids"]
    assert made["properties"][0] == PROPERTIES["inline"]["properties"][0]
    if change is add_tags:
        assert made["properties"][1]["tags"] == ["left", "grey_matter"]
        assert made["properties"][1]["values"] == [[0, 1], [], [0]]


def test_ids_that_are_there_twice_are_beyond_mending(volume, tmp_path):
    folder = volume("sharded labels")
    write_properties(folder, lambda inline: inline.update(ids=["3", "3", "4"]))
    report = repair(folder, tmp_path / "repaired", fsync=False)
    assert not report.is_sound
    assert report.failures[0].where == "names/info"


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        ("sharded", lambda data: zlib.compress(gzip.decompress(data)), "zlib"),
        ("sharded", gzip.decompress, "not compressed"),
        ("sharded png", gzip.decompress, "not compressed"),
        ("sharded, not compressed", gzip.compress, "compressed"),
        ("sharded, not compressed", zlib.compress, "compressed"),
    ],
)
def test_chunks_in_shards_are_compressed_as_info_says(volume, name, change, kind):
    folder = volume(name)
    before, seen = files_of(folder), voxels(folder)
    scale = ngcore.open(folder).info.scales[0]
    path = first_shard(folder)
    reader = ShardedReader(LocalStore(folder), scale, scale.sharding, 1 << 20)
    chunks = {
        chunk_id: data
        for cell in scale.grid.cells()
        if scale.sharding.locate(chunk_id := scale.grid.chunk_id(cell))[0] == int(path.stem, 16)
        and (data := reader.read_stored(cell)) is not None
    }
    chunks[max(chunks)] = change(chunks[max(chunks)])
    layout = layout_shard(scale.sharding, {chunk: len(data) for chunk, data in chunks.items()})
    body = b"".join(chunks[chunk_id] for chunk_id in layout.ids)
    path.write_bytes(layout.header + body + layout.trailer)
    assert not validate(folder).is_sound
    assert mend(folder).changes == {kind: 1}
    assert voxels(folder.parent / "repaired") == seen
    if kind == "compressed":
        assert files_of(folder.parent / "repaired") == before  # to the last byte, indexes and all


def test_a_shard_whose_ids_are_out_of_order_is_laid_down_anew(volume):
    folder = volume("sharded, not compressed")
    before = files_of(folder)
    path = first_shard(folder)
    spec = ngcore.open(folder).info.scales[0].sharding
    assert (spec.minishard_bits, spec.minishard_index_encoding) == (0, "raw")
    data = path.read_bytes()
    start, stop = (int(n) + 16 for n in np.frombuffer(data[:16], "<u8"))
    table = np.frombuffer(data[start:stop], "<u8").reshape(3, -1)
    ids = np.cumsum(table[0], dtype=np.uint64)
    edges = np.cumsum(table[1:].T.reshape(-1), dtype=np.uint64).reshape(-1, 2)
    order = np.random.default_rng(0).permutation(len(ids))
    wild = np.empty_like(table)
    wild[0] = np.diff(ids[order], prepend=np.uint64(0))
    wild[1] = edges[order, 0] - np.concatenate([np.zeros(1, np.uint64), edges[order, 1][:-1]])
    wild[2] = edges[order, 1] - edges[order, 0]
    path.write_bytes(data[:start] + wild.tobytes() + data[stop:])
    assert not validate(folder).is_sound
    assert mend(folder).changes == {"index": 1}
    assert files_of(folder.parent / "repaired") == before


def test_shards_get_the_name_that_clients_ask_for(volume):
    folder = volume("sharded")
    before = files_of(folder)
    shard = first_shard(folder)
    shard.rename(shard.with_name("00" + shard.name))
    assert not validate(folder).is_sound
    assert mend(folder).changes == {"renamed": 1}
    assert files_of(folder.parent / "repaired") == before


def test_what_is_damaged_stays_as_it_is_and_is_named(volume, tmp_path, capsys):
    folder = volume("sharded")
    shard = first_shard(folder)
    data = bytearray(shard.read_bytes())
    data[5000] ^= 8
    shard.write_bytes(data)
    assert run(["repair", str(folder), str(tmp_path / "repaired")]) == 1
    assert f"not fixed: 8_8_8/{shard.name}: byte" in capsys.readouterr().out
    assert files_of(tmp_path / "repaired") == files_of(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are always UTF-8")
def test_file_whose_name_is_no_text_is_left_out_too(volume):
    folder = volume("files")
    (folder / "8_8_8" / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"")
    assert mend(folder).left_out == 1


def test_files_that_belong_to_nothing_are_left_out_and_counted(volume):
    folder = volume("files")
    (folder / "notes.txt").write_text("mine")
    (folder / "8_8_8" / "thumbs.db").write_text("")
    report = mend(folder)
    assert (report.changes, report.left_out) == ({}, 2)
    assert not (folder.parent / "repaired" / "notes.txt").exists()


def test_the_source_is_never_the_destination(volume):
    folder = volume("files")
    for dest in (folder, folder / "inside", folder.parent):
        with pytest.raises(DestinationError, match="choose another folder"):
            repair(folder, dest, overwrite=True)


def test_a_volume_that_is_there_is_replaced_only_if_asked(volume, tmp_path):
    folder, dest = volume("files"), tmp_path / "repaired"
    damage.make_volume(dest, "sharded")
    (dest / "mesh").mkdir()
    (dest / "mesh" / "old").write_bytes(bytes(4))  # a fragment without vertices
    (dest / "mesh" / "notes").write_text("mine")
    edit_json(dest / "info", lambda info: info.update(mesh="mesh"))
    with pytest.raises(DestinationError, match="--overwrite"):
        repair(folder, dest)
    assert mend(folder, overwrite=True).changes == {}
    assert (dest / "mesh" / "notes").read_text() == "mine"
    (dest / "mesh" / "notes").unlink()
    assert files_of(folder) == files_of(dest)


def test_garbage_is_one_line(tmp_path, capsys):
    (tmp_path / "info").write_bytes(bytes(range(256)))
    for source, kind in ((tmp_path, FormatError), (tmp_path / "nothing", InputNotFoundError)):
        assert run(["repair", str(source), str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("ngcore: error: ")
        assert error.count("\n") == 1
        with pytest.raises(kind):
            repair(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folder_in_the_place_of_a_file_is_left_out(volume, tmp_path):
    folder = volume("files")
    (folder / "provenance").unlink()
    (folder / "provenance").mkdir()
    report = repair(folder, tmp_path / "repaired", fsync=False)
    assert [finding.where for finding in report.failures] == ["provenance"]
    assert report.validation.is_sound


def test_volumes_that_are_spread_over_other_folders_are_refused(volume, tmp_path):
    folder = volume("files")
    edit_json(folder / "info", lambda info: info.update(mesh="../meshes"))
    with pytest.raises(InputError, match=r"info: mesh: '\.\./meshes' lies outside"):
        repair(folder, tmp_path / "repaired")


def test_json_tells_what_was_changed(volume, tmp_path, capsys):
    folder = volume("files")
    edit_json(folder / "info", drop_null)
    assert run(["repair", str(folder), str(tmp_path / "repaired"), "--json", "--no-fsync"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["changes"] == [
        {"kind": "null", "what": "members of info that are null left out", "count": 4}
    ]
    assert report["validation"]["valid"]
