"""Volumes whose pictures are kept as golden ones, and the head that they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    ornt_transform,
)

import ngcore
from ngcore.labelling.labels import write_labels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OBLIQUE = from_matvec(euler2mat(0.1, -0.15, 0.2) @ np.diag([2.0, 2, 3]), [-50, -70, -40])
SIZE = 160


def head() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a head in RAS: a bright cube on its right, one in front, one on top; labels of it."""
    shape = np.array((51, 61, 41))
    points = (np.moveaxis(np.indices(shape), 0, -1) - shape // 2) / (shape / 2)
    radius = np.sqrt((points**2).sum(axis=-1))
    image = np.where(radius < 0.9, 400 + 300 * np.cos(9 * radius), 0).astype(np.int16)
    labels = (radius < 0.9).astype(np.uint32) * 2
    labels[radius < 0.5] = 41
    middle = shape // 2
    for axis, size in enumerate((10, 9, 8)):
        start = middle - size // 2
        start[axis] += shape[axis] // 4
        box = tuple(slice(a, a + size) for a in start)
        image[box] = 1200
        labels[box] = 1000 + axis
    return image, labels


def convert_in_order(dest: Path, values: NDArray[Any], code: str, **options: Any) -> None:
    """Convert an array in RAS, placed by OBLIQUE, with its axes in the order of a code."""
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(code))
    affine = OBLIQUE @ inv_ornt_aff(change, values.shape)
    source = dest.with_suffix(".nii")
    nibabel.save(nibabel.Nifti1Image(apply_orientation(values, change), affine), source)
    ngcore.convert(source, dest, fsync=False, overwrite=True, **options)


def image(dest: Path) -> None:
    """Write an image whose axes are oblique, and in an order of their own."""
    convert_in_order(dest, head()[0], "PSL")


def labels(dest: Path) -> None:
    """Write labels, some of them in the colours of a table."""
    convert_in_order(dest, head()[1], "IRA", type="segmentation")
    table = dest.with_suffix(".txt")
    table.write_text("0 Unknown 0 0 0 0\n2 White 245 245 245 0\n1000 Right 255 0 0 0\n")
    write_labels(dest, table)


def colours(dest: Path) -> None:
    """Write an RGB volume that does not say where it lies in the world."""
    x, y, z = np.indices((60, 40, 20))
    ball = (x - 30) ** 2 + (y - 20) ** 2 + (3 * (z - 10)) ** 2 < 300
    rgb = np.stack([4 * x, 6 * y, np.where(ball, 255, 0)], axis=-1).astype(np.uint8)
    ngcore.convert(rgb, dest, resolution=(4, 4, 12), fsync=False)


SCENES = {"image": image, "labels": labels, "colours": colours}
