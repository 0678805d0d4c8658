"""By what a resumed run knows that its source is still the same.

A source is known by its content: all of it where it is small, else the start, the end and samples
in between. Of a large one the times tell what samples can't: when it was written to, and when the
system last changed anything about it, which no program can set back.
"""

import itertools
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from ngcore.errors import InputError, StorageError
from ngcore.precomputed.chunks import Box, vec3
from ngcore.sources.base import Source
from ngcore.storage import LocalStore, ReadableStore, Store, is_url, open_store

logger = logging.getLogger(__name__)

_WHOLE_BYTES = 32 << 20
"""Files that have no more bytes together are read as a whole: that takes some milliseconds."""
_MOST_OPENED = 64
"""Larger ones: so many files are read, spread over all, as there may be thousands of slices."""
_SAMPLES = 64
_SAMPLE_BYTES = 1 << 16
_WHOLE_VOXEL_BYTES = 16 << 20
_BOXES_PER_AXIS = 4
_BOX_SIDE = 16
_BOX_BYTES = 1 << 20
_FAR_SMALLER = 1000
"""Files that have so much less bytes than the voxels hold none of them, but say where they are."""
_MAX_FILE = 16 << 20
_PIECE = 1 << 20


def source_identity(
    source: object, files: Sequence[Path], opened: Source | None = None
) -> dict[str, str]:
    """Return what tells a source from another or a later one, at little cost.

    Parameters
    ----------
    source : path or array
        What was given.
    files : sequence of Path
        By which its reader knows it; see `SourceHeader.files`.
    opened : Source, optional
        The same, opened, of which voxels are sampled where there are no files that hold them.

    Returns
    -------
    dict of str to str
        Of files: ``name``, ``size`` in all, a hash of the ``content`` (sizes and bytes), the
        newest ``time``; of several ``files``, a hash of names, sizes and times; and where not all
        bytes were hashed, the ``path`` and when the system changed any file (``touched``). Of an
        array: shape, type and content. Of a URL: a hash of its volume's info and provenance, else
        the content.

    Raises
    ------
    StorageError
        If a file can't be read.
    """
    identity: dict[str, str] = {}
    is_path = isinstance(source, str | os.PathLike)
    if not is_path:
        shape, dtype = getattr(source, "shape", None), getattr(source, "dtype", None)
        identity |= {"shape": str(shape), "type": str(dtype)}
    elif is_url(source):
        identity |= _url_identity(str(source))
    if files:
        identity |= _file_identity(Path(str(source)) if is_path else files[0], files)
    if opened is not None and not opened.cost.is_sequential and "info" not in identity:
        known = int(identity.get("size", 0))
        if known * _FAR_SMALLER < opened.header.byte_count:
            identity["voxels"] = _voxel_hash(opened)
    return identity


def _url_identity(url: str) -> dict[str, str]:
    store = open_store(url)
    known = {"name": url}
    for name in ("info", "provenance"):
        content = store.get_whole(name, _MAX_FILE)
        if content is not None:
            known[name] = blake2b(content, digest_size=16).hexdigest()
    return known


def _file_identity(path: Path, files: Sequence[Path]) -> dict[str, str]:
    statuses = []
    for file in files:
        try:
            statuses.append(file.stat())
        except OSError as error:
            raise _unreadable(file, error) from error
    size = sum(status.st_size for status in statuses)
    is_whole = size <= _WHOLE_BYTES
    content, listing = blake2b(digest_size=16), blake2b(digest_size=16)
    opened = set(files if is_whole else _spread(files, _MOST_OPENED))
    for file, status in zip(files, statuses, strict=True):
        content.update(b"%d\n" % status.st_size)
        if file in opened:
            count = None if is_whole else max(3, _SAMPLES // len(opened))
            for checksum in _checksums(file, status.st_size, count):
                content.update(b"%08x" % checksum)
        name = os.fsencode(file.name)
        listing.update(b"%b\0%d\0%d\n" % (name, status.st_size, status.st_mtime_ns))
    identity = {
        "name": path.name,
        "size": str(size),
        "content": content.hexdigest(),
        "time": str(max(status.st_mtime_ns for status in statuses)),
    }
    if not is_whole:
        identity["path"] = str(path.resolve())
        identity["touched"] = str(max(status.st_ctime_ns for status in statuses))
    if len(files) > 1:
        identity["files"] = listing.hexdigest()
    return identity


def chunk_files(store: Store, folder: str) -> Iterator[tuple[str, int | None]]:
    """Yield the files below a folder for `chunks_identity`; a bucket tells sizes with names."""
    if isinstance(store, LocalStore):
        yield from ((name, None) for name in store.walk(folder))
    else:
        yield from store.sizes(folder)


def chunks_identity(
    store: ReadableStore, files: Iterable[tuple[str, int | None]]
) -> dict[str, str]:
    """Return what tells a volume's chunk files from others: their names, sizes and times.

    There may be millions, of which the first bytes of few would tell little.

    Parameters
    ----------
    store : Store
        In a bucket, times count for nothing.
    files : iterable of tuple, (name, size in bytes)
        In any order; those that have gone meanwhile are left out. Sizes of None are looked up.

    Returns
    -------
    dict of str to str
        ``size`` in all, the newest ``time``, a hash of names and sizes (``content``), and one of
        the ``times``.
    """
    sizes, times, size, newest = 0, 0, 0, 0
    for name, known in files:
        if not isinstance(store, LocalStore):
            length = known if known is not None else store.size(name) or 0
            size += length
            sizes += _number(b"%b\0%d" % (os.fsencode(name), length))
            continue
        try:
            status = (store.path / name).stat()
        except FileNotFoundError:
            continue  # who reads it says what is wrong
        except OSError as error:
            raise _unreadable(store.path / name, error) from error
        size += status.st_size
        newest = max(newest, status.st_mtime_ns)
        text = os.fsencode(name)
        sizes += _number(b"%b\0%d" % (text, status.st_size))
        times += _number(b"%b\0%d\0%d" % (text, status.st_mtime_ns, status.st_ctime_ns))
    return {
        "size": str(size),
        "time": str(newest),
        "content": f"{sizes % 2**128:032x}",
        "times": f"{times % 2**128:032x}",
    }


def places_of(source: object, files: Iterable[Path]) -> list[str | os.PathLike[str]]:
    """Return where a source lies, as far as it tells: files, folders and URLs not to be harmed.

    Parameters
    ----------
    source : path or array
    files : iterable of Path
        By which its reader knows it.
    """
    places: list[str | os.PathLike[str]] = list(files)
    if isinstance(source, str | os.PathLike):
        return places
    # Memory maps, data sets of h5py, scales of volumes, arrays of zarr.
    for names in (("filename",), ("file", "filename"), ("path",), ("store", "root")):
        place: Any = source
        for name in names:
            place = getattr(place, name, None)
        if isinstance(place, str | os.PathLike) and os.fspath(place):
            places.append(place)
    return places


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
        warning: what was read may be valid.

    Raises
    ------
    InputError
        If its size or its content are others.
    """
    if not opened.header.files and not is_url(source):
        return
    try:
        now = source_identity(source, opened.header.files)
    except StorageError:
        return  # removed, after all of it was read
    compared = before.keys() - {"voxels", "touched"}
    if all(now.get(part) == before[part] for part in compared):
        return
    if _content(now) != _content(before):
        raise InputError(
            f"{opened.name} was changed while it was read; convert it again while nothing "
            "else writes "
            "to it"
        )
    logger.warning(
        "%s was written to while it was read: if voxels were changed, convert it again with "
        "--overwrite",
        opened.name,
    )


def lasting_identity(identity: Mapping[str, str]) -> dict[str, str]:
    """Return what of a source's identity every copy of it shares: neither times nor names.

    Parameters
    ----------
    identity : mapping of str to str
        As `source_identity` returns it.
    """
    return _content(identity) | ({"voxels": identity["voxels"]} if "voxels" in identity else {})


def has_changed_since(identity: Mapping[str, str], moment: int) -> bool:
    """Whether the times of a source tell that it was changed after a moment.

    A time in the future tells nothing: clocks differ, and archives give files any time. When the
    system changed something about a file is told only where the content is not known as a whole.

    Parameters
    ----------
    identity : mapping of str to str
        As `source_identity` returns it.
    moment : int, in nanoseconds
        As the system counts time.
    """
    times = [int(identity[part]) for part in ("time", "touched") if part in identity]
    now = time.time_ns()
    return any(moment < changed <= now for changed in times)


def _content(identity: Mapping[str, str]) -> dict[str, str]:
    lasting = ("size", "content", "info", "provenance")
    return {part: identity[part] for part in lasting if part in identity}


def _spread(files: Sequence[Path], most: int) -> list[Path]:
    """Return some files of many, the first and the last among them."""
    if len(files) <= most:
        return list(files)
    return [files[index * (len(files) - 1) // (most - 1)] for index in range(most)]


def _checksums(path: Path, size: int, count: int | None) -> Iterator[int]:
    """Yield checksums of a file's bytes: of all, or of so many samples, both ends among them."""
    buffer = bytearray(_SAMPLE_BYTES if count is not None else max(1, min(size, _PIECE)))
    try:
        with path.open("rb", buffering=0) as file:
            last = max(0, size - len(buffer))
            if count is None or size <= count * len(buffer):
                offsets: Iterable[int] = range(0, size, len(buffer))
            else:
                offsets = (number * last // (count - 1) for number in range(count))
            for offset in offsets:
                file.seek(offset)
                got = file.readinto(buffer) or 0
                yield isal_zlib.crc32(memoryview(buffer)[:got])
    except OSError as error:
        raise _unreadable(path, error) from error


def _voxel_hash(source: Source) -> str:
    """Return a hash of voxels: of all where they are few, else of small boxes spread over all."""
    found = blake2b(repr((source.shape, source.dtype.str)).encode(), digest_size=16)
    sides = list(source.shape[:3])
    counts = [1, 1, 1]
    if source.header.byte_count > _WHOLE_VOXEL_BYTES:
        voxel_bytes = source.shape[3] * source.dtype.itemsize
        side = max(1, min(_BOX_SIDE, int((_BOX_BYTES / voxel_bytes) ** (1 / 3))))
        counts = [min(_BOXES_PER_AXIS, -(-length // side)) for length in source.shape[:3]]
        sides = [min(side, length) for length in source.shape[:3]]
    for place in itertools.product(*map(range, counts)):
        starts = [
            (length - side) * number // max(1, count - 1)
            for length, side, number, count in zip(
                source.shape[:3], sides, place, counts, strict=True
            )
        ]
        out = np.empty((*sides, source.shape[3]), source.dtype, order="F")
        first = vec3(map(sum, zip(source.header.voxel_offset, starts, strict=True)))
        source.read(Box(first, vec3(map(sum, zip(first, sides, strict=True)))), out)
        found.update(b"%08x" % isal_zlib.crc32(out.reshape(math.prod(out.shape), order="F")))
    return found.hexdigest()


def _number(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=16).digest())


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: reading failed: {error.strerror}; check the disk or mount")
