"""Faults of shards and of what lies in them, each named with its place."""

import gzip
import json
import zlib

import damage
import numpy as np
from findings import found

import ngcore
from ngcore.validating.findings import LISTED
from ngcore.validating.validate import validate


def test_missing_shard_is_an_error(sharded):
    (sharded / "16_16_16" / "0.shard").unlink()
    assert "16_16_16/0.shard: is missing, but ngcore writes every shard" in found(sharded)


def test_zlib_streams_in_shards_are_named_as_such(made, tmp_path):
    folder = damage.copy(made("sharded, not compressed"), tmp_path / "volume")
    damage.forget_provenance(folder)
    _store_as(folder, zlib.compress)
    lines = found(folder)
    assert all("a zlib stream where gzip is expected" in line for line in lines)
    assert "0.shard: byte " in lines[0]
    assert "chunk 0-" in lines[0]
    assert any("zlib stream where gzip is expected" in line for line in found(folder, quick=True))


def test_shard_with_gzip_written_by_hand_is_sound(made, tmp_path):
    folder = damage.copy(made("sharded, not compressed"), tmp_path / "volume")
    _store_as(folder, gzip.compress)
    assert all("is not what ngcore wrote" in line for line in found(folder))
    damage.forget_provenance(folder)
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
    folder = damage.copy(made("sharded, not compressed"), tmp_path / "volume")
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
