"""Cross sections of a scene along the axes of the world, as pictures."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.previewing.paint import blend, paint_image, paint_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ngcore.previewing.scene import DrawnLayer, Scene
    from ngcore.volume.scale import ScaleArray

_MOST_BYTES = 1 << 28
"""Of the voxels of one layer that are read for one section."""
_BIAS = 1e-4
"""Of a pixel: samples that fall between two voxels take the same one however axes run."""
_SMOOTH_MODES = ("grey", "colour")


@dataclass(frozen=True, slots=True)
class Section:
    """A plane through the world, and the pixels of its picture.

    Attributes
    ----------
    right, up, depth : int
        Which axis of the world runs to the right, upwards, and into the picture.
    width, height : int, in pixels
    corner_mm : ndarray of float, shape (3,)
        The middle of the upper left pixel.
    pixel_mm : float
    is_flipped : bool
        The axis runs downwards, as in pictures without a world.
    """

    right: int
    up: int
    depth: int
    width: int
    height: int
    corner_mm: NDArray[np.float64]
    pixel_mm: float
    is_flipped: bool

    def steps_mm(self) -> NDArray[np.float64]:
        """Return the way of one column and of one row, shape (2, 3)."""
        steps = np.zeros((2, 3))
        steps[0, self.right] = self.pixel_mm
        steps[1, self.up] = self.pixel_mm if self.is_flipped else -self.pixel_mm
        return steps


def cut(
    axes: tuple[int, int, int],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    at: NDArray[np.float64],
    pixel_mm: float,
    *,
    is_flipped: bool,
) -> Section:
    """Return the section along two axes of a box, at a point of the third."""
    right, up, depth = axes
    width, height = (max(1, round(float(high[i] - low[i]) / pixel_mm)) for i in (right, up))
    corner = np.array(at, dtype=np.float64)
    corner[right] = (low[right] + high[right] - (width - 1) * pixel_mm) / 2
    half = (height - 1) * pixel_mm / 2
    middle = (low[up] + high[up]) / 2
    corner[up] = middle - half if is_flipped else middle + half
    return Section(right, up, depth, width, height, corner, pixel_mm, is_flipped)


def draw_section(scene: Scene, section: Section) -> NDArray[np.uint8]:
    """Return the picture of a section, shape (row, column, 3)."""
    picture = np.zeros((section.height, section.width, 3))
    for layer in scene.layers:
        picture = blend(picture, _painted(layer, section))
    rounded: NDArray[np.uint8] = np.rint(picture.clip(0, 255)).astype(np.uint8)
    return rounded


def _painted(layer: DrawnLayer, section: Section) -> NDArray[np.float64]:
    scale = choose_scale(layer.volume.scales, section.pixel_mm)
    is_smooth = layer.look is not None and layer.look.mode in _SMOOTH_MODES
    values, is_inside = _sampled(layer, scale, section, is_smooth=is_smooth)
    if layer.look is None:
        painted = paint_labels(values[..., 0], layer.colours, layer.opacity)
    else:
        painted = paint_image(values, layer.look)
    painted[..., 3] *= is_inside
    return painted


def choose_scale(scales: Sequence[ScaleArray], pixel_mm: float) -> ScaleArray:
    """Return the coarsest scale with voxels that are not wider than a pixel, else the finest."""
    pixel_nm = pixel_mm * 1e6 * (1 + 1e-6)
    return next((x for x in reversed(scales) if min(x.resolution) <= pixel_nm), scales[0])


def _sampled(
    layer: DrawnLayer, scale: ScaleArray, section: Section, *, is_smooth: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the values at the pixels, (row, column, channel), and which lie in the volume."""
    inverse = np.linalg.inv(layer.affine(scale))
    bias = np.full(3, _BIAS * section.pixel_mm)
    start = (inverse @ [*(section.corner_mm + bias), 1.0])[:3]
    across, down = section.steps_mm() @ inverse[:3, :3].T
    rows, columns = np.mgrid[: section.height, : section.width]
    places = start + columns[..., np.newaxis] * across + rows[..., np.newaxis] * down
    size = np.array(scale.shape[:3])
    is_inside = ((places > -0.5) & (places < size - 0.5)).all(axis=-1)
    if not is_inside.any():
        return np.zeros((*is_inside.shape, scale.shape[3]), scale.dtype), is_inside
    places = places.clip(0, size - 1)
    low = np.floor(places.min(axis=(0, 1))).astype(int)
    high = np.minimum(np.ceil(places.max(axis=(0, 1))).astype(int) + 1, size)
    steps = _strides(high - low, np.maximum(np.abs(across), np.abs(down)), scale)
    box = scale[tuple(slice(a, b, s) for a, b, s in zip(low, high, steps, strict=True))]
    places = (places - low) / steps
    if is_smooth and max(steps) == 1:
        return _linear(box, places), is_inside
    nearest = np.minimum(np.floor(places + 0.5).astype(int), np.array(box.shape[:3]) - 1)
    return box[nearest[..., 0], nearest[..., 1], nearest[..., 2]], is_inside


def _strides(extent: NDArray[Any], voxels_per_pixel: NDArray[Any], scale: ScaleArray) -> list[int]:
    """Return which voxels are read along each axis: every one, or every so many."""
    steps = [max(1, int(rate / 2)) for rate in voxels_per_pixel]
    size = scale.shape[3] * scale.dtype.itemsize
    while math.prod(-(-int(n) // s) for n, s in zip(extent, steps, strict=True)) * size > (
        _MOST_BYTES
    ):
        steps = [step * 2 for step in steps]
    return steps


def _linear(box: NDArray[Any], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate between the eight voxels around each place."""
    last = np.array(box.shape[:3]) - 1
    low = np.minimum(np.floor(places).astype(int), np.maximum(last - 1, 0))
    share = places - low
    total = np.zeros((*places.shape[:2], box.shape[3]))
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, share, 1 - share), axis=-1)
        x, y, z = np.moveaxis(np.minimum(low + corner, last), -1, 0)
        # What weighs nothing does not count, NaN though it be.
        values = np.where(weight[..., np.newaxis] > 1e-3, box[x, y, z].astype(np.float64), 0)
        total += weight[..., np.newaxis] * values
    return total.astype(box.dtype) if box.dtype.kind == "f" else _rounded(total, box.dtype)


def _rounded(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Keep unsigned colours what they are: 8-bit values are told from others by their type."""
    if dtype == np.uint8:
        return np.rint(values).clip(0, 255).astype(np.uint8)
    return values
