"""N5: data sets and pyramids, read with tensorstore; the first dimension is x.

https://github.com/saalfeldlab/n5 ; attributes as BigStitcher, Paintera and n5-viewer write them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.axes import axes_of
from ngcore.sources.base import SuggestedType, stored_type
from ngcore.sources.chunk_listing import n5_listing
from ngcore.sources.chunked import ChunkedSource
from ngcore.sources.containers import (
    choose_one,
    diagonal_affine,
    foreign_errors,
    mm_per_unit,
    need,
    sizes_are_sound,
)
from ngcore.sources.files import refuse_broken_link, refuse_folder_of_chunk
from ngcore.sources.geometry import placed_header
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.arrays.affines import Affine

ATTRIBUTES = "attributes.json"
_LONGEST_ATTRIBUTES = 1 << 24
_DEEPEST = 8


class _Geometry(NamedTuple):
    """Voxel sizes of a data set and the place of its first voxel, by dimension, in millimetres."""

    sizes: list[float] | None
    first: list[float] | None
    notes: tuple[str, ...] = ()


@foreign_errors("its attributes are broken")
def open_n5(found: Found, asked: Asked) -> ChunkedSource:
    """Open a data set of an N5 container, or a level of a pyramid (`s0`, `s1`, ...).

    Raises
    ------
    FormatError
        If attributes are broken, or blocks can't be decoded.
    InputError
        If there are several data sets, or no such one.
    MissingExtraError
        If tensorstore is not installed.
    """
    root = found.path
    inside = found.inside or ""
    folder = root / inside
    if not folder.is_dir():
        raise InputNotFoundError(f"has no data set {inside!r}" if inside else "no such folder")
    if "dimensions" not in _attributes(folder) and not (folder / "s0").is_dir():
        candidates = [path.relative_to(root).as_posix() for path in _data_sets(folder)]
        folder = root / choose_one(found.location, candidates, "data set")
    folder = _level(folder, asked.level)
    attributes = _attributes(folder)
    tensorstore = need("tensorstore", "N5")
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    with foreign_errors(f"data set {folder.name!r} can't be opened"):
        array = tensorstore.open(spec, open=True, read=True).result()
        lengths, dtype = tuple(array.shape), np.dtype(array.dtype.numpy_dtype)
        chunks = tuple(array.chunk_layout.read_chunk.shape)
    names = _names(attributes, len(lengths), folder, root)
    axes = axes_of(lengths, asked=asked.axes, names=names, default=("xy", "xyz", "xyzc", "xyzct"))
    axes = replace(axes, is_fortran=True)
    geometry = _geometry(folder, root, len(lengths))
    affine: Affine | None = None
    if geometry.sizes is not None:
        sizes = _by_xyz(geometry.sizes, axes.code, geometry.sizes[0])
        if not sizes_are_sound(sizes):
            raise FormatError(f"voxel sizes must be positive, got {geometry.sizes}")
        affine = diagonal_affine(sizes, _by_xyz(geometry.first or [], axes.code, 0.0))
    is_label = _attributes(folder.parent).get("painteraData", {}) == {"type": "label"}
    suggested = suggest_type(folder.relative_to(root).as_posix().replace("/", "_"), axes.shape[3])
    if is_label:
        suggested = SuggestedType("segmentation", "Paintera calls it labels")
    with foreign_errors(f"data set {folder.name!r} can't be listed"):
        listing = n5_listing(folder, chunks)
    header = placed_header(
        affine,
        asked.geometry,
        shape=axes.shape,
        dtype=stored_type(dtype).newbyteorder("="),
        suggested_type=suggested,
        notes=geometry.notes + listing.notes,
        files=(folder / ATTRIBUTES,),
    )
    return ChunkedSource(
        header,
        axes,
        _Reader(array, folder, chunks),
        chunks=chunks,
        workers=asked.workers,
        listing=listing,
        reopen=partial(open_n5, found.elsewhere(), asked._replace(workers=1)),
    )


class _Reader:
    """Slices an array of tensorstore; its errors are ours.

    A block that is a link to what is not there, as git-annex leaves it, or lies in such a folder,
    would be zeros, as would a folder in the place of a block.
    """

    def __init__(self, array: Any, folder: Path, chunks: tuple[int, ...]) -> None:
        self._array = array
        self._folder = folder
        self._chunks = chunks

    def __call__(self, index: tuple[slice, ...]) -> Any:
        text = ", ".join(f"{part.start}:{part.stop}" for part in index)
        blocks = (
            range(part.start // side, -(-part.stop // side))
            for part, side in zip(index, self._chunks, strict=True)
        )
        for block in product(*blocks):
            name = "/".join(map(str, block))
            if not (self._folder / name).is_file():
                refuse_broken_link(self._folder, name)
                refuse_folder_of_chunk(self._folder, name)
        with foreign_errors(f"blocks at [{text}] can't be decoded"):
            return self._array[index].read().result()


def _by_xyz(values: list[float], code: str, default: float) -> list[float]:
    return [
        values[code.index(letter)]
        if letter in code and code.index(letter) < len(values)
        else default
        for letter in "xyz"
    ]


def _attributes(folder: Path) -> dict[str, Any]:
    path = folder / ATTRIBUTES
    if not path.is_file() or path.stat().st_size > _LONGEST_ATTRIBUTES:
        return {}
    with foreign_errors(f"{folder.name}/{ATTRIBUTES} is not JSON"):
        found = json.loads(path.read_bytes())
    return found if isinstance(found, dict) else {}


def _data_sets(folder: Path, depth: int = 0) -> list[Path]:
    """Return data sets below a folder; the levels of a pyramid are one."""
    if "dimensions" in _attributes(folder) or (folder / "s0" / ATTRIBUTES).is_file():
        return [folder]
    if depth == _DEEPEST:
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return [found for path in inner for found in _data_sets(path, depth + 1)]


def _level(folder: Path, level: int | None) -> Path:
    if "dimensions" in _attributes(folder):
        if level is not None:
            raise InputError("--level is for groups of several resolutions; this is one data set")
        return folder
    chosen = folder / f"s{level or 0}"
    if "dimensions" not in _attributes(chosen):
        known = sorted(path.name for path in folder.glob("s[0-9]*"))
        raise InputError(f"has no level {chosen.name!r}; it has {', '.join(known)}")
    return chosen


def _names(attributes: dict[str, Any], rank: int, folder: Path, root: Path) -> list[str] | None:
    """Return names of dimensions, where the data set or its group has them."""
    for owner in (attributes, *_above(folder, root)):
        axes = owner.get("axes")
        if isinstance(axes, list) and len(axes) == rank:
            names = [axis.get("name") if isinstance(axis, dict) else axis for axis in axes]
            if all(isinstance(name, str) for name in names):
                return [str(name) for name in names]
    return None


def _above(folder: Path, root: Path) -> list[dict[str, Any]]:
    found = []
    while folder != root and folder != folder.parent:
        folder = folder.parent
        found.append(_attributes(folder))
    return found


def _geometry(folder: Path, root: Path, rank: int) -> _Geometry:
    """Return sizes in mm: of the data set, or of what it belongs to times its factors."""
    own = _attributes(folder)
    for number, owner in enumerate((own, *_above(folder, root))):
        sizes, units, notes = _sizes(owner)
        if sizes is None:
            continue
        factors = own.get("downsamplingFactors") if number else None
        if isinstance(factors, list) and len(factors) == len(sizes):
            sizes = [size * float(factor) for size, factor in zip(sizes, factors, strict=True)]
        offset = owner.get("offset")
        first = None
        if isinstance(offset, list) and len(offset) == len(sizes):
            first = [float(start) * unit for start, unit in zip(offset, units, strict=True)]
        sizes = [size * unit for size, unit in zip(sizes, units, strict=True)]
        return _Geometry(sizes[:rank], first, notes)
    return _Geometry(None, None)


def _sizes(
    attributes: dict[str, Any],
) -> tuple[list[float] | None, list[float], tuple[str, ...]]:
    """Return sizes, millimetres per unit of each, and notes."""
    sizes, units = attributes.get("resolution"), attributes.get("units")
    pixel = attributes.get("pixelResolution")
    if isinstance(pixel, dict):  # n5-viewer and BigStitcher
        sizes, units = pixel.get("dimensions"), pixel.get("unit")
    elif isinstance(pixel, list) and sizes is None:
        sizes = pixel
    if not isinstance(sizes, list) or len(sizes) < 2:
        return None, [], ()
    notes: tuple[str, ...] = ()
    if units is None:
        # Paintera and COSEM write nanometres, n5-viewer's lists micrometres.
        units = "um" if isinstance(pixel, list) else "nm"
        name = "micrometres" if units == "um" else "nanometres"
        notes = (f"doesn't say the unit of its voxel sizes; {name} are assumed",)
    named = units if isinstance(units, list) else [units] * len(sizes)
    factors = [mm_per_unit(unit) or 0.0 for unit in named]
    try:
        numbers = [float(size) for size in sizes]
    except (TypeError, ValueError) as error:
        raise FormatError(f"voxel sizes {sizes!r} are not numbers") from error
    is_length = len(factors) == len(numbers) and all(factors[:3])
    if not is_length:
        raise InputError(f"units {units!r} of its voxel sizes are not lengths; pass --resolution")
    return numbers, factors, notes


register(
    SourceFormat(
        name="N5",
        open=open_n5,
        is_it=lambda found: found.holds(ATTRIBUTES),
        endings=(".n5",),
        takes=frozenset({"axes", "level", "inside"}),
    )
)
