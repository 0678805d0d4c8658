"""Whatever else nibabel opens: Analyze, MINC, PAR/REC, AFNI, and NIfTI compressed by bzip2.

Analyze files hold packed voxels, which ngcore reads itself (`RawSource`, `GzipSource`). The others
go through nibabel's slicing, in slabs. nibabel holds all of a MINC file in memory, and all of a
PAR/REC file whose slices are out of order: `scratch_bytes` says so.

https://nipy.org/nibabel/api.html#module-nibabel
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from nibabel.analyze import AnalyzeImage
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import (
    HeaderDataError,
    HeaderTypeError,
    ImageDataError,
    SpatialImage,
)
from nibabel.spm2analyze import Spm2AnalyzeImage
from nibabel.spm99analyze import Spm99AnalyzeImage
from nibabel.wrapstruct import WrapStructError

from ngcore.errors import FormatError, InputError, MissingExtraError, NgcoreError
from ngcore.sources.base import Cost, Source, SourceHeader, stored_type
from ngcore.sources.files import missing_file, open_binary
from ngcore.sources.geometry import Placement, place, shape_with_channels
from ngcore.sources.registry import known_formats
from ngcore.sources.spm_mat import read_spm_affine
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.foreign import way_from
from ngcore.sources.volumes.gzip_stream import GzipSource, is_gzip
from ngcore.sources.volumes.raw import (
    C_ORDER,
    FORTRAN_ORDER,
    RawSource,
    ReadableSource,
    cheapest_walk,
)

if TYPE_CHECKING:
    from ngcore.sources.base import Box3
    from ngcore.sources.registry import Asked, Found

PARSING_ERRORS = (
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    ImageDataError,
    WrapStructError,
    nibabel.parrec.PARRECError,
    nibabel.minc1.MincError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What nibabel raises while it reads malformed bytes."""

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

PACKED_SUFFIXES = (".bz2", ".zst")

SLAB_BYTES = 1 << 24
"""Bytes asked of nibabel at a time."""


def open_with_nibabel(found: Found, choices: Asked) -> Source:
    """Open a volume of any format that nibabel knows.

    Raises
    ------
    FormatError
        If it is malformed.
    InputNotFoundError
        If a file that belongs to it is missing.
    InputError
        If nibabel doesn't know it, or it is not a volume.
    MissingExtraError
        If it is MINC 2 and h5py is not installed.
    """
    path, name, asked = found.path, found.name, choices.geometry
    _check_start(path, name)
    image, notes = _load(path, name)
    proxy = image.dataobj
    affine, facts, left_notes = _affine(image, path)
    if asked.affine is None:
        notes += left_notes
    else:
        facts = {}
    placement = place(affine, asked, name)
    time_axis = _leading_time_axis(image)
    shape = shape_with_channels((*image.shape[time_axis:], *image.shape[:time_axis]), name)
    notes += placement.notes
    files = _files(image)
    if type(proxy) is ArrayProxy and path.suffix.lower() not in PACKED_SUFFIXES:
        stored = stored_type(proxy.dtype, name)
        scaling = (
            (1.0, 0.0) if choices.ignore_scaling else (float(proxy.slope), float(proxy.inter))
        )
        header = _header(name, shape, stored, placement, notes, files, scaling, facts)
        voxels = Path(str(image.file_map["image"].filename))
        kind = GzipSource if is_gzip(voxels, name) else RawSource
        return kind(header, voxels, int(proxy.offset), FORTRAN_ORDER, stored)
    values = _slice(proxy, (slice(0, 1),) * len(image.shape), name).dtype
    if choices.ignore_scaling and values.kind == "f" and image.get_data_dtype().kind != "f":
        raise InputError(
            f"{name}: this format has no separate stored values; leave out --ignore-scaling"
        )
    header = _header(name, shape, stored_type(values, name), placement, notes, files)
    return NibabelSource(header, image, time_axis)


def _leading_time_axis(image: SpatialImage) -> int:
    """Return how many axes come before those of space: MINC files begin with time."""
    if not isinstance(image, nibabel.minc1.Minc1Image):
        return 0
    # nibabel's affine leaves that axis out, but no public name of nibabel tells where it is.
    proxy: Any = image.dataobj
    names = proxy.minc_file._dim_names  # noqa: SLF001 - as said
    return int(len(names) == 4 and not names[0].endswith("space"))


def _header(
    name: str,
    shape: tuple[int, int, int, int],
    stored: np.dtype[Any],
    placement: Placement,
    notes: tuple[str, ...],
    files: tuple[Path, ...],
    scaling: tuple[float, float] = (1.0, 0.0),
    facts: dict[str, Any] | None = None,
) -> SourceHeader:
    return SourceHeader(
        name=name,
        shape=shape,
        dtype=stored.newbyteorder("="),
        slope=scaling[0],
        intercept=scaling[1],
        affine_voxel_to_mm=placement.affine_voxel_to_mm,
        resolution_nm=placement.resolution_nm,
        voxel_offset=placement.voxel_offset,
        suggested_type=suggest_type(name, shape[3]),
        notes=notes,
        files=files,
        facts=facts or {},
    )


def _affine(
    image: SpatialImage, path: Path
) -> tuple[np.ndarray[Any, Any], dict[str, Any], tuple[str, ...]]:
    """Return the affine, with facts and notes; Analyze has one only where SPM left a `.mat`."""
    affine = np.asarray(image.affine, dtype=np.float64)
    if type(image) not in (AnalyzeImage, Spm99AnalyzeImage, Spm2AnalyzeImage):
        return affine, {}, ()
    beside = read_spm_affine(_mat_beside(path))
    if beside is not None:
        flip = np.diag([-1.0 if beside.is_flipped else 1.0, 1, 1, 1])
        return flip @ beside.affine, {}, ()
    if _mat_beside(path).is_file():
        return affine, {}, ()  # SciPy has read it
    note = (
        "doesn't say where left is (it is Analyze); x is assumed to run to the left, as "
        "nibabel and SPM do; pass --affine if that is wrong"
    )
    return affine, {"left_is_unknown": True}, (note,)


def _mat_beside(path: Path) -> Path:
    bare = path.with_suffix("") if path.suffix.lower() in (".gz", *PACKED_SUFFIXES) else path
    return bare.with_suffix(".mat")


def _load_image(path: Path, **options: Any) -> Any:
    """Open a file with nibabel; without the `.mat` of SPM, where that needs no SciPy."""
    if path.suffix.lower() in (".hdr", ".img") and read_spm_affine(_mat_beside(path)) is not None:
        reader: Any = Spm2AnalyzeImage
        file_map = dict(reader.filespec_to_file_map(path))
        file_map["mat"] = nibabel.FileHolder(fileobj=io.BytesIO())
        return reader.from_file_map(file_map)
    return nibabel.load(path, **options)


def _files(image: SpatialImage) -> tuple[Path, ...]:
    """Return the files that an image is read from: header, voxels and what lies beside them."""
    names = dict.fromkeys(str(holder.filename) for holder in image.file_map.values())
    return tuple(path for path in map(Path, names) if path.is_file())


def _check_start(path: Path, name: str) -> None:
    """Say what is wrong with the path, or missing to read it, before nibabel does."""
    file = open_binary(path, name)
    try:
        if file.size == 0:
            raise FormatError(
                f"{name}: empty (0 bytes), expected a volume; download or copy it again"
            )
        start = bytearray(min(len(HDF5_MAGIC), file.size))
        file.read_into(0, memoryview(start))
    finally:
        file.close()
    if start == HDF5_MAGIC and path.suffix.lower() == ".mnc" and find_spec("h5py") is None:
        raise MissingExtraError(
            f"{name}: MINC 2 needs h5py; pip install 'ngcore-neuroglancer[formats]'"
        )


class _Collector(logging.Handler):
    """Keeps what nibabel logs while it repairs a header."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _load(path: Path, name: str) -> tuple[SpatialImage, tuple[str, ...]]:
    """Return nibabel's image, and what it warned of."""
    collector = _Collector()
    logger = nibabel.imageglobals.logger
    is_packed = path.suffix.lower() in PACKED_SUFFIXES
    try:
        with LoggingOutputSuppressor(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            logger.addHandler(collector)
            try:
                # Slab by slab, a compressed file is decompressed once if it stays open.
                image = _load_image(path, **({"keep_file_open": True} if is_packed else {}))
            finally:
                logger.removeHandler(collector)
    except ImageFileError as error:
        if (way := way_from(path)) is not None:
            raise InputError(f"{name}: {way}") from error
        raise InputError(
            f"its format can't be read; ngcore reads {known_formats()} and what nibabel reads"
        ) from error
    except FileNotFoundError as error:
        raise missing_file(str(error.filename), name) from error
    except ImportError as error:
        needed = error.name or str(error)
        raise MissingExtraError(
            f"needs {needed} to be read; pip install {needed}, or save it as NIfTI"
        ) from error
    except NgcoreError:
        raise
    except PARSING_ERRORS as error:
        raise FormatError(
            f"{name}: corrupt or truncated header: {_one_line(error)}; download or copy it again"
        ) from error
    if not isinstance(image, SpatialImage):
        raise InputError(
            f"{name}: holds no volume (nibabel calls it {type(image).__name__}); "
            "pass a file that holds one"
        )
    messages = [
        str(warning.message)
        for warning in caught
        if not issubclass(warning.category, ResourceWarning | DeprecationWarning)
    ] + collector.messages
    return image, tuple(f"{name}: {_one_line(message)}" for message in messages)


def _slice(proxy: Any, index: tuple[slice, ...], name: str) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(proxy[index])
    except FileNotFoundError as error:
        raise missing_file(str(error.filename), name) from error
    except PARSING_ERRORS as error:
        raise FormatError(
            f"{name}: corrupt or truncated: {_one_line(error)}; download or copy it again"
        ) from error


def _one_line(message: object) -> str:
    text = " ".join(str(message).split())
    return text or type(message).__name__


class NibabelSource(ReadableSource):
    """A volume read through nibabel's slicing; values are scaled by nibabel."""

    def __init__(self, header: SourceHeader, image: SpatialImage, time_axis: int) -> None:
        self.header = header
        self._time_axis = time_axis
        self._proxy = image.dataobj
        self._rank = len(image.shape)
        self._is_whole_in_memory = not isinstance(self._proxy, ArrayProxy)
        is_minc = isinstance(image, nibabel.minc1.Minc1Image)
        order = C_ORDER if is_minc else FORTRAN_ORDER
        self.stream_axis, self.memory_order = cheapest_walk(header.shape, order)
        held = header.byte_count if self._is_whole_in_memory else 0
        self.cost = Cost("planes", scratch_bytes=SLAB_BYTES + held)

    def _read(self, spatial: Box3, out: np.ndarray[Any, Any]) -> None:
        box = list(spatial)
        start, stop = box[self.stream_axis].start, box[self.stream_axis].stop
        axis = self.stream_axis
        planes = np.moveaxis(out, axis, 0)
        step = max(1, SLAB_BYTES // max(1, out.nbytes // (stop - start)))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            box[axis] = slice(first, last)
            time = [slice(None)] * self._time_axis
            index = (*time, *box, *[slice(None)] * 4)[: self._rank]
            values = _slice(self._proxy, index, self.name)
            if self._time_axis:
                values = np.moveaxis(values, 0, -1)
            part = np.moveaxis(planes[first - start : last - start], 0, axis)
            np.copyto(part, values.reshape(part.shape), casting="same_kind")
