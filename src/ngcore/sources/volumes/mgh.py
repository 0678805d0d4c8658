"""FreeSurfer's MGH volumes, plain or gzipped (MGZ): big-endian, first axis fastest.

https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError
from ngcore.sources.base import SourceHeader
from ngcore.sources.files import open_binary
from ngcore.sources.geometry import place, shape_with_channels
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.gzip_stream import GzipSource, GzipStream, is_gzip
from ngcore.sources.volumes.raw import FORTRAN_ORDER, RawSource

if TYPE_CHECKING:
    from ngcore.arrays.affines import Affine
    from ngcore.sources.base import Source
    from ngcore.sources.files import PositionalFile

HEADER = np.dtype(
    [
        ("version", ">i4"),
        ("dims", ">i4", 4),
        ("type", ">i4"),
        ("dof", ">i4"),
        ("good_ras", ">i2"),
        ("delta", ">f4", 3),
        ("directions", ">f4", (3, 3)),
        ("centre", ">f4", 3),
    ]
)
VOXELS_OFFSET = 284
TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}

CORONAL = np.array([[-1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Directions of x, y and z, one a row, where a file does not say."""


def open_mgh(found: Found, choices: Asked) -> Source:
    """Open an MGH or MGZ file; frames become channels.

    Raises
    ------
    FormatError
        If header or size of the file are not what the format asks for.
    """
    path, name, asked = found.path, found.name, choices.geometry
    is_compressed = is_gzip(path, name)
    block = bytearray(HEADER.itemsize)

    def reader() -> GzipStream | PositionalFile:
        return GzipStream(path, name) if is_compressed else open_binary(path, name)

    with closing(reader()) as file:
        file.read_into(0, memoryview(block))
    fields = np.frombuffer(block, HEADER)[0]
    if int(fields["version"]) != 1:
        raise FormatError(
            f"{name}: not MGH: it starts with {block[:4].hex(' ')}, expected 00 00 00 01; "
            f"rename it if it is another format"
        )
    code = int(fields["type"])
    if code not in TYPES:
        raise FormatError(
            f"{name}: voxels have type {code}, expected one of {', '.join(map(str, TYPES))}; "
            f"convert them with mri_convert --out_data_type"
        )
    stored = np.dtype(TYPES[code])
    shape = shape_with_channels([int(length) for length in fields["dims"]], name)
    placement = place(_affine(fields), asked, name)
    notes = [] if asked.affine is not None else _notes_on_place(fields, name)
    if not is_compressed and path.suffix.lower() in (".mgz", ".gz"):
        notes.append(f"{name}: is not gzipped, though its name says so; it is read as it is")
    header = SourceHeader(
        name=name,
        shape=shape,
        dtype=stored.newbyteorder("="),
        affine_voxel_to_mm=placement.affine_voxel_to_mm,
        resolution_nm=placement.resolution_nm,
        voxel_offset=placement.voxel_offset,
        suggested_type=suggest_type(name, shape[3]),
        notes=(*placement.notes, *notes),
        files=(path,),
    )
    kind = GzipSource if is_compressed else RawSource

    def opened(header: SourceHeader) -> Source:
        return kind(header, path, VOXELS_OFFSET, FORTRAN_ORDER, stored)

    source = opened(header)  # refuses a file too short for what its header says
    if shape[3] == 1:
        return source
    with closing(reader()) as file:
        step = _time_step(file, VOXELS_OFFSET + header.byte_count)
    if step is None:
        return source
    source.close()
    return opened(replace(header, facts={"time_step": step}))


def _notes_on_place(fields: np.void, name: str) -> list[str]:
    if int(fields["good_ras"]) > 0:
        return []
    return [
        f"{name}: doesn't say where left is (goodRASFlag is 0); a coronal volume of 1 mm is "
        "assumed, as FreeSurfer does; pass --affine if that is wrong"
    ]


def _time_step(file: GzipStream | PositionalFile, end: int) -> float | None:
    """Return the seconds between frames, which lie behind the voxels; None where they are not.

    What is compressed is read up to there.
    """
    tail = bytearray(4)
    try:
        file.read_into(end, memoryview(tail))
    except FormatError:
        return None  # it ends with its voxels, or before: then reading them says so
    milliseconds = float(np.frombuffer(tail, ">f4")[0])
    is_time = math.isfinite(milliseconds) and milliseconds > 0
    return float(f"{milliseconds / 1000:.7g}") if is_time else None  # as float32 can tell


def _affine(fields: np.void) -> Affine:
    """Return the scanner's affine: `centre` is where half of each length, as an index, lies."""
    affine = np.eye(4)
    lengths = fields["dims"][:3].astype(np.float64)
    columns, centre = CORONAL.T, np.zeros(3)
    with np.errstate(all="ignore"):  # what is not finite is refused where it is placed
        if int(fields["good_ras"]) > 0:
            directions = fields["directions"].astype(np.float64)
            columns = directions.T * fields["delta"].astype(np.float64)
            centre = fields["centre"].astype(np.float64)
        affine[:3, :3] = columns
        affine[:3, 3] = centre - columns @ (lengths / 2)
    return affine


register(SourceFormat(name="MGH", open=open_mgh, endings=(".mgh", ".mgz", ".mgh.gz")))
