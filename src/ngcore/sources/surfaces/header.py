"""What headers and comments say of coordinates: 3D Slicer's ``SPACE=LPS``, and units.

Slicer writes it into STL, PLY, OBJ and VTK files, which have no other place for it.
https://slicer.readthedocs.io/en/latest/user_guide/modules/models.html
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ngcore.sources.surfaces.parsed import Parsed

logger = logging.getLogger(__name__)

UNITS_MM = {"nm": 1e-6, "um": 1e-3, "mm": 1.0}
"""Units of coordinates that the commands for meshes take, in millimetres."""

_SPACE = re.compile(r"\bSPACE\s*[=:]\s*([A-Za-z-]+)", re.IGNORECASE)
_UNIT = re.compile(r"\bUNITS?\s*[=:]\s*(\S+)|\bin (nanometres)\b", re.IGNORECASE)
_TO_RAS = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1), "LAS": (-1, 1, 1), "SCANNER": (1, 1, 1)}
_LONG = {
    "RIGHT-ANTERIOR-SUPERIOR": "RAS",
    "LEFT-POSTERIOR-SUPERIOR": "LPS",
    "LEFT-ANTERIOR-SUPERIOR": "LAS",
}
_SPELLINGS = {
    "nanometre": "nm", "nanometres": "nm", "nanometer": "nm", "nanometers": "nm",
    "µm": "um", "μm": "um", "micron": "um", "microns": "um", "micrometer": "um",
    "micrometers": "um", "micrometre": "um", "micrometres": "um",
    "millimeter": "mm", "millimeters": "mm", "millimetre": "mm", "millimetres": "mm",
}  # fmt: skip


def follow_header(parsed: Parsed, name: str, units: str | None) -> Parsed:
    """Return a surface in millimetres, in RAS where its header names another system.

    Parameters
    ----------
    parsed : Parsed
    name : str
        Of the file, for the log.
    units : str or None
        A key of `UNITS_MM`; None for the header's unit, else millimetres.
    """
    match = _UNIT.search(parsed.header)
    if units is None and match is not None:
        word = (match[1] or match[2]).lower().rstrip(",;.")
        units = _SPELLINGS.get(word, word)
        if units not in UNITS_MM:
            logger.warning(
                "%s: its header says units of %r, which ngcore does not know; mm is assumed; "
                "pass --units if that is wrong",
                name,
                word,
            )
            units = None
    # what is then not finite is refused as such
    with np.errstate(over="ignore", invalid="ignore"):
        vertices = parsed.vertices * UNITS_MM[units or "mm"]
    return parsed._replace(vertices=vertices, affine_mm=_affine(parsed, name))


def _affine(parsed: Parsed, name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    match = _SPACE.search(parsed.header)
    if parsed.affine_mm is not None or match is None:
        return parsed.affine_mm
    space = match[1].upper()
    signs = _TO_RAS.get(_LONG.get(space, space))
    if signs is None:
        logger.warning(
            "%s: its header says SPACE=%s, which ngcore does not know; RAS is assumed", name, space
        )
        return None
    logger.info("%s: its header says SPACE=%s", name, space)
    return None if signs == (1, 1, 1) else np.diag([*map(float, signs), 1.0])
