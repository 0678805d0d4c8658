"""HDF5: single data sets, Imaris (`.ims`) and the image stacks of NWB.

https://docs.h5py.org/ , https://imaris.oxinst.com/support/imaris-file-format and
https://nwb-schema.readthedocs.io/
"""

from __future__ import annotations

import json
import math
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.axes import ArrayAxes, axes_of, checked_axes
from ngcore.sources.base import stored_type
from ngcore.sources.chunk_listing import hdf5_listing
from ngcore.sources.chunked import ChunkedSource
from ngcore.sources.containers import (
    choose_one,
    diagonal_affine,
    foreign_errors,
    mm_per_unit,
    need,
    sizes_are_sound,
    unscaled,
)
from ngcore.sources.files import open_binary
from ngcore.sources.geometry import placed_header
from ngcore.sources.hdf5_files import open_data_set
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type

if TYPE_CHECKING:
    from ngcore.arrays.affines import Affine
    from ngcore.sources.base import Source

MAGIC = b"\x89HDF\r\n\x1a\n"
_DEFAULT_AXES = ("yx", "zyx")
_NWB_SERIES = {"ImageSeries", "OnePhotonSeries", "TwoPhotonSeries"}


class _Meaning(NamedTuple):
    """What is known of a data set beside its shape."""

    names: list[str] | None = None
    default: tuple[str, ...] = _DEFAULT_AXES
    affine: Affine | None = None
    resolution_nm: tuple[float, float, float] | None = None
    time_step: float | None = None


@foreign_errors("is not valid HDF5")
def open_hdf5(found: Found, asked: Asked) -> Source:
    """Open a data set of an HDF5 file, or an image of Imaris.

    Raises
    ------
    FormatError
        If the file is corrupt.
    InputError
        If there are several data sets, or no such one.
    MissingExtraError
        If h5py is not installed.
    """
    open_binary(found.path, found.name).close()
    h5py = need("h5py", "HDF5")
    _load_plugins()
    with foreign_errors("is not valid HDF5"):
        file = h5py.File(found.path, "r")
    try:
        if "minc-2.0" in file:
            file.close()
            from ngcore.sources.nibabel_images import open_with_nibabel

            return open_with_nibabel(found, asked)
        if found.inside is None and "DataSet/ResolutionLevel 0" in file:
            return _open_imaris(file, found, asked)
        return _open_data_set(h5py, file, found, asked)
    except BaseException:
        file.close()
        raise


def _load_plugins() -> None:
    """Let HDF5 find the codecs of hdf5plugin, where that is installed."""
    try:
        import hdf5plugin  # noqa: F401 - it registers itself
    except ImportError:
        return


def _open_data_set(h5py: Any, file: Any, found: Found, asked: Asked) -> Source:
    if asked.level is not None:
        raise InputError("--level is for sources of several resolutions; pass a path instead")
    path = found.inside
    with foreign_errors("can't be listed"):
        if path and path in file and isinstance(file[path], h5py.Group):
            path = choose_one(found.location, _data_sets(h5py, file[path], path), "data set")
        elif path is None:
            path = choose_one(found.location, _data_sets(h5py, file, ""), "data set")
        if path not in file:
            known = _data_sets(h5py, file, "")
            shown = ", ".join(repr(name) for name in known[:8]) or "none"
            raise InputNotFoundError(f"has no data set {path!r}; it has {shown}")
    with foreign_errors(f"data set {path!r} can't be inspected"):
        data = open_data_set(file, path)
    with foreign_errors("can't be listed"):
        dtype, lengths = np.dtype(data.dtype), tuple(int(n) for n in data.shape or ())
        meaning = _meaning(file, data, path, asked.axes)
    axes = axes_of(lengths, asked=asked.axes, names=meaning.names, default=meaning.default)
    notes = axes.notes if meaning.default == _DEFAULT_AXES else ()
    _check_storage(data)
    with foreign_errors(f"data set {path!r} can't be inspected"):
        notes += unscaled(data.attrs)
    header = placed_header(
        meaning.affine,
        asked.geometry,
        resolution=meaning.resolution_nm,
        shape=axes.shape,
        dtype=stored_type(dtype).newbyteorder("="),
        suggested_type=suggest_type(path.rpartition("/")[2], axes.shape[3]),
        notes=notes,
        files=(found.path,),
        facts={} if meaning.time_step is None else {"time_step": meaning.time_step},
    )
    with foreign_errors("its chunks can't be listed"):
        listing = hdf5_listing([data])
    return ChunkedSource(
        header,
        axes,
        _Reader([data], path),
        chunks=data.chunks,
        workers=1,
        close=file.close,
        listing=listing,
        reopen=partial(open_hdf5, found.elsewhere(), asked._replace(workers=1)),
        is_file=True,
    )


class _Reader:
    """Slices data sets, that of each channel in its turn; HDF5 lets one thread in at a time."""

    def __init__(self, data_sets: list[Any], path: str) -> None:
        self._data_sets = data_sets
        self._path = path
        self._lock = threading.Lock()

    def __call__(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        text = ", ".join(f"{part.start}:{part.stop}" for part in index)
        is_several = len(self._data_sets) > 1
        own = index[1:] if is_several else index
        with self._lock, foreign_errors(f"data set {self._path!r} can't be read at [{text}]"):
            parts = [data[own] for data in self._data_sets]
        return np.stack(parts) if is_several else np.asarray(parts[0])


def _check_storage(data: Any) -> None:
    """Refuse a data set whose voxels are compressed in a way that this HDF5 doesn't know."""
    with foreign_errors("its filters can't be read"):
        plist = data.id.get_create_plist()
        from h5py import h5z

        for number in range(plist.get_nfilters()):
            code, _, _, name = plist.get_filter(number)
            if not h5z.filter_avail(code):
                known = name.decode(errors="replace") or f"number {code}"
                raise InputError(
                    f"is compressed by the filter {known!r} ({code}), which is not installed; "
                    "pip install 'ngcore-neuroglancer[formats]' brings most"
                )


def _data_sets(h5py: Any, group: Any, prefix: str) -> list[str]:
    """Return the paths of data sets that may be volumes: of 3 dimensions or more, else of 2."""
    found: list[tuple[int, str]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            rank = len(item.shape)
            if item.dtype.kind in "biuf" and 2 <= rank <= 5 and math.prod(item.shape) > 1:
                found.append((rank, f"{prefix}/{name}".strip("/")))

    group.visititems(visit)
    volumes = [name for rank, name in found if rank > 2]
    return volumes or [name for _, name in found]


def _meaning(file: Any, data: Any, path: str, asked_axes: str | None) -> _Meaning:
    """Return axes and sizes, by the conventions of the programs that write them.

    Sizes are stored in the order of the axes, so they are those of the axes that are asked for.
    """
    parent = data.parent
    kind = _text(parent.attrs.get("neurodata_type"))
    if "nwb_version" in file.attrs and kind in _NWB_SERIES:
        return _nwb(parent)
    rank = len(data.shape)
    if asked_axes is not None and len(asked_axes) == rank:
        names: list[str] | None = list(asked_axes.lower())
    else:
        names = axis_names(data)
    spatial = [name for name in (names or "zyx"[-rank:]) if name in "xyz"]

    def by_xyz(values: Any) -> list[float] | None:
        numbers = np.asarray(values, np.float64).ravel()
        if numbers.size == rank and names is not None:
            numbers = np.array(
                [n for n, name in zip(numbers, names, strict=True) if name in "xyz"]
            )
        if numbers.size != len(spatial):
            return None
        sizes = dict(zip(spatial, numbers.tolist(), strict=True))
        return [sizes.get(letter, math.nan) for letter in "xyz"]

    for key, factor in (("element_size_um", 1e3), ("resolution", 1.0), ("voxel_size", 1.0)):
        if key not in data.attrs:
            continue
        sizes = by_xyz(data.attrs[key])
        if sizes is not None and math.isnan(sizes[2]):
            sizes[2] = sizes[0]
        if sizes is None or not sizes_are_sound(sizes):
            raise FormatError(
                f"{key} of {path!r} must be positive sizes of z, y, x, got {data.attrs[key]}; "
                "remove it, and pass --resolution"
            )
        x, y, z = (size * factor for size in sizes)
        offset = by_xyz(data.attrs["offset"]) if "offset" in data.attrs else None
        if offset is not None and np.isfinite(offset).all():
            first = [start * factor * 1e-6 for start in offset]
            affine = diagonal_affine([x * 1e-6, y * 1e-6, z * 1e-6], first)
            return _Meaning(names, affine=affine)
        return _Meaning(names, resolution_nm=(x, y, z))
    return _Meaning(names)


def axis_names(data: Any) -> list[str] | None:
    """Return names of axes: labels of HDF5's own, or the tags that vigra and ilastik write."""
    labels = [dimension.label for dimension in data.dims]
    if labels and all(labels):
        return [str(label).lower() for label in labels]
    tags = _text(data.attrs.get("axistags"))
    if tags:
        try:
            keys = [str(axis["key"]) for axis in json.loads(tags)["axes"]]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"axistags are broken ({error}); pass --axes and remove them"
            ) from error
        return keys if len(keys) == len(data.shape) else None
    return None


def _nwb(series: Any) -> _Meaning:
    """Return the meaning of an image series of NWB: time, x, y[, z]."""
    time_step = None
    start = series.get("starting_time")
    if start is not None and float(start.attrs.get("rate", 0)) > 0:
        time_step = 1 / float(start.attrs["rate"])
    plane = series.get("imaging_plane")
    resolution = None
    if plane is not None and "grid_spacing" in plane:
        spacing = plane["grid_spacing"]
        unit = mm_per_unit(_text(spacing.attrs.get("unit")) or "meters")
        sizes = [float(size) for size in np.asarray(spacing[()]).ravel()]
        if unit is not None and sizes_are_sound([*sizes, sizes[0]][:3]):
            x, y, z = ([*sizes, sizes[0]][axis] * unit * 1e6 for axis in range(3))
            resolution = (x, y, z)
    return _Meaning(None, ("xy", "txy", "txyz"), None, resolution, time_step)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def _open_imaris(file: Any, found: Found, asked: Asked) -> Source:
    """Open an image of Imaris: one data set for each channel and time, padded to whole chunks."""
    if asked.axes is not None:
        raise InputError("--axes is for arrays without named axes; Imaris has them")
    with foreign_errors("is not a valid Imaris file"):
        levels = sorted(file["DataSet"], key=lambda name: int(name.rpartition(" ")[2]))
        number = asked.level or 0
        if not 0 <= number < len(levels):
            raise InputError(f"--level {asked.level}: it has levels 0 to {len(levels) - 1}")
        level = file["DataSet"][levels[number]]
        times = sorted(level, key=lambda name: int(name.rpartition(" ")[2]))
        channels = sorted(level[times[0]], key=lambda name: int(name.rpartition(" ")[2]))
        groups = [level[time][channel] for time in times for channel in channels]
        if len(times) > 1 and len(channels) > 1:
            raise InputError(
                f"has {len(channels)} channels at {len(times)} times; pass one, such as "
                f"'{found.location}:/{groups[0].name.strip('/')}/Data'"
            )
        data_sets = [open_data_set(group, "Data") for group in groups]
        first = groups[0].attrs
        sizes = [_number(first, f"ImageSize{letter}") for letter in "ZYX"]
        if any(math.isnan(size) for size in sizes):
            sizes = [float(length) for length in data_sets[0].shape]
        lengths = [int(size) for size in sizes]
        if any(tuple(data.shape) < tuple(lengths) for data in data_sets):
            raise FormatError(f"claims {lengths} voxels (z, y, x), but holds {data_sets[0].shape}")
        extent = file["DataSetInfo/Image"].attrs
        low = [_number(extent, f"ExtMin{axis}") for axis in range(3)]
        high = [_number(extent, f"ExtMax{axis}") for axis in range(3)]
        unit = mm_per_unit(_characters(extent.get("Unit")) or "um") or 1e-3
        dtype = np.dtype(data_sets[0].dtype)
        chunks = data_sets[0].chunks or tuple(lengths)
    several = len(data_sets) > 1
    code = ("t" if len(times) > 1 else "c") + "zyx" if several else "zyx"
    axes = checked_axes(ArrayAxes(code, (len(data_sets), *lengths) if several else tuple(lengths)))
    steps = [(b - a) / n * unit for a, b, n in zip(low, high, lengths[::-1], strict=True)]
    affine = None
    if sizes_are_sound(steps):
        corner = [start * unit for start in low]
        affine = diagonal_affine(
            steps, [start + step / 2 for start, step in zip(corner, steps, strict=True)]
        )
    header = placed_header(
        affine,
        asked.geometry,
        shape=axes.shape,
        dtype=stored_type(dtype).newbyteorder("="),
        suggested_type=suggest_type(found.name, axes.shape[3]),
        files=(found.path,),
    )
    reader = _Reader(data_sets, groups[0].name)
    return ChunkedSource(
        header,
        axes,
        reader,
        chunks=(1, *chunks) if several else chunks,
        workers=1,
        close=file.close,
        listing=hdf5_listing(data_sets, is_stacked=several),
        reopen=partial(open_hdf5, found.elsewhere(), asked._replace(workers=1)),
        is_file=True,
    )


def _characters(value: Any) -> str:
    """Return a text of Imaris, which keeps one as an array of single characters."""
    if value is None:
        return ""
    parts = np.asarray(value).ravel()
    return b"".join(bytes(part) for part in parts).decode(errors="replace").strip("\0 ")


def _number(attributes: Any, name: str) -> float:
    try:
        return float(_characters(attributes.get(name)))
    except ValueError:
        return math.nan


register(
    SourceFormat(
        name="HDF5",
        open=open_hdf5,
        is_it=lambda found: found.head.startswith(MAGIC) and not found.ends_with(".mnc"),
        endings=(".h5", ".hdf5", ".hdf", ".ims", ".nwb"),
        takes=frozenset({"axes", "level", "inside"}),
    )
)
