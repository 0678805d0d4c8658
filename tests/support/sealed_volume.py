"""Volumes with names, colours and meshes, what a reader sees of them, and single changes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import damage
import DracoPy
import nibabel
import numpy as np

import ngcore
from ngcore.labelling.labels import write_labels
from ngcore.meshing.files import _in_files, _in_shards
from ngcore.meshing.mesh import write_meshes
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.mesh_multilod import MultilodInfo, MultilodManifest
from ngcore.storage import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def balls(seed: int) -> NDArray[np.uint32]:
    rng = np.random.default_rng(seed)
    x, y, z = np.ogrid[:40, :30, :30]
    voxels = np.zeros((40, 30, 30), np.uint32)
    for label in (1, 2, 3):
        cx, cy, cz = rng.integers(8, 22, 3)
        voxels[(x - cx - 5) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < 36] = label
    return voxels


def make_whole(folder: Path, seed: int = 0, *, sharding: bool = True) -> Path:
    """Make a segmentation with a world, names, colours and meshes."""
    source = folder.parent / f"source{seed}.nii"
    nibabel.save(nibabel.Nifti1Image(balls(seed), np.diag([0.5, 0.5, 1 + seed, 1])), source)
    options: dict[str, Any] = {"type": "segmentation", "chunk_size": 16, "fsync": False}
    ngcore.convert(source, folder, sharding=sharding, **options)
    table = folder.parent / f"names{seed}.csv"
    table.write_text(f"id,name,color\n1,one{seed},#ff0000\n2,two,#00ff{seed:02x}\n3,x,#0000ff\n")
    write_labels(folder, table)
    write_meshes(folder, workers=1, sharding=sharding)
    return folder


def seen(folder: Path) -> list[object]:
    """Return all that a reader gets: voxels, place, names, colours, meshes; None for errors."""
    return [damage.seen(folder), *(_tried(part, folder) for part in (_world, _names, _meshes))]


def _tried(part: Any, folder: Path) -> object:
    with suppress(Exception):
        return part(folder)
    return None


def _world(folder: Path) -> object:
    volume = ngcore.open(folder)
    hidden = [scale.info.hidden for scale in volume.scales]
    return volume.info.type, hidden, json.loads((folder / "transform.json").read_text())


def _names(folder: Path) -> object:
    info = ngcore.open(folder).info
    names = folder / str(info.segment_properties)
    return ngcore.open(folder).labels, json.loads((names / "colors.json").read_text())


def _meshes(folder: Path) -> object:
    store, name = LocalStore(folder), str(ngcore.open(folder).info.mesh)
    info = MultilodInfo.from_json(parse_object(store.get(f"{name}/info") or b""))
    spec = info.sharding
    meshes = _in_files(store, name) if spec is None else _in_shards(store, name, spec)
    found = {}
    for label, manifest, data in meshes:
        parts, start = [], 0
        for size in np.concatenate(MultilodManifest.from_bytes(manifest).sizes).tolist():
            if size:
                mesh = DracoPy.decode(data[start : start + size])
                parts.append((mesh.points.tobytes(), mesh.faces.tobytes()))
            start += size
        found[label] = (manifest, parts)
    return info.transform, info.vertex_quantization_bits, info.lod_scale_multiplier, found


def change_once(folder: Path, other: Path, rng: np.random.Generator) -> str:
    """Change one file, of any kind, in one way; say which and how."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "provenance")
    # As many changes of small files as of chunks: each folder has its turn.
    parents = sorted({path.parent for path in files})
    parent = parents[rng.integers(len(parents))]
    known = [path for path in files if path.parent == parent]
    path = known[rng.integers(len(known))]
    data = bytearray(path.read_bytes())
    kind = rng.integers(7)
    if not data or kind == 0:
        path.unlink()
        return f"{path.relative_to(folder)} deleted"
    place = int(rng.integers(len(data)))
    if kind == 1:
        path.write_bytes(data[:place])
        return f"{path.relative_to(folder)} cut at {place}"
    if kind == 2:
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif kind == 3 and (other / path.relative_to(folder)).exists():
        data = bytearray((other / path.relative_to(folder)).read_bytes())
    elif kind == 4:
        swapped = known[rng.integers(len(known))]
        path.write_bytes(swapped.read_bytes())
        swapped.write_bytes(data)
        return f"{path.relative_to(folder)} and {swapped.name} swapped"
    elif kind == 5 and data.strip()[:1] in (b"{", b"["):
        digits = [n for n, c in enumerate(data) if chr(c).isdigit()] or [0]
        data[digits[rng.integers(len(digits))]] = ord(str(rng.integers(10)))
    else:
        data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    return f"{path.relative_to(folder)} changed by {kind} at {place}"
