"""Folders and glob patterns of 2-D slices as one volume; several folders are its channels.

The first slice in natural order decides size and type, so that a folder of thousands of slices
opens at once; every other slice is compared with it when it is read.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ngcore.errors import InputError, InputNotFoundError
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.slices.names import is_slice_pattern
from ngcore.sources.slices.natural_order import (
    natural_key,
    numbering_of,
    part_by_channel,
)
from ngcore.sources.slices.pictures import open_jpeg, open_png
from ngcore.sources.slices.planes import PlanesSource
from ngcore.sources.slices.signs import Signs
from ngcore.sources.slices.tiff import open_tiff_slice, slice_pixel_size_nm
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.foreign import way_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    from ngcore.sources.slices.slice_file import PlaneLayout, SliceFile

Gaps = Literal["keep", "blank"]
"""What becomes of section numbers that are missing."""

_OPENERS: dict[str, Callable[[Path, str], SliceFile]] = {
    ".png": open_png,
    ".jpg": open_jpeg,
    ".jpeg": open_jpeg,
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf2", ".tf8"), open_tiff_slice),
}
SLICE_SUFFIXES = tuple(_OPENERS)
"""Endings of the names of files that may be slices."""

_MOST_BLANK = 10
"""How many times as many sections as slices there may be."""

_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "ehthumbs.db"}


@dataclass(frozen=True, slots=True)
class SliceList:
    """The slices of one channel, or of all: what a folder or a glob pattern names.

    Attributes
    ----------
    name : str
        The folder or pattern as the user gave it.
    paths : tuple of Path
        In natural order; at least one.
    notes : tuple of str
        Files that were passed over, and numbers that are missing.
    places : tuple of int
        Where each slice lies along the stack.
    """

    name: str
    paths: tuple[Path, ...]
    notes: tuple[str, ...]
    places: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many slices the stack has, with those that are left blank."""
        return self.places[-1] + 1


def list_slices(source: str | Path, gaps: Gaps = "keep") -> list[SliceList]:
    """Find the slices that a folder, a glob pattern or the name of one file stands for.

    Hidden files, and those that systems leave behind, are passed over; other files that are no
    slices are named in a note.

    Parameters
    ----------
    source : str or Path
    gaps : {"keep", "blank"}
        Stack the slices that are there, or leave room where section numbers are missing.

    Returns
    -------
    list of SliceList
        One for each channel that names number (``img_Z003_C01.tif``).

    Raises
    ------
    InputNotFoundError
        If there is nothing of that name.
    InputError
        If there are no slices, slices of several formats, or no numbers to see gaps by.
    """
    name = os.fspath(source)
    if is_slice_pattern(source):
        # `Path.glob` takes no pattern that starts at the root.
        found = [Path(match) for match in glob.glob(name, recursive=True)]  # noqa: PTH207
        if not found:
            raise InputNotFoundError(f"{name}: no file matches the pattern; check folder and name")
    else:
        found = _entries(Path(source), name)
    visible = [
        path
        for path in found
        if not path.name.startswith(".") and path.name.lower() not in _SYSTEM_FILES
    ]
    slices = [path for path in visible if path.suffix.lower() in _OPENERS and path.is_file()]
    others = sorted({*visible}.difference(slices), key=natural_key)
    if not slices:
        if not is_slice_pattern(source) and (way := way_from(Path(source))) is not None:
            raise InputError(f"{name}: {way}")
        raise InputError(
            f"{name}: no slices (PNG, JPEG or TIFF){_listing(', only', others)}; "
            f"give the folder that holds them"
        )
    _check_one_format(name, slices)
    signs = Signs(slices)
    slices = sorted(slices, key=lambda path: natural_key(path, signs))
    sign_note = signs.note(slices)
    notes = [] if sign_note is None else [f"{name}: {sign_note}"]
    if others:
        notes.append(f"{name}: not slices, so skipped{_listing(':', others)}")
    grid = part_by_channel(slices, signs)
    if grid.note is not None:
        notes.append(f"{name}: {grid.note}")
    lists: list[SliceList] = []
    for paths in grid.channels:
        places, fault = _places(paths, signs, gaps, name)
        if fault is not None and not lists:
            notes.append(f"{name}: {fault}")
        lists.append(SliceList(name, paths, tuple(notes) if not lists else (), places))
    return lists


def _places(
    paths: Sequence[Path], signs: Signs, gaps: Gaps, name: str
) -> tuple[tuple[int, ...], str | None]:
    """Return where each slice lies along the stack, and what to say of missing ones."""
    numbering = numbering_of(paths, signs)
    is_blank = gaps == "blank" and len(paths) > 1
    fault = None if numbering is None else numbering.fault(paths, are_left_blank=is_blank)
    if not is_blank:
        return tuple(range(len(paths))), fault
    places = None if numbering is None else numbering.places()
    if places is None or len({*places}) != len(places):
        raise InputError(
            f"{name}: --gaps blank needs names that differ in one number, which counts sections "
            "in even steps; leave it out to stack the slices that are there"
        )
    if places[-1] >= _MOST_BLANK * len(paths):
        raise InputError(
            f"{name}: --gaps blank would leave {places[-1] + 1 - len(paths)} sections blank "
            f"beside {len(paths)} slices; check the numbers in their names"
        )
    return tuple(places), fault


class SlicesSource(PlanesSource):
    """A volume of 2-D slices, one file each.

    Parameters
    ----------
    folders : sequence of path or str
        Folders, glob patterns or single files; the channels of each follow those before.
    input_orientation : str, optional
        Anatomical direction of increasing column, row and slice: one of 48 codes such as RIA.
        Default RAS, without a place in the world.
    asked : AskedGeometry
        Instead of what the slices say.
    gaps : {"keep", "blank"}
        Stack the slices that are there, or leave room where section numbers are missing.
    is_label : bool, optional
        Whether they are labels, which are the indices of pictures with a palette; default as
        their name says.
    workers : int, optional
        Slices decoded at a time; default the number of processors.

    Raises
    ------
    InputNotFoundError, InputError
        If there are no slices, or the folders don't fit each other.
    FormatError
        If the first slice is malformed.
    MissingExtraError
        If decoding needs an optional package.
    """

    def __init__(
        self,
        folders: Sequence[str | Path],
        *,
        input_orientation: str | None = None,
        asked: AskedGeometry = AskedGeometry(),  # noqa: B008 - it is frozen
        gaps: Gaps = "keep",
        is_label: bool | None = None,
        workers: int | None = None,
    ) -> None:
        if not folders:
            raise InputError("no folder of slices given; pass one for each channel")
        self._lists = [one for folder in folders for one in list_slices(folder, gaps)]
        _check_counts(self._lists)
        self._number_of_place = {place: n for n, place in enumerate(self._lists[0].places)}
        notes = [note for slices in self._lists for note in slices.notes]
        self._layouts: list[PlaneLayout] = []
        scratch_bytes, is_compressed = 0, False
        name = ", ".join(dict.fromkeys(slices.name for slices in self._lists))
        if is_label is None:
            is_label = suggest_type(name, 1).type == "segmentation"
        self._is_label = is_label
        for slices in self._lists:
            first = _open_slice(slices.paths[0], is_label=is_label)
            first.close()
            self._layouts.append(first.layout)
            is_compressed |= not first.is_uncompressed
            scratch_bytes = max(scratch_bytes, first.scratch_bytes)
            notes += [f"{slices.name}: {note}" for note in first.notes]
        for slices, layout in zip(self._lists, self._layouts, strict=True):
            _check_layout(
                slices.paths[0],
                layout,
                replace(self._layouts[0], samples=layout.samples),
                self._lists[0].paths[0],
            )
        super().__init__(
            name,
            replace(self._layouts[0], samples=sum(layout.samples for layout in self._layouts)),
            self._lists[0].count,
            input_orientation,
            pixel_size_nm=_pixel_size_nm(self._lists[0].paths[0]),
            asked=asked,
            workers=workers,
            notes=tuple(dict.fromkeys(notes)),
            files=tuple(path for slices in self._lists for path in slices.paths),
            plane_scratch_bytes=scratch_bytes,
            is_compressed=is_compressed,
        )

    def _read_plane(
        self, index: int, into: np.ndarray[Any, Any], rows: slice, columns: slice
    ) -> None:
        channel = 0
        if index not in self._number_of_place:
            into[...] = 0
            return
        number = self._number_of_place[index]
        for slices, expected in zip(self._lists, self._layouts, strict=True):
            slice_file = _open_slice(slices.paths[number], is_label=self._is_label)
            try:
                _check_layout(slices.paths[number], slice_file.layout, expected, slices.paths[0])
                part = into[:, :, channel : channel + expected.samples]
                slice_file.read(part, rows, columns)
            finally:
                slice_file.close()
            channel += expected.samples


def _open_slice(path: Path, *, is_label: bool) -> SliceFile:
    opener = _OPENERS[path.suffix.lower()]
    if opener in (open_png, open_jpeg):
        return opener(path, str(path), is_label=is_label)
    return opener(path, str(path))


def _pixel_size_nm(path: Path) -> tuple[float, float, float] | None:
    is_tiff = _OPENERS[path.suffix.lower()] is open_tiff_slice
    return slice_pixel_size_nm(path) if is_tiff else None


def _entries(folder: Path, name: str) -> list[Path]:
    if folder.is_file():
        return [folder]
    try:
        return [*folder.iterdir()]
    except FileNotFoundError:
        raise InputNotFoundError(f"{name}: no such file or folder; check the path") from None
    except OSError as error:
        raise InputError(
            f"{name}: can't be listed: {error.strerror or error}; check its access rights"
        ) from error


def _check_one_format(name: str, slices: Sequence[Path]) -> None:
    """Refuse a folder that holds its slices twice, or a picture beside them."""
    counts = Counter(_OPENERS[path.suffix.lower()] for path in slices)
    if len(counts) == 1:
        return
    suffixes = Counter(path.suffix for path in slices)
    found = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())
    pattern = slices[0].parent / f"*{suffixes.most_common(1)[0][0]}"
    raise InputError(
        f"{name}: slices of several formats ({found}); pass a pattern for one, such as '{pattern}'"
    )


def _check_counts(lists: Sequence[SliceList]) -> None:
    first = lists[0]
    for other in lists[1:]:
        if len(other.paths) != len(first.paths):
            raise InputError(
                f"{other.name}: {len(other.paths)} slices, but {len(first.paths)} in "
                f"{first.name}; channels need the same number of slices"
            )
        if other.places != first.places:
            raise InputError(
                f"{other.name}: other section numbers than in {first.name}; with --gaps blank the "
                "slices of all channels need the same numbers"
            )


def _check_layout(path: Path, got: PlaneLayout, expected: PlaneLayout, first: Path) -> None:
    if got != expected:
        raise InputError(
            f"{path}: the slice has {got}, but the first one ({first}) has {expected}; "
            f"all slices must agree"
        )


def _listing(start: str, paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{start} {', '.join(names[:3])}{more}"
