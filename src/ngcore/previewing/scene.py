"""What a picture shows: volumes, each with its appearance, from the lowest up, in one world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ngcore.arrays.affines import NM_PER_MM
from ngcore.previewing.appearance import NOTHING_ASKED, Appearance, Asked, decide, order_images
from ngcore.previewing.samples import IMAGE_VOXELS, Samples, summarize
from ngcore.volume.segment_colours import segment_colours
from ngcore.volume.source_facts import source_facts, time_step_seconds
from ngcore.volume.world import has_world, scale_affine, world_transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray
    from ngcore.volume.segment_colours import Colour

_LABELS_OVER = 0.4


@dataclass(frozen=True, slots=True)
class PictureLayer:
    """A volume that is drawn.

    Attributes
    ----------
    volume : Volume
    asked : Asked
    colours : mapping of int to (red, green, blue), or None
        Of labels, instead of those of the volume's own table.
    name : str
        For messages.
    """

    volume: Volume
    asked: Asked = NOTHING_ASKED
    colours: Mapping[int, Colour] | None = None
    name: str = "the volume"


@dataclass(frozen=True, slots=True)
class DrawnLayer:
    """A layer, and how it is drawn; `look` is None for labels, which have colours instead."""

    volume: Volume
    look: Appearance | None
    opacity: float
    colours: Mapping[int, Colour]
    is_placed: bool

    def affine(self, scale: ScaleArray) -> NDArray[np.float64]:
        """From indices of voxel centres of a scale to millimetres of the picture's space."""
        return scale_affine(scale, world_transform(self.volume.store) if self.is_placed else None)


@dataclass(frozen=True, slots=True)
class Scene:
    """Layers from the lowest up.

    Attributes
    ----------
    layers : tuple of DrawnLayer
    is_world : bool
        The axes are right, front and top.
    knows_sides : bool
        Left and right are those of the subject: a world, and a source that says where left is.
    """

    layers: tuple[DrawnLayer, ...]
    is_world: bool
    knows_sides: bool

    def bounds_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lowest and the highest corner of all layers."""
        corners = np.concatenate([_corners_mm(layer) for layer in self.layers])
        return corners.min(axis=0), corners.max(axis=0)

    def middle_mm(self) -> NDArray[np.float64]:
        """Return the middle of the lowest layer, at the centre of a voxel."""
        lowest = self.layers[0]
        scale = lowest.volume.scales[0]
        voxel = [size // 2 for size in scale.shape[:3]]
        centre: NDArray[np.float64] = (lowest.affine(scale) @ [*voxel, 1.0])[:3]
        return centre

    def finest_mm(self) -> float:
        """Return the smallest side of a voxel."""
        return min(min(x.volume.scales[0].resolution) for x in self.layers) / NM_PER_MM


def _corners_mm(layer: DrawnLayer) -> NDArray[np.float64]:
    scale = layer.volume.scales[0]
    unit_cube = np.array(list(np.ndindex(2, 2, 2)), dtype=np.float64)
    voxels = unit_cube * scale.shape[:3] - 0.5
    affine = layer.affine(scale)
    corners: NDArray[np.float64] = voxels @ affine[:3, :3].T + affine[:3, 3]
    return corners


def make_scene(layers: Sequence[PictureLayer]) -> Scene:
    """Return the scene of layers that were given in any order.

    Raises
    ------
    NgcoreError
        A volume is damaged, or what is asked of it does not fit it.
    """
    is_world = any(has_world(world_transform(x.volume.store)) for x in layers)
    images = [x for x in layers if x.volume.info.type != "segmentation"]
    labels = [x for x in layers if x.volume.info.type == "segmentation"]
    are_series = [time_step_seconds(x.volume) is not None for x in images]
    summaries = [
        summarize(Samples(x.volume, IMAGE_VOXELS), x.asked.channel, is_series=is_series)
        for x, is_series in zip(images, are_series, strict=True)
    ]
    order = order_images([s is not None and s.is_signed_map for s in summaries])
    drawn: list[DrawnLayer] = []
    maps: list[DrawnLayer] = []
    for number, place in enumerate(order):
        layer = images[place]
        look = decide(
            layer.volume.info,
            summaries[place],
            layer.asked,
            is_over=number > 0,
            has_time=are_series[place],
            name=layer.name,
        )
        is_map = look.mode == "diverging" and number > 0
        (maps if is_map else drawn).append(
            DrawnLayer(layer.volume, look, look.opacity, {}, is_world)
        )
    for layer in labels:
        opacity = layer.asked.opacity
        if opacity is None:
            opacity = _LABELS_OVER if drawn or maps else 1.0
        colours = layer.colours
        if colours is None:
            colours = segment_colours(layer.volume.store, layer.volume.info)
        drawn.append(DrawnLayer(layer.volume, None, opacity, colours, is_world))
    shown = tuple(drawn + maps)
    knows_sides = is_world and not any(
        source_facts(x.volume).get("left_is_unknown") for x in layers
    )
    return Scene(shown, is_world, knows_sides)
