"""Which chunks of Zarr, N5 and HDF5 are there: the others, not stored, are the fill value."""

from __future__ import annotations

import itertools
import math
import re
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import FormatError
from ngcore.sources.files import refuse_broken_link
from ngcore.storage.base import Store
from ngcore.storage.listing import is_listed_name, look_at_names, walk_files
from ngcore.storage.local import LocalStore
from ngcore.storage.present import SPARSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.sources.registry import Found

_AT_ONCE = 1 << 16
_LIKE_A_CHUNK = re.compile("(?:c[/.])?[0-9]")
_BY_ANOTHER_SEPARATOR = re.compile("(?:c[/.])?[0-9]+(?:[/.][0-9]+)*")
_UNCHUNKED = 64
"""Side of the cells of an array that is stored as a whole, or not at all."""


class Listing(NamedTuple):
    """How the chunks of an array that are there are found.

    Attributes
    ----------
    sides : tuple of int
        Lengths of a chunk, or of a shard, along the array's dimensions.
    found : callable
        Yields their places on the grid, arrays of int of shape (n, dimensions).
    fills_zeros : bool
        Whether what is not there is zeros.
    notes : tuple of str
        What to warn of: names that are no chunk's, or no chunks at all.
    """

    sides: tuple[int, ...]
    found: Callable[[], Iterator[NDArray[np.int64]]]
    fills_zeros: bool
    notes: tuple[str, ...] = ()


def zarr_listing(array: Any, found: Found) -> Listing | None:
    """Return how the chunks of a Zarr array are listed; None where they can't be."""
    encode = getattr(array.metadata, "encode_chunk_key", None)
    if encode is None:
        return None
    rank, prefix = len(array.shape), f"{array.path}/" if array.path else ""
    is_folder = not found.is_url and found.path.is_dir()
    folder = found.path / array.path if is_folder else None
    place = re.compile(rf"(?:c[/.])?[0-9]{{1,18}}(?:[/.][0-9]{{1,18}}){{{rank - 1}}}")

    def places() -> Iterator[NDArray[np.int64]]:
        names = _names(found, array.path, rank)
        if names is None:
            return
        keys = (name[len(prefix) :] for name in names if name.startswith(prefix))
        known = (
            place_of
            for key in _placed(keys, place, folder)
            if encode(place_of := _numbers(key)) == key
        )
        yield from _in_arrays(known, rank)

    names = _names(found, array.path, rank)
    if names is None:
        return None
    notes = _notes_on_names(
        (name[len(prefix) :] for name in names if name.startswith(prefix)),
        lambda name: bool(place.fullmatch(name)) and encode(_numbers(name)) == name,
        encode((0,) * rank),
        array.fill_value,
        folder,
    )
    sides = tuple(int(side) for side in array.shards or array.chunks)
    return Listing(sides, places, _is_zero(array.fill_value, array.dtype), notes)


def _notes_on_names(
    names: Iterable[str],
    is_chunk: Callable[[str], object],
    example: str,
    fill: object,
    folder: Path | None,
) -> tuple[str, ...]:
    """Look at the first names below an array, and say what readers would take for absent.

    Raises
    ------
    FormatError
        Chunks are there, but none has the name that its metadata ask for.
    InputNotFoundError
        A folder of chunks is a link to what is not there.
    """
    seen = look_at_names(names, is_chunk, _LIKE_A_CHUNK.match)
    for stray in seen.strays:
        if folder is not None:
            refuse_broken_link(folder, stray)
    other = next(filter(_BY_ANOTHER_SEPARATOR.fullmatch, seen.strays), None)
    if other is not None and not seen.chunks:
        raise FormatError(
            f"its metadata say that chunks have names such as {example!r}, but the files are "
            "called "
            f"{other!r} and the like, so everything would read as the fill value; "
            "correct the separator (or the shape) in its metadata"
        )
    note = seen.note("chunk", example, f"the fill value, {fill}")
    return () if note is None else (note,)


def _names(found: Found, path: str, rank: int) -> Iterable[str] | None:
    """Return the names of files below an array, from the root of the hierarchy."""
    if found.is_url:
        from ngcore.storage import open_store

        store = open_store(found.location)
        if not isinstance(store, Store) or (path and not is_listed_name(path)):
            return None
        return store.list(f"{path}/" if path else "")
    if found.path.is_file():
        with zipfile.ZipFile(found.path) as file:
            return file.namelist()
    start = f"{path}/" if path else ""
    return (start + name for name in walk_files(LocalStore(found.path), path, depth=rank + 1))


def n5_listing(folder: Path, sides: Sequence[int]) -> Listing:
    """Return how the blocks of a data set of N5 are listed."""
    rank = len(sides)
    place = re.compile(rf"[0-9]{{1,18}}(?:/[0-9]{{1,18}}){{{rank - 1}}}")

    def places() -> Iterator[NDArray[np.int64]]:
        # A folder in the place of a block is one that is there: whoever reads it refuses.
        names = walk_files(LocalStore(folder), "", depth=rank - 1)
        yield from _in_arrays(map(_numbers, _placed(names, place, folder)), rank)

    names = walk_files(LocalStore(folder), "", depth=rank)
    notes = _notes_on_names(names, place.fullmatch, "/".join("0" * rank), 0, folder)
    return Listing(tuple(sides), places, fills_zeros=True, notes=notes)


def _placed(names: Iterable[str], place: re.Pattern[str], folder: Path | None) -> Iterator[str]:
    """Yield the names of chunks; a folder of them that is a broken link is an error."""
    for name in names:
        if place.fullmatch(name):
            yield name
        elif folder is not None and _LIKE_A_CHUNK.match(name):
            refuse_broken_link(folder, name)


def hdf5_listing(data_sets: Sequence[Any], *, is_stacked: bool = False) -> Listing | None:
    """Return how the chunks of data sets that are one array are listed.

    Parameters
    ----------
    data_sets : sequence of h5py.Dataset
        Of one shape.
    is_stacked : bool
        Whether the array has a dimension more, along which they follow each other.
    """
    first = data_sets[0]
    if any(data.is_virtual or data.external for data in data_sets):
        return None
    chunks = first.chunks
    if chunks is not None and not hasattr(first.id, "chunk_iter"):
        return None  # HDF5 before 1.12.3 finds each chunk anew
    if any(data.chunks != chunks or _is_told_wrong(data) for data in data_sets):
        return None
    if chunks is None and any(data.id.get_storage_size() for data in data_sets):
        return None
    sides = tuple(chunks or (_UNCHUNKED,) * len(first.shape))

    cells = math.prod(-(-length // side) for length, side in zip(first.shape, sides, strict=True))
    most = len(data_sets) * cells

    def places() -> Iterator[NDArray[np.int64]]:
        for number, data in enumerate(data_sets):
            offsets: list[tuple[int, ...]] = []

            def note(info: Any, to: list[tuple[int, ...]] = offsets) -> bool | None:
                to.append(info.chunk_offset)
                return True if len(to) * SPARSE > most else None  # more than anybody asks for

            if chunks is not None:
                data.id.chunk_iter(note)
            ends = data.shape
            if any(a >= end for at in offsets for a, end in zip(at, ends, strict=True)):
                raise FormatError("its index names chunks that lie outside of it")
            lead = (number,) if is_stacked else ()
            yield from _in_arrays(
                (
                    lead + tuple(a // side for a, side in zip(offset, sides, strict=True))
                    for offset in offsets
                ),
                len(lead) + len(sides),
            )

    fills_zeros = all(_is_zero(data.fillvalue, data.dtype) for data in data_sets)
    return Listing(((1,) if is_stacked else ()) + sides, places, fills_zeros)


def _is_told_wrong(data: Any) -> bool:
    """Whether HDF5 tells places of chunks wrongly, or the fill value is not defined.

    Of an extensible array, the index where one axis alone has no limit, HDF5 2.0 takes the places
    for those of another order unless that axis is the first.
    """
    from h5py import h5d

    unlimited = [axis for axis, most in enumerate(data.maxshape or ()) if most is None]
    fill = data.id.get_create_plist().fill_value_defined()
    return (len(unlimited) == 1 and unlimited != [0]) or fill == h5d.FILL_VALUE_UNDEFINED


def _numbers(key: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall("[0-9]+", key)))


def _in_arrays(places: Iterable[tuple[int, ...]], rank: int) -> Iterator[NDArray[np.int64]]:
    left = iter(places)
    while some := list(itertools.islice(left, _AT_ONCE)):
        yield np.array(some, np.int64).reshape(-1, rank)


def _is_zero(value: Any, dtype: Any) -> bool:
    """Whether a fill value has no bit set; none at all is read as zero."""
    return value is None or not np.array(value, dtype).reshape(1).view(np.uint8).any()
