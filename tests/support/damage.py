"""Volumes, and the kinds of damage that disks, copies and mistakes do to them, by seed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

import ngcore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = (50, 41, 37)

VOLUMES: dict[str, dict[str, Any]] = {
    "sharded": {},
    "sharded, not compressed": {"gzip": False},
    "sharded labels": {"type": "segmentation"},
    "sharded png": {"encoding": "png"},
    "files": {"sharding": False},
    "files, nested, gzip": {"sharding": False, "layout": "nested", "gzip": True},
    "files of labels": {"sharding": False, "type": "segmentation"},
    "files of png": {"sharding": False, "encoding": "png"},
}


def make_volume(folder: Path, name: str, seed: int = 0) -> None:
    """Convert an image, or labels, with a background of zeros around them."""
    options = VOLUMES[name]
    voxels = labels(seed) if "type" in options else image(seed)
    ngcore.convert(
        voxels, folder, resolution=(8, 8, 8), chunk_size=16, workers=1, fsync=False, **options
    )


def image(seed: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    x, y, z = (np.linspace(-1, 1, n) for n in SIZE)
    distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2)
    noise = rng.integers(0, 40, SIZE)
    return np.where(distance < 1.1, 1000 - 500 * distance + noise, 0).astype(np.uint16)


def labels(seed: int) -> NDArray[np.uint32]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 5, [-(-n // 6) for n in SIZE], np.uint32)
    return coarse.repeat(6, 0).repeat(6, 1).repeat(6, 2)[tuple(slice(n) for n in SIZE)]


def truncate(folder: Path, _other: Path, rng: np.random.Generator) -> str:
    path = _pick(folder, rng)
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(0, len(data))])
    return f"{path.name} cut"


def flip_bit(folder: Path, _other: Path, rng: np.random.Generator) -> str:
    path = _pick(folder, rng)
    data = bytearray(path.read_bytes())
    byte, bit = rng.integers(len(data)), rng.integers(8)
    data[byte] ^= 1 << bit
    path.write_bytes(data)
    return f"{path.parent.name}/{path.name} bit {bit} of byte {byte} flipped"


def delete(folder: Path, _other: Path, rng: np.random.Generator) -> str:
    path = _pick(folder, rng)
    path.unlink()
    return f"{path.name} deleted"


def swap(folder: Path, _other: Path, rng: np.random.Generator) -> str:
    one, two = _pick(folder, rng), _pick(folder, rng)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    return f"{one} and {two} swapped"


def bring_foreign(folder: Path, other: Path, rng: np.random.Generator) -> str:
    path = _pick(folder, rng)
    path.write_bytes((other / path.relative_to(folder)).read_bytes())
    return f"{path.name} from another volume"


def make_index_stale(folder: Path, other: Path, rng: np.random.Generator) -> str:
    """Give a shard the indexes of another, or, where there are none, `info` another volume's."""
    path = _pick(folder, rng)
    if path.suffix != ".shard":
        info = json.loads((folder / "info").read_text())
        scale = info["scales"][rng.integers(len(info["scales"]))]
        scale["chunk_sizes"][0][rng.integers(3)] = int(rng.choice([8, 15, 17, 32]))
        (folder / "info").write_text(json.dumps(info))
        return f"chunk size of {scale['key']}"
    mine, theirs = path.read_bytes(), (other / path.relative_to(folder)).read_bytes()
    start = int.from_bytes(theirs[:8], "little")
    path.write_bytes(theirs[:16] + mine[16 : 16 + start] + theirs[16 + start :])
    return f"{path.name} with another's indexes"


def write_wrong_size(folder: Path, _other: Path, rng: np.random.Generator) -> str:
    info = json.loads((folder / "info").read_text())
    scale = info["scales"][rng.integers(len(info["scales"]))]
    axis = rng.integers(3)
    step = int(rng.choice([-16, -5, -1, 1, 3, 16]))
    old = scale["size"][axis]
    scale["size"][axis] = max(1, old + step)
    (folder / "info").write_text(json.dumps(info))
    return f"size[{axis}] of {scale['key']} from {old} to {scale['size'][axis]}"


KINDS: tuple[Callable[[Path, Path, np.random.Generator], str], ...] = (
    truncate,
    flip_bit,
    delete,
    swap,
    bring_foreign,
    make_index_stale,
    write_wrong_size,
)


def forget_digests(folder: Path) -> None:
    provenance = json.loads((folder / "provenance").read_text())
    del provenance["processing"][-1]["method"]["digests"]
    (folder / "provenance").write_text(json.dumps(provenance))


def forget_provenance(folder: Path) -> None:
    (folder / "provenance").unlink()


def seen(folder: Path) -> list[bytes] | None:
    """Return what a reader gets of every scale; None if it gets an error."""
    try:
        scales = ngcore.open(folder).scales
        return [
            repr((scale.shape, scale.resolution, scale.voxel_offset)).encode()
            + scale[...].tobytes()
            for scale in scales
        ]
    except ngcore.NgcoreError:
        return None


def copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def _pick(folder: Path, rng: np.random.Generator) -> Path:
    """Return a file with chunks, from a scale that is picked first."""
    keys = sorted(path for path in folder.iterdir() if path.is_dir())
    key = keys[rng.integers(len(keys))]
    files = sorted(path for path in key.rglob("*") if path.is_file() and path.stat().st_size)
    return files[rng.integers(len(files))]
