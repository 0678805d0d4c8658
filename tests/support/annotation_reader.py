"""Annotations and skeletons read by the book: field by field with `struct`, nothing of ngcore's.

Slow and obvious: the twin of the code that writes, and of the decoders.
"""

from __future__ import annotations

import gzip
import json
import struct
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_CODES = {"uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i"}
_CODES |= {"float32": "f", "rgb": "3B", "rgba": "4B"}
_ALIGNMENT = {"uint32": 4, "int32": 4, "float32": 4, "uint16": 2, "int16": 2}


def _record(data: bytes, at: int, info: dict[str, Any]) -> tuple[dict[str, Any], int]:
    rank, kind = len(info["dimensions"]), info["annotation_type"].lower()
    if kind == "polyline":
        (vertices,) = struct.unpack_from("<I", data, at)
        at += 4
    else:
        vertices = 1 if kind == "point" else 2
    floats = struct.unpack_from(f"<{rank * vertices}f", data, at)
    at += 4 * rank * vertices
    points = [floats[i : i + rank] for i in range(0, len(floats), rank)]
    start, values = at, {}
    for item in sorted(info["properties"], key=lambda p: -_ALIGNMENT.get(p["type"], 1)):
        code = "<" + _CODES[item["type"]]
        found = struct.unpack_from(code, data, at)
        values[item["id"]] = found[0] if len(found) == 1 else found
        at += struct.calcsize(code)
    padding = -(at - start) % 4
    assert data[at : at + padding] == bytes(padding)
    return {"points": points, "properties": values}, at + padding


def read_list(data: bytes, info: dict[str, Any]) -> list[dict[str, Any]]:
    (count,) = struct.unpack_from("<Q", data, 0)
    at, found = 8, []
    for _ in range(count):
        record, at = _record(data, at, info)
        found.append(record)
    ids = struct.unpack_from(f"<{count}Q", data, at)
    assert at + 8 * count == len(data)
    return [{"id": i, **record} for i, record in zip(ids, found, strict=True)]


def read_annotation(data: bytes, info: dict[str, Any]) -> dict[str, Any]:
    record, at = _record(data, 0, info)
    record["relations"] = {}
    for item in info["relationships"]:
        (count,) = struct.unpack_from("<I", data, at)
        record["relations"][item["id"]] = list(struct.unpack_from(f"<{count}Q", data, at + 4))
        at += 4 + 8 * count
    assert at == len(data)
    return record


def read_skeleton(data: bytes, info: dict[str, Any]) -> dict[str, Any]:
    vertices, edges = struct.unpack_from("<II", data)
    floats = struct.unpack_from(f"<{3 * vertices}f", data, 8)
    at = 8 + 12 * vertices
    pairs = struct.unpack_from(f"<{2 * edges}I", data, at)
    at += 8 * edges
    attributes = {}
    for item in info["vertex_attributes"]:
        count = vertices * item["num_components"]
        code = f"<{count}{_CODES[item['data_type']]}"
        attributes[item["id"]] = struct.unpack_from(code, data, at)
        at += struct.calcsize(code)
    assert at == len(data)
    return {
        "vertices": [floats[i : i + 3] for i in range(0, len(floats), 3)],
        "edges": [pairs[i : i + 2] for i in range(0, len(pairs), 2)],
        "attributes": attributes,
    }


def entries(folder: Path, sharding: dict[str, Any] | None) -> dict[int | str, bytes]:
    """Every value of an index: by id where it is sharded, else by the name of its file."""
    if sharding is None:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        return {path.name: path.read_bytes() for path in paths if path.name != "info"}
    found: dict[int | str, bytes] = {}
    digits = max(1, -(-sharding["shard_bits"] // 4))
    minishards = 1 << sharding["minishard_bits"]
    for path in sorted(folder.glob("*.shard")):
        assert len(path.stem) == digits
        data = path.read_bytes()
        base = 16 * minishards
        for minishard in range(minishards):
            start, stop = struct.unpack_from("<QQ", data, 16 * minishard)
            index = data[base + start : base + stop]
            if sharding["minishard_index_encoding"] == "gzip" and index:
                index = gzip.decompress(index)
            count = len(index) // 24
            numbers = struct.unpack(f"<{3 * count}Q", index)
            key, end = 0, 0
            for i in range(count):
                key += numbers[i]
                begin = end + numbers[count + i]
                end = begin + numbers[2 * count + i]
                value = data[base + begin : base + end]
                if sharding["data_encoding"] == "gzip":
                    value = gzip.decompress(value)
                assert key not in found
                hashed = _hashed(key >> sharding["preshift_bits"], sharding["hash"])
                assert hashed & (minishards - 1) == minishard
                shard = hashed >> sharding["minishard_bits"] & ((1 << sharding["shard_bits"]) - 1)
                assert f"{shard:0{digits}x}" == path.stem
                found[key] = value
    return found


def _hashed(key: int, kind: str) -> int:
    if kind == "identity":
        return key
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudvolume.datasource.precomputed import mmh3
    low: int = mmh3.hash64(struct.pack("<Q", key), x64arch=False)[0]
    return low % 2**64


def cell_of_code(code: int, grid: list[int]) -> tuple[int, ...]:
    """The cell of a compressed Morton code."""
    cell, at = [0] * len(grid), 0
    for bit in range(64):
        for axis, cells in enumerate(grid):
            if 1 << bit < cells:
                cell[axis] |= (code >> at & 1) << bit
                at += 1
    assert code >> at == 0
    return tuple(cell)


class Collection:
    """A whole annotation collection, every index of it.

    Attributes: info; by_id {id: annotation}; relations {name: {segment: [annotation]}}; levels,
    for each level {cell: [annotation]}.
    """

    def __init__(self, folder: Path) -> None:
        info = self.info = json.loads((folder / "info").read_text())
        by_id = info["by_id"]
        self.by_id = {
            int(key): read_annotation(data, info)
            for key, data in entries(folder / by_id["key"], by_id.get("sharding")).items()
        }
        self.relations = {
            item["id"]: {
                int(key): read_list(data, info)
                for key, data in entries(folder / item["key"], item.get("sharding")).items()
            }
            for item in info["relationships"]
        }
        self.levels = []
        for level in info["spatial"]:
            grid = level["grid_shape"]
            self.levels.append(
                {
                    cell_of_code(key, grid)
                    if isinstance(key, int)
                    else tuple(map(int, key.split("_"))): read_list(data, info)
                    for key, data in entries(folder / level["key"], level.get("sharding")).items()
                }
            )
