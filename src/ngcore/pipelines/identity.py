"""By what a resumed conversion knows that its source is still the same."""

import glob
import os
from hashlib import blake2b
from pathlib import Path

from ngcore.errors import StorageError
from ngcore.storage import is_url, open_store

_HEADER_BYTES = 1 << 16
_MAX_INFO = 16 << 20


def source_identity(source: object) -> dict[str, str]:
    """Return what tells a source from another or a later one, cheaply.

    Parameters
    ----------
    source : path or array
        A file: its size, time and first bytes. A folder or a glob: names, sizes and times of its
        files. A URL: the volume's info. An array: its shape and type, which is all that can be
        told without reading it.
    """
    if not isinstance(source, str | os.PathLike):
        shape, dtype = getattr(source, "shape", None), getattr(source, "dtype", None)
        return {"shape": str(shape), "type": str(dtype)}
    if is_url(source):
        info = open_store(source).get_whole("info", _MAX_INFO) or b""
        return {"name": str(source), "info": blake2b(info, digest_size=16).hexdigest()}
    path = Path(source)
    if path.is_file():
        status = path.stat()
        header = blake2b(_first_bytes(path), digest_size=16).hexdigest()
        identity = {
            "name": path.name,
            "size": str(status.st_size),
            "time": str(status.st_mtime_ns),
            "header": header,
        }
        voxels = path.with_suffix(".img")
        if path.suffix == ".hdr" and voxels.is_file():
            identity["voxels"] = _listing([voxels])
        return identity
    names = path.iterdir() if path.is_dir() else glob.glob(str(path))  # noqa: PTH207 - any part may be a pattern
    files = [Path(name) for name in names]
    return {"name": path.name, "files": _listing([file for file in files if file.is_file()])}


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError as error:
        raise StorageError(
            f"{path}: reading failed: {error.strerror}; check the disk or mount"
        ) from error


def _listing(files: list[Path]) -> str:
    """Return a hash of the names, sizes and times of files."""
    digest = blake2b(digest_size=16)
    for file in sorted(files):
        status = file.stat()
        digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
