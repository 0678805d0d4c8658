"""MRC2014 and CCP4 maps (`.mrc`, `.rec`, `.map`, `.ccp4`, `.st`), plain or compressed.

Sizes are in angstroms; the origin names the centre of the first voxel.
https://www.ccpem.ac.uk/mrc-format/mrc2014/
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.containers import diagonal_affine, foreign_errors, need, sizes_are_sound
from ngcore.sources.files import open_binary
from ngcore.sources.geometry import placed_header
from ngcore.sources.packed import Packing, open_packed, shape_of
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.gzip_stream import stream_of
from ngcore.sources.volumes.raw import order_of

if TYPE_CHECKING:
    from ngcore.sources.base import Source

HEADER_BYTES = 1024
MM_PER_ANGSTROM = 1e-7
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_REFUSED_MODES = {3: "complex numbers", 4: "complex numbers", 101: "half bytes"}
_VOLUME_STACKS = range(401, 631)
_IMOD_STAMP = 1146047817
"""Word 39 of files that IMOD wrote; without the lowest bit of the next, bytes are unsigned."""


def _is_mrc(found: Found) -> bool:
    return found.unpacked_head[208:212] in (b"MAP ", b"MAP\0")


@foreign_errors("corrupt MRC header")
def open_mrc(found: Found, asked: Asked) -> Source:
    """Open an MRC or CCP4 map.

    Raises
    ------
    FormatError
        If its header is broken, or it is shorter than that says.
    InputError
        If its voxels can't be converted.
    MissingExtraError
        If mrcfile is not installed.
    """
    open_binary(found.path, found.name).close()
    need("mrcfile", "MRC")
    fields = _fields(found.unpacked_head)
    mode = int(fields["mode"])
    if mode in _REFUSED_MODES:
        raise InputError(
            f"voxels are {_REFUSED_MODES[mode]} (mode {mode}), which can't be converted; save "
            "them as another mode first"
        )
    lengths = [int(fields[name]) for name in ("nx", "ny", "nz")]
    if mode not in _MODES or min(lengths) < 1:
        raise FormatError(f"corrupt header: mode {mode}, {lengths} voxels; download it again")
    axes = [int(fields[name]) for name in ("mapc", "mapr", "maps")]
    if sorted(axes) != [1, 2, 3]:
        if any(axes):
            raise FormatError(f"corrupt header: axes {axes}, expected 1, 2 and 3 in some order")
        axes = [1, 2, 3]
    letters = "".join("xyz"[axis - 1] for axis in axes)
    depth = int(fields["mz"])
    if int(fields["ispg"]) in _VOLUME_STACKS and 0 < depth < lengths[2]:
        if lengths[2] % depth:
            raise FormatError(
                f"corrupt header: {lengths[2]} sections can't be divided into volumes of {depth}"
            )
        letters, lengths = letters + "c", [*lengths[:2], depth, lengths[2] // depth]
    byte_order = fields.dtype["nx"].byteorder
    dtype = np.dtype(_stored(fields, found.unpacked_head)).newbyteorder(byte_order)
    shape = shape_of(letters, lengths)
    affine = _affine(fields, letters)
    extra = int(fields["nsymbt"])
    if not 0 <= extra < 1 << 31:
        raise FormatError(f"corrupt header: an extended header of {extra} bytes")
    header = placed_header(
        affine,
        asked.geometry,
        shape=shape,
        dtype=dtype.newbyteorder("="),
        suggested_type=suggest_type(found.name, shape[3]),
        files=(found.path,),
    )
    stream = stream_of(found.head)
    packing = Packing(found.path, HEADER_BYTES + extra, order_of(letters), dtype, stream)
    return open_packed(header, packing)


def _fields(head: bytes) -> Any:
    """Return the header's fields, in the byte order that makes sense of the mode."""
    if len(head) < HEADER_BYTES:
        raise FormatError(f"truncated: {len(head)} bytes, but an MRC header has {HEADER_BYTES}")
    with warnings.catch_warnings(), foreign_errors("corrupt MRC header"):
        warnings.simplefilter("ignore")
        from mrcfile.dtypes import HEADER_DTYPE

        little = np.frombuffer(head[:HEADER_BYTES], HEADER_DTYPE)[0]
        big = np.frombuffer(head[:HEADER_BYTES], HEADER_DTYPE.newbyteorder(">"))[0]
    known = {*_MODES, *_REFUSED_MODES}
    is_little = int(little["mode"]) in known and 0 <= int(little["mapc"]) <= 3
    is_big = int(big["mode"]) in known and 0 <= int(big["mapc"]) <= 3
    if is_little and is_big:  # mode 0
        is_little = 0 < int(little["nx"]) <= int(big["nx"])
    return little if is_little or not is_big else big


def _stored(fields: Any, head: bytes) -> str:
    code = _MODES[int(fields["mode"])]
    order = "<" if fields.dtype["nx"].byteorder in ("<", "=") else ">"
    stamp, flags = np.frombuffer(head[152:160], f"{order}i4")
    return "u1" if code == "i1" and stamp == _IMOD_STAMP and not flags & 1 else code


def _affine(fields: Any, letters: str) -> np.ndarray[Any, Any] | None:
    """Return the affine in millimetres; None where the file has no cell."""
    cell = [float(fields["cella"][letter]) for letter in "xyz"]
    intervals = [int(fields[name]) for name in ("mx", "my", "mz")]
    if min(intervals) < 1:
        return None
    sizes = [side / count * MM_PER_ANGSTROM for side, count in zip(cell, intervals, strict=True)]
    if not any(cell):
        return None
    if int(fields["nz"]) == 1 and not sizes[2]:  # one micrograph, which has no depth
        sizes[2] = sizes[0]
    if not sizes_are_sound(sizes):
        raise FormatError(f"corrupt header: its cell is {cell} angstroms; pass --affine")
    origin = [float(fields["origin"][letter]) * MM_PER_ANGSTROM for letter in "xyz"]
    if not any(origin):  # then CCP4's start counts voxels, in the order of storage
        starts = [int(fields[name]) for name in ("nxstart", "nystart", "nzstart")]
        by_letter = dict(zip(letters, starts, strict=False))
        origin = [by_letter[letter] * size for letter, size in zip("xyz", sizes, strict=True)]
    if not np.isfinite(origin).all():
        origin = [0.0, 0.0, 0.0]
    return diagonal_affine(sizes, origin)


register(
    SourceFormat(
        name="MRC",
        open=open_mrc,
        is_it=_is_mrc,
        endings=(
            ".mrc",
            ".mrcs",
            ".rec",
            ".map",
            ".ccp4",
            ".st",
            ".ali",
            ".preali",
            ".mrc.gz",
            ".map.gz",
            ".mrc.bz2",
            ".map.bz2",
        ),
    )
)
