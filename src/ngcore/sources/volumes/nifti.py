"""NIfTI-1 and NIfTI-2: one file or a pair, plain or gzipped, either byte order.

The header is parsed here rather than by nibabel, which repairs some of what is wrong in it (a
voxel size of zero becomes 1 mm) and logs instead of telling.

https://nifti.nimh.nih.gov/nifti-1 and https://nifti.nimh.nih.gov/nifti-2
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.base import SourceHeader
from ngcore.sources.files import bytes_of, open_binary
from ngcore.sources.geometry import place, shape_with_channels
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.gzip_stream import GZIP_MAGIC, ZSTD_MAGIC, GzipSource, GzipStream
from ngcore.sources.volumes.nifti_affine import affine_of_header
from ngcore.sources.volumes.nifti_fields import HEADER_TYPES
from ngcore.sources.volumes.raw import FORTRAN_ORDER, INTERLEAVED_ORDER, RawSource

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.sources.base import Source
    from ngcore.sources.geometry import AskedGeometry
    from ngcore.sources.volumes.nifti_affine import Fields
    from ngcore.sources.volumes.zstd_stream import ZstdStream

MAGICS = {b"n+1\0": True, b"ni1\0": False, b"n+2\0": True, b"ni2\0": False}
"""Whether voxels follow in the same file."""

DATATYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
COLORS = {128: 3, 2304: 4}
REFUSED_DATATYPES = {
    1: "single bits",
    32: "complex64",
    1536: "float128",
    1792: "complex128",
    2048: "complex256",
}


_CIFTI_INTENTS = range(3000, 3100)
_SECONDS_PER_UNIT = {8: 1.0, 16: 1e-3, 24: 1e-6}
"""By the bits of xyzt_units that name the unit of time."""

_PAIR_ENDINGS = (".hdr", ".hdr.gz", ".img", ".img.gz")
"""These may be Analyze's, which the header tells."""


def paired_files(path: Path) -> tuple[Path, Path]:
    """Return the file with the header and the one with the voxels, given either of a pair.

    That is the same file twice where there is no pair of `.hdr` and `.img`.
    """
    compression = path.suffix if path.suffix.lower() in (".gz", ".bz2", ".zst") else ""
    bare = path.with_suffix("") if compression else path
    suffix = bare.suffix
    if suffix.lower() not in (".hdr", ".img"):
        return path, path
    hdr, img = (".HDR", ".IMG") if suffix.isupper() else (".hdr", ".img")
    return (
        bare.with_name(bare.stem + hdr + compression),
        bare.with_name(bare.stem + img + compression),
    )


def _is_nifti(found: Found) -> bool:
    """Return whether a file, or the header beside it, starts as NIfTI does."""
    if found.head.startswith(b"BZh"):
        return False  # nibabel's
    if _magic(found.unpacked_head) is not None:
        return True
    if not found.ends_with(*_PAIR_ENDINGS):
        return False
    header = Found.at(str(paired_files(found.path)[0]))
    is_missing = not header.path.exists()  # which is told when it is opened
    return is_missing or _magic(header.unpacked_head) is not None


def open_nifti(found: Found, asked: Asked) -> Source:
    """Open a NIfTI file: a `.nii` or `.nii.gz`, or either file of a pair.

    Raises
    ------
    FormatError
        If header or size of the file are not what NIfTI asks for.
    InputError
        If it is valid, but can't be shown or has no such form.
    """
    name = found.name
    header_file, voxels = paired_files(found.path)
    block = _header_bytes(header_file, name)
    fields, is_single = _parse(block, name)
    lengths = _lengths(fields, name)
    code = int(fields["datatype"])
    if code in REFUSED_DATATYPES:
        raise InputError(
            f"{name}: voxels are {REFUSED_DATATYPES[code]} (datatype {code}), which can't be "
            f"converted; save them as another type first"
        )
    if code not in DATATYPES and code not in COLORS:
        raise FormatError(f"{name}: corrupt header: datatype {code} is not one of NIfTI's")
    colors = COLORS.get(code, 1)
    byte_order = fields["dim"].dtype.byteorder
    stored = np.dtype(np.uint8 if colors > 1 else DATATYPES[code]).newbyteorder(byte_order)
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if asked.ignore_scaling or colors > 1 or slope == 0 or not math.isfinite(slope):
        slope, intercept = 1.0, 0.0  # values are as they are stored
    # ITK writes a time axis of length 1 before that of a vector or of colours.
    is_single_time = len(lengths) > 4 and lengths[3] == 1
    kept = lengths[:3] + lengths[4:] if is_single_time else lengths
    shape = shape_with_channels(kept, name, colors)
    with np.errstate(all="ignore"):  # NumPy warns of a signalling NaN, which is refused below
        affine, form_notes = affine_of_header(fields, shape, asked.form, asked.geometry, name)
    placement = place(affine, asked.geometry, name)
    header = SourceHeader(
        name=name,
        shape=shape,
        dtype=stored.newbyteorder("="),
        slope=slope,
        intercept=intercept,
        affine_voxel_to_mm=placement.affine_voxel_to_mm,
        resolution_nm=placement.resolution_nm,
        voxel_offset=placement.voxel_offset,
        suggested_type=suggest_type(name, shape[3], int(fields["intent_code"])),
        notes=form_notes + placement.notes + _name_notes(found, is_pair=header_file != voxels),
        files=(header_file,) if is_single else (header_file, voxels),
        facts=_facts(fields, lengths, asked.geometry),
    )
    offset = _voxels_offset(fields, len(block), is_single=is_single, name=name)
    voxels = header_file if is_single else voxels
    order = INTERLEAVED_ORDER if colors > 1 else FORTRAN_ORDER
    stream = _stream(voxels, name)
    if stream is None:
        return RawSource(header, voxels, offset, order, stored)
    return GzipSource(header, voxels, offset, order, stored, stream)


def _lengths(fields: Fields, name: str) -> list[int]:
    """Return the lengths of all axes, of what is a volume."""
    rank = int(fields["dim"][0])
    if not 1 <= rank <= 7:
        raise FormatError(f"{name}: corrupt header: dim[0] is {rank}, expected 1 to 7")
    lengths = [int(length) for length in fields["dim"][1 : rank + 1]]
    if int(fields["intent_code"]) in _CIFTI_INTENTS and lengths[:3] == [1, 1, 1]:
        raise InputError(
            "is CIFTI, which holds values of surfaces and of single voxels (grayordinates), not a "
            "volume; `wb_command -cifti-separate IN COLUMN -volume-all OUT.nii.gz` extracts "
            "the volume"
        )
    return lengths


def _facts(fields: Fields, lengths: list[int], asked: AskedGeometry) -> dict[str, Any]:
    """Return what `export` gives back: codes, and the time from one volume to the next."""
    facts: dict[str, Any] = {
        "sform_code": int(fields["sform_code"]),
        "qform_code": int(fields["qform_code"]),
    }
    if facts["sform_code"] <= 0 and facts["qform_code"] <= 0 and asked.affine is None:
        facts["left_is_unknown"] = True
    step = float(fields["pixdim"][4])
    seconds = _SECONDS_PER_UNIT.get(int(fields["xyzt_units"]) & 0x38)
    is_time = len(lengths) > 3 and lengths[3] > 1
    if is_time and seconds is not None and math.isfinite(step) and step > 0:
        facts["time_step"] = float(f"{step * seconds:.7g}")  # as float32 can tell
    return facts


def _name_notes(found: Found, *, is_pair: bool) -> tuple[str, ...]:
    if is_pair or found.path.suffix.lower() != ".gz":
        return ()
    is_packed = found.head.startswith(GZIP_MAGIC)
    return () if is_packed else ("is not gzipped, though its name says so; it is read as it is",)


def _stream(path: Path, name: str) -> type[GzipStream] | type[ZstdStream] | None:
    """Return what decompresses a file, by its content, else by its name; None if it is plain."""
    file = open_binary(path, name)
    try:
        head = bytearray(min(540, file.size))
        file.read_into(0, memoryview(head))
    finally:
        file.close()
    if head.startswith(ZSTD_MAGIC) or path.suffix.lower() == ".zst":
        from ngcore.sources.volumes.zstd_stream import ZstdStream  # seldom

        return ZstdStream
    if head.startswith(GZIP_MAGIC):
        return GzipStream
    is_named_so = path.suffix.lower() in (".gz", ".mgz")
    return GzipStream if is_named_so and _magic(bytes(head)) is None else None


def _header_bytes(path: Path, name: str) -> bytes:
    """Return the first bytes of a header: as many as there are, up to NIfTI-2's length."""
    size = max(HEADER_TYPES)
    stream_of = _stream(path, name)
    if stream_of is not None:
        stream = stream_of(path, name)
        try:
            buffer = bytearray(min(HEADER_TYPES))
            stream.read_into(0, memoryview(buffer))
            if _header_size(buffer) == size:
                rest = bytearray(size - len(buffer))
                stream.read_into(len(buffer), memoryview(rest))
                buffer += rest
        finally:
            stream.close()
        return bytes(buffer)
    file = open_binary(path, name)
    try:
        if file.size < min(HEADER_TYPES):
            what = "empty" if file.size == 0 else "truncated"
            raise FormatError(
                f"{name}: {what} ({file.size} bytes), but a NIfTI header has "
                f"{min(HEADER_TYPES)} or more; download or copy it again"
            )
        block = np.empty(min(size, file.size), np.uint8)
        file.read_into(0, bytes_of(block))
    finally:
        file.close()
    return block.tobytes()[: _header_size(block.tobytes()) or None]


def _header_size(block: bytes | bytearray) -> int | None:
    """Return 348 or 540 as the first four bytes say, in either byte order."""
    for byte_order in ("little", "big"):
        size = int.from_bytes(block[:4], byte_order)
        if size in HEADER_TYPES:
            return size
    return None


def _magic(block: bytes) -> bytes | None:
    size = _header_size(block)
    magic = block[344:348] if size == min(HEADER_TYPES) else block[4:8]
    return magic if size and magic in MAGICS else None


def _parse(block: bytes, name: str) -> tuple[Fields, bool]:
    """Return a header's fields, and whether voxels follow in the same file."""
    size = _header_size(block)
    magic = _magic(block)
    if size is None or magic is None or len(block) < size:
        raise FormatError(
            f"{name}: not NIfTI: it starts with {block[:4].hex(' ')}, but a NIfTI header starts "
            "with its size, 348 or 540, and has a magic number; rename it if it is another "
            "format"
        )
    dtype = HEADER_TYPES[size]
    fields = np.frombuffer(block[:size], dtype)[0]
    if int(fields["sizeof_hdr"]) != size:
        fields = np.frombuffer(block[:size], dtype.newbyteorder(">"))[0]
    return fields, MAGICS[magic]


def _voxels_offset(fields: Fields, header_size: int, *, is_single: bool, name: str) -> int:
    offset = float(fields["vox_offset"])
    if not is_single:
        lowest, default = 0, 0
    else:
        lowest, default = header_size, header_size + 4
    if offset == 0:
        return default
    if not math.isfinite(offset) or offset < lowest or offset > 2**62:
        raise FormatError(
            f"{name}: corrupt header: vox_offset is {offset:g}, expected {default} or more"
        )
    return int(offset)


register(
    SourceFormat(
        name="NIfTI",
        open=open_nifti,
        is_it=_is_nifti,
        endings=(".nii", ".nii.gz", ".nii.zst"),
        takes=frozenset({"form"}),
    )
)
