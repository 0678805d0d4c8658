"""DICOM: a folder with a series, a file of one slice or of many, and segmentations with names.

Read with pydicom. Nothing that tells who was scanned goes into a volume or a message.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.axes import ArrayAxes
from ngcore.sources.base import Segment, SuggestedType
from ngcore.sources.chunked import ChunkedSource
from ngcore.sources.containers import need
from ngcore.sources.dicom_frames import (
    decode_frame,
    dicom_errors,
    frames_of,
    read_dicom_file,
)
from ngcore.sources.geometry import placed_header
from ngcore.sources.registry import Asked, Found, SourceFormat, register

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.sources.dicom_frames import DicomFile, Frame
    from ngcore.sources.dicom_stack import Stack

_LOOKED_AT = 20
"""Files of a folder that are looked at to know whether it holds DICOM."""
_MOST_FILES = 1_000_000


def _is_dicom(found: Found) -> bool:
    if found.head[128:132] == b"DICM":
        return True
    if not found.is_folder or found.holds("info"):
        return False
    try:
        files = (path for path in found.path.iterdir() if path.is_file())
        return any(_has_mark(path) for path in islice(files, _LOOKED_AT)) or _is_nested(found.path)
    except OSError:  # who opens the folder says why it can't be listed
        return False


def _is_nested(folder: Path) -> bool:
    """Whether only folders lie here, and DICOM in the first that leads to files."""
    for _ in range(6):
        entries = sorted(folder.iterdir())
        if any(entry.is_file() for entry in entries):
            return any(_has_mark(entry) for entry in entries[:_LOOKED_AT] if entry.is_file())
        if not entries:
            return False
        folder = entries[0]
    return False


def _has_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


@dicom_errors("is not valid DICOM")
def open_dicom(found: Found, asked: Asked) -> ChunkedSource:
    """Open a series of DICOM; `FOLDER:/NUMBER` chooses one of several.

    Raises
    ------
    FormatError
        If a file is broken.
    InputError
        If there are several series, or slices that make no stack.
    MissingExtraError
        If pydicom is not installed.
    """
    pydicom = need("pydicom", "DICOM", "dicom")
    from ngcore.sources.dicom_stack import stack_frames

    files, notes = _files(pydicom, found)
    files = _one_series(files, found)
    first = files[0]
    is_segmentation = first.is_segmentation
    is_fractional = str(first.header.get("SegmentationType", "")) == "FRACTIONAL"
    frames = [frame for file in files for frame in frames_of(file)]
    stack = stack_frames(frames, is_segmentation=is_segmentation)
    scaling, colors = (1.0, 0.0), 1
    reader: _Images | _Segments | _Fractions
    if is_segmentation and is_fractional:
        reader = _Fractions(pydicom, stack, first.dtype)
        scaling = (1 / int(first.header.get("MaximumFractionalValue") or 255), 0.0)
        dtype, colors = first.dtype, len(reader.numbers)
        suggested = SuggestedType("image", "DICOM calls it a fractional segmentation")
        notes += (f"is a fractional segmentation; its {colors} segments are channels, 0 to 1",)
    elif is_segmentation:
        reader = _Segments(pydicom, stack)
        dtype = reader.dtype
        suggested = SuggestedType("segmentation", "DICOM calls it a segmentation")
    else:
        scaling, dtype = _scaling(frames)
        colors = first.samples
        reader = _Images(pydicom, stack, dtype, colors)
        suggested = SuggestedType("image", "DICOM calls it an image")
    if colors > 1 and stack.channels > 1:
        raise InputError("has colours at several times; keep one time in the folder")
    if asked.ignore_scaling and dtype == first.dtype:
        scaling = (1.0, 0.0)
    columns, rows = first.size
    axes = ArrayAxes("zyxc", (len(stack.planes), rows, columns, stack.channels * colors))
    header = placed_header(
        stack.affine,
        asked.geometry,
        resolution=stack.resolution_nm,
        shape=axes.shape,
        dtype=dtype,
        slope=scaling[0],
        intercept=scaling[1],
        suggested_type=suggested,
        notes=notes + stack.notes,
        files=tuple(file.path for file in files),
        segments=_segments(first) if suggested.type == "segmentation" else (),
    )
    source = ChunkedSource(
        header, axes, reader, chunks=(1, rows, columns, axes.lengths[3]), workers=asked.workers
    )
    source.cost = source.cost._replace(access="whole planes")
    return source


def _files(pydicom: Any, found: Found) -> tuple[list[DicomFile], tuple[str, ...]]:
    """Return the files with images, and a note about others."""
    if not found.is_folder:
        file = read_dicom_file(pydicom, found.path)
        if file is None:
            raise InputError("is DICOM, but has no image; pass the files with the slices")
        return [file], ()
    paths = sorted(path for path in islice(found.path.rglob("*"), _MOST_FILES) if path.is_file())
    read = [read_dicom_file(pydicom, path) for path in paths if path.name != "DICOMDIR"]
    files = [file for file in read if file is not None]
    others = len(read) - len(files)
    if not files:
        raise InputError("holds no DICOM images; pass the folder with the slices")
    word = "file has" if others == 1 else "files have"
    return files, (f"{others} {word} no image; skipped",) if others else ()


def _one_series(files: list[DicomFile], found: Found) -> list[DicomFile]:
    """Return the files of the only series, or of the one whose number was given.

    Raises
    ------
    InputError
        That names the series, by number, modality and count: their texts may name a person.
    """
    series: dict[tuple[str, int, str], list[DicomFile]] = {}
    for file in files:
        series.setdefault(file.series, []).append(file)
    known = sorted(series, key=lambda one: (one[1], one[0]))
    chosen = known
    if found.inside is not None:
        chosen = [one for one in known if found.inside in (str(one[1]), one[0])]
    named = ", ".join(
        f"{number} ({modality or 'no modality'}, {len(series[uid, number, modality])} files)"
        for uid, number, modality in known[:10]
    )
    if not chosen:
        raise InputNotFoundError(f"has no series {found.inside!r}; it has {named}")
    if len(chosen) > 1:
        numbers = [one[1] for one in chosen]
        way = numbers[0] if numbers.count(numbers[0]) == 1 else chosen[0][0]
        raise InputError(
            f"holds several series: {named}; pass one, such as '{found.location}:/{way}'"
        )
    return series[chosen[0]]


def _scaling(frames: list[Frame]) -> tuple[tuple[float, float], np.dtype[Any]]:
    """Return slope, intercept and type; 1, 0, float32 where slices are scaled each for itself."""
    scalings = {frame.scaling for frame in frames}
    dtypes = {frame.file.dtype for frame in frames}
    if len(dtypes) > 1:
        raise InputError("has slices of several types; keep only one type in the folder")
    dtype = dtypes.pop()
    if len(scalings) == 1:
        slope, intercept = scalings.pop()
        if slope == 0 or not np.isfinite([slope, intercept]).all():
            raise FormatError(f"its RescaleSlope is {slope:g}; export it again")
        return (slope, intercept), dtype
    return (1.0, 0.0), np.dtype(np.float32)


class _Images:
    """Gives boxes of (z, y, x, channel) of a stack of images."""

    def __init__(self, pydicom: Any, stack: Stack, dtype: np.dtype[Any], colors: int) -> None:
        self._pydicom = pydicom
        self._planes = stack.planes
        self._dtype = dtype
        self._colors = colors
        self._channels = stack.channels

    def __call__(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        z, y, x, _ = index
        if z.stop - z.start == self._channels == self._colors == 1 and self._planes[z.start]:
            return self._frame(self._planes[z.start][0])[np.newaxis, y, x, np.newaxis]
        lengths = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        out = np.zeros((*lengths, self._channels * self._colors), self._dtype)
        for number in range(z.start, z.stop):
            for channel, frame in enumerate(self._planes[number]):
                pixels = self._frame(frame)[y, x]
                part = out[number - z.start]
                if self._colors > 1:
                    part[...] = pixels
                else:
                    part[..., channel] = pixels
        return out

    def _frame(self, frame: Frame) -> np.ndarray[Any, Any]:
        pixels = decode_frame(self._pydicom, frame)
        columns, rows = frame.file.size
        expected = (rows, columns, self._colors)[: 3 if self._colors > 1 else 2]
        if pixels.shape != expected:
            raise FormatError(
                f"frame {frame.number} of {frame.file.path.name!r} decodes to shape "
                f"{pixels.shape}, but its header says {expected}; export it again"
            )
        if self._dtype.kind == "f" and frame.file.dtype.kind != "f":
            slope, intercept = frame.scaling
            return np.asarray(pixels * slope + intercept, self._dtype)
        return pixels.astype(self._dtype, copy=False)


class _Segments:
    """Gives boxes of labels, of frames that show a segment each."""

    def __init__(self, pydicom: Any, stack: Stack) -> None:
        self._pydicom = pydicom
        self._planes = stack.planes
        numbers = [frame.segment for plane in stack.planes for frame in plane]
        self._is_labelmap = not any(numbers)
        frame = next(frame for plane in stack.planes for frame in plane)
        most = max(numbers)
        self.dtype = np.dtype(np.uint8 if most < 256 else np.uint16)
        if self._is_labelmap:
            self.dtype = frame.file.dtype

    def __call__(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        z, y, x, _ = index
        lengths = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        out = np.zeros((*lengths, 1), self.dtype)
        for number in range(z.start, z.stop):
            part = out[number - z.start, ..., 0]
            for frame in self._planes[number]:
                pixels = decode_frame(self._pydicom, frame)[y, x]
                if self._is_labelmap:
                    part[...] = pixels
                    continue
                is_here = pixels != 0
                if part[is_here].any():
                    raise InputError(
                        f"segment {frame.segment} overlaps another one in slice {number + 1}, "
                        "but a volume holds one label per voxel; export them apart"
                    )
                part[is_here] = frame.segment
        return out


class _Fractions:
    """Gives boxes of fractions, a channel for each segment."""

    def __init__(self, pydicom: Any, stack: Stack, dtype: np.dtype[Any]) -> None:
        self._pydicom = pydicom
        self._planes = stack.planes
        self._dtype = dtype
        self.numbers = sorted({frame.segment for plane in stack.planes for frame in plane})

    def __call__(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        z, y, x, _ = index
        lengths = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        out = np.zeros((*lengths, len(self.numbers)), self._dtype)
        for part, frames in zip(out, self._planes[z], strict=True):
            for frame in frames:
                channel = self.numbers.index(frame.segment)
                part[..., channel] = decode_frame(self._pydicom, frame)[y, x]
        return out


def _segments(file: DicomFile) -> tuple[Segment, ...]:
    """Return numbers, labels and colours of a segmentation's segments."""
    found = []
    for item in file.header.get("SegmentSequence") or []:
        number = int(item.get("SegmentNumber") or 0)
        lab = item.get("RecommendedDisplayCIELabValue")
        color = _rgb([int(part) for part in lab]) if lab is not None and len(lab) == 3 else None
        found.append(Segment(number, str(item.get("SegmentLabel") or number), color))
    return tuple(sorted(found))


def _rgb(lab: list[int]) -> str:
    """Return the sRGB colour of a CIELab value as DICOM scales it (C.10.7.1.1)."""
    lightness = lab[0] / 65535 * 100
    a, b = (part / 65535 * 255 - 128 for part in lab[1:])
    fy = (lightness + 16) / 116
    white = (0.96422, 1.0, 0.82521)  # D50
    xyz = [
        w * (f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29))
        for w, f in zip(white, (fy + a / 500, fy, fy - b / 200), strict=True)
    ]
    to_linear = np.array(  # adapted to D65, http://www.brucelindbloom.com
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = np.clip(to_linear @ xyz, 0, 1)
    values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#{:02x}{:02x}{:02x}".format(*(round(float(255 * value)) for value in values))


register(
    SourceFormat(
        name="DICOM",
        open=open_dicom,
        is_it=_is_dicom,
        endings=(".dcm", ".dicom", ".ima"),
        takes=frozenset({"inside"}),
    )
)
