"""A picture of a volume: its three middle slices, upright, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.affines import NM_PER_MM, axes_between, orientation_of, voxel_sizes_mm
from ngcore.errors import InputError
from ngcore.previewing.sheet import Panel, draw_sheet
from ngcore.transaction.output_file import check_output_file, write_output
from ngcore.volume.read import open as open_volume
from ngcore.volume.segment_colours import default_colours, segment_colours
from ngcore.volume.world import has_world, scale_affine, world_transform

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ngcore.arrays.affines import Axes, Signs, Sizes
    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray
    from ngcore.volume.segment_colours import Colour

DEFAULT_SIZE = 512
SIZES = (64, 4096)

# The axes of the world that run to the right, upwards, and into each panel: seen from the left,
# from behind, from above, so that right is on the right wherever it can be seen.
_WORLD_PANELS = ((1, 2, 0), (0, 2, 1), (0, 1, 2))
_WORLD_MARKS = (("P", "A"), ("L", "R"), ("L", "R"))
# A volume without a world is shown as Neuroglancer shows it: as pictures are, row 0 on top.
_NATIVE_PANELS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
_SAMPLES_PER_PIXEL = 2


@dataclass(frozen=True, slots=True)
class _View:
    """A scale, its axes put in the order and direction of the world's.

    Attributes
    ----------
    axes : tuple of int
        Which axis of the scale each axis of the view is.
    signs : tuple of int
        -1 where it runs the other way.
    voxel_nm : tuple of float
        Sizes of a voxel along the axes of the view.
    has_world : bool
        Whether right, anterior and superior are known.
    """

    scale: ScaleArray
    axes: Axes
    signs: Signs
    voxel_nm: Sizes
    has_world: bool

    @property
    def extent_nm(self) -> list[float]:
        """Sizes of the volume along the axes of the view."""
        return [
            self.scale.shape[axis] * size
            for axis, size in zip(self.axes, self.voxel_nm, strict=True)
        ]

    def slice(self, panel: Sequence[int], pixel_nm: float) -> NDArray[Any]:
        """Return the middle slice of a panel as rows of a picture, (row, column, channel).

        Where voxels are much smaller than pixels, some are left out.
        """
        right, up, depth = panel
        index: list[Any] = [slice(None)] * 4
        for axis in (right, up):
            samples = pixel_nm / self.voxel_nm[axis] / _SAMPLES_PER_PIXEL
            index[self.axes[axis]] = slice(None, None, max(1, int(samples)))
        index[self.axes[depth]] = self.scale.shape[self.axes[depth]] // 2
        plane = self.scale[tuple(index)]
        if self.axes[right] < self.axes[up]:
            plane = plane.swapaxes(0, 1)
        is_upside_down = (self.signs[up] > 0) == self.has_world
        return plane[:: -1 if is_upside_down else 1, :: self.signs[right]]


def preview(
    dest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: int = DEFAULT_SIZE,
    overwrite: bool = False,
) -> None:
    """Write a PNG of the three middle slices of a volume.

    Slices are taken along the voxels' own axes, turned and flipped to lie closest to the world's:
    sagittal, coronal and axial, with the right side on the right. A volume that does not say where
    it lies is shown as Neuroglancer shows it, without marks of left and right. Labels have the
    colours of their table, else those of Neuroglancer; images are stretched between percentiles
    of what is shown; of several channels three of uint8 are shown as RGB, else the first one is.

    Parameters
    ----------
    dest : str or path
        The folder of the volume.
    out : str or path
        The `.png` file to write.
    size : int, in pixels
        Of the longest side of the volume, 64 to 4096.
    overwrite : bool
        Replace `out` if it is there.

    Raises
    ------
    InputError
        If there is no volume, `out` has another suffix, or the size is out of range.
    FormatError
        If the volume is damaged.
    DestinationError
        If `out` is there already or can't be written.
    """
    opened = open_volume(dest)
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise InputError(f"{str(out)!r} must end in .png")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"the size must be {SIZES[0]} to {SIZES[1]} pixels, got {size}")
    check_output_file(out, overwrite=overwrite)
    view = _view(opened, size)
    pixel_nm = max(view.extent_nm) / size
    panels = _WORLD_PANELS if view.has_world else _NATIVE_PANELS
    planes = [view.slice(panel, pixel_nm) for panel in panels]
    is_label = opened.info.type == "segmentation"
    pictures = _coloured(planes, opened) if is_label else _shaded(planes)
    extent = view.extent_nm
    sheet = draw_sheet(
        [
            Panel(
                picture,
                width=max(1, round(extent[right] / pixel_nm)),
                height=max(1, round(extent[up] / pixel_nm)),
                is_smooth=not is_label,
                marks=marks if view.has_world else ("", ""),
            )
            for picture, (right, up, _), marks in zip(pictures, panels, _WORLD_MARKS, strict=True)
        ],
        pixel_nm=pixel_nm,
    )
    write_output(out, sheet)


def _view(opened: Volume, size: int) -> _View:
    """Return the coarsest scale that has as many voxels as the picture has pixels."""
    scale = next(
        (scale for scale in reversed(opened.scales) if max(scale.shape[:3]) >= size),
        opened.scales[0],
    )
    transform = world_transform(opened)
    affine = scale_affine(scale, transform)
    is_placed = has_world(transform)
    axes, signs = axes_between(orientation_of(affine) if is_placed else "RAS", "RAS")
    sizes = voxel_sizes_mm(affine)
    x, y, z = (sizes[axis] * NM_PER_MM for axis in axes)
    return _View(scale, axes, signs, (x, y, z), is_placed)


def _shaded(planes: list[NDArray[Any]]) -> list[NDArray[np.uint8]]:
    """Return pictures of an image, (row, column) or (row, column, RGB)."""
    if planes[0].shape[2] == 3 and planes[0].dtype == np.uint8:
        return planes
    values = [plane[..., 0].astype(np.float64) for plane in planes]
    low, high = _brightness(np.concatenate([value.ravel() for value in values]))
    return [
        (np.nan_to_num((value - low) / (high - low), nan=0).clip(0, 1) * 255).astype(np.uint8)
        for value in values
    ]


def _brightness(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the values that are black and white, robust against a few bright voxels.

    Zeros are usually what surrounds the object, so they do not count towards the percentiles.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    inside = values[values != 0]
    if not inside.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(inside, [0.5, 99.5]))
    if inside.size < values.size and low >= 0:
        low = 0.0
    if low < high:
        return low, high
    if high > 0 and inside.size < values.size:
        return 0.0, high  # one value beside zeros: white
    return high - max(1.0, abs(high)), high + max(1.0, abs(high))  # one value alone: grey


def _coloured(planes: list[NDArray[Any]], opened: Volume) -> list[NDArray[np.uint8]]:
    """Return pictures of labels, (row, column, RGB); 0 is black."""
    table = segment_colours(opened.store, opened.info)
    return [_label_picture(plane[..., 0], table) for plane in planes]


def _label_picture(labels: NDArray[Any], table: Mapping[int, Colour]) -> NDArray[np.uint8]:
    ids, places = np.unique(labels, return_inverse=True)
    colours = default_colours(ids)
    for number, label in enumerate(ids.tolist()):
        if label == 0:
            colours[number] = 0
        elif label in table:
            colours[number] = table[label]
    return colours[places.reshape(labels.shape)]
