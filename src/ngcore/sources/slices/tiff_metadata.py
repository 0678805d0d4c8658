"""What TIFF files say of the size of a pixel and of time: OME-XML, and what ImageJ writes.

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
    "nanometre": 1.0,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # Greek mu
    "um": 1e3,
    "micron": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "\\u00b5m": 1e3,  # as ImageJ escapes it
    "mm": 1e6,
    "millimeter": 1e6,
    "millimetre": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "m": 1e9,
    "meter": 1e9,
    "metre": 1e9,
    "inch": 2.54e7,
}
_SECONDS_PER_UNIT = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0,
    "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0,
}  # fmt: skip


def pixel_size_nm(tiff: TiffFile) -> tuple[float, float, float] | None:
    """Return the size of a pixel along (column, row, slice) in nanometres, or None.

    None also where a part of it, or a unit, is not known.
    """
    if tiff.is_ome:
        pixels = _ome_pixels(tiff)
        # the OME schema's default unit is the micrometre
        sizes = [
            _length(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "XYZ"
        ]
        return _complete(sizes)
    if tiff.is_imagej:
        return _from_imagej(tiff.imagej_metadata or {}, tiff.pages[0])
    return None


def time_step(tiff: TiffFile) -> float | None:
    """Return the seconds between points in time, None where they are not known."""
    step: float | None = None
    if tiff.is_ome:
        pixels = _ome_pixels(tiff)
        unit = pixels.get("TimeIncrementUnit", "s")
        step = _number(pixels.get("TimeIncrement"), _SECONDS_PER_UNIT.get(unit))
    elif tiff.is_imagej:
        metadata = tiff.imagej_metadata or {}
        unit = str(metadata.get("tunit", "sec")).lower().rstrip("s") or "s"
        step = _number(metadata.get("finterval"), _SECONDS_PER_UNIT.get(unit))
    return step


def _ome_pixels(tiff: TiffFile) -> dict[str, str]:
    try:
        root = ElementTree.fromstring(tiff.ome_metadata)
    except ElementTree.ParseError:
        return {}
    found = next((one for one in root.iter() if one.tag.rpartition("}")[2] == "Pixels"), None)
    return {} if found is None else dict(found.attrib)


def _from_imagej(metadata: dict[str, Any], page: Any) -> tuple[float, float, float] | None:
    """Combine ImageJ's spacing of slices with its pixels per unit, which it keeps in the tags.

    Rows and slices may have units of their own (`yunit`, `zunit`); else they have that of columns.
    """
    unit = metadata.get("unit", "")
    sizes = []
    for name, own in (("XResolution", "unit"), ("YResolution", "yunit")):
        tag = page.tags.get(name)
        counted, units = tag.value if tag is not None else (0, 0)
        sizes.append(_length(units / counted if counted else None, metadata.get(own) or unit))
    sizes.append(_length(metadata.get("spacing"), metadata.get("zunit") or unit))
    return _complete(sizes)


def _length(value: Any, unit: Any) -> float | None:
    word = str(unit).strip()
    if len(word) > 2:  # Mm is not mm
        word = word.lower()
    factor = _NM_PER_UNIT.get(word, _NM_PER_UNIT.get(word.removesuffix("s")))
    return _number(value, factor)


def _number(value: Any, factor: float | None) -> float | None:
    try:
        number = float(value) * factor if factor is not None else math.nan
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _complete(sizes: list[float | None]) -> tuple[float, float, float] | None:
    column, row, plane = sizes
    if column is None or row is None or plane is None:
        return None
    return column, row, plane
