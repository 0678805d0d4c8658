"""Layouts of panels: how cross sections lie in the world, and at what zoom all of them fit.

The zoom of a state is for panels of a usual size; our own page fits it to the real ones, and the
page of volumes to those that are picked, both by `fit.js`, which has the numbers from here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

LayoutName = Literal["anatomical", "native"]
State = dict[str, Any]

PANEL = (576, 345)
"""Pixels of a panel of four in a window of 1366 x 768 with controls beside it."""
MARGIN = 1.08
_LEAST_FILL = 0.75
"""Panels have one zoom where each is filled that much by it; else each has its own."""
_SOLID_PIXELS = 512
_PROJECTION = 1.3
"""Of the longest side: how much of the world the 3-D panel shows."""
_FIT_SCRIPT = Path(__file__).with_name("fit.js")


@dataclass(frozen=True, slots=True)
class Section:
    """A cross section of the world: which axes run to the right and upwards, and a quaternion."""

    right: int
    up: int
    orientation: tuple[float, float, float, float]


_HALF = 0.5**0.5
# The client's panel `xy`, turned: right of the subject to the right, or front to the right.
SECTIONS = (
    Section(0, 1, (1.0, 0.0, 0.0, 0.0)),
    Section(0, 2, (_HALF, 0.0, 0.0, -_HALF)),
    Section(1, 2, (0.5, 0.5, -0.5, -0.5)),
)
"""Axial, coronal, sagittal."""
_NATIVE_SECTIONS = (
    Section(0, 1, (0.0, 0.0, 0.0, 1.0)),
    Section(0, 2, (_HALF, 0.0, 0.0, _HALF)),
    Section(2, 1, (0.0, _HALF, 0.0, _HALF)),
)
# Half a turn about x: in the client's own sections x grows to the right, y and z grow upwards.
_UPRIGHT_SECTIONS = (1.0, 0.0, 0.0, 0.0)
# From behind, a little from the left and from above: superior is up, right is right here too.
_UPRIGHT_3D = (0.8224, -0.1765, 0.1135, -0.5288)


def layout_members(
    layout: LayoutName,
    names: Sequence[str],
    extent: Sequence[float],
    *,
    is_world: bool,
    has_objects: bool = True,
    panel: tuple[int, int] = PANEL,
) -> State:
    """Return the members of a state that say which panels there are and how they look.

    Parameters
    ----------
    layout : "anatomical" or "native"
    names : sequence of str
        Of the layers: panels of the anatomical layout list them.
    extent : sequence of float, (x, y, z)
        Of what is shown, in the smallest unit of the display dimensions.
    is_world : bool
        Axes are right, front and top.
    has_objects : bool
        There is something to draw in 3-D; else its panel shows the three sections, each whole.
    panel : (width, height), in pixels
        Of one of four.
    """
    members: State = {}
    if layout == "native":
        scales = [_scale(extent, section, panel) for section in _NATIVE_SECTIONS]
        if is_world:
            members["crossSectionOrientation"] = list(_UPRIGHT_SECTIONS)
        members |= {"crossSectionScale": max(scales), "layout": "4panel"}
    else:
        scales = [_scale(extent, section, panel) for section in SECTIONS]
        base = max(scales)
        is_common = min(scales) >= _LEAST_FILL * base
        axial, coronal, sagittal = (
            _panel(names, section, base if is_common else scale)
            for section, scale in zip(SECTIONS, scales, strict=True)
        )
        solid = {"type": "viewer", "layers": list(names), "layout": _solid(extent, has_objects)}
        members["crossSectionScale"] = base
        members["layout"] = {
            "type": "column",
            "children": [
                {"type": "row", "children": [axial, coronal]},
                {"type": "row", "children": [sagittal, solid]},
            ],
        }
    members["projectionScale"] = _PROJECTION * max(extent)
    if is_world:
        members["projectionOrientation"] = list(_UPRIGHT_3D)
    return members


def fit_script() -> str:
    """Return the script by which pages fit sections to panels, as this module does."""
    numbers = {
        "margin": MARGIN,
        "leastFill": _LEAST_FILL,
        "projection": _PROJECTION,
        "panel": PANEL,
        "native": [section.orientation for section in _NATIVE_SECTIONS],
    }
    return f"const FIT = {json.dumps(numbers)};\n{_FIT_SCRIPT.read_text('utf-8')}"


def _scale(extent: Sequence[float], section: Section, panel: tuple[int, int]) -> float:
    return MARGIN * max(extent[section.right] / panel[0], extent[section.up] / panel[1])


def _solid(extent: Sequence[float], has_objects: bool) -> State | str:
    if has_objects:
        return "3d"
    pixel = max(extent) / _SOLID_PIXELS
    sections = {
        name: {
            "width": MARGIN * extent[section.right] / pixel,
            "height": MARGIN * extent[section.up] / pixel,
            "orientation": {"link": "unlinked", "value": list(section.orientation)},
            "scale": {"link": "unlinked", "value": pixel},
        }
        for name, section in zip(("axial", "coronal", "sagittal"), SECTIONS, strict=True)
    }
    return {"type": "3d", "crossSections": sections}


def _panel(names: Sequence[str], section: Section, zoom: float) -> State:
    return {
        "type": "viewer",
        "layers": list(names),
        "layout": "xy",
        "crossSectionOrientation": {"link": "unlinked", "value": list(section.orientation)},
        # Its own, to which the others keep their relation when one is zoomed.
        "crossSectionScale": {"link": "relative", "value": zoom},
    }
