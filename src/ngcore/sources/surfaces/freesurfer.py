"""FreeSurfer's surface files (`lh.pial`, `rh.white`, ...) and the volume they were made from.

Coordinates are "tkRAS": millimetres from the centre of the volume, along axes that forget how the
head lay in the scanner. The file's footer describes that volume; with it,
scanner = Norig x inverse(Torig) x tkRAS.

https://surfer.nmr.mgh.harvard.edu/fswiki/CoordinateSystems
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.mesh import checked_affine
from ngcore.sources.surfaces.parsed import Parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

TRIANGLE_MAGIC = b"\xff\xff\xfe"
QUAD_MAGICS = (b"\xff\xff\xff", b"\xff\xff\xfd")
_OLD_QUAD_MAGIC = QUAD_MAGICS[0]  # coordinates are hundredths of a millimetre as int16

_TAG_USE_REAL_RAS = 2
_TAG_VOLUME_GEOMETRY = 20
_GEOMETRY_FIELDS = (
    "valid", "filename", "volume", "voxelsize", "xras", "yras", "zras", "cras",
)  # fmt: skip
_AXES_OF_TKRAS = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@dataclass(frozen=True, slots=True)
class VolumeGeometry:
    """The volume a surface was made from.

    Parameters
    ----------
    shape : three int, in voxels
    voxel_size_mm : three float
    directions : array of float, shape (3, 3)
        Columns are the directions of the volume's axes in scanner RAS.
    centre_mm : three float
        The volume's centre in scanner RAS.
    """

    shape: NDArray[np.float64]
    voxel_size_mm: NDArray[np.float64]
    directions: NDArray[np.float64]
    centre_mm: NDArray[np.float64]

    @classmethod
    def from_words(cls, words: Mapping[str, str]) -> VolumeGeometry:
        """Read the fields of a surface's footer, each three numbers as text.

        Raises
        ------
        KeyError, ValueError
            If a field is missing, or is not three numbers.
        """

        def three(field: str) -> NDArray[np.float64]:
            x, y, z = words[field].split()
            return np.array([float(x), float(y), float(z)])

        directions = np.stack([three("xras"), three("yras"), three("zras")], axis=1)
        return cls(three("volume"), three("voxelsize"), directions, three("cras"))

    def tkras_to_scanner_mm(self) -> NDArray[np.float64]:
        """Return the 4x4 transform from tkRAS to scanner RAS, in millimetres.

        Raises
        ------
        InputError
            If the geometry is degenerate: a voxel without size, axes that coincide.
        """
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # checked_affine refuses what is not finite
            scanner = _centred(self.directions * self.voxel_size_mm, self.shape, self.centre_mm)
            tkras = _centred(_AXES_OF_TKRAS * self.voxel_size_mm, self.shape, np.zeros(3))
        inverse = np.linalg.inv(checked_affine(tkras))
        return checked_affine(checked_affine(scanner) @ inverse)


def parse_freesurfer(data: bytes, name: str) -> Parsed:
    """Return the vertices and triangles of a FreeSurfer surface, and its way to scanner RAS.

    Quadrangle files (`lh.orig.nofix`) are read too; each quadrangle is cut into two triangles.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What to call it in errors.

    Raises
    ------
    FormatError
        If the file is truncated or its description of the volume is malformed.
    """
    if data[:3] in QUAD_MAGICS:
        quads = Parsed(*_parse_quads(data, name))
        _warn_of_tkras(name)
        return quads
    # Two lines, of which the second is empty, come between the magic number and the counts.
    first_end = data.find(b"\n")
    counts_at = data.find(b"\n", first_end + 1) + 1
    if first_end < 0 or counts_at == 0 or len(data) < counts_at + 8:
        raise FormatError(f"FreeSurfer surface {name!r} ends inside its header")
    vertex_count, face_count = (int(n) for n in np.frombuffer(data, ">i4", 2, counts_at))
    vertices_at = counts_at + 8
    faces_at = vertices_at + 12 * vertex_count
    footer_at = faces_at + 12 * face_count
    if vertex_count < 0 or face_count < 0 or len(data) < footer_at:
        raise FormatError(
            f"FreeSurfer surface {name!r} declares {vertex_count} vertices and {face_count} "
            f"triangles, but has {len(data)} bytes"
        )
    vertices = np.frombuffer(data, ">f4", 3 * vertex_count, vertices_at)
    faces = np.frombuffer(data, ">i4", 3 * face_count, faces_at)
    return Parsed(
        vertices.astype(np.float64).reshape(-1, 3),
        faces.astype(np.int64).reshape(-1, 3),
        _footer_transform(data[footer_at:], name),
    )


def _parse_quads(data: bytes, name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    vertex_count = int.from_bytes(data[3:6], "big")
    quad_count = int.from_bytes(data[6:9], "big")
    kind, units_per_mm = (">i2", 100.0) if data[:3] == _OLD_QUAD_MAGIC else (">f4", 1.0)
    quads_at = 9 + 3 * vertex_count * np.dtype(kind).itemsize
    if len(data) < quads_at + 12 * quad_count:
        raise FormatError(
            f"FreeSurfer surface {name!r} declares {vertex_count} vertices and {quad_count} "
            f"quadrangles, but has {len(data)} bytes"
        )
    vertices = np.frombuffer(data, kind, 3 * vertex_count, 9).astype(np.float64) / units_per_mm
    index_bytes = np.frombuffer(data, np.uint8, 12 * quad_count, quads_at).reshape(-1, 4, 3)
    quads = index_bytes.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    # FreeSurfer cuts along one diagonal or the other, by whether the first index is even.
    is_even = quads[:, :1] % 2 == 0
    halves = np.where(is_even, quads[:, [0, 1, 3, 2, 3, 1]], quads[:, [0, 1, 2, 0, 2, 3]])
    return vertices.reshape(-1, 3), halves.reshape(-1, 3)


def _warn_of_tkras(name: str) -> None:
    logger.warning(
        "%s: doesn't describe the volume that it was made from, so its points stay where "
        "FreeSurfer counts them from (tkRAS): they are off by that volume's c_ras, unless "
        "a transform moves them; `mris_convert --to-scanner` writes a surface that needs none",
        name,
    )


def _footer_transform(footer: bytes, name: str) -> NDArray[np.float64] | None:
    if _int32(footer, 0) == _TAG_USE_REAL_RAS:
        if _int32(footer, 4) != 0:
            return None  # already in scanner RAS
        footer = footer[8:]
    if _int32(footer, 0) != _TAG_VOLUME_GEOMETRY:
        _warn_of_tkras(name)
        return None
    words = {}
    for line in footer[4:].split(b"\n", len(_GEOMETRY_FIELDS))[: len(_GEOMETRY_FIELDS)]:
        field, _, value = line.decode("latin-1").partition("=")
        words[field.strip()] = value
    try:
        if words["valid"].split()[0] != "1":
            _warn_of_tkras(name)
            return None
        return VolumeGeometry.from_words(words).tkras_to_scanner_mm()
    except KeyError as error:
        raise FormatError(
            f"FreeSurfer surface {name!r}: its volume information lacks {error}"
        ) from error
    except (IndexError, ValueError) as error:
        raise FormatError(
            f"FreeSurfer surface {name!r}: its volume information is malformed: {error}"
        ) from error


def _int32(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "big", signed=True)


def _centred(
    linear: NDArray[np.float64], shape: NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the transform from voxels that puts the middle of the volume at `centre`."""
    return np.column_stack([linear, centre - linear @ (shape / 2)])
