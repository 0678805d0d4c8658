"""OME-Zarr (0.4, 0.5 and older), and plain Zarr 2 and 3: axes by name, sizes, labels and levels.

https://ngff.openmicroscopy.org/ and https://zarr-specs.readthedocs.io/
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.axes import axes_of
from ngcore.sources.base import Segment, SuggestedType, stored_type
from ngcore.sources.chunk_listing import zarr_listing
from ngcore.sources.chunked import ChunkedSource
from ngcore.sources.containers import (
    choose_one,
    diagonal_affine,
    foreign_errors,
    mm_per_unit,
    need,
    seconds_per_unit,
    sizes_are_sound,
    unscaled,
)
from ngcore.sources.geometry import placed_header
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ngcore.arrays.affines import Affine

_MARKS = ("zarr.json", ".zarray", ".zgroup")
_DEFAULT_AXES = ("yx", "zyx")
_MOST_MEMBERS = 1000


class _Image(NamedTuple):
    """What one array means, as the metadata around it say."""

    array: Any
    path: str
    names: list[str] | None = None
    affine: Affine | None = None
    time_step: float | None = None
    is_label: bool = False
    segments: tuple[Segment, ...] = ()
    notes: tuple[str, ...] = ()


@foreign_errors("its metadata are broken")
def open_zarr(found: Found, asked: Asked) -> ChunkedSource:
    """Open an array of a Zarr hierarchy, or a level of an image of OME-Zarr.

    Raises
    ------
    FormatError
        If metadata are broken, or of a codec that is not known.
    InputError
        If there are several arrays, or no such one.
    MissingExtraError
        If zarr is not installed.
    """
    zarr = need("zarr", "Zarr")
    store = _store(zarr, found)
    with foreign_errors("can't be opened as Zarr"):
        node = zarr.open(store, mode="r", path=found.inside or None)
    image = _choose(zarr, store, found, node, asked.level)
    array = image.array
    with foreign_errors(f"array {image.path!r} can't be read"):
        lengths, dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
        chunks = tuple(int(n) for n in array.chunks)
        names = image.names or names_of(array)
    axes = axes_of(lengths, asked=asked.axes, names=names, default=_DEFAULT_AXES)
    shape = axes.shape
    suggested = suggest_type(f"{found.path.name}_{image.path}", shape[3])
    if image.is_label:
        suggested = SuggestedType("segmentation", "its metadata call it a label image")
    with foreign_errors(f"array {image.path!r} can't be listed"):
        listing = zarr_listing(array, found)
    header = placed_header(
        image.affine,
        asked.geometry,
        shape=shape,
        dtype=stored_type(dtype).newbyteorder("="),
        suggested_type=suggested,
        notes=axes.notes
        + image.notes
        + (listing.notes if listing else ())
        + unscaled(array.attrs),
        files=_metadata_files(found),
        facts={} if image.time_step is None else {"time_step": image.time_step},
        segments=image.segments,
    )
    return ChunkedSource(
        header,
        axes,
        _Reader(array, image.path),
        chunks=chunks,
        workers=asked.workers,
        listing=listing,
        reopen=partial(open_zarr, found.elsewhere(), asked._replace(workers=1)),
    )


class _Reader:
    """Slices a Zarr array; its errors are ours."""

    def __init__(self, array: Any, path: str) -> None:
        self._array = array
        self._path = path

    def __call__(self, index: tuple[slice, ...]) -> Any:
        text = ", ".join(f"{part.start}:{part.stop}" for part in index)
        with foreign_errors(f"array {self._path!r} can't be decoded at [{text}]"):
            return self._array[index]


def _store(zarr: Any, found: Found) -> Any:
    """Return where zarr reads from: a folder, a zip, or a URL through ngcore's own stores."""
    if found.is_url:
        from ngcore.sources.zarr_store import ZarrStore
        from ngcore.storage import open_store

        return ZarrStore(open_store(found.location))
    if found.path.is_file():
        return zarr.storage.ZipStore(found.path, mode="r")
    from ngcore.sources.zarr_store import folder_store

    return folder_store(found.path)


def _choose(zarr: Any, store: Any, found: Found, node: Any, level: int | None) -> _Image:
    """Return the image that a node is, or the only one that it holds."""
    prefix = found.inside or ""
    if isinstance(node, zarr.Array):
        if level is not None:
            raise InputError("--level is for groups of several resolutions; this is one array")
        return _with_metadata_of_parent(zarr, store, node, prefix)
    if _multiscales(node) is not None:
        return _level(zarr, node, prefix, level)
    with foreign_errors("can't be listed"):
        candidates = list(islice(_candidates(zarr, node, prefix), _MOST_MEMBERS))
    if found.is_url and not candidates:
        raise InputError(
            "is a group whose members a URL does not list; pass one, such as "
            f"'{found.location}:/0'"
        )
    path = choose_one(found.location, candidates)
    with foreign_errors(f"{path!r} can't be opened"):
        inner = zarr.open(store, mode="r", path=path)
    return _choose(zarr, store, Found(found.name, found.location, path), inner, level)


def _candidates(zarr: Any, group: Any, prefix: str) -> Any:
    """Yield the paths of images and arrays below a group; levels of an image are one."""
    for name, member in sorted(group.members()):
        path = f"{prefix}/{name}".strip("/")
        if isinstance(member, zarr.Array):
            if 2 <= len(member.shape) <= 5 and np.dtype(member.dtype).kind in "biuf":
                yield path
        elif _multiscales(member) is not None:
            yield path
        else:
            yield from _candidates(zarr, member, path)


def _multiscales(group: Any) -> Mapping[str, Any] | None:
    """Return the first image that a group's metadata tell of."""
    attributes = _ome(group)
    found = attributes.get("multiscales")
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        return None
    return found[0]


def _ome(group: Any) -> Mapping[str, Any]:
    attributes = dict(group.attrs)
    inner = attributes.get("ome")
    return inner if isinstance(inner, dict) else attributes


def _with_metadata_of_parent(zarr: Any, store: Any, array: Any, path: str) -> _Image:
    """Return a level that was named by its path with what the image above it says."""
    parent, _, name = path.rpartition("/")
    if not path:
        return _Image(array, path)
    with foreign_errors("can't be opened as Zarr"):
        try:
            group = zarr.open_group(store, mode="r", path=parent or None)
        except (FileNotFoundError, KeyError):
            return _Image(array, path)
    image = _multiscales(group)
    if image is None:
        return _Image(array, path)
    paths = [str(one.get("path")) for one in _datasets(image)]
    return _level(zarr, group, parent, paths.index(name)) if name in paths else _Image(array, path)


def _datasets(image: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    datasets = image.get("datasets")
    if not isinstance(datasets, list) or not all(isinstance(one, dict) for one in datasets):
        raise FormatError("multiscales.datasets must be a list of objects; check its metadata")
    if not datasets:
        raise FormatError("multiscales.datasets is empty; check its metadata")
    return datasets


def _level(zarr: Any, group: Any, prefix: str, level: int | None) -> _Image:
    image = _multiscales(group)
    assert image is not None
    datasets = _datasets(image)
    number = level or 0
    if not 0 <= number < len(datasets):
        raise InputError(f"--level {level}: it has levels 0 to {len(datasets) - 1}")
    name = str(datasets[number].get("path", ""))
    path = f"{prefix}/{name}".strip("/")
    try:
        with foreign_errors(f"level {path!r} can't be opened"):
            array = group[name]
    except FormatError as error:
        if isinstance(error.__cause__, KeyError | FileNotFoundError):
            raise InputNotFoundError(
                f"level {path!r}, which its metadata list, does not exist"
            ) from error
        raise
    if not isinstance(array, zarr.Array):
        raise FormatError(f"level {path!r} of its metadata is a group, expected an array")
    rank = len(array.shape)
    axes = _axes_of_image(image, rank)
    names = [axis["name"] for axis in axes]
    scale, translation = _transforms(datasets[number], image, rank)
    affine, notes = _affine(axes, scale, translation)
    others = len(_ome(group)["multiscales"]) - 1
    if others:
        notes += (f"its metadata list {others + 1} images (multiscales); the first is used",)
    label = _ome(group).get("image-label")
    is_label = isinstance(label, dict) or "labels" in prefix.split("/")[:-1]
    return _Image(
        array,
        path,
        names,
        affine,
        _time_step(axes, scale),
        is_label,
        _segments(label) if isinstance(label, dict) else (),
        notes,
    )


def _axes_of_image(image: Mapping[str, Any], rank: int) -> list[dict[str, Any]]:
    """Return axes as objects; version 0.3 has names alone, older ones t, c, z, y, x."""
    axes = image.get("axes", list("tczyx")[-rank:])
    if not isinstance(axes, list) or len(axes) != rank:
        raise FormatError(f"multiscales.axes must name {rank} axes, got {axes!r}")
    objects = [axis if isinstance(axis, dict) else {"name": axis} for axis in axes]
    if not all(isinstance(axis.get("name"), str) for axis in objects):
        raise FormatError(f"multiscales.axes must have names, got {axes!r}")
    kinds = {"time": "t", "channel": "c"}
    return [{**axis, "name": kinds.get(str(axis.get("type")), axis["name"])} for axis in objects]


def _transforms(
    dataset: Mapping[str, Any], image: Mapping[str, Any], rank: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return scale and translation: those of the data set, then those of the image."""
    scale, translation = np.ones(rank), np.zeros(rank)
    for owner in (dataset, image):
        steps = owner.get("coordinateTransformations", [])
        for step in steps if isinstance(steps, list) else []:
            kind = step.get("type") if isinstance(step, dict) else None
            if kind == "identity":
                continue
            if kind not in ("scale", "translation") or kind not in step:
                raise InputError(
                    f"a transformation of type {kind!r} is not supported; pass --affine"
                )
            values = np.asarray(step[kind], np.float64)
            if values.shape != (rank,) or not np.isfinite(values).all():
                raise FormatError(f"a {kind} must be {rank} numbers, got {step[kind]!r}")
            if kind == "scale":
                scale, translation = scale * values, translation * values
            else:
                translation = translation + values
    return scale, translation


def _affine(
    axes: list[dict[str, Any]], scale: np.ndarray[Any, Any], translation: np.ndarray[Any, Any]
) -> tuple[Affine, tuple[str, ...]]:
    sizes, first = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    notes: tuple[str, ...] = ()
    for axis, size, start in zip(axes, scale, translation, strict=True):
        name = axis["name"].lower()
        if name not in ("x", "y", "z"):
            continue
        unit = axis.get("unit")
        factor = 1e-3 if unit is None else mm_per_unit(unit)
        if unit is None and not notes:
            notes = ("doesn't say the unit of its voxel sizes; micrometres are assumed",)
        if factor is None:
            raise InputError(f"unit {unit!r} of axis {name} is not a length; pass --resolution")
        sizes["xyz".index(name)] = size * factor
        first["xyz".index(name)] = start * factor
    if not sizes_are_sound(sizes):
        raise FormatError(f"voxel sizes must be positive, got scale {scale.tolist()}")
    return diagonal_affine(sizes, first), notes


def _time_step(axes: list[dict[str, Any]], scale: np.ndarray[Any, Any]) -> float | None:
    for axis, size in zip(axes, scale, strict=True):
        if axis["name"].lower() == "t":
            factor = seconds_per_unit(axis.get("unit", "second"))
            return None if factor is None or size <= 0 else float(size) * factor
    return None


def _segments(label: Mapping[str, Any]) -> tuple[Segment, ...]:
    """Return the names and colours of a label image."""
    colors: dict[int, str] = {}
    names: dict[int, str] = {}
    for entry in label.get("colors") or []:
        rgba = entry.get("rgba")
        value = entry.get("label-value")
        is_color = isinstance(rgba, list) and len(rgba) >= 3 and isinstance(value, int)
        if is_color and all(isinstance(part, int) and 0 <= part < 256 for part in rgba[:3]):
            colors[value] = "#{:02x}{:02x}{:02x}".format(*rgba[:3])
    for entry in label.get("properties") or []:
        value = entry.get("label-value")
        text = [
            entry[key] for key in ("name", "label", "class") if isinstance(entry.get(key), str)
        ]
        if isinstance(value, int) and text:
            names[value] = text[0]
    ids = sorted({*colors, *names} - {0})
    return tuple(Segment(one, names.get(one, str(one)), colors.get(one)) for one in ids if one > 0)


def names_of(array: Any) -> list[str] | None:
    """Return the names that an array gives its own dimensions, as Zarr 3 and xarray do."""
    names = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.get("_ARRAY_DIMENSIONS")
    if not names or len(names) != len(array.shape) or not all(isinstance(n, str) for n in names):
        return None
    return [str(name) for name in names]


def _metadata_files(found: Found) -> tuple[Path, ...]:
    if found.is_url:
        return ()
    if found.path.is_file():
        return (found.path,)
    places = [found.path, *([found.path / found.inside] if found.inside else [])]
    names = (*_MARKS, ".zattrs", ".zmetadata")
    return tuple(place / name for place in places for name in names if (place / name).is_file())


def _is_zarr(found: Found) -> bool:
    if found.is_url:
        return ".zarr" in found.location.lower()
    return found.holds(*_MARKS) or found.is_zip_of(*_MARKS)


register(
    SourceFormat(
        name="Zarr",
        open=open_zarr,
        is_it=_is_zarr,
        endings=(".zarr",),
        takes=frozenset({"axes", "level", "inside"}),
    )
)
