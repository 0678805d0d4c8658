"""TIFF files as one slice each, or as a stack: multi-page TIFF, BigTIFF, ImageJ and OME-TIFF.

OME-TIFF (https://ome-model.readthedocs.io/en/stable/ome-tiff/) says which pages are depth,
channels or time, and how large a pixel is. Plain files have one page per plane.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ngcore.errors import InputError
from ngcore.sources.files import open_binary
from ngcore.sources.slices.orientation import SliceOrientation
from ngcore.sources.slices.planes import PlanesSource
from ngcore.sources.slices.slice_file import SliceFile, decoding
from ngcore.sources.slices.tiff_directories import directories_of
from ngcore.sources.slices.tiff_metadata import pixel_size_nm
from ngcore.sources.slices.tiff_pages import TiffPlane, import_tifffile
from ngcore.sources.slices.tiff_series import find_pages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from ngcore.sources.base import Vec3
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
                self._pages = find_pages(self._tiff, directories_of(self._file), name)
                size = pixel_size_nm(self._tiff)
            first = self._open_plane(name, 0, 0)
            self._page_layout = first.layout
            super().__init__(
                name,
                replace(first.layout, samples=first.layout.samples * self._pages.channels),
                self._pages.planes,
                orientation,
                pixel_size_nm=size,
                resolution=resolution,
                voxel_offset=voxel_offset,
                workers=workers,
                notes=tuple(f"{name}: {note}" for note in first.notes),
                files=(path,),
                plane_scratch_bytes=first.scratch_bytes,
                is_compressed=not first.is_uncompressed,
            )
            self._open_files = files.pop_all()

    def close(self) -> None:
        """End the threads and close the file."""
        super().close()
        self._open_files.close()

    def _read_plane(
        self, index: int, into: np.ndarray[Any, Any], rows: slice, columns: slice
    ) -> None:
        samples = self._page_layout.samples
        for channel in range(self._pages.channels):
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
        number = self._pages.page_number(index, channel)
        place = self._pages.places[number]
        where = f"{name}, page {number}"
        with self._lock, decoding(where):
            self._tiff.filehandle.seek(place.directory)
            page = self._new_page(self._tiff, number)
            return TiffPlane(page, self._file, where, data_shift=place.data_shift)
