"""Neuroglancer states, made from what is known of layers: pure, nothing is read or served.

A state is the JSON behind the ``#!`` of a Neuroglancer URL. Sources carry an explicit transform
(a matrix from voxels of scale 0 to units of the output dimensions), so that volumes of different
grids overlay in one world space. The client applies it to a volume's meshes too.
https://neuroglancer-docs.web.app/json/api/index.html
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np

from ngcore.previewing.appearance import Appearance, decide, order_images
from ngcore.previewing.samples import ValueRange, ValueSummary
from ngcore.server.layers import Layer, ObjectLayer, VolumeLayer
from ngcore.server.layouts import PANEL, layout_members
from ngcore.server.shaders import controls, shader
from ngcore.volume.segment_colours import hex_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ngcore.server.layouts import LayoutName

__all__ = [
    "Layer",
    "ObjectLayer",
    "State",
    "ValueRange",
    "ValueSummary",
    "VolumeLayer",
    "viewer_state",
    "viewer_url",
]

Space = Literal["native", "world"]
State = dict[str, Any]

PAGE_MEMBER = "ngcore"
"""What our own page reads of a state; the client passes over it."""

_AXES = ("x", "y", "z")
_WORLD_UNITS_NM = (1e6, 1e3, 1.0)


def viewer_state(
    layers: Sequence[Layer],
    *,
    space: Space = "world",
    layout: LayoutName | None = None,
    panel: tuple[int, int] = PANEL,
) -> State:
    """Return a Neuroglancer state that shows layers together.

    Parameters
    ----------
    layers : sequence of VolumeLayer or ObjectLayer
        In any order: images are drawn lowest, then labels and surfaces, then signed maps, then
        points.
    space : {"world", "native"}
        "world" places every volume by its `transform.json`; one without it, or with the identity,
        lies where its own nanometres say, and no transform is written where that is so of all.
        "native" leaves transforms out.
    layout : {"anatomical", "native"}, optional
        Default anatomical where there is a world.
    panel : (width, height), in pixels
        Of one of the four panels: the state is zoomed to fit it.

    Returns
    -------
    dict
        JSON-compatible.

    Raises
    ------
    InputError
        What is asked of a layer does not fit it.
    """
    volumes = [x for x in layers if isinstance(x, VolumeLayer)]
    is_world = space == "world" and _has_world(layers, volumes)
    units_nm = _units_nm(layers, is_world=is_world)
    time_unit = _time_unit(volumes)
    looks = _looks(volumes)
    ordered = _ordered(layers, looks)
    extents = [_as_drawn(x, looks.get(x.name)) for x in ordered]
    corners = np.concatenate([x.corners_nm(is_world=is_world) for x in extents])
    if not len(corners):
        corners = np.zeros((1, 3))
    # The client measures zoom in the smallest of the display units.
    extent = [max(float(side), min(units_nm)) / min(units_nm) for side in np.ptp(corners, axis=0)]
    dimensions = {axis: [nm / 1e9, "m"] for axis, nm in zip(_AXES, units_nm, strict=True)}
    if time_unit is not None:
        dimensions["t"] = [time_unit, "s"]
    position = _middle_of_a_voxel(corners, volumes, units_nm, is_world=is_world)
    writer = _LayerWriter(dimensions, units_nm, is_world=is_world)
    state: State = {
        "title": ", ".join(x.name for x in ordered),
        "dimensions": dimensions,
        "position": position + ([0] if time_unit is not None else []),
        "layers": [writer.layer(x, looks.get(x.name), bool(i)) for i, x in enumerate(ordered)],
        "showSlices": not any(x.has_mesh for x in ordered),
        "showDefaultAnnotations": False,
        "crossSectionBackgroundColor": "#000000",
        "hideCrossSectionBackground3D": True,
    }
    layout = layout or ("anatomical" if is_world else "native")
    if layout == "anatomical":
        state["showSlices"] = False  # they would be pieces: the sections are not those of a 4panel
    names = [x.name for x in ordered]
    has_objects = any(x.has_mesh for x in ordered)
    state |= layout_members(
        layout, names, extent, is_world=is_world, has_objects=has_objects, panel=panel
    )
    state |= _palette(volumes, looks, has_time=time_unit is not None)
    heavy = [x.name for x in ordered if isinstance(x, ObjectLayer) and x.is_heavy]
    state[PAGE_MEMBER] = {"extent": extent, "world": is_world, "heavy": heavy}
    return state


def viewer_url(viewer: str, state: State) -> str:
    """Return the URL of a Neuroglancer page that opens with a state."""
    text = json.dumps(state, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{viewer}#!{quote(text, safe=':/,')}"


def layer_bounds(layers: Sequence[Layer]) -> list[list[list[float]] | None]:
    """Return where each of some layers lies in the state that shows them together.

    Returns
    -------
    list
        Of the lowest and the highest corner, in units of the state's dimensions; None where that
        is unknown.
    """
    volumes = [x for x in layers if isinstance(x, VolumeLayer)]
    is_world = _has_world(layers, volumes)
    units_nm = _units_nm(layers, is_world=is_world)
    corners = [x.corners_nm(is_world=is_world) / units_nm for x in layers]
    return [[x.min(axis=0).tolist(), x.max(axis=0).tolist()] if len(x) else None for x in corners]


def _has_world(layers: Sequence[Layer], volumes: Sequence[VolumeLayer]) -> bool:
    """Whether axes are right, front and top: volumes say so, or objects where there are none."""
    return any(x.has_world for x in volumes or layers)


def _units_nm(layers: Sequence[Layer], *, is_world: bool) -> list[float]:
    """Return the units of the three dimensions: of the finest volume, or those of the world."""
    finest = min(
        (x.finest_nm for x in layers if isinstance(x, VolumeLayer)), key=min, default=None
    )
    if finest is None:  # objects alone: what they are at least one of
        corners = np.concatenate(
            [np.empty((0, 3)), *(x.corners_nm(is_world=True) for x in layers)]
        )
        longest = float(np.ptp(corners, axis=0).max()) if len(corners) else 0.0
        return [_world_unit_nm(longest / 10) if longest else 1e6] * 3
    if not is_world:
        return [float(nm) for nm in finest]
    return [_world_unit_nm(min(finest))] * 3


def _world_unit_nm(voxel_nm: float) -> float:
    """Return millimetres, micrometres or nanometres: what a voxel is not a small part of."""
    return next((unit for unit in _WORLD_UNITS_NM if voxel_nm >= unit / 10), 1.0)


def _time_unit(volumes: Sequence[VolumeLayer]) -> float | None:
    """Return the unit of the dimension `t` in seconds, None where nothing has a time."""
    steps = [x.time_step for x in volumes if _has_time(x) and x.time_step is not None]
    if not steps:
        return None
    return min(steps)  # the slider goes by whole units, so by frames


def _has_time(layer: VolumeLayer) -> bool:
    """Whether the channels are points of time, and not one of them alone is asked for."""
    if layer.time_step is None or layer.is_segmentation or layer.asked.channel is not None:
        return False
    return layer.info.num_channels > 1 and decide(
        layer.info, layer.values, layer.asked, name=layer.name
    ).mode not in ("colour", "direction")


def _looks(volumes: Sequence[VolumeLayer]) -> dict[str, Appearance]:
    """Return how each image is shown, by its name, from the lowest up."""
    images = [x for x in volumes if not x.is_segmentation]
    maps = [x.values is not None and x.values.is_signed_map for x in images]
    ordered = [images[place] for place in order_images(maps)]
    return {
        x.name: decide(
            x.info,
            x.values,
            x.asked,
            is_over=bool(number),
            has_time=_has_time(x),
            name=x.name,
        )
        for number, x in enumerate(ordered)
    }


def _ordered(layers: Sequence[Layer], looks: dict[str, Appearance]) -> list[Layer]:
    """Return layers from the lowest up."""
    places = {name: number for number, name in enumerate(looks)}

    def height(layer: Layer) -> tuple[int, int]:
        if isinstance(layer, ObjectLayer):
            return (3 if layer.type == "annotation" else 1, 0)
        if layer.is_segmentation:
            return (1, 0)
        is_map = looks[layer.name].mode == "diverging" and looks[layer.name].is_over
        return (2 if is_map else 0, places[layer.name])

    return sorted(layers, key=height)


def _as_drawn(layer: Layer, look: Appearance | None) -> Layer:
    """Return a layer as large as what is drawn of it: with zeros, where they are not black.

    They are grey in a signed map that lies over no other image.
    """
    if look is None or look.shown is None or look.hides_zero or look.shown.low >= 0:
        return layer
    return replace(layer, content=None) if isinstance(layer, VolumeLayer) else layer


def _middle_of_a_voxel(
    corners: NDArray[np.float64],
    volumes: Sequence[VolumeLayer],
    units_nm: Sequence[float],
    *,
    is_world: bool,
) -> list[float]:
    """Return the point at the middle of what is there, moved to the middle of its voxel."""
    centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
    lowest = min(volumes, key=lambda x: x.is_segmentation, default=None)
    if lowest is not None:
        matrix = lowest.voxel_to_world_nm(is_world=is_world)
        voxel = np.linalg.solve(matrix, np.array([*centre, 1.0]))[:3]
        centre = matrix[:3, :3] @ (np.floor(voxel + 1e-6) + 0.5) + matrix[:3, 3]
    return [round(float(value), 6) for value in centre / units_nm]


def _palette(
    volumes: Sequence[VolumeLayer], looks: dict[str, Appearance], *, has_time: bool
) -> State:
    """Return the panel with the sliders that a user is most likely to want; none where none is."""
    tools: list[State] = [{"type": "dimension", "dimension": "t"}] if has_time else []
    for layer in volumes:
        if layer.name not in looks:
            continue
        names = controls(layer.info, looks[layer.name], has_time=_has_time(layer))
        if names == ["normalized"]:
            continue  # one click away, in the layer's own panel
        tools += [{"layer": layer.name, "type": "shaderControl", "control": x} for x in names]
    if not tools:
        return {}
    return {"toolPalettes": {"Controls": {"side": "right", "row": 0, "size": 260, "tools": tools}}}


class _LayerWriter:
    """Writes layers of one state."""

    def __init__(
        self, dimensions: dict[str, list[Any]], units_nm: Sequence[float], *, is_world: bool
    ) -> None:
        self._dimensions = dimensions
        self._to_units = np.diag([*(1 / nm for nm in units_nm), 1.0])
        self._is_world = is_world

    def layer(self, layer: Layer, look: Appearance | None, has_below: bool) -> State:
        """Return the member of `layers` for one layer."""
        if isinstance(layer, ObjectLayer):
            state: State = {"type": layer.type, "name": layer.name, "source": layer.url}
            state |= layer.members
        else:
            state = {
                "type": layer.info.type,
                "name": layer.name,
                "source": self._source(layer),
                **(_labels(layer, has_below) if look is None else _image(layer, look)),
            }
        if not layer.asked.is_visible:
            state["visible"] = False
        return state

    def _source(self, layer: VolumeLayer) -> object:
        source: object = layer.url
        if self._is_world or _has_time(layer):
            source = {"url": layer.url, "transform": self._transform(layer)}
        return source if layer.properties_url is None else [source, layer.properties_url]

    def _transform(self, layer: VolumeLayer) -> State:
        matrix = self._to_units @ layer.voxel_to_world_nm(is_world=self._is_world)
        rows = matrix[:3].tolist()
        output = {axis: self._dimensions[axis] for axis in _AXES}
        given = dict(output)
        if _has_time(layer):
            unit = self._dimensions["t"][0]
            step = (layer.time_step or 1.0) / unit
            # Other steps than that of the slider: a frame lies around its time, so that it is
            # found there whatever is rounded.
            shift = 0 if step == 1 else -step / 2
            rows = [[*row[:3], 0, row[3]] for row in rows] + [[0, 0, 0, step, shift]]
            output["t"] = given["c^"] = self._dimensions["t"]
        elif layer.info.num_channels > 1:
            # The client gives volumes of several channels a fourth, local dimension.
            rows = [[*row[:3], 0, row[3]] for row in rows] + [[0, 0, 0, 1, 0]]
            output["c^"] = given["c^"] = [1, ""]
        # The client takes the matrix as one between physical lengths, without units. Only with
        # the input declared to be in output units too does it take voxels, as the numbers say.
        return {"matrix": rows, "outputDimensions": output, "inputDimensions": given}


def _labels(layer: VolumeLayer, has_below: bool) -> State:
    asked = layer.asked
    state: State = {"segments": [str(label) for label in layer.labels]}
    if asked.colour is not None:
        state["segmentDefaultColor"] = hex_of(asked.colour)
    elif colours := {
        str(label): hex_of(layer.colours[label])
        for label in layer.labels
        if label in layer.colours
    }:
        state["segmentColors"] = colours
    opacity = asked.opacity
    state["selectedAlpha"] = opacity if opacity is not None else 0.4 if has_below else 0.8
    state["tab"] = "segments"
    return state


def _image(layer: VolumeLayer, look: Appearance) -> State:
    return {
        "shader": shader(layer.info, look, has_time=_has_time(layer)),
        "opacity": look.opacity,
        "tab": "rendering",
    }
