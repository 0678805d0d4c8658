"""What a volume, or a run that was killed, has in a folder, removed; what is not theirs stays."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ngcore.errors import DestinationError, StorageError
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.storage.base import TEMPORARY_SUFFIX
from ngcore.storage.local import WORK_FOLDER, WRONG_FOLDER
from ngcore.transaction.temporary import remove_left_behind

_FOLDERS = ("mesh", "skeletons", "segment_properties")


def remove_volume_files(path: Path, info: VolumeInfo) -> None:
    """Remove the chunks and shards that `info` names, and the folders this empties.

    Files that are no chunk or shard of it stay, and so do meshes, skeletons and properties.

    Raises
    ------
    DestinationError, StorageError
        If a file can't be removed.
    """
    with _one_line_errors():
        _remove_chunk_files(path, info)


def remove_named_folders(path: Path, info: VolumeInfo) -> None:
    """Remove the meshes, skeletons and properties that `info` names, with all that lies there.

    Raises
    ------
    DestinationError, StorageError
        If a file can't be removed.
    """
    with _one_line_errors():
        for kind in _FOLDERS:
            name = getattr(info, kind)
            # One that lies elsewhere is another volume's too.
            if name is not None and path.resolve() in (path / name).resolve().parents:
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(path / name)
                _remove_empty_parents(path, path / name)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error.filename} can't be removed: {error.strerror}"
        if error.errno in WRONG_FOLDER:
            raise DestinationError(
                f"{what}; make it writable, or choose another folder"
            ) from error
        raise StorageError(f"{what}; mend that, or choose another folder") from error


def _remove_chunk_files(path: Path, info: VolumeInfo) -> None:
    for scale in info.scales:
        folder = path / scale.key
        if not folder.is_dir() or path.resolve() not in folder.resolve().parents:
            continue  # a key may lead out of the volume's folder: what lies there is not ours
        for parent, _, names in os.walk(folder, topdown=False):
            prefix = Path(parent).relative_to(folder).as_posix()
            for name in names:
                full = name if prefix == "." else f"{prefix}/{name}"
                if _is_chunk_file(scale, full):
                    # A worker that was taken for lost may be putting its files in place.
                    (Path(parent) / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                Path(parent).rmdir()
        _remove_empty_parents(path, folder)


def _remove_empty_parents(path: Path, folder: Path) -> None:
    """Remove the folders above one, up to `path`: names may have several parts."""
    with contextlib.suppress(OSError):
        for above in folder.parents:
            if above == path:
                break
            above.rmdir()


def remove_temporary_files(path: Path, info: VolumeInfo) -> None:
    """Remove what a run that was killed left half-written.

    A worker that was taken for lost may still be at work: what goes by itself meanwhile is gone.
    """
    remove_left_behind(path / WORK_FOLDER)
    for entry in (path / WORK_FOLDER).iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
    folders = [path, path / WORK_FOLDER, *(path / scale.key for scale in info.scales)]
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.endswith(TEMPORARY_SUFFIX):
                    (Path(parent) / name).unlink(missing_ok=True)
            if folder in (path, path / WORK_FOLDER):
                break


def _is_chunk_file(scale: ScaleInfo, name: str) -> bool:
    if name.endswith(TEMPORARY_SUFFIX):
        return True
    plain = name.removesuffix(".gz")
    if scale.sharding is not None:
        return name.endswith(".shard") and "/" not in name
    return scale.grid.cell_of_name(plain) is not None
