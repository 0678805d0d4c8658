"""TIFF files as one slice each, or as a stack: multi-page TIFF, BigTIFF, ImageJ and OME-TIFF.

OME-TIFF (https://ome-model.readthedocs.io/en/stable/ome-tiff/) says which pages are depth,
channels or time, and how large a pixel is. Plain files have one page per plane.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.affines import NM_PER_MM, ORIENTATION_AXES
from ngcore.errors import InputError
from ngcore.sources.chunked import ChunkedSource
from ngcore.sources.files import open_binary
from ngcore.sources.geometry import AskedGeometry, placed_header
from ngcore.sources.orient import orient_source
from ngcore.sources.slices.planes import PlanesSource
from ngcore.sources.slices.slice_file import SliceFile, decoding
from ngcore.sources.slices.tiff_directories import directories_of
from ngcore.sources.slices.tiff_metadata import pixel_size_nm, time_step
from ngcore.sources.slices.tiff_pages import TiffPlane, import_tifffile
from ngcore.sources.slices.tiff_series import find_pages, page_boxes
from ngcore.sources.type_hints import suggest_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ngcore.sources.base import Source
    from ngcore.sources.files import PositionalFile


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
            pages = sum(not directory.is_reduced for directory in directories_of(file))
            if pages > 1:
                raise InputError(
                    f"{where}: {pages} pages where a slice has one; pass the file itself to "
                    f"convert it as a stack"
                )
            return _TiffSlice(TiffPlane(tiff.pages[0], file, where), file)
    except BaseException:
        file.close()
        raise


def slice_pixel_size_nm(path: Path) -> tuple[float, float, float] | None:
    """Return the size of a pixel along (column, row, slice) that a TIFF file of one page states.

    It is asked of the first slice only: the metadata of each file of a set describe all of it.
    """
    with decoding(str(path)), import_tifffile().TiffFile(path) as tiff:
        return pixel_size_nm(tiff)


class _TiffSlice(SliceFile):
    """The page of a file that holds one."""

    def __init__(self, plane: TiffPlane, file: PositionalFile) -> None:
        self.layout = plane.layout
        self.notes = plane.notes
        self.scratch_bytes = plane.scratch_bytes
        self.is_uncompressed = plane.is_uncompressed
        self._plane = plane
        self._file = file

    def read(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        self._plane.read(into, rows, columns)

    def close(self) -> None:
        self._file.close()


class TiffStackSource(PlanesSource):
    """A volume in one TIFF file, or a set of them, whose pages are rows of y and columns of x.

    Parameters
    ----------
    path : Path
    name : str, optional
        The file as the user gave it; default the path.
    pages : TiffPages, optional
        Of the file, if it is open; they are closed with the source.
    axes : str, optional
        What each dimension is, slowest first, whatever the file says.
    input_orientation : str, optional
        Anatomical direction of increasing column, row and page: one of 48 codes such as RIA.
        Default RAS, without a place in the world.
    asked : AskedGeometry
        Instead of what OME or ImageJ metadata say.
    workers : int, optional
        Pages decoded at a time; default the number of processors.

    Raises
    ------
    InputNotFoundError, FormatError, InputError, MissingExtraError
        As `TiffPages`.
    """

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        *,
        pages: TiffPages | None = None,
        axes: str | None = None,
        input_orientation: str | None = None,
        asked: AskedGeometry = AskedGeometry(),  # noqa: B008 - it is frozen
        workers: int | None = None,
    ) -> None:
        name = name or str(path)
        self._pages = pages or TiffPages(path, name, axes)
        layout, channels = self._pages.layout, self._pages.stack.channels
        step = self._pages.time_step
        try:
            super().__init__(
                name,
                replace(layout, samples=layout.samples * channels),
                self._pages.stack.planes,
                input_orientation,
                pixel_size_nm=self._pages.pixel_size_nm,
                asked=asked,
                workers=workers,
                notes=tuple(f"{name}: {note}" for note in self._pages.notes),
                files=self._pages.files,
                plane_scratch_bytes=self._pages.scratch_bytes,
                is_compressed=not self._pages.is_uncompressed,
                facts={} if step is None else {"time_step": step},
            )
        except BaseException:
            self._pages.close()
            raise

    def close(self) -> None:
        """End the threads and close the file."""
        super().close()
        self._pages.close()

    def _read_plane(
        self, index: int, into: np.ndarray[Any, Any], rows: slice, columns: slice
    ) -> None:
        samples = self._pages.layout.samples
        for channel in range(self._pages.stack.channels):
            first = channel * samples
            number = self._pages.stack.page_number(index, channel)
            self._pages.read(number, into[:, :, first : first + samples], rows, columns)


class TiffPages:
    """An open TIFF file that holds a volume: what its pages are, and each of them.

    Parameters
    ----------
    path : Path
    name : str
        The file as the user gave it, for messages.
    axes : str, optional
        What each dimension is, slowest first, whatever the file says.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    FormatError
        If it is damaged.
    InputError
        If it holds more than one volume, or axes of unknown meaning.
    MissingExtraError
        If its compression needs imagecodecs, which is not installed.
    """

    def __init__(self, path: Path, name: str, axes: str | None = None) -> None:
        tifffile = import_tifffile()
        self._name = name
        self._lock = threading.Lock()
        self._new_page = tifffile.TiffPage
        self._new_file = tifffile.TiffFile
        with ExitStack() as files:
            self._file = open_binary(path, name)
            files.callback(self._file.close)
            with decoding(name):
                self._tiff = tifffile.TiffFile(path)
                files.callback(self._tiff.close)
                self.stack = find_pages(self._tiff, directories_of(self._file), name, axes)
                self.pixel_size_nm = pixel_size_nm(self._tiff)
                self.time_step = time_step(self._tiff) if self.stack.times > 1 else None
            others = {place.path for place in self.stack.places if place.path is not None}
            self.files = (path, *sorted(others))
            with self.open(0) as first:
                self.layout = first.layout
                self.notes = first.notes
                self.scratch_bytes = first.scratch_bytes
                self.is_uncompressed = first.is_uncompressed
            self._open_files = files.pop_all()

    @contextmanager
    def open(self, number: int) -> Iterator[TiffPlane]:
        """Read the tags of a page: all of them, since pages may differ where no one says so."""
        place = self.stack.places[number]
        if place.path is not None:
            where = f"{place.path}, page {number} of {self._name}"
            with (
                decoding(where),
                self._new_file(place.path) as tiff,
                closing(open_binary(place.path, where)) as file,
            ):
                tiff.filehandle.seek(place.directory)
                yield TiffPlane(self._new_page(tiff, 0), file, where)
            return
        where = f"{self._name}, page {number}"
        with self._lock, decoding(where):
            self._tiff.filehandle.seek(place.directory)
            page = self._new_page(self._tiff, number)
            plane = TiffPlane(page, self._file, where, data_shift=place.data_shift)
        yield plane

    def read(self, number: int, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        """Fill `into`, of shape (row, column, sample), with a window of a page.

        Raises
        ------
        InputError
            If the page is of another size or type than the first one.
        """
        with self.open(number) as plane:
            if plane.layout != self.layout:
                raise InputError(
                    f"{plane.where}: {plane.layout}, but the first page is of "
                    f"{self.layout}; all pages must agree"
                )
            plane.read(into, rows, columns)

    def close(self) -> None:
        """Close the files."""
        self._open_files.close()


def open_tiff_stack(
    path: Path,
    name: str,
    *,
    axes: str | None = None,
    input_orientation: str | None = None,
    **options: Any,
) -> Source:
    """Open a volume in one TIFF file, or in a set of them, whatever the order of its axes.

    Parameters
    ----------
    path : Path
    name : str
        The file as the user gave it, for messages.
    axes : str, optional
        What each dimension is, slowest first, whatever the file says.
    input_orientation : str, optional
        Anatomical direction of increasing column, row and page.
    **options
        Of `TiffStackSource`.

    Raises
    ------
    InputNotFoundError, FormatError, InputError, MissingExtraError
        As `TiffPages` and `TiffStackSource`.
    """
    pages = TiffPages(path, name, axes)
    try:
        if pages.stack.are_planes:
            return TiffStackSource(
                path, name, pages=pages, input_orientation=input_orientation, **options
            )
        return _oriented(pages, name, input_orientation, **options)
    except BaseException:
        pages.close()
        raise


def _oriented(
    pages: TiffPages,
    name: str,
    code: str | None,
    *,
    asked: AskedGeometry = AskedGeometry(),  # noqa: B008 - it is frozen
    workers: int | None = None,
) -> Source:
    """Return what `_tiff_array` does, in RAS order where its axes grow elsewhere."""
    if code is None:
        return _tiff_array(pages, name, asked=asked, workers=workers)
    affine = np.diag([0.0, 0, 0, 1])
    for axis, (letter, length) in enumerate(
        zip(code, pages.pixel_size_nm or (NM_PER_MM,) * 3, strict=True)
    ):
        world_axis, sign = ORIENTATION_AXES[letter]
        affine[world_axis, axis] = sign * length / NM_PER_MM
    stored = _tiff_array(pages, name, asked=AskedGeometry(affine=affine), workers=workers)
    oriented = orient_source(stored, "RAS", asked)
    world = oriented.header.affine_voxel_to_mm
    if pages.pixel_size_nm is None and asked.resolution is None:
        oriented.header = replace(oriented.header, resolution_nm=None, affine_voxel_to_mm=None)
    elif world is not None and asked.affine is None:
        # as of slices, the first voxel's centre is where the world begins
        world = np.column_stack([world[:, :3], [0, 0, 0, 1]])
        oriented.header = replace(oriented.header, affine_voxel_to_mm=world)
    return oriented


def _tiff_array(
    pages: TiffPages,
    name: str,
    *,
    asked: AskedGeometry = AskedGeometry(),  # noqa: B008 - it is frozen
    workers: int | None = None,
) -> Source:
    """Return a file whose pages don't hold rows of y and columns of x, read as an array."""
    stack = pages.stack
    axes = stack.array_axes
    lengths = [length for _, length in stack.leading]
    samples_at = stack.samples_at
    sides = [n for n in range(3) if n != samples_at]

    def read(parts: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        leading, within = parts[: len(lengths)], parts[len(lengths) :]
        out = np.empty([part.stop - part.start for part in parts], pages.layout.dtype)
        rows, columns, samples = within[sides[0]], within[sides[1]], within[samples_at]
        for number, place in page_boxes(lengths, leading):
            page = np.empty(
                (rows.stop - rows.start, columns.stop - columns.start, pages.layout.samples),
                pages.layout.dtype,
            )
            pages.read(number, page, rows, columns)
            out[place] = np.moveaxis(page[:, :, samples], 2, samples_at)
        return out

    header = placed_header(
        None,
        asked,
        notes=pages.notes,
        resolution=pages.pixel_size_nm,
        shape=axes.shape,
        dtype=pages.layout.dtype,
        suggested_type=suggest_type(name, axes.shape[3]),
        files=pages.files,
        facts={} if pages.time_step is None else {"time_step": pages.time_step},
    )
    chunks = [1] * len(lengths) + [length for _, length in stack.within]
    return ChunkedSource(header, axes, read, chunks=chunks, workers=workers, close=pages.close)
