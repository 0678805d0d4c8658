"""Other files that a data set of HDF5 takes its voxels from: where one is lost, HDF5 gives zeros.

They are looked for where HDF5 looks for them, and in its order; what is checked is what is read.

https://docs.hdfgroup.org/hdf5/v1_14/_h5_d__u_g.html and the reference of H5Pset_virtual,
H5Pset_virtual_prefix and H5Pset_efile_prefix
"""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.containers import foreign_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_ORIGIN = "${ORIGIN}"
"""In HDF5's prefixes: the folder of the file that names another."""
_DEEPEST = 32
"""As many virtual data sets may lie one behind the other: HDF5 takes a call of each."""


def open_data_set(file: Any, path: str) -> Any:
    """Open a data set, and refuse one whose voxels lie in files that are gone or too short.

    External files are taken from beside the file that names them, or from where
    ``HDF5_EXTFILE_PREFIX`` says; by itself HDF5 takes them from the current folder.

    Parameters
    ----------
    file : h5py.File
    path : str
        Of the data set in it. It must not be open already.

    Returns
    -------
    h5py.Dataset

    Raises
    ------
    InputNotFoundError
        A file, or what is read of it, is not there.
    FormatError
        A file or a data set is too short, or a virtual data set takes voxels from itself.
    InputError
        A virtual data set takes voxels from external files by relative names.
    """
    import h5py

    data = file[path]
    refuse_lost_files(data)
    if not data.external:
        return data
    owner, name, prefix = data.file, data.name.encode(), _external_folder(data)
    del data  # HDF5 refuses another prefix while it is open
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_efile_prefix(os.fsencode(prefix))
    return h5py.Dataset(h5py.h5d.open(owner.id, name, access))


def refuse_lost_files(data: Any) -> None:
    """Refuse a data set of HDF5 whose voxels lie in files that are gone or too short.

    Raises
    ------
    InputNotFoundError
        A file, or what is read of it, is not there.
    FormatError
        A file or a data set is too short, or a virtual data set takes voxels from itself.
    InputError
        A virtual data set takes voxels from external files by relative names.
    """
    _check(data, (), set())


_Name = tuple[Path, str]


def _check(data: Any, above: tuple[_Name, ...], seen: set[_Name]) -> None:
    name = (Path(data.file.filename).resolve(), data.name)
    if name in above or len(above) == _DEEPEST:
        how = "from itself" if name in above else f"through more than {_DEEPEST} others"
        raise FormatError(
            f"the virtual data set {data.name!r} in {name[0].name!r} takes voxels {how}; "
            "write it again"
        )
    if name in seen:
        return
    seen.add(name)
    if data.is_virtual:
        _check_sources(data, (*above, name), seen)
    elif data.external:
        _refuse_short_files(data, is_source=bool(above))


def _check_sources(data: Any, above: tuple[_Name, ...], seen: set[_Name]) -> None:
    import h5py

    by_file: dict[str, list[Any]] = {}
    for mapping in data.virtual_sources():
        if "%" not in mapping.file_name + mapping.dset_name:  # patterns are of any number of files
            by_file.setdefault(mapping.file_name, []).append(mapping)
    for file_name, mappings in by_file.items():
        with ExitStack() as opened:
            where, file = "this file", data.file
            if file_name != ".":
                where, path = repr(file_name), _virtual_file(data.file.filename, file_name)
                if path.resolve() != above[-1][0]:
                    with foreign_errors(f"the file {file_name!r} can't be opened"):
                        file = opened.enter_context(h5py.File(path, "r"))
            for mapping in mappings:
                source = file.get(mapping.dset_name)
                if not isinstance(source, h5py.Dataset):
                    raise InputNotFoundError(
                        f"a virtual data set takes voxels from {mapping.dset_name!r} in {where}, "
                        "which does not exist; HDF5 would give the fill value"
                    )
                _refuse_small_source(mapping, source, data.shape, where)
                _check(source, above, seen)


def _refuse_small_source(mapping: Any, source: Any, whole: tuple[int, ...], where: str) -> None:
    """Refuse a data set that has not the voxels that a virtual one takes from it."""
    from h5py import h5s

    shape = tuple(source.shape or ())
    space = mapping.src_space
    if space.get_select_type() == h5s.SEL_ALL:
        # Of which shape it was is not stored; HDF5 takes its first voxels.
        box = whole
        if mapping.vspace.get_select_type() != h5s.SEL_ALL:
            bounds = _bounds(mapping.vspace)
            if bounds is None:
                return
            box = tuple(last - first + 1 for first, last in zip(*bounds, strict=True))
        is_whole = math.prod(shape) == math.prod(box)
        tail = len(box) - len(shape) + 1
        is_grown = math.prod(shape) > math.prod(box) and box[max(tail, 0) :] == shape[1:]
        is_there, wanted = is_whole or is_grown, f"{box} voxels"
    else:
        bounds = _bounds(space)
        if bounds is None:
            return
        stops = tuple(last + 1 for last in bounds[1])
        is_there = len(stops) == len(shape) and all(
            stop <= length for stop, length in zip(stops, shape, strict=True)
        )
        wanted = f"voxels up to {stops}"
    if not is_there:
        raise FormatError(
            f"a virtual data set takes {wanted} from {mapping.dset_name!r} in {where}, which has "
            f"the shape {shape}; copy that file again, or write the virtual data set again"
        )


def _bounds(space: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the first and last index that a selection takes; None if it has no end."""
    try:
        first, last = space.get_select_bounds()
    except (RuntimeError, ValueError):
        return None
    return tuple(first), tuple(last)


def _virtual_file(by: str, file_name: str) -> Path:
    """Return the file that HDF5 takes for the one that a virtual data set names."""
    for path in _virtual_places(by, file_name):
        if path.is_file():
            return path
    raise InputNotFoundError(
        f"takes voxels from the file {file_name!r}, which does not exist; keep both in one "
        "folder, "
        "or set HDF5_VDS_PREFIX to the folder of the other"
    )


def _virtual_places(by: str, file_name: str) -> Iterator[Path]:
    """Yield where HDF5 looks for a file of a virtual data set, in its order."""
    path, folder = Path(file_name), Path(by).absolute().parent
    if path.is_absolute():
        yield path
        path = Path(path.name)
    prefix = os.environ.get("HDF5_VDS_PREFIX", "")
    if prefix:
        yield from (Path(part) / path for part in prefix.split(":") if part)
        yield _expanded(prefix, folder) / path
    yield folder / path
    yield path
    yield Path(by).resolve().parent / path


def _expanded(prefix: str, folder: Path) -> Path:
    return Path(prefix.replace(_ORIGIN, str(folder), 1) if prefix.startswith(_ORIGIN) else prefix)


def _external_folder(data: Any) -> Path:
    """Return the folder from which external files are read."""
    by = Path(data.file.filename)
    beside = by.absolute().parent
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "")
    if prefix:
        return _expanded(prefix, beside).absolute()
    of_target = by.resolve().parent
    first = os.fsdecode(data.external[0][0])
    return beside if (beside / first).is_file() or not (of_target / first).is_file() else of_target


def _refuse_short_files(data: Any, *, is_source: bool) -> None:
    folder = _external_folder(data)
    left = int(data.size) * data.dtype.itemsize
    for name, offset, length in data.external:
        file_name, needed = os.fsdecode(name), min(int(length), left)
        path = folder / file_name
        if is_source and path != Path(file_name) and not os.environ.get("HDF5_EXTFILE_PREFIX"):
            # Of what it opens itself, HDF5 takes them from the current folder.
            raise InputError(
                f"takes voxels from {Path(data.file.filename).name!r}, and that from the external "
                f"file {file_name!r}; set the variable HDF5_EXTFILE_PREFIX to '{_ORIGIN}' where "
                "that lies beside it, else to its folder"
            )
        if not path.is_file():
            raise InputNotFoundError(
                f"takes voxels from the file {file_name!r}, which does not exist; put it into "
                f"{folder}, or set HDF5_EXTFILE_PREFIX to its folder"
            )
        size = path.stat().st_size
        if size < offset + needed:
            raise FormatError(
                f"truncated: the external file {file_name!r} has {size} bytes, "
                f"but {offset + needed} are expected; copy it again"
            )
        left -= needed
