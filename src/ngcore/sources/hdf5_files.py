"""Other files that a data set of HDF5 takes its voxels from: where one is lost, HDF5 gives zeros.

https://docs.hdfgroup.org/hdf5/v1_14/_h5_d__u_g.html
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ngcore.errors import FormatError, InputNotFoundError


def refuse_lost_files(data: Any, folder: Path) -> None:
    """Refuse a data set whose voxels lie in files that are not there, or are too short.

    Parameters
    ----------
    data : h5py.Dataset
        A virtual one, one in external files, or any other.
    folder : Path
        Of its file.

    Raises
    ------
    InputNotFoundError
        A file, or what is read of it, is not there.
    FormatError
        A file is too short.
    """
    if data.is_virtual:
        _refuse_lost_sources(data, folder)
    elif data.external:
        _refuse_short_files(data, folder)


def _refuse_lost_sources(data: Any, folder: Path) -> None:
    import h5py

    if "HDF5_VDS_PREFIX" in os.environ:
        return  # they lie where that says
    names: dict[str, set[str]] = {}
    for source in data.virtual_sources():
        if "%" not in source.file_name + source.dset_name:  # patterns are of any number of files
            names.setdefault(source.file_name, set()).add(source.dset_name)
    for file_name, data_sets in names.items():
        if file_name == ".":
            lost = [name for name in data_sets if name not in data.file]
        else:
            with h5py.File(_place(folder, file_name), "r") as file:
                lost = [name for name in data_sets if name not in file]
        if lost:
            where = "this file" if file_name == "." else repr(file_name)
            raise InputNotFoundError(
                f"a virtual data set takes voxels from {lost[0]!r} in {where}, which is not "
                "there; HDF5 would give the fill value"
            )


def _refuse_short_files(data: Any, folder: Path) -> None:
    left = int(data.size) * data.dtype.itemsize
    for file_name, offset, length in data.external:
        needed = min(int(length), left)
        size = _place(folder, file_name).stat().st_size
        if size < offset + needed:
            raise FormatError(
                f"truncated: the external file {file_name!r} has {size} bytes, "
                f"but {offset + needed} are expected; copy it again"
            )
        left -= needed


def _place(folder: Path, file_name: str) -> Path:
    """Return where a file is: beside the one that names it, or from the current folder."""
    for path in (folder / file_name, Path(file_name)):
        if path.is_file():
            return path
    raise InputNotFoundError(
        f"takes voxels from the file {file_name!r}, which is not there; keep both in one folder"
    )
