"""What TIFF files say of the size of a pixel: OME-XML, and what ImageJ writes.

The plain resolution tags are left alone: in most files they hold the dots per inch of a printer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    # tifffile is imported where it is needed
    TiffFile = Any

_NM_PER_UNIT = {
    "pm": 1e-3,
    "Å": 0.1,
    "angstrom": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # Greek mu
    "um": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "\\u00B5m": 1e3,  # as ImageJ escapes it
    "mm": 1e6,
    "millimeter": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "m": 1e9,
    "meter": 1e9,
}


def pixel_size_nm(tiff: TiffFile) -> tuple[float, float, float] | None:
    """Return the size of a pixel along (column, row, slice) in nanometres, or None.

    None also where a part of it, or a unit, is not known.
    """
    if tiff.is_ome:
        return _from_ome(tiff.ome_metadata)
    if tiff.is_imagej:
        return _from_imagej(tiff.imagej_metadata or {}, tiff.pages[0])
    return None


def _from_ome(text: str) -> tuple[float, float, float] | None:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    pixels = next((one for one in root.iter() if one.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None
    sizes = []
    for axis in "XYZ":
        # the OME schema's default unit is the micrometre
        unit = _NM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        sizes.append(_length(pixels.get(f"PhysicalSize{axis}"), unit))
    return _complete(sizes)


def _from_imagej(metadata: dict[str, Any], page: Any) -> tuple[float, float, float] | None:
    """Combine ImageJ's spacing of slices with its pixels per unit, which it keeps in the tags."""
    unit = _NM_PER_UNIT.get(str(metadata.get("unit", "")))
    sizes = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        counted, units = tag.value if tag is not None else (0, 0)
        sizes.append(_length(units / counted if counted else None, unit))
    sizes.append(_length(metadata.get("spacing"), unit))
    return _complete(sizes)


def _length(value: Any, unit: float | None) -> float | None:
    try:
        length = float(value) * unit if unit is not None else math.nan
    except (TypeError, ValueError):
        return None
    return length if math.isfinite(length) and length > 0 else None


def _complete(sizes: list[float | None]) -> tuple[float, float, float] | None:
    column, row, plane = sizes
    if column is None or row is None or plane is None:
        return None
    return column, row, plane
