"""Frames of DICOM files and where they lie: single slices, enhanced multi-frame, segmentations.

Nothing of a file goes into messages but numbers of series and slices: its texts may tell who was
scanned.

https://dicom.nema.org/medical/dicom/current/output/html/part03.html (C.7.6.2, C.7.6.16, C.8.20)
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ngcore.errors import FormatError, InputError, MissingExtraError, NgcoreError
from ngcore.sources.files import open_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SEGMENTATIONS = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}
DIRECTORY = "1.2.840.10008.1.3.10"
_NATIVE: dict[str, Literal["<", ">"]] = {
    "1.2.840.10008.1.2": "<",
    "1.2.840.10008.1.2.1": "<",
    "1.2.840.10008.1.2.2": ">",
}
"""Byte orders by the transfer syntaxes in which pixels are not compressed."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_BYTE = 8


class Frame(NamedTuple):
    """One frame: its pixels, and where they lie.

    Attributes
    ----------
    file : DicomFile
    number : int
        Among the frames of the file.
    position : ndarray of float, shape (3,), or None
        Centre of the first pixel, LPS millimetres.
    directions : ndarray of float, shape (2, 3), or None
        Of increasing column and row.
    spacing : tuple of float, (column, row), or None
        Distance of columns, and of rows, in millimetres.
    thickness : float or None
        Distance to the next slice as the file states it.
    scaling : tuple of float
        Slope and intercept.
    order : tuple
        By which frames at one place are sorted: time, echo, number.
    segment : int
        Of segmentations, which one it shows; else 0.
    """

    file: DicomFile
    number: int
    position: NDArray[np.float64] | None
    directions: NDArray[np.float64] | None
    spacing: tuple[float, float] | None
    thickness: float | None
    scaling: tuple[float, float]
    order: tuple[float, ...]
    segment: int


@dataclass(frozen=True, slots=True, eq=False)
class DicomFile:
    """What is known of a DICOM file before its pixels are read.

    Attributes
    ----------
    path : Path
    header : pydicom.Dataset
        Without pixels.
    pixels_at : int, in bytes
        Where the value of Pixel Data begins.
    float_code : str
        "f4" or "f8" where pixels are floating point; else empty.
    """

    path: Path
    header: Any
    pixels_at: int
    float_code: str = ""

    @property
    def series(self) -> tuple[str, int, str]:
        """Unique id, number and modality of the series."""
        number = self.header.get("SeriesNumber")
        return (
            str(self.header.get("SeriesInstanceUID", "")),
            int(number) if number is not None else 0,
            str(self.header.get("Modality", ""))[:16],
        )

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return int(self.header.Columns), int(self.header.Rows)

    @property
    def has_palette(self) -> bool:
        """Whether pixels are numbers of colours."""
        return str(self.header.get("PhotometricInterpretation")) == "PALETTE COLOR"

    @property
    def samples(self) -> int:
        """Colours of a pixel."""
        return 3 if self.has_palette else int(self.header.get("SamplesPerPixel", 1))

    @property
    def frame_count(self) -> int:
        """Frames that it says it has."""
        return int(self.header.get("NumberOfFrames") or 1)

    @property
    def syntax(self) -> str:
        """Transfer syntax, or the one in which the file was found to be."""
        stated = str(self.header.file_meta.get("TransferSyntaxUID", ""))
        is_implicit, is_little = self.header.original_encoding
        if is_implicit:
            return stated or "1.2.840.10008.1.2"
        return stated or ("1.2.840.10008.1.2.1" if is_little else "1.2.840.10008.1.2.2")

    @property
    def is_segmentation(self) -> bool:
        """Whether frames show segments."""
        return str(self.header.get("SOPClassUID", "")) in SEGMENTATIONS

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored pixel, native."""
        if self.float_code:
            return np.dtype(self.float_code)
        if self.has_palette:
            descriptor = self.header.RedPaletteColorLookupTableDescriptor
            return np.dtype(np.uint16 if int(descriptor[2]) > 8 else np.uint8)
        bits = int(self.header.BitsAllocated)
        if bits == 1:
            return np.dtype(np.uint8)
        if bits not in (8, 16, 32):
            raise InputError(f"pixels of {bits} bits can't be converted; save it with 8, 16 or 32")
        kind = "i" if int(self.header.get("PixelRepresentation", 0)) else "u"
        return np.dtype(f"{kind}{bits // 8}")


@contextmanager
def dicom_errors(what: str) -> Iterator[None]:
    """Turn whatever pydicom raises into a line of ours, without the text of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            yield
    except NgcoreError:
        raise
    except Exception as error:
        raise FormatError(f"{what} ({type(error).__name__}); export it again") from None


def read_dicom_file(pydicom: Any, path: Path) -> DicomFile | None:
    """Read a file's header; None where it is no DICOM, or holds no image.

    Raises
    ------
    FormatError
        If it is DICOM, and broken.
    """
    with path.open("rb") as file:
        has_mark = file.read(132)[128:] == b"DICM"
    if not has_mark and path.suffix.lower() not in (".dcm", ".dicom", ".ima"):
        return None
    with dicom_errors(f"{path.name!r} is not valid DICOM"), path.open("rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, force=not has_mark)
        place = file.tell()
        is_image = all(name in header for name in ("Rows", "Columns", "BitsAllocated"))
        if str(header.file_meta.get("MediaStorageSOPClassUID", "")) == DIRECTORY or not is_image:
            return None
        is_implicit = str(header.file_meta.get("TransferSyntaxUID", "")) in (
            "",
            "1.2.840.10008.1.2",
        )
        # Tag and length, or tag, two letters, two empty bytes and length.
        if int(header.Rows) < 1 or int(header.Columns) < 1:
            raise ValueError("no pixels")
        return DicomFile(path, header, place + (8 if is_implicit else 12))


def frames_of(file: DicomFile) -> list[Frame]:
    """Return the frames of a file.

    Raises
    ------
    FormatError
        If there are fewer than it says, or positions are broken.
    """
    with dicom_errors(f"{file.path.name!r} has a broken header"):
        header = file.header
        if file.frame_count > 8 * file.path.stat().st_size:  # a frame is a bit at least
            raise FormatError(
                f"{file.path.name!r} is truncated: its header says {file.frame_count} "
                "frames, but the "
                f"file has {file.path.stat().st_size} bytes; export it again"
            )
        groups = header.get("PerFrameFunctionalGroupsSequence")
        if not groups:
            frames = [_frame(file, number, [header]) for number in range(file.frame_count)]
            return _with_offsets(frames, header)
        if len(groups) < file.frame_count:
            raise ValueError("too few groups")
        shared = header.get("SharedFunctionalGroupsSequence") or [None]
        return [
            _frame(file, number, [*_parts(groups[number]), *_parts(shared[0]), header])
            for number in range(file.frame_count)
        ]


def _with_offsets(frames: list[Frame], header: Any) -> list[Frame]:
    """Put the frames of a dose grid along the normal, where one list says how far each is."""
    offsets = header.get("GridFrameOffsetVector")
    first = frames[0]
    if len(frames) == 1 or not offsets or first.position is None or first.directions is None:
        return frames
    if len(offsets) != len(frames):
        raise ValueError("offsets")
    normal = np.cross(*first.directions)
    far = [float(offset) - float(offsets[0]) for offset in offsets]
    return [
        frame._replace(position=first.position + normal * distance)
        for frame, distance in zip(frames, far, strict=True)
    ]


def _parts(group: Any) -> list[Any]:
    """Return the items of the functional groups of a frame."""
    if group is None:
        return []
    return [element.value[0] for element in group if element.VR == "SQ" and element.value]


def _frame(file: DicomFile, number: int, places: list[Any]) -> Frame:
    def get(name: str) -> Any:
        for place in places:
            value = place.get(name)
            if value is not None and value != "":
                return value
        return None

    def numbers(name: str, count: int) -> NDArray[np.float64] | None:
        value = get(name)
        if value is None:
            return None
        found = np.asarray(value, np.float64).ravel()
        if found.shape != (count,) or not np.isfinite(found).all():
            raise ValueError(name)
        return found

    directions = numbers("ImageOrientationPatient", 6)
    spacing = numbers("PixelSpacing", 2)
    if spacing is None:
        spacing = numbers("ImagerPixelSpacing", 2)
    between = get("SpacingBetweenSlices") or get("SliceThickness")
    slope, intercept = get("RescaleSlope"), get("RescaleIntercept")
    if slope is None:
        slope = get("DoseGridScaling")
    keys = ("TemporalPositionIndex", "TemporalPositionIdentifier", "AcquisitionNumber")
    times = [float(get(name) or 0) for name in keys]
    echo = float(get("EchoTime") or get("EffectiveEchoTime") or 0)
    segment = int(get("ReferencedSegmentNumber") or 0) if file.is_segmentation else 0
    return Frame(
        file,
        number,
        numbers("ImagePositionPatient", 3),
        None if directions is None else directions.reshape(2, 3),
        None if spacing is None else (float(spacing[1]), float(spacing[0])),
        abs(float(between)) if between else None,
        (1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)),
        (*times, echo, float(get("InstanceNumber") or 0), float(number)),
        segment,
    )


def decode_frame(pydicom: Any, frame: Frame) -> NDArray[Any]:
    """Return the stored pixels of a frame, shape (row, column) or (row, column, colour).

    Raises
    ------
    FormatError
        If the file breaks off or is corrupt.
    MissingExtraError
        If nothing that is installed decodes its compression.
    """
    file = frame.file
    where = f"frame {frame.number} of {file.path.name!r}"
    with dicom_errors(f"{where} can't be decoded"):
        byte_order = _NATIVE.get(file.syntax)
        planar = int(file.header.get("PlanarConfiguration", 0) or 0)
        color = str(file.header.get("PhotometricInterpretation", ""))
        is_plain = file.samples == 1 or (color == "RGB" and planar == 0)
        if byte_order == ">" and int(file.header.BitsAllocated) == _BYTE:
            is_plain = False  # bytes may lie swapped in words
        if byte_order is not None and is_plain:
            return _native(file, frame.number, byte_order)
        is_deflated = file.syntax == _DEFLATED
        source = pydicom.dcmread(file.path) if is_deflated else file.path
        try:
            pixels = pydicom.pixels.pixel_array(source, index=frame.number)
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            pixels = _with_imagecodecs(pydicom, file, frame.number, error)
        if file.has_palette:
            pixels = pydicom.pixels.apply_color_lut(pixels, file.header)
        return np.asarray(pixels)


def _native(file: DicomFile, number: int, byte_order: Literal["<", ">"]) -> NDArray[Any]:
    columns, rows = file.size
    count = columns * rows * file.samples
    bits = int(file.header.BitsAllocated)
    opened = open_binary(file.path, file.path.name)
    try:
        if bits == 1:  # frames follow each other bit by bit
            first = number * count
            start, stop = first // 8, -(-(first + count) // 8)
            data = bytearray(stop - start)
            opened.read_into(file.pixels_at + start, memoryview(data))
            unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            return unpacked[first - 8 * start :][:count].reshape(rows, columns)
        dtype = file.dtype.newbyteorder(byte_order)
        place = file.pixels_at + number * count * dtype.itemsize
        if place + count * dtype.itemsize > opened.size:
            raise FormatError(
                f"{file.path.name!r} is truncated: frame {number} ends at byte "
                f"{place + count * dtype.itemsize}, the file at {opened.size}; export it again"
            )
        pixels = bytearray(count * dtype.itemsize)
        opened.read_into(place, memoryview(pixels))
    finally:
        opened.close()
    values = np.frombuffer(pixels, dtype)
    shape = (rows, columns, file.samples) if file.samples > 1 else (rows, columns)
    return values.reshape(shape)


def _with_imagecodecs(pydicom: Any, file: DicomFile, number: int, first: Exception) -> Any:
    """Decode what pydicom's own decoders don't: lossless JPEG, JPEG-LS and JPEG 2000."""
    try:
        import imagecodecs
    except ImportError:
        raise MissingExtraError(
            f"its compression ({file.syntax}) needs imagecodecs; "
            "pip install 'ngcore-neuroglancer[dicom,formats]'"
        ) from first
    header = pydicom.dcmread(file.path)
    data = pydicom.encaps.get_frame(header.PixelData, number, number_of_frames=file.frame_count)
    if file.syntax.startswith("1.2.840.10008.1.2.4.9"):
        return imagecodecs.jpeg2k_decode(data)
    if file.syntax in ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"):
        return imagecodecs.jpegls_decode(data)
    return imagecodecs.jpeg_decode(data)
