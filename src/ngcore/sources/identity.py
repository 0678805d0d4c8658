"""By what a resumed conversion knows that its source is still the same."""

import logging
import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from ngcore.errors import InputError, StorageError
from ngcore.sources.base import Source
from ngcore.storage import is_url, open_store

logger = logging.getLogger(__name__)

_HEADER_BYTES = 1 << 16
_MOST_OPENED = 16
"""Files of which the first bytes are read, spread over all: there may be thousands of slices."""
_MAX_FILE = 16 << 20


def source_identity(source: object, files: Sequence[Path]) -> dict[str, str]:
    """Return what tells a source from another or a later one, cheaply.

    Parameters
    ----------
    source : path or array
        What was given.
    files : sequence of Path
        By which its reader knows it; see `SourceHeader.files`.

    Returns
    -------
    dict of str to str
        Of files: their size in all, the newest time, and a hash of their sizes and of the first
        bytes of some; if there are several, a hash of their names, sizes and times too. Of a URL:
        its volume's info and provenance. Of an array: its shape and type, which is all that can
        be told without reading it.

    Raises
    ------
    StorageError
        If a file can't be read.
    """
    if not isinstance(source, str | os.PathLike):
        shape, dtype = getattr(source, "shape", None), getattr(source, "dtype", None)
        return {"shape": str(shape), "type": str(dtype)}
    if is_url(source):
        store = open_store(source)
        known = {"name": str(source)}
        for name in ("info", "provenance"):
            content = store.get_whole(name, _MAX_FILE) or b""
            known[name] = blake2b(content, digest_size=16).hexdigest()
        return known
    header, listing = blake2b(digest_size=16), blake2b(digest_size=16)
    size, newest = 0, 0
    opened = set(files[:: -(-len(files) // _MOST_OPENED)] if files else ())
    for file in files:
        start, status = _look_at(file, _HEADER_BYTES // len(opened) if file in opened else 0)
        size += status.st_size
        newest = max(newest, status.st_mtime_ns)
        header.update(b"%d\n" % status.st_size + start)
        name_bytes = os.fsencode(file.name)
        listing.update(b"%b\0%d\0%d\n" % (name_bytes, status.st_size, status.st_mtime_ns))
    identity = {
        "name": Path(source).name,
        "size": str(size),
        "time": str(newest),
        "header": header.hexdigest(),
    }
    if len(files) > 1:
        identity["files"] = listing.hexdigest()
    return identity


def check_unchanged(source: object, opened: Source, before: Mapping[str, str]) -> None:
    """Check, when a source was read to its end, that it is what it was.

    Parameters
    ----------
    source : path or array
        What was given.
    opened : Source
        The same, opened.
    before : mapping of str to str
        What `source_identity` returned when it was opened. Where times alone differ, that is a
        warning: what was read may be sound.

    Raises
    ------
    InputError
        If its size or its first bytes are others.
    """
    try:
        now = source_identity(source, opened.files)
    except StorageError:
        return  # removed, after all of it was read
    if now == before:
        return
    if lasting_identity(now) != lasting_identity(before):
        raise InputError(
            f"{opened.name} was changed while it was read; convert it again when nobody writes "
            "to it"
        )
    logger.warning(
        "%s was written to while it was read: if voxels were changed, convert it again with "
        "--overwrite",
        opened.name,
    )


def lasting_identity(identity: Mapping[str, str]) -> dict[str, str]:
    """Return what of a source's identity every copy of it shares: neither times nor names.

    Of an array that is nothing: the volume's info tells its shape.

    Parameters
    ----------
    identity : mapping of str to str
        As `source_identity` returns it.
    """
    lasting = ("size", "header", "info", "provenance")
    return {part: identity[part] for part in lasting if part in identity}


def _look_at(path: Path, count: int) -> tuple[bytes, os.stat_result]:
    """Return the first bytes of a file, and its status; it is opened only if there are any."""
    try:
        if not count:
            return b"", path.stat()
        with path.open("rb", buffering=0) as file:
            return file.read(count) or b"", os.fstat(file.fileno())
    except OSError as error:
        raise StorageError(
            f"{path}: reading failed: {error.strerror}; check the disk or mount"
        ) from error
