"""Single files at URLs, copied here for readers that want a file: images, tables, tracts, SWC."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.errors import InputNotFoundError
from ngcore.storage import is_url, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PART_BYTES = 8 << 20


_ENDINGS = (
    *(".nii", ".nii.gz", ".nii.zst", ".mgh", ".mgz", ".mnc", ".npy", ".nrrd", ".mha", ".mrc"),
    *(".map", ".rec", ".tif", ".tiff", ".btf", ".tf8", ".h5", ".hdf5", ".hdf", ".png", ".jpg"),
)


def is_file_url(source: str) -> bool:
    """Whether a URL is, by its ending, that of a single file of voxels."""
    return is_url(source) and source.partition("?")[0].lower().endswith(_ENDINGS)


@contextmanager
def local_files(
    sources: Sequence[str | os.PathLike[str]], tmp: str | os.PathLike[str] | None
) -> Iterator[list[Path]]:
    """Give the paths of files, those at URLs copied to a folder that goes with the block.

    Parameters
    ----------
    sources : sequence of path or URL
    tmp : path or None
        Where that folder is made; default the system's for temporary files.

    Raises
    ------
    InputNotFoundError, MissingExtraError, StorageError
        A URL leads to no file, needs a package that is not installed, or can't be read.
    """
    if not any(is_url(source) for source in sources):
        yield [Path(source) for source in sources]
        return
    import tempfile  # 10 ms

    with tempfile.TemporaryDirectory(prefix="ngcore-", dir=tmp) as folder:
        paths = []
        for number, source in enumerate(sources):
            if not is_url(source):
                paths.append(Path(source))
                continue
            path = Path(folder) / str(number) / _name(os.fspath(source))
            path.parent.mkdir()
            _copy(os.fspath(source), path)
            paths.append(path)
        yield paths


def _name(url: str) -> str:
    return url.partition("?")[0].rstrip("/").rpartition("/")[2] or "file"


def _copy(url: str, path: Path) -> None:
    before, mark, query = url.partition("?")
    parent, _, name = before.rpartition("/")
    store = open_store(f"{parent}{mark}{query}")
    with path.open("wb") as file:
        start = 0
        while True:
            data = store.get_buffer(name, start, start + _PART_BYTES)
            if data is None:
                raise InputNotFoundError(f"{url}: no such file; check the URL")
            file.write(data)
            start += len(data)
            if len(data) < _PART_BYTES:
                break
    os.utime(path, ns=(0, 0))  # a copy's own time tells nothing
