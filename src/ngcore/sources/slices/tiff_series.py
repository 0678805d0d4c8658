"""Which pages of a TIFF file are planes of depth, and which are channels.

Plain files have one page per plane. OME-TIFF, ImageJ, tifffile and some microscopes say
in their metadata what each page is, which tifffile understands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ngcore.errors import FormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.sources.slices.tiff_directories import Directory

    # tifffile is imported where it is needed
    TiffFile = Any
    TiffSeries = Any

_PAGE_AXES = "YXS"


class PagePlace(NamedTuple):
    """Where a page is: the byte of its tags, and how far its pixels lie after what those say."""

    directory: int
    data_shift: int


@dataclass(frozen=True, slots=True)
class StackPages:
    """How the pages of a file make depth and channels.

    Attributes
    ----------
    planes, channels : int
        How many there are of each; a channel may have several samples of its own.
    channels_first : bool
        All planes of a channel follow each other, rather than all channels of a plane.
    places : tuple of PagePlace
        Of each page, in the order of the file's metadata.
    """

    planes: int
    channels: int
    channels_first: bool
    places: tuple[PagePlace, ...]

    def page_number(self, plane: int, channel: int) -> int:
        """Return the index in `places` of one plane of a channel."""
        if self.channels_first:
            return channel * self.planes + plane
        return plane * self.channels + channel


def find_pages(tiff: TiffFile, directories: Sequence[Directory], name: str) -> StackPages:
    """Tell the pages that make a volume from what else a file holds.

    Raises
    ------
    InputError
        If the file holds several volumes or points in time, or axes of unknown meaning.
    FormatError
        If pages are missing.
    """
    if not _has_metadata_of_axes(tiff):
        pages = [one for one in directories if not one.is_reduced] or directories
        places = tuple(PagePlace(page.offset, 0) for page in pages)
        return StackPages(len(places), 1, False, places)
    series = _only_series(tiff, name)
    planes, channels, channels_first = _stack_axes(series, name)
    places = _page_places(tiff, series, planes * channels, name)
    return StackPages(planes, channels, channels_first, places)


def _has_metadata_of_axes(tiff: TiffFile) -> bool:
    return bool(
        tiff.is_ome
        or tiff.is_imagej
        or tiff.is_shaped
        or tiff.is_lsm
        or tiff.is_stk
        or tiff.is_micromanager
    )


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
        f"{name}: holds {len(series)} images, the second from page {page} on; save the one "
        f"you mean to a file of its own"
    )


def _stack_axes(series: TiffSeries, name: str) -> tuple[int, int, bool]:
    """Return how many planes and channels there are, and whether channels come first.

    Raises
    ------
    InputError
        If there are several times, or axes that could be depth or channels.
    """
    axes = [
        (axis, length)
        for axis, length in zip(series.axes, series.shape, strict=True)
        if axis not in _PAGE_AXES and length > 1
    ]
    letters = "".join(axis for axis, _ in axes)
    if "T" in letters:
        raise InputError(
            f"{name}: holds {dict(axes)['T']} points in time, a volume has one; save one of them, "
            f"or the pages as slices if they are depth"
        )
    depth = [axis for axis in letters if axis != "C"]
    if len(depth) > 1 or letters.count("C") > 1:
        raise InputError(
            f"{name}: axes {series.axes} of lengths {series.shape} don't say which are slices and "
            f"channels; write the file with axes ZCYX, or as slices"
        )
    lengths = dict(axes)
    planes = lengths[depth[0]] if depth else 1
    return planes, lengths.get("C", 1), letters.startswith("C")


def _page_places(
    tiff: TiffFile, series: TiffSeries, count: int, name: str
) -> tuple[PagePlace, ...]:
    """Find each page of a series; those that ImageJ leaves out follow the first one's pixels.

    Raises
    ------
    FormatError
        If pages are missing.
    InputError
        If pages lie in other files, or planes within a page.
    """
    first = series.keyframe
    if series.is_truncated or len(tiff.pages) < count:
        depth = first.shaped[1]
        if depth == 1 and series.size != count * first.size:
            raise _planes_within_a_page(series, len(tiff.pages), name)
        if series.dataoffset is None:
            raise FormatError(
                f"{name}: {len(tiff.pages)} pages where {count} are promised; get a whole copy"
            )
        shift = first.nbytes
        return tuple(PagePlace(first.offset, shift * number) for number in range(count))
    pages = list(series)
    if len(pages) != count:
        raise _planes_within_a_page(series, len(pages), name)
    places = []
    for number, page in enumerate(pages):
        if page is None:
            raise FormatError(f"{name}: page {number} of {count} is missing; get a whole copy")
        if page.parent is not tiff:
            raise InputError(
                f"{name}: page {number} lies in another file; save the image to one file"
            )
        if page.offset:
            places.append(PagePlace(page.offset, 0))
        else:
            shift = page.dataoffsets[0] - first.dataoffsets[0]
            places.append(PagePlace(first.offset, shift))
    return tuple(places)


def _planes_within_a_page(series: TiffSeries, pages: int, name: str) -> InputError:
    return InputError(
        f"{name}: axes {series.axes} of lengths {series.shape} in {pages} page"
        f"{'s' if pages != 1 else ''}; save the file with one plane per page (tifffile: "
        f"photometric='minisblack')"
    )
