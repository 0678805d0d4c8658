"""GIfTI surfaces, in the space that their coordinate system transforms them to.

A file holds one array of points (millimetres) with a matrix from their space to another, and one
array of triangles. FreeSurfer's `mris_convert` uses the format in its own way: where the data
space is not the scanner's, points are in tkRAS, the matrix leads to the Talairach atlas, and
`VolGeom...` metadata describe the volume the surface belongs to. Such points go to scanner RAS, as
those of FreeSurfer's own files do, and not to the atlas.

https://www.nitrc.org/projects/gifti/ and https://surfer.nmr.mgh.harvard.edu/fswiki/CoordinateSystems
"""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.surfaces.freesurfer import VolumeGeometry
from ngcore.sources.surfaces.parsed import Parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

# What nibabel's parser lets escape on malformed files, found by mutating files and by reading it.
# It checks little itself: most of these are Python's own complaints about a missing attribute,
# element or value, and the last four arise where an array lies in another file.
_NIBABEL_ERRORS = (
    AssertionError,
    AttributeError,
    ExpatError,
    LookupError,
    ValueError,
    zlib.error,
    MemoryError,
    OSError,
    OverflowError,
    TypeError,
)
_ARRAY = re.compile(rb"<DataArray\b.*?</DataArray\s*>", re.DOTALL)
_POINTS = re.compile(rb"<DataArray\b[^>]*NIFTI_INTENT_POINTSET")
_SYSTEM = b"<CoordinateSystemTransformMatrix"
_SCANNER_SPACE = 1  # NIFTI_XFORM_SCANNER_ANAT
_GEOMETRY_OF_VOLGEOM = {
    "volume": ("Width", "Height", "Depth"),
    "voxelsize": ("Xsize", "Ysize", "Zsize"),
    "xras": ("X_R", "X_A", "X_S"),
    "yras": ("Y_R", "Y_A", "Y_S"),
    "zras": ("Z_R", "Z_A", "Z_S"),
    "cras": ("C_R", "C_A", "C_S"),
}


class _NamedBytes(io.BytesIO):
    """Bytes with the name of their file, beside which nibabel looks for external arrays."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def parse_gifti(data: bytes, name: str) -> Parsed:
    """Return the points and triangles of a GIfTI surface, and its coordinate system's transform.

    Parameters
    ----------
    data : bytes
        The XML, not gzipped.
    name : str
        The file's path: arrays kept in other files are looked for in its folder.

    Raises
    ------
    FormatError
        If the file is malformed, or does not hold one array of points and one of triangles.
    """
    from nibabel.gifti.parse_gifti_fast import GiftiImageParser

    make_parser: Any = GiftiImageParser  # nibabel leaves it untyped
    parser = make_parser(mmap=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a wrong count of arrays is no concern here
            parser.parse(fptr=_NamedBytes(data, name))
    except _NIBABEL_ERRORS as error:
        raise FormatError(f"{name!r} is not a valid GIfTI file: {_one_line(error)}") from error
    arrays = parser.img.darrays if parser.img is not None else []
    points = _only(arrays, "POINTSET", name)
    triangles = _only(arrays, "TRIANGLE", name)
    if _has_several_systems(data):  # nibabel keeps the last one of each array
        logger.warning(
            "%r has several coordinate systems; its coordinates go through the last one", name
        )
    return Parsed(points.data, triangles.data, _transform(points, name))


def _has_several_systems(data: bytes) -> bool:
    """Whether points have more than one coordinate system."""
    if data.count(_SYSTEM) < 2:
        return False
    points = (array[0] for array in _ARRAY.finditer(data) if _POINTS.match(array[0]))
    return any(array.count(_SYSTEM) > 1 for array in points)


def _only(arrays: list[Any], intent: str, name: str) -> Any:
    from nibabel.nifti1 import intent_codes

    code = intent_codes[f"NIFTI_INTENT_{intent}"]
    found = [array for array in arrays if array.intent == code]
    if not found and arrays:
        held = ", ".join(sorted({_held(array.intent) for array in arrays}))
        raise InputError(
            f"{name!r} has no {intent} array, so it is not a surface; it holds {held}; pass the "
            "surface that belongs to it (.surf.gii)"
        )
    if len(found) != 1 or found[0].data is None:
        count = f"{len(found) or 'no'} {intent} array{'s' * (len(found) > 1)}"
        raise FormatError(
            f"{name!r} has {count}{' without data' * (len(found) == 1)}; a GIfTI surface has "
            "exactly one, with data in it"
        )
    return found[0]


def _held(code: int) -> str:
    """Return what arrays of an intent hold, in words."""
    from nibabel.nifti1 import intent_codes

    try:
        name = str(intent_codes.niistring[code])
    except KeyError:
        return f"arrays of intent {code}"
    known = {"POINTSET": "points", "TRIANGLE": "triangles", "LABEL": "labels for each vertex"}
    intent = name.removeprefix("NIFTI_INTENT_")
    return known.get(intent, f"values for each vertex ({name})")


def _transform(points: Any, name: str) -> NDArray[np.float64] | None:
    system = points.coordsys
    geometry = _volume_geometry_words(points.meta)
    if geometry and (system is None or system.dataspace != _SCANNER_SPACE):
        try:
            return VolumeGeometry.from_words(geometry).tkras_to_scanner_mm()
        except ValueError as error:
            raise FormatError(f"{name!r}: its VolGeom metadata are malformed: {error}") from error
    if system is None or system.xform is None:
        return None
    return np.asarray(system.xform, dtype=np.float64)


def _volume_geometry_words(meta: Mapping[str, str]) -> dict[str, str] | None:
    try:
        return {
            field: " ".join(meta[f"VolGeom{key}"] for key in keys)
            for field, keys in _GEOMETRY_OF_VOLGEOM.items()
        }
    except KeyError:  # FreeSurfer takes the geometry for valid only where every field is there
        return None


def _one_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
