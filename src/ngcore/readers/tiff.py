"""TIFF files as one slice each, or as a stack: multi-page TIFF, BigTIFF, ImageJ and OME-TIFF.

OME-TIFF (https://ome-model.readthedocs.io/en/stable/ome-tiff/) says which pages are depth,
channels or time, and how large a pixel is. Plain files have one page per plane.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.readers.files import open_binary
from ngcore.readers.planes import PlanesSource
from ngcore.readers.slice_file import FORMATS_EXTRA, SliceFile, decoding
from ngcore.readers.slice_orientation import SliceOrientation
from ngcore.readers.tiff_metadata import pixel_size_nm
from ngcore.readers.tiff_pages import (
    LZW,
    TiffPlane,
    has_imagecodecs,
    import_tifffile,
    page_layout,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ngcore.readers.base import Vec3
    from ngcore.readers.files import PositionalFile
    from ngcore.readers.tiff_pages import Page

    # tifffile is imported where it is needed
    TiffFile = Any
    TiffSeries = Any

_PAGE_AXES = "YXS"
_MIN_IS_BLACK, _RGB = 1, 2
_PILLOW_KINDS = {
    ("uint8", 1),
    ("uint8", 3),
    ("uint8", 4),
    ("uint16", 1),
    ("int32", 1),
    ("float32", 1),
}
"""Types and channel counts that Pillow reads as they are stored."""


def open_tiff_slice(path: Path, where: str) -> SliceFile:
    """Read the tags of a TIFF file of one page.

    Raises
    ------
    FormatError
        If the file is damaged.
    InputError
        If it has several pages.
    MissingExtraError
        If its compression needs imagecodecs, which is not installed.
    """
    tifffile = import_tifffile()
    file = open_binary(path, where)
    try:
        with decoding(where), tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            pages = [page, *(other for other in tiff.pages[1:] if not other.is_reduced)]
            if len(pages) > 1:
                raise InputError(
                    f"{where}: {len(pages)} pages where a slice has one; pass the file itself to "
                    f"convert it as a stack"
                )
            if page.compression == LZW and not has_imagecodecs():
                file.close()
                return _PillowTiff(path, where, page)
            return _TiffSlice(TiffPlane(page, file, where), file)
    except BaseException:
        file.close()
        raise


class _TiffSlice(SliceFile):
    """The page of a file that holds one."""

    def __init__(self, plane: TiffPlane, file: PositionalFile) -> None:
        self.layout = plane.layout
        self.notes = plane.notes
        self.scratch_bytes = plane.scratch_bytes
        self._plane = plane
        self._file = file

    def read(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        self._plane.read(into, rows, columns)

    def close(self) -> None:
        self._file.close()


class TiffStackSource(PlanesSource):
    """A volume in one TIFF file.

    Parameters
    ----------
    path : Path
    name : str, optional
        The file as the user gave it; default the path.
    input_orientation : str
        Anatomical direction of increasing column, row and page: one of 48 codes such as RAS.
    resolution : sequence of float, (x, y, z), in nanometres, optional
        Default what OME or ImageJ metadata say.
    voxel_offset : tuple of int, (x, y, z)
    workers : int, optional
        Pages decoded at a time; default the number of processors.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    FormatError
        If it is damaged.
    InputError
        If it holds more than one volume, several times, or axes of unknown meaning.
    MissingExtraError
        If its compression needs imagecodecs, which is not installed.
    """

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        *,
        input_orientation: str = "RAS",
        resolution: Sequence[float] | None = None,
        voxel_offset: Vec3 = (0, 0, 0),
        workers: int | None = None,
    ) -> None:
        name = name or str(path)
        orientation = SliceOrientation(input_orientation)
        tifffile = import_tifffile()
        self._lock = threading.Lock()
        self._new_page = tifffile.TiffPage
        with ExitStack() as files:
            self._file = open_binary(path, name)
            files.callback(self._file.close)
            with decoding(name):
                self._tiff = tifffile.TiffFile(path)
                files.callback(self._tiff.close)
                series = _only_series(self._tiff, name)
                self._axes = _stack_axes(series, name)
                self._places = _plane_places(self._tiff, series, self._axes, name)
                size = pixel_size_nm(self._tiff, series)
            first = self._open_plane(name, 0, 0)
            self._page_layout = first.layout
            self._plane_scratch_bytes = first.scratch_bytes
            self.is_random_access = first.is_uncompressed
            super().__init__(
                name,
                replace(first.layout, samples=first.layout.samples * self._axes.channels),
                self._axes.planes,
                orientation,
                pixel_size_nm=size,
                resolution=resolution,
                voxel_offset=voxel_offset,
                workers=workers,
                notes=tuple(f"{name}: {note}" for note in first.notes),
            )
            self._open_files = files.pop_all()

    @property
    def plane_scratch_bytes(self) -> int:
        """Memory that decoding one plane takes, as the first page says."""
        return self._plane_scratch_bytes

    def close(self) -> None:
        """End the threads and close the file."""
        super().close()
        self._open_files.close()

    def _read_plane(
        self, index: int, into: np.ndarray[Any, Any], rows: slice, columns: slice
    ) -> None:
        samples = self._page_layout.samples
        for channel in range(self._axes.channels):
            plane = self._open_plane(self.name, index, channel)
            if plane.layout != self._page_layout:
                raise InputError(
                    f"{plane.where}: {plane.layout}, but the first page is of "
                    f"{self._page_layout}; all pages must agree"
                )
            first = channel * samples
            plane.read(into[:, :, first : first + samples], rows, columns)

    def _open_plane(self, name: str, index: int, channel: int) -> TiffPlane:
        """Read the tags of a page: all of them, since pages may differ where no one says so."""
        number = self._axes.page_number(index, channel)
        place = self._places[number]
        where = f"{name}, page {number}"
        with self._lock, decoding(where):
            self._tiff.filehandle.seek(place.directory)
            page = self._new_page(self._tiff, number)
            return TiffPlane(page, self._file, where, data_shift=place.data_shift)


@dataclass(frozen=True, slots=True)
class _StackAxes:
    """How the pages of a file make depth and channels.

    Attributes
    ----------
    planes, channels : int
        How many there are of each; a channel may have several samples of its own.
    channels_first : bool
        All planes of a channel follow each other, rather than all channels of a plane.
    """

    planes: int
    channels: int
    channels_first: bool

    def page_number(self, plane: int, channel: int) -> int:
        """Return the page, counted within the series, of one plane of a channel."""
        if self.channels_first:
            return channel * self.planes + plane
        return plane * self.channels + channel


class _Place(NamedTuple):
    """Where a page is: the byte of its tags, and how far its pixels lie after what those say."""

    directory: int
    data_shift: int


def _only_series(tiff: TiffFile, name: str) -> TiffSeries:
    """Return what a file holds beside thumbnails and coarser resolutions.

    Raises
    ------
    InputError
        If there are several volumes, or pages that differ.
    """
    every = list(tiff.series)
    series = [one for one in every if not one.keyframe.is_reduced] or every
    if not series:
        raise FormatError(f"{name}: holds no pages; the file is damaged")
    if len(series) == 1:
        return series[0]
    first, second = series[:2]
    page = second.keyframe.index
    if first.kind == "generic":
        raise InputError(
            f"{name}, page {page}: {_describe(second)}, but page {first.keyframe.index} is of "
            f"{_describe(first)}; all pages must agree"
        )
    raise InputError(
        f"{name}: holds {len(series)} images, the second from page {page} on; save the one "
        f"you mean to a file of its own"
    )


def _describe(series: TiffSeries) -> str:
    page = series.keyframe
    return f"{page.imagewidth} x {page.imagelength} pixels of {page.dtype}"


def _stack_axes(series: TiffSeries, name: str) -> _StackAxes:
    """Tell depth from channels by the letters of a series' axes.

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
    return _StackAxes(planes, lengths.get("C", 1), channels_first=letters.startswith("C"))


def _plane_places(tiff: TiffFile, series: TiffSeries, axes: _StackAxes, name: str) -> list[_Place]:
    """Find each page of a series; those that ImageJ leaves out follow the first one's pixels.

    Raises
    ------
    FormatError
        If pages are missing.
    InputError
        If pages lie in other files, or planes within a page.
    """
    count = axes.planes * axes.channels
    first = series.keyframe
    if series.is_truncated or len(tiff.pages) < count:
        if series.dataoffset is None:
            raise FormatError(
                f"{name}: {len(tiff.pages)} pages where {count} are promised; get a whole copy"
            )
        shift = first.nbytes
        return [_Place(first.offset, shift * number) for number in range(count)]
    pages = list(series)
    if len(pages) != count:
        raise InputError(
            f"{name}: axes {series.axes} of lengths {series.shape} in {len(pages)} pages; save "
            f"the file with one plane per page"
        )
    places = []
    for number, page in enumerate(pages):
        if page is None:
            raise FormatError(f"{name}: page {number} of {count} is missing; get a whole copy")
        if page.parent is not tiff:
            raise InputError(
                f"{name}: page {number} lies in another file; save the image to one file"
            )
        if page.offset:
            places.append(_Place(page.offset, 0))
        else:
            shift = page.dataoffsets[0] - first.dataoffsets[0]
            places.append(_Place(first.offset, shift))
    return places


class _PillowTiff(SliceFile):
    """A slice compressed by LZW, which Pillow's libtiff decodes where imagecodecs is absent."""

    def __init__(self, path: Path, where: str, page: Page) -> None:
        self.layout = page_layout(page, where)
        pixel_bytes = 4 if self.layout.samples > 1 else self.layout.dtype.itemsize
        self.scratch_bytes = 3 * self.layout.columns * self.layout.rows * pixel_bytes
        self._path = path
        self._where = where
        kind = (self.layout.dtype.name, self.layout.samples)
        if kind not in _PILLOW_KINDS or page.photometric not in (_MIN_IS_BLACK, _RGB):
            raise MissingExtraError(
                f"{where}: LZW compression of {self.layout} needs imagecodecs; {FORMATS_EXTRA}"
            )

    def read(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        from PIL.TiffImagePlugin import TiffImageFile

        with decoding(self._where), self._path.open("rb") as file:
            picture = TiffImageFile(file)
            picture.load()
            pixels = np.asarray(picture)
            if pixels.shape[:2] != (self.layout.rows, self.layout.columns):
                raise FormatError(f"{self._where}: {pixels.shape} pixels, tags say {self.layout}")
            into[...] = pixels.reshape(*pixels.shape[:2], -1)[rows, columns]
