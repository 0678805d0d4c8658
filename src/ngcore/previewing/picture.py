"""A picture of volumes: three sections side by side, upright, for reports; and thumbnails."""

from __future__ import annotations

import io
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.affines import NM_PER_MM
from ngcore.errors import InputError
from ngcore.previewing.samples import check_chunks
from ngcore.previewing.scene import PictureLayer, make_scene
from ngcore.previewing.sections import choose_scale, cut, draw_section
from ngcore.previewing.sheet import Panel, draw_sheet
from ngcore.transaction.output_file import check_output_file, write_output
from ngcore.volume.read import open as open_volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ngcore.previewing.scene import Scene
    from ngcore.volume.read import Volume

DEFAULT_SIZE = 512
SIZES = (64, 4096)
THUMBNAIL_PIXELS = 96
_THUMBNAIL_PLANE_VOXELS = 1 << 22

# The axes of the world that run to the right, upwards, and into each panel: seen from the left,
# from behind, from above, so that right is on the right wherever it can be seen.
_WORLD_PANELS = ((1, 2, 0), (0, 2, 1), (0, 1, 2))
_WORLD_MARKS = (("P", "A"), ("L", "R"), ("L", "R"))
# A volume without a world is shown as Neuroglancer shows it: as pictures are, row 0 on top.
_NATIVE_PANELS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))


def write_picture(
    layers: Sequence[PictureLayer],
    out: str | os.PathLike[str],
    *,
    size: int = DEFAULT_SIZE,
    at: Sequence[float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a PNG of three sections of volumes: sagittal, coronal and axial.

    Sections lie along the axes of the world, with the right side on the right. Volumes that do
    not say where they lie are shown as Neuroglancer shows them, without marks of left and right.

    Parameters
    ----------
    layers : sequence of PictureLayer
        Drawn as `view` draws them: images lowest, labels, signed maps on top.
    out : str or path
        The `.png` file to write.
    size : int, in pixels
        Of the longest side of what is shown, 64 to 4096.
    at : three numbers, (x, y, z), in mm, optional
        Where the sections cross; default the middle of the lowest volume.
    overwrite : bool
        Replace `out` if it is there.

    Raises
    ------
    InputError
        If `out` has another suffix, the size is out of range, or the point lies outside.
    FormatError
        If a volume is damaged.
    DestinationError
        If `out` already exists or can't be written.
    """
    check_picture(out, size, overwrite=overwrite)
    scene = make_scene(layers)
    low, high = scene.bounds_mm()
    point = scene.middle_mm() if at is None else np.array(at, dtype=np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise InputError(f"--at must be three numbers in mm, got {at}")
    if not ((point >= low) & (point <= high)).all():
        box = " x ".join(f"{a:.4g} to {b:.4g}" for a, b in zip(low, high, strict=True))
        raise InputError(f"--at {','.join(f'{x:g}' for x in point)} is outside of {box} mm")
    pixel_mm = float((high - low).max()) / size
    panels = _WORLD_PANELS if scene.is_world else _NATIVE_PANELS
    sections = [
        cut(axes, low, high, point, pixel_mm, is_flipped=not scene.is_world) for axes in panels
    ]
    sheet = draw_sheet(
        [
            Panel(
                draw_section(scene, section),
                width=section.width,
                height=section.height,
                is_smooth=False,
                marks=marks if scene.knows_sides else ("", ""),
            )
            for section, marks in zip(sections, _WORLD_MARKS, strict=True)
        ],
        pixel_nm=pixel_mm * NM_PER_MM,
    )
    write_output(out, sheet)


def check_picture(out: str | os.PathLike[str], size: int, *, overwrite: bool) -> None:
    """Check where a picture is to go, and how large, before anything is read.

    Raises
    ------
    InputError, DestinationError
    """
    if not os.fspath(out).lower().endswith(".png"):
        raise InputError(f"{os.fspath(out)!r} must end in .png")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"the size must be {SIZES[0]} to {SIZES[1]} pixels, got {size}")
    check_output_file(out, overwrite=overwrite)


def preview(dest: str | os.PathLike[str], out: str | os.PathLike[str], **options: Any) -> None:
    """Write a PNG of three sections of one volume, with the options of `write_picture`.

    Raises
    ------
    InputError, FormatError, DestinationError
    """
    write_picture([PictureLayer(open_volume(dest), name=str(dest))], out, **options)


def thumbnail(volume: Volume, *, size: int = THUMBNAIL_PIXELS) -> bytes:
    """Return a small PNG of a middle section, from above with anterior up where that is known.

    Raises
    ------
    NgcoreError
        The volume can't be read, or is too large for a look.
    """
    scene = make_scene([PictureLayer(volume, name=volume.store.location)])
    low, high = scene.bounds_mm()
    pixel_mm = max(float((high - low)[:2].max()) / size, 1e-12)
    scale = choose_scale(volume.scales, pixel_mm)
    if math.prod(scale.shape) / min(scale.shape[:3]) > _THUMBNAIL_PLANE_VOXELS:
        raise InputError(
            f"the coarsest scale of {volume.store.location} is too large to read for a picture"
        )
    check_chunks(scale)
    return _png(_axial(scene, low, high, pixel_mm))


def _axial(
    scene: Scene, low: NDArray[np.float64], high: NDArray[np.float64], pixel_mm: float
) -> NDArray[np.uint8]:
    section = cut((0, 1, 2), low, high, scene.middle_mm(), pixel_mm, is_flipped=not scene.is_world)
    return draw_section(scene, section)


def _png(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG")
    return file.getvalue()
