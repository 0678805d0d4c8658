"""Neuroglancer states, made from what is known of volumes: pure, nothing is read or served.

A state is the JSON behind the ``#!`` of a Neuroglancer URL. Sources carry an explicit transform
(a matrix from voxels of scale 0 to units of the output dimensions), so that volumes of different
grids overlay in one world space. The client applies it to a volume's meshes too.
https://neuroglancer-docs.web.app/json/api/index.html
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np

from ngcore.errors import FormatError
from ngcore.volume.segment_colours import hex_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.volume.segment_colours import Colour

Space = Literal["native", "world"]
Number = int | float
Corner = tuple[float, float, float]
State = dict[str, Any]

_AXES = ("x", "y", "z")
_WORLD_UNITS_NM = (1e6, 1e3, 1.0)
# The height of a panel of the 4-panel layout in a window of some 800 pixels.
_PANEL_PIXELS = 360
# Half a turn about x: in the sections x grows to the right, y and z grow upwards. (The client's
# yz panel has y upright, whatever the orientation.)
_UPRIGHT_SECTIONS = (1.0, 0.0, 0.0, 0.0)
# From behind, a little from the left and from above: superior is up, right is right here too.
_UPRIGHT_3D = (0.8224, -0.1765, 0.1135, -0.5288)


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values shown from black to white, and the wider range the slider offers."""

    low: Number
    high: Number
    window_low: Number
    window_high: Number


@dataclass(frozen=True, slots=True)
class VolumeLayer:
    """All that a state says about one volume.

    Parameters
    ----------
    name : str
        Name of the layer, different from every other layer's.
    url : str
        Neuroglancer source, such as ``precomputed://https://example.org/brain``.
    info : VolumeInfo
        The volume's `info`.
    volume_to_world_nm : ndarray of float64, shape (4, 4), or None
        What `transform.json` says: nanometres of the volume to nanometres of world space.
    content : two tuples of float, (x, y, z), or None
        Where anything but zeros lies: the lowest and the highest corner of a box in voxels of
        scale 0. The view is centred on it, and as large. None: all of the volume.
    brightness : ValueRange or None
        Of an image; None leaves the range to the client.
    labels : tuple of int
        Labels of a segmentation that are shown at the start; none shows all, without meshes.
    colours : mapping of int to (red, green, blue)
        Of a label table; labels without one have the client's. Only those of `labels` get into
        the state, which is part of a URL.
    """

    name: str
    url: str
    info: VolumeInfo
    volume_to_world_nm: NDArray[np.float64] | None = None
    content: tuple[Corner, Corner] | None = None
    brightness: ValueRange | None = None
    labels: tuple[int, ...] = ()
    colours: Mapping[int, Colour] = field(default_factory=dict)

    def __post_init__(self) -> None:
        matrix = self.volume_to_world_nm
        if matrix is None:
            return
        is_affine = (
            matrix.shape == (4, 4)
            and bool(np.isfinite(matrix).all())
            and matrix[3].tolist() == [0, 0, 0, 1]
        )
        if not is_affine or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
            raise FormatError(
                f"transform.json of {self.name} must be an invertible 4x4 affine matrix, "
                "row-major; remove it or convert again"
            )

    @property
    def is_segmentation(self) -> bool:
        """Labels rather than brightness."""
        return self.info.type == "segmentation"

    @property
    def has_world(self) -> bool:
        """The volume's own nanometres are not the world's."""
        matrix = self.volume_to_world_nm
        return matrix is not None and not np.array_equal(matrix, np.eye(4))

    @property
    def voxel_to_nm(self) -> NDArray[np.float64]:
        """Affine matrix (4, 4) from voxels of scale 0 to the volume's nanometres."""
        return np.diag([*map(float, self.info.scales[0].resolution), 1.0])


def viewer_state(layers: Sequence[VolumeLayer], *, space: Space = "world") -> State:
    """Return a Neuroglancer state that shows volumes together.

    Parameters
    ----------
    layers : sequence of VolumeLayer
        In any order: images are drawn below segmentations.
    space : {"world", "native"}
        "world" places every volume by its `transform.json`; one without it, or with the identity,
        lies where its own nanometres say, and no transform is written where that is so of all.
        "native" leaves transforms out.

    Returns
    -------
    dict
        JSON-compatible.
    """
    layers = sorted(layers, key=lambda layer: layer.is_segmentation)
    is_world = space == "world" and any(x.has_world for x in layers)
    finest = min((x.info.scales[0].resolution for x in layers), key=min)
    if is_world:
        unit = _world_unit_nm(min(finest))
        units_nm = [unit, unit, unit]
    else:
        units_nm = [float(nm) for nm in finest]
    matrices = [_voxel_to_units(x, units_nm, is_world=is_world) for x in layers]
    corners = np.concatenate([_corners(*pair) for pair in zip(layers, matrices, strict=True)])
    extent = np.ptp(corners, axis=0)
    # The client measures zoom in the smallest of the display units.
    widest = 1.05 * float((extent * units_nm).max()) / min(units_nm)
    dimensions = {axis: [nm * 1e-9, "m"] for axis, nm in zip(_AXES, units_nm, strict=True)}
    has_mesh = any(x.info.mesh for x in layers)
    state: State = {
        "title": ", ".join(x.name for x in layers),
        "dimensions": dimensions,
        "position": _middle_of_a_voxel(corners, matrices[0]),
        "crossSectionScale": widest / _PANEL_PIXELS,
        "projectionScale": 1.2 * widest,
        "layers": [
            _layer(x, matrix if is_world else None, dimensions, below=layers[:index])
            for index, (x, matrix) in enumerate(zip(layers, matrices, strict=True))
        ],
        "showSlices": not has_mesh,
        "showDefaultAnnotations": False,
        "crossSectionBackgroundColor": "#000000",
        "hideCrossSectionBackground3D": True,
        "layout": "4panel",
    }
    if is_world:
        state["projectionOrientation"] = list(_UPRIGHT_3D)
        state["crossSectionOrientation"] = list(_UPRIGHT_SECTIONS)
    return state


def viewer_url(viewer: str, state: State) -> str:
    """Return the URL of a Neuroglancer page that opens with a state."""
    text = json.dumps(state, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{viewer}#!{quote(text, safe=':/,')}"


def _world_unit_nm(voxel_nm: float) -> float:
    """Return millimetres, micrometres or nanometres: what a voxel is not a small part of."""
    return next((unit for unit in _WORLD_UNITS_NM if voxel_nm >= unit / 10), 1.0)


def _voxel_to_units(
    layer: VolumeLayer, units_nm: Sequence[float], *, is_world: bool
) -> NDArray[np.float64]:
    matrix = layer.voxel_to_nm
    if is_world and layer.volume_to_world_nm is not None:
        matrix = layer.volume_to_world_nm @ matrix
    return np.diag([*(1 / nm for nm in units_nm), 1.0]) @ matrix


def _corners(layer: VolumeLayer, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the eight corners of what a volume holds, (8, 3), in units of the dimensions."""
    scale = layer.info.scales[0]
    start = np.array(scale.voxel_offset, dtype=np.float64)
    stop = start + np.array(scale.size, dtype=np.float64)
    if layer.content is not None:
        low, high = (np.array(corner, dtype=np.float64) for corner in layer.content)
        start, stop = np.maximum(start, low), np.minimum(stop, high)
    unit_cube = np.array(list(np.ndindex(2, 2, 2)), dtype=np.float64)
    voxels = start + unit_cube * (stop - start)
    return voxels @ matrix[:3, :3].T + matrix[:3, 3]


def _middle_of_a_voxel(corners: NDArray[np.float64], matrix: NDArray[np.float64]) -> list[float]:
    """Return the point at the middle of what is there, moved to the middle of its voxel."""
    centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
    voxel = np.linalg.solve(matrix, np.array([*centre, 1.0]))[:3]
    snapped = matrix[:3, :3] @ (np.floor(voxel + 1e-6) + 0.5) + matrix[:3, 3]
    return [round(float(value), 6) for value in snapped]


def _layer(
    layer: VolumeLayer,
    matrix: NDArray[np.float64] | None,
    dimensions: dict[str, list[object]],
    *,
    below: Sequence[VolumeLayer],
) -> State:
    source: object = layer.url
    if matrix is not None:
        source = {"url": layer.url, "transform": _transform(layer, matrix, dimensions)}
    state: State = {"type": layer.info.type, "name": layer.name, "source": source}
    if layer.is_segmentation:
        state["segments"] = [str(label) for label in layer.labels]
        if colours := {
            str(label): hex_of(layer.colours[label])
            for label in layer.labels
            if label in layer.colours
        }:
            state["segmentColors"] = colours
        state["selectedAlpha"] = 0.4 if below else 0.8
        state["tab"] = "segments"
    else:
        state["shader"] = _shader(layer)
        # The lowest layer hides the background; one above lets it through.
        state["opacity"] = 0.5 if below else 1
        state["tab"] = "rendering"
    return state


def _transform(
    layer: VolumeLayer, matrix: NDArray[np.float64], dimensions: dict[str, list[object]]
) -> State:
    rows = matrix[:3].tolist()
    output = dict(dimensions)
    if layer.info.num_channels > 1:
        # The client gives volumes of several channels a fourth, local dimension.
        rows = [[*row[:3], 0, row[3]] for row in rows] + [[0, 0, 0, 1, 0]]
        output["c^"] = [1, ""]
    # The client takes the matrix as one between physical lengths, without units. Only with the
    # input declared to be in output units too does it take voxels, as the numbers say here.
    return {"matrix": rows, "outputDimensions": output, "inputDimensions": output}


def _shader(layer: VolumeLayer) -> str:
    info = layer.info
    if info.num_channels == 3 and info.data_type == "uint8":
        channels = ", ".join(f"toNormalized(getDataValue({i}))" for i in range(3))
        return f"void main() {{\n  emitRGB(vec3({channels}));\n}}\n"
    options = []
    if info.num_channels > 1:
        options.append("channel=0")
    if (shown := layer.brightness) is not None:
        as_json = _as_text if info.data_type == "uint64" else json.dumps
        options.append(f"range=[{as_json(shown.low)}, {as_json(shown.high)}]")
        options.append(f"window=[{as_json(shown.window_low)}, {as_json(shown.window_high)}]")
    arguments = f"({', '.join(options)})" if options else ""
    return (
        f"#uicontrol invlerp normalized{arguments}\n"
        "void main() {\n  emitGrayscale(normalized());\n}\n"
    )


def _as_text(value: Number) -> str:
    """Return a 64-bit value as the client wants it: JSON numbers would lose its last bits."""
    return json.dumps(str(math.floor(value)))
