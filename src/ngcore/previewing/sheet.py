"""Pictures of slices on one sheet, with marks of direction and a scale bar, as PNG."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_GAP = 10
_UNITS = ((1e9, "m"), (1e6, "mm"), (1e3, "µm"), (1.0, "nm"))
_MICRO = "\N{MICRO SIGN}"
_WHITE = (255, 255, 255)
_MAT = (48, 48, 48)
"""Around the slices, which are often black at their edges."""
_SMALLEST_MARKED = 3
"""Panels are marked if they are at least this many letters wide and one high."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One slice.

    Attributes
    ----------
    picture : ndarray of uint8, shape (row, column) or (row, column, 3)
    width, height : int
        Pixels on the sheet.
    is_smooth : bool
        Interpolate between values; labels must not be.
    marks : tuple of str
        Letters at the left and the right edge.
    """

    picture: NDArray[np.uint8]
    width: int
    height: int
    is_smooth: bool
    marks: tuple[str, str]


def draw_sheet(panels: Sequence[Panel], *, pixel_nm: float) -> bytes:
    """Return a PNG with the panels side by side and a scale bar below.

    Parameters
    ----------
    panels : sequence of Panel
    pixel_nm : float
        Size of a pixel in nanometres.
    """
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    longest = max(max(panel.width, panel.height) for panel in panels)
    letter = max(11, round(longest / 24))
    font = ImageFont.load_default(letter)
    tallest = max(panel.height for panel in panels)
    foot = 2 * letter
    length_nm = bar_length_nm(longest * pixel_nm / 4)
    bar, text = round(length_nm / pixel_nm), length_text(length_nm)
    needed = 3 * _GAP + bar + math.ceil(font.getlength(text.replace(_MICRO, "u")))
    width = max(needed, sum(panel.width + _GAP for panel in panels) + _GAP)
    sheet = Image.new("RGB", (width, tallest + foot + 2 * _GAP), _MAT)
    draw = ImageDraw.Draw(sheet)
    left = _GAP
    for panel in panels:
        top = _GAP + (tallest - panel.height) // 2
        image = Image.fromarray(np.ascontiguousarray(panel.picture))
        how = Image.Resampling.BICUBIC if panel.is_smooth else Image.Resampling.NEAREST
        sheet.paste(image.resize((panel.width, panel.height), how), (left, top))
        if panel.width >= _SMALLEST_MARKED * letter and panel.height >= letter:
            _mark(draw, panel, (left, top), font, letter)
        left += panel.width + _GAP
    middle = tallest + 2 * _GAP + foot // 2 - _GAP // 2
    thickness = max(2, letter // 6)
    draw.rectangle(
        (_GAP, middle - thickness // 2, _GAP + bar - 1, middle - thickness // 2 + thickness - 1),
        fill=_WHITE,
    )
    _write(draw, (2 * _GAP + bar, middle), text, font)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _write(draw: Any, place: tuple[int, int], text: str, font: Any) -> None:
    """Write a length. Pillow's own font has no micro sign: it is a u with a longer stem."""
    plain = text.replace(_MICRO, "u")
    draw.text(place, plain, fill=_WHITE, font=font, anchor="lm")
    before, micro, _ = text.partition(_MICRO)
    if not micro:
        return
    bottom = draw.textbbox(place, plain, font=font, anchor="lm")[3] - 1
    left, top, _, baseline = font.getbbox("u", anchor="ls")
    x = round(place[0] + font.getlength(before) + left)
    height = round(baseline - top)
    thickness = max(1, round(font.size / 12))
    stem = (x, bottom - height // 2, x + thickness - 1, bottom + round(0.45 * height))
    draw.rectangle(stem, fill=_WHITE)


def _mark(draw: Any, panel: Panel, corner: tuple[int, int], font: Any, letter: int) -> None:
    """Write a panel's letters into its upper corners, with a dark rim, to be read on white."""
    left, top = corner
    inset = max(2, letter // 4)
    rim = max(1, letter // 10)
    for text, x, anchor in (
        (panel.marks[0], left + inset, "lt"),
        (panel.marks[1], left + panel.width - inset, "rt"),
    ):
        draw.text(
            (x, top + inset),
            text,
            fill=_WHITE,
            font=font,
            anchor=anchor,
            stroke_width=rim,
            stroke_fill=(0, 0, 0),
        )


def bar_length_nm(longest_nm: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten nanometres that is not longer.

    Examples
    --------
    >>> bar_length_nm(47e6)
    20000000.0
    """
    power = 10.0 ** math.floor(math.log10(longest_nm))
    # Rounding may put the power just above what it should be.
    return next((n * power for n in (5.0, 2.0, 1.0) if n * power <= longest_nm), power)


def length_text(length_nm: float) -> str:
    """Return a length in the unit that people use for it.

    Examples
    --------
    >>> [length_text(nm) for nm in (0.5, 200.0, 5e4, 2e7)]
    ['0.5 nm', '200 nm', '50 µm', '20 mm']
    """
    size, unit = next((pair for pair in _UNITS if length_nm >= pair[0]), _UNITS[-1])
    return f"{length_nm / size:g} {unit}"
