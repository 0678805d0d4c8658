"""Making folders of slices and TIFF files to read back; orientations are nibabel's."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from PIL import Image
from planes import planes_box

from ngcore.sources.slices.folder import SlicesSource

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.sources.base import Source

CODES = [
    "".join(letters)
    for directions in itertools.product("RL", "AP", "SI")
    for letters in itertools.permutations(directions)
]


def random_volume(
    shape: tuple[int, ...], dtype: Any = np.uint8, seed: int = 0
) -> np.ndarray[Any, Any]:
    """Return random values over the whole range of an integer type, or of both signs."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(scale=1e3, size=shape).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, kind, endpoint=True)


def slices_of(volume: np.ndarray[Any, Any], code: str = "RAS") -> np.ndarray[Any, Any]:
    """Cut a volume (x, y, z[, c]) of RAS order into slices (slice, row, column[, c])."""
    to_code = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(code)
    )
    stored = nib.orientations.apply_orientation(volume, to_code)
    return np.swapaxes(stored, 0, 2)


def write_png_slices(
    folder: Path, planes: np.ndarray[Any, Any], name: str = "slice{}.png"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(planes):
        Image.fromarray(np.ascontiguousarray(plane)).save(folder / name.format(number))
    return folder


def read_all(source: Source, step: int | None = None) -> np.ndarray[Any, Any]:
    """Read a whole source, `step` planes at a time, in the memory order that it prefers."""
    volume = np.empty(source.shape, source.dtype, order=source.memory_order)
    axis = source.stream_axis
    step = step or source.shape[axis]
    for start in range(0, source.shape[axis], step):
        stop = min(start + step, source.shape[axis])
        box = [slice(None)] * 4
        box[axis] = slice(start, stop)
        source.read(planes_box(source, start, stop), volume[tuple(box)])
    return volume


def write_picture(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)
    return path


def read_slices(*folders, **options):
    with SlicesSource(folders, **options) as source:
        return read_all(source)


def as_pixels(volume):
    """Turn what a source of one slice gives back into rows and columns."""
    return np.swapaxes(volume[:, :, 0], 0, 1)
