"""What the pages of a TIFF file are: planes of depth, channels, times, in whatever order.

Plain files have one page per plane. OME-TIFF, ImageJ, tifffile and some microscopes say
in their metadata what each page and each dimension is, which tifffile understands.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ngcore.errors import FormatError, InputError
from ngcore.sources.axes import ArrayAxes, checked_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.sources.slices.tiff_directories import Directory

    # tifffile is imported where it is needed
    TiffFile = Any
    TiffSeries = Any
    TiffPage = Any

_LETTERS = {"X": "x", "Y": "y", "Z": "z", "C": "c", "T": "t", "S": "s"}
"""By tifffile's letters of dimensions; s is a sample of a pixel, a channel within its page."""


class PagePlace(NamedTuple):
    """Where a page is.

    Attributes
    ----------
    directory : int
        The byte of its tags.
    data_shift : int
        How far its pixels lie after what the tags say.
    path : Path or None
        The file, if it is another one of a set.
    """

    directory: int
    data_shift: int = 0
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class StackPages:
    """How the pages of a file make a volume.

    Attributes
    ----------
    leading : tuple of (str, int)
        Letter and length of each dimension that pages make up, slowest first.
    within : tuple of (str, int)
        The same for the dimensions within a page, as they are stored: rows and columns, and
        samples before or after them. Letters are x, y, z, c, t, and s for samples.
    places : tuple of PagePlace
        Of each page, in the order of `leading`.
    samples_at : int
        Which of the dimensions within a page is that of its samples: 0 or 2.
    """

    leading: tuple[tuple[str, int], ...]
    within: tuple[tuple[str, int], ...]
    places: tuple[PagePlace, ...]
    samples_at: int = 2

    @property
    def are_planes(self) -> bool:
        """Whether each page holds rows and columns of y and x, as pages mostly do."""
        sides = [letter for letter, _ in self.within if letter in "xyz"]
        lone = [letter for letter, _ in self.leading if letter in "ct"]
        is_colour = [one for one in self.within if one[0] == "t" and one[1] > 1]
        return sides == ["y", "x"] and len(lone) < 2 and not is_colour

    @property
    def planes(self) -> int:
        """How many slices there are."""
        return dict(self.leading).get("z", 1)

    @property
    def channels(self) -> int:
        """How many pages each slice has: channels or times."""
        return math.prod(length for letter, length in self.leading if letter in "ct")

    @property
    def times(self) -> int:
        """How many points in time there are."""
        return dict((*self.leading, *self.within)).get("t", 1)

    def page_number(self, plane: int, channel: int) -> int:
        """Return the index in `places` of one plane of a channel."""
        if self.leading and self.leading[0][0] in "ct":
            return channel * self.planes + plane
        return plane * self.channels + channel

    @property
    def array_axes(self) -> ArrayAxes:
        """The axes of the whole file, for what is not planes of rows and columns."""
        dimensions = [*self.leading, *self.within]
        letters = [letter for letter, length in dimensions if length > 1 or letter in "xyz"]
        code = "".join(
            "-" if length == 1 and letter not in "xyz" else "c" if letter == "s" else letter
            for letter, length in dimensions
        )
        if "s" in letters and ("c" in letters or "t" in letters):
            raise InputError(
                f"axes {code!r} have colours as well as channels or times; save one part of it"
            )
        return checked_axes(ArrayAxes(code, tuple(length for _, length in dimensions)))


def find_pages(
    tiff: TiffFile, directories: Sequence[Directory], name: str, asked: str | None = None
) -> StackPages:
    """Tell the pages that make a volume from what else a file holds.

    Parameters
    ----------
    tiff : tifffile.TiffFile
    directories : sequence of Directory
    name : str
        Of the file, for messages.
    asked : str, optional
        What each dimension is, slowest first, whatever the file says (`--axes`).

    Raises
    ------
    InputError
        If the file holds several volumes, or axes of unknown meaning.
    FormatError
        If pages are missing.
    """
    pages = [one for one in directories if not one.is_reduced] or [*directories]
    plain = tuple(PagePlace(page.offset) for page in pages)
    series = _only_series(tiff, name) if _has_metadata_of_axes(tiff) else None
    first = tiff.pages[0] if series is None else series.keyframe
    if first.shaped[1] > 1:
        raise InputError(
            f"{name}: a page that is itself a volume can't be read; save one page per slice"
        )
    if series is None:
        stored = [("I", len(plain)), *_within(first)]
        leading, within = stored[:1], stored[1:]
        places = plain
    else:
        leading, within = _parted(series, first, len(tiff.pages), name)
        places = _page_places(tiff, series, math.prod(n for _, n in leading), name)
    leading = [one for one in leading if one[1] > 1]
    samples_at = 0 if first.shaped[0] > 1 else 2
    return replace(_lettered(leading, within, places, asked, name), samples_at=samples_at)


def _has_metadata_of_axes(tiff: TiffFile) -> bool:
    if tiff.is_ome or tiff.is_imagej or tiff.is_lsm or tiff.is_stk or tiff.is_micromanager:
        return True
    return bool(tiff.is_shaped) and not _is_page_by_page(tiff)


def _is_page_by_page(tiff: TiffFile) -> bool:
    """Whether tifffile wrote pages one by one: each has its own shape, which is the same."""
    series = [one for one in tiff.series if not one.keyframe.is_reduced]
    if len(series) < 2 or any(len(one) != 1 for one in series):
        return False
    kinds = {(one.keyframe.shaped, str(one.keyframe.dtype)) for one in series}
    return len(kinds) == 1 and series[0].keyframe.shaped[1] == 1


def _only_series(tiff: TiffFile, name: str) -> TiffSeries:
    """Return what a file holds beside thumbnails and coarser resolutions.

    Raises
    ------
    InputError
        If there are several volumes.
    """
    every = list(tiff.series)
    series = [one for one in every if not one.keyframe.is_reduced] or every
    if not series:
        raise FormatError(f"{name}: holds no pages; the file is damaged")
    if len(series) == 1:
        return series[0]
    page = series[1].keyframe.index
    raise InputError(
        f"{name}: holds {len(series)} images, the second starts at page {page}; save the one "
        f"you mean to a file of its own"
    )


def _within(page: TiffPage) -> list[tuple[str, int]]:
    """Return the dimensions of a page, as they are stored."""
    separate, _, rows, columns, together = page.shaped
    sides = [("Y", int(rows)), ("X", int(columns))]
    if separate > 1:
        return [("S", int(separate)), *sides]
    return [*sides, ("S", int(together))]


def _parted(
    series: TiffSeries, first: TiffPage, page_count: int, name: str
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Part the dimensions of a series into those of pages and those within a page.

    Raises
    ------
    InputError
        If planes lie within a page in a way that its tags don't say.
    """
    waiting = [(axis, int(n)) for axis, n in zip(series.axes, series.shape, strict=True)]
    within: list[tuple[str, int]] = []
    for letter, length in reversed(_within(first)):
        while waiting and waiting[-1][1] == 1 != length:
            waiting.pop()
        if waiting and waiting[-1][1] == length and (length > 1 or waiting[-1][0] == letter):
            within.insert(0, waiting.pop())
        elif length == 1:
            within.insert(0, (letter, 1))
        else:
            raise InputError(
                f"{name}: axes {series.axes} of lengths {series.shape} in {page_count} page"
                f"{'s' if page_count != 1 else ''}; save the file with one plane per page "
                f"(tifffile: photometric='minisblack')"
            )
    if any(axis == "S" for axis, n in waiting if n > 1):
        raise InputError(
            f"{name}: axes {series.axes} of lengths {series.shape}: its colours are on separate "
            "pages; save them as channels (axis C)"
        )
    return waiting, within


def _lettered(
    leading: list[tuple[str, int]],
    within: list[tuple[str, int]],
    places: tuple[PagePlace, ...],
    asked: str | None,
    name: str,
) -> StackPages:
    """Say of every dimension whether it is x, y, z, channel or time."""
    dimensions = [*leading, *within]
    if asked is not None:
        letters = _asked_letters(dimensions, asked, name)
    else:
        letters = _own_letters(dimensions, name)
    found = [(letter, n) for letter, (_, n) in zip(letters, dimensions, strict=True)]
    for letter in "xyzct":
        if sum(one == letter and n > 1 for one, n in found) > 1:
            raise InputError(f"{name}: two axes are {letter}; pass --axes, slowest first")
    pages = StackPages(tuple(found[: len(leading)]), tuple(found[len(leading) :]), places)
    if asked is None and pages.times > 1 and pages.planes == 1:
        rest = "".join(
            letter for letter, n in found if letter != "t" and (n > 1 or letter in "xy")
        )
        rest = rest.replace("s", "")
        raise InputError(
            f"{name}: holds {pages.times} points in time and no depth; pass --axes z{rest} if "
            f"they are slices, --axes t{rest} if they are times"
        )
    many = [one for one, n in found if one in "ct" and n > 1]
    if len(many) > 1:
        raise InputError(
            f"{name}: holds several channels at several times; save one part of it, such as one "
            "channel"
        )
    return pages


def _asked_letters(dimensions: list[tuple[str, int]], asked: str, name: str) -> list[str]:
    """Return the letters that the user gave, those of samples and lengths of 1 left out or not."""
    code = asked.lower()
    long = [n for n, (_, length) in enumerate(dimensions) if length > 1]
    plain = [n for n, (axis, length) in enumerate(dimensions) if axis != "S" or length > 1]
    no_samples = [n for n, (axis, _) in enumerate(dimensions) if axis != "S"]
    for numbers in (plain, no_samples, long):
        if len(code) == len(numbers) and not set(code) - set("xyzct"):
            letters = [
                _LETTERS.get(axis, "-") if n == 1 or axis == "S" else "-" for axis, n in dimensions
            ]
            for number, letter in zip(numbers, code, strict=True):
                letters[number] = letter
            return letters
    lengths = tuple(dimensions[n][1] for n in plain)
    raise InputError(
        f"{name}: --axes {asked} must be a letter of x, y, z, c, t for each of the {len(plain)} "
        f"dimensions of shape {lengths}, slowest first"
    )


def _own_letters(dimensions: list[tuple[str, int]], name: str) -> list[str]:
    letters = [_LETTERS.get(axis, "-") for axis, _ in dimensions]
    unknown = [n for n, (_, length) in enumerate(dimensions) if letters[n] == "-" and length > 1]
    has_depth = any(
        letter == "z" and n > 1 for letter, (_, n) in zip(letters, dimensions, strict=True)
    )
    if len(unknown) == 1 and not has_depth:
        letters[unknown[0]] = "z"
    elif unknown:
        shape = tuple(n for axis, n in dimensions if axis != "S" or n > 1)
        raise InputError(
            f"{name}: axes of lengths {shape} don't say which are slices and channels; pass "
            f"--axes, such as --axes {'tczyx'[-len(shape) :]}"
        )
    return letters


def _page_places(
    tiff: TiffFile, series: TiffSeries, count: int, name: str
) -> tuple[PagePlace, ...]:
    """Find each page of a series; those that ImageJ leaves out follow the first one's pixels.

    Raises
    ------
    FormatError
        If pages are missing.
    """
    first = series.keyframe
    pages = list(series)
    if len(pages) != count or series.is_truncated:
        if series.dataoffset is None or len(pages) > 1:
            raise FormatError(
                f"{name}: {len(pages)} pages, but {count} are expected; the file is truncated, "
                "download or copy it again"
            )
        shift = first.nbytes
        return tuple(PagePlace(first.offset, shift * number) for number in range(count))
    places = []
    for number, page in enumerate(pages):
        if page is None:
            raise FormatError(
                f"{name}: page {number} of {count} is missing; if the image lies in several "
                "files, put all of them beside this one"
            )
        if page.parent is not tiff and page.parent.filehandle.path != tiff.filehandle.path:
            places.append(PagePlace(page.offset, 0, Path(page.parent.filehandle.path)))
        elif page.offset:
            places.append(PagePlace(page.offset))
        else:
            shift = page.dataoffsets[0] - first.dataoffsets[0]
            places.append(PagePlace(first.offset, shift))
    return tuple(places)


def page_boxes(
    lengths: Sequence[int], parts: Sequence[slice]
) -> list[tuple[int, tuple[int, ...]]]:
    """Return the pages of a box of leading dimensions, and where in the box each one is."""
    ranges = [range(part.start, part.stop) for part in parts]
    strides = [math.prod(lengths[n + 1 :]) for n in range(len(lengths))]
    found = []
    for index in itertools.product(*ranges):
        number = sum(one * stride for one, stride in zip(index, strides, strict=True))
        place = tuple(one - part.start for one, part in zip(index, parts, strict=True))
        found.append((number, place))
    return found
