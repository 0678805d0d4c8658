"""Asking the real client what lies at points of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from heads import CENTRE, MARKS

if TYPE_CHECKING:
    import nibabel
    from browser import Neuroglancer


def value_at(image: nibabel.Nifti1Image, point: np.ndarray) -> int | None:
    """Return the value of the voxel around a point of the world; None too near to its sides."""
    voxel = np.linalg.solve(image.affine, [*point, 1])[:3]
    if (np.abs(voxel - np.rint(voxel)) > 0.48).any():
        return None
    return int(np.asarray(image.dataobj)[tuple(np.rint(voxel).astype(int))])


def assert_in_place(neuroglancer: Neuroglancer, layer: str, image: nibabel.Nifti1Image) -> None:
    # The marks; somewhere in each and beside it; and anywhere, to a fraction of a voxel.
    random = np.random.default_rng(2)
    points = [place + random.uniform(-8, 8, 3) for place in MARKS.values() for _ in range(4)]
    points += [CENTRE + random.uniform(-20, 20, 3) for _ in range(8)]
    expected = list(MARKS) + [value_at(image, point) for point in points]
    points = [*MARKS.values(), *points]
    for point, value, shown in zip(
        points, expected, neuroglancer.values_at(layer, points), strict=True
    ):
        assert value in (shown, None), (layer, point.tolist(), value, shown)
