"""The boundary of sources: options are checked, a format is found, the name goes onto errors.

Formats register themselves (`ngcore.sources.registry`) and are imported with the first source
that is opened, what they need only with the first of their own kind.
"""

from __future__ import annotations

import math
import operator
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ngcore.arrays.affines import parse_orientation
from ngcore.errors import InputError, naming
from ngcore.sources.files import refuse_pipe
from ngcore.sources.geometry import AskedGeometry, asked_affine, place
from ngcore.sources.registry import Asked, Found, open_found, with_name
from ngcore.storage import is_url

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ngcore.precomputed.chunks import Vec3
    from ngcore.sources.base import Source
    from ngcore.sources.volumes.nifti_affine import Form


def open_source(
    source: object,
    *,
    ignore_scaling: bool = False,
    form: Form = "auto",
    orient: str | None = None,
    input_orientation: str | None = None,
    gaps: Literal["keep", "blank"] = "keep",
    type: Literal["image", "segmentation", "auto"] = "auto",  # noqa: A002 - the option's name
    resolution: Sequence[float] | None = None,
    voxel_offset: Sequence[int] | None = None,
    affine: Any = None,
    axes: str | None = None,
    level: int | None = None,
    workers: int | None = None,
) -> Source:
    """Open whatever volumes come from; reads headers, no voxels.

    Parameters
    ----------
    source : path or array
        A file, a folder, the URL of a volume, a glob pattern of slices, or anything with shape,
        dtype and slicing.
    ignore_scaling : bool
        Take stored values as they are.
    form : "auto", "sform" or "qform"
        Which affine of a NIfTI file.
    orient : str, optional
        Code, such as "RAS", that the axes are brought to; default as stored.
    input_orientation : str, optional
        For slices and TIFF stacks: direction of increasing column, row and slice; default RAS,
        without a place in the world.
    gaps : "keep" or "blank"
        For folders of slices: what becomes of section numbers that are missing.
    type : "image", "segmentation" or "auto"
        What the volume will be: pictures with a palette are labels or colours.
    resolution : sequence of float, (x, y, z), in nanometres, optional
        Instead of the source's; its axes are those of the result, after `orient`.
    voxel_offset : sequence of int, (x, y, z), in voxels, optional
        Instead of the source's.
    affine : array of float, shape (4, 4), or 12 or 16 numbers, optional
        From voxel centres to millimetres, instead of the source's.
    axes : str, optional
        What each stored axis is, slowest first, such as "zyx" or "tzyx".
    level : int, optional
        Which of several resolutions of a source; default the finest, 0.
    workers : int, optional
        How many slices are decoded at once; default as many as there are processors.

    Returns
    -------
    Source
        The caller closes it.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    InputError
        If the source is of no kind that can be read, or can't be what was asked for.
    FormatError
        If it is corrupt.
    MissingExtraError
        If it needs a package that is not installed.
    """
    geometry = AskedGeometry(
        None if resolution is None else _resolution(resolution),
        None if voxel_offset is None else _voxel_offset(voxel_offset),
        None if affine is None else asked_affine(affine),
    )
    asked = Asked(
        geometry,
        form,
        ignore_scaling,
        None if input_orientation is None else parse_orientation(input_orientation),
        gaps,
        type,
        axes,
        level,
        workers,
    )
    if orient is None:
        opened = _open(source, asked)
        return opened if geometry.affine is None else _with_affine(opened, geometry)
    from ngcore.sources.orient import orient_source

    opened = _open(source, asked._replace(geometry=AskedGeometry(affine=geometry.affine)))
    try:
        if geometry.affine is not None:
            _with_affine(opened, AskedGeometry(affine=geometry.affine))
        return orient_source(opened, orient, geometry)
    except BaseException:
        opened.close()
        raise


def _with_affine(source: Source, geometry: AskedGeometry) -> Source:
    """Let an affine that was asked for stand, whatever kind of source it is."""
    placed = place(None, geometry, source.name)
    source.header = replace(
        source.header,
        affine_voxel_to_mm=placed.affine_voxel_to_mm,
        resolution_nm=placed.resolution_nm,
    )
    return source


def source_path(source: object) -> Path | None:
    """Return where a source lies in the file system, if it does, without a path inside of it."""
    if not isinstance(source, str | os.PathLike) or is_url(source):
        return None
    return Found.at(os.fspath(source)).path


def base_name(name: str) -> str:
    """Return the last part of the name of a source, with the path inside of it; a URL whole.

    Examples
    --------
    >>> base_name("/data/a.nii.gz")
    'a.nii.gz'
    """
    if is_url(name):
        return name
    found = Found.at(name)
    base = found.path.name
    return base if found.inside is None else f"{base}:/{found.inside}"


def _open(source: object, asked: Asked) -> Source:
    if isinstance(source, str | os.PathLike):
        if not os.fspath(source):
            raise InputError("the path of the source is empty; pass that of a file or a folder")
        found = Found.at(os.fspath(source))
        with naming(found.name):
            if not found.is_url:
                refuse_pipe(found.path, found.name)
            return with_name(open_found(found, asked), found.name)
    from ngcore.sources.objects import open_object

    name = f"the {type(source).__name__}"
    with naming(name):
        return with_name(open_object(source, asked), name)


def _resolution(values: Sequence[float]) -> tuple[float, float, float]:
    sizes = [float(value) for value in values]
    if len(sizes) != 3 or not all(math.isfinite(size) and size > 0 for size in sizes):
        raise InputError(f"resolution must be three positive numbers of nanometres, got {values}")
    return sizes[0], sizes[1], sizes[2]


def _voxel_offset(values: Sequence[int]) -> Vec3:
    try:
        offset = [operator.index(value) for value in values]
    except TypeError:
        offset = []
    if len(offset) != 3:
        raise InputError(f"voxel_offset must be three whole numbers, got {values}")
    return offset[0], offset[1], offset[2]
