"""Shaders of annotations: colour and size by a property, a checkbox for each word of one.

https://github.com/google/neuroglancer/blob/master/src/annotation/rendering.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, NgcoreError
from ngcore.precomputed.annotation_records import decode_list
from ngcore.precomputed.annotations import AnnotationInfo
from ngcore.storage.shard_entries import read_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ngcore.precomputed.annotation_property import AnnotationProperty
    from ngcore.precomputed.annotation_records import Annotations
    from ngcore.previewing.appearance import Asked
    from ngcore.storage.base import ReadableStore

_MOST_CHECKBOXES = 12
_MAX_LIST = 64 << 20
_PALETTE = (
    *("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948"),
    *("#b07aa1", "#ff9da7", "#9c755f", "#bab0ac", "#86bcb6", "#d37295"),
)
"""Tableau 10, and two more."""
_SPACING = 8.0
"""Pixels between annotations; the client's own."""
_SECTION_SPACING = 3
_PANEL_PIXELS = 200_000
_PANEL_VERTICES = 100_000
"""About as many vertices of polylines are drawn in a panel at first."""
_SIZES = ("size", "radius", "diameter", "volume", "weight", "score")

Range = tuple[float, float]


def annotation_shader(info: AnnotationInfo, ranges: Mapping[str, Range], asked: Asked) -> str:
    """Return the shader of a layer of annotations.

    Colours are those of a colour property, else of the words of an enumeration, else a number's
    from blue to red; those of `asked` come first. Each word of the first enumeration has a
    checkbox. Points have a slider for their size, which may follow a number.

    Parameters
    ----------
    info : AnnotationInfo
    ranges : mapping of str to (low, high)
        Of numbers.
    asked : Asked
        What the user set.
    """
    colours = [item for item in info.properties if item.components > 1]
    words = [item for item in info.properties if 0 < len(item.enum_labels) <= _MOST_CHECKBOXES]
    numbers = [
        item
        for item in info.properties
        if item.components == 1 and not item.enum_labels and item.id in ranges
    ]
    controls: list[str] = []
    lines: list[str] = []
    if words:
        _add_checkboxes(words[0], controls, lines)
    if asked.colour is not None or not (colours or words or numbers):
        colour = "defaultColor()"
    elif colours:
        colour = (
            f"prop_{colours[0].id}().rgb"
            if colours[0].components == 4
            else (f"prop_{colours[0].id}()")
        )
    elif words:
        colour = _add_palette(words[0], lines)
    else:
        item = numbers[0]
        controls.append(_invlerp(item, ranges[item.id], "colour"))
        colour = "colormapJet(clamp(colour(), 0.0, 1.0))"
    opacity = 1.0 if asked.opacity is None else asked.opacity
    lines.append(f"setColor(vec4({colour}, {opacity:.3f}));")
    if info.annotation_type == "point":
        _add_size(numbers, ranges, controls, lines)
    if info.annotation_type in ("polyline", "line"):
        # A mark at every vertex would hide the lines.
        lines += ["setEndpointMarkerSize(0.0);", "setEndpointMarkerBorderWidth(0.0);"]
    body = "".join(f"  {line}\n" for line in lines)
    return "".join(f"{control}\n" for control in controls) + f"void main() {{\n{body}}}\n"


def coarsest(store: ReadableStore, info: AnnotationInfo) -> Annotations | None:
    """Return the annotations of the first cell of the first level; None where it can't be read."""
    if not info.spatial:
        return None
    level = info.spatial[0]
    try:
        if level.sharding is not None:
            data = read_entry(store, level.key, level.sharding, 0, max_size=_MAX_LIST)
        else:
            name = "_".join("0" * info.rank)
            data = store.get_whole(f"{level.key}/{name}", _MAX_LIST)
        return None if data is None else decode_list(data, info)
    except NgcoreError:
        return None


def property_ranges(some: Annotations | None, info: AnnotationInfo) -> dict[str, Range]:
    """Return the range of each number, by some of the annotations."""
    found = {} if some is None else some.properties
    ranges = {}
    for item in info.properties:
        values = found.get(item.id)
        if values is None or item.components > 1:
            continue
        finite = values[np.isfinite(values)]
        if finite.size and finite.min() < finite.max():
            ranges[item.id] = (float(finite.min()), float(finite.max()))
    return ranges


def members_of(store: ReadableStore, document: bytes | str, asked: Asked) -> dict[str, Any]:
    """Return how the layer of an `info` file is drawn; nothing where that can't be read."""
    try:
        info = AnnotationInfo.from_json(document)
    except FormatError:
        return {}
    some = coarsest(store, info)
    members: dict[str, Any] = {
        "shader": annotation_shader(info, property_ranges(some, info), asked)
    }
    if info.annotation_type == "polyline" and some is not None:
        members |= polyline_spacing(some)
    return members


def polyline_spacing(some: Annotations) -> dict[str, float]:
    """Return how far apart polylines are, by which the client decides how many it draws.

    It counts polylines, whatever their length. In a section it counts those in the slab of 20
    pixels that is shown, but draws whole cells, so they are thinner there. As the view is zoomed
    in, more of them are drawn.
    """
    if some.vertex_offsets is None or not len(some):
        return {}
    vertices = len(some.geometry) / len(some)
    spacing = round(max(_SPACING, (_PANEL_PIXELS * vertices / _PANEL_VERTICES) ** 0.5), 1)
    return {
        "projectionAnnotationSpacing": spacing,
        "crossSectionAnnotationSpacing": round(_SECTION_SPACING * spacing, 1),
    }


def _add_checkboxes(item: AnnotationProperty, controls: list[str], lines: list[str]) -> None:
    taken: set[str] = set()
    for value, label in zip(item.enum_values, item.enum_labels, strict=True):
        name = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", f"{item.id}_{label}")).strip("_")
        while name in taken:
            name += "x"
        taken.add(name)
        controls.append(f"#uicontrol bool {name} checkbox(default=true)")
        lines.append(f"if (!{name} && {_equals(item, value)}) discard;")


def _add_palette(item: AnnotationProperty, lines: list[str]) -> str:
    lines.append(f"vec3 colour = {_vector(_PALETTE[-1])};")
    for value, hexadecimal in zip(item.enum_values, _PALETTE, strict=False):
        lines.append(f"if ({_equals(item, value)}) colour = {_vector(hexadecimal)};")
    return "colour"


def _add_size(
    numbers: list[AnnotationProperty],
    ranges: Mapping[str, Range],
    controls: list[str],
    lines: list[str],
) -> None:
    controls.append("#uicontrol float pointSize slider(min=1, max=30, default=7)")
    size = "pointSize"
    if numbers:
        item = min(numbers, key=lambda x: _SIZES.index(x.id) if x.id in _SIZES else len(_SIZES))
        controls.append(f"#uicontrol bool size_by_{item.id} checkbox(default=false)")
        controls.append(_invlerp(item, ranges[item.id], "sizeShare"))
        lines.append(
            f"float share = size_by_{item.id} ? 0.5 + clamp(sizeShare(), 0.0, 1.0) : 1.0;"
        )
        size = "pointSize * share"
    lines.append(f"setPointMarkerSize({size});")
    lines.append("setPointMarkerBorderWidth(0.5);")


def _invlerp(item: AnnotationProperty, limits: Range, name: str) -> str:
    low, high = limits
    if item.type != "float32":
        low, high = int(low), int(high)
    return f'#uicontrol invlerp {name}(property="{item.id}", range=[{low!r}, {high!r}])'


def _equals(item: AnnotationProperty, value: float) -> str:
    if item.type == "float32":
        return f"prop_{item.id}() == {float(value)!r}"
    suffix = "u" if item.type.startswith("u") else ""
    return f"prop_{item.id}() == {int(value)}{suffix}"


def _vector(hexadecimal: str) -> str:
    parts = (int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return f"vec3({', '.join(f'{part:.3f}' for part in parts)})"
