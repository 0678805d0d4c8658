"""Which reader opens a source: by what is there, then by the ending of its name.

Each reader is imported where it is needed: `import ngcore` stays quick, however many there are.
"""

from __future__ import annotations

import math
import operator
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ngcore.arrays.affines import parse_orientation
from ngcore.errors import InputError
from ngcore.sources.files import refuse_pipe
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.slices.names import is_slice_pattern
from ngcore.storage import is_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.sources.base import Source, Vec3
    from ngcore.sources.volumes.nifti_affine import Form

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
TIFF_ENDINGS = (".tif", ".tiff")
MGH_ENDINGS = (".mgh", ".mgz", ".mgh.gz")
NIFTI_ENDINGS = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
"""Endings of NIfTI files; pairs may be Analyze's, which their header tells."""


def open_source(
    source: object,
    *,
    ignore_scaling: bool = False,
    form: Form = "auto",
    orient: str | None = None,
    input_orientation: str = "RAS",
    resolution: Sequence[float] | None = None,
    voxel_offset: Sequence[int] | None = None,
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
    input_orientation : str
        For slices and TIFF stacks: direction of increasing column, row and slice.
    resolution : sequence of float, (x, y, z), in nanometres, optional
        Instead of the source's; its axes are those of the result, after `orient`.
    voxel_offset : sequence of int, (x, y, z), in voxels, optional
        Instead of the source's.
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
    asked = AskedGeometry(_resolution(resolution), _voxel_offset(voxel_offset))
    choices = Choices(form, ignore_scaling, parse_orientation(input_orientation), workers)
    if orient is None:
        return _open(source, asked, choices)
    from ngcore.sources.orient import orient_source

    opened = _open(source, AskedGeometry(), choices)
    try:
        return orient_source(opened, orient, asked)
    except BaseException:
        opened.close()
        raise


class Choices(NamedTuple):
    """Options that only some readers have; the others refuse them where they are set."""

    form: Form
    ignore_scaling: bool
    input_orientation: str
    workers: int | None

    def refuse_form(self, name: str) -> None:
        """Refuse `--form` for what is not NIfTI."""
        if self.form != "auto":
            raise InputError(f"{name}: --form {self.form} is for NIfTI files; leave it out")

    def refuse_orientation(self, name: str) -> None:
        """Refuse `--input-orientation` for what is neither slices nor a TIFF stack."""
        if self.input_orientation != "RAS":
            raise InputError(
                f"{name}: --input-orientation is for slices and TIFF stacks; use --orient"
            )


def _open(source: object, asked: AskedGeometry, choices: Choices) -> Source:
    if isinstance(source, str | os.PathLike):
        if not os.fspath(source):
            raise InputError("the path of the source is empty; pass that of a file or a folder")
        return _open_path(os.fspath(source), asked, choices)
    from ngcore.sources.volumes.array import ArrayLike, open_array
    from ngcore.volume.scale import ScaleArray

    if not isinstance(source, ArrayLike):
        raise InputError(
            f"a source is a path or an array with shape, dtype and slicing, got "
            f"{type(source).__name__}"
        )
    name = f"the {type(source).__name__}"
    choices.refuse_form(name)
    choices.refuse_orientation(name)
    if isinstance(source, ScaleArray):
        from ngcore.sources.volumes.precomputed import open_scale

        return open_scale(source, name, asked)
    return open_array(source, name, asked)


def _open_path(name: str, asked: AskedGeometry, choices: Choices) -> Source:
    if is_url(name):
        from ngcore.sources.volumes.precomputed import open_precomputed

        choices.refuse_form(name)
        choices.refuse_orientation(name)
        return open_precomputed(name, name, asked, workers=choices.workers)
    path = Path(name)
    lower = path.name.lower()
    refuse_pipe(path, name)
    is_folder = path.is_dir()
    is_volume = is_folder and (path / "info").is_file()
    if (is_folder and not is_volume) or is_slice_pattern(name) or lower.endswith(PICTURE_ENDINGS):
        from ngcore.sources.slices.folder import SlicesSource

        choices.refuse_form(name)
        return SlicesSource(
            [name],
            input_orientation=choices.input_orientation,
            resolution=asked.resolution,
            voxel_offset=asked.voxel_offset or (0, 0, 0),
            workers=choices.workers,
        )
    if lower.endswith(TIFF_ENDINGS):
        from ngcore.sources.slices.tiff import TiffStackSource

        choices.refuse_form(name)
        return TiffStackSource(
            path,
            name,
            input_orientation=choices.input_orientation,
            resolution=asked.resolution,
            voxel_offset=asked.voxel_offset or (0, 0, 0),
            workers=choices.workers,
        )
    choices.refuse_orientation(name)
    if not is_volume and lower.endswith(NIFTI_ENDINGS):
        from ngcore.sources.volumes.nifti import is_nifti, open_nifti

        if is_nifti(path, name):
            return open_nifti(
                path,
                name,
                asked=asked,
                form=choices.form,
                ignore_scaling=choices.ignore_scaling,
            )
    choices.refuse_form(name)
    if is_volume:
        from ngcore.sources.volumes.precomputed import open_precomputed

        return open_precomputed(path, name, asked, workers=choices.workers)
    if lower.endswith(MGH_ENDINGS):
        from ngcore.sources.volumes.mgh import open_mgh

        return open_mgh(path, name, asked)
    if lower.endswith(".npy"):
        from ngcore.sources.volumes.npy import open_npy

        return open_npy(path, name, asked)
    from ngcore.sources.volumes.nibabel_formats import open_with_nibabel

    return open_with_nibabel(path, name, asked, ignore_scaling=choices.ignore_scaling)


def _resolution(values: Sequence[float] | None) -> tuple[float, float, float] | None:
    if values is None:
        return None
    sizes = [float(value) for value in values]
    if len(sizes) != 3 or not all(math.isfinite(size) and size > 0 for size in sizes):
        raise InputError(f"resolution must be three positive numbers of nanometres, got {values}")
    return sizes[0], sizes[1], sizes[2]


def _voxel_offset(values: Sequence[int] | None) -> Vec3 | None:
    if values is None:
        return None
    try:
        offset = [operator.index(value) for value in values]
    except TypeError:
        offset = []
    if len(offset) != 3:
        raise InputError(f"voxel_offset must be three whole numbers, got {values}")
    return offset[0], offset[1], offset[2]
