"""What a Neuroglancer state is made of: layers, as values. Nothing here is read or served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError
from ngcore.previewing.appearance import NOTHING_ASKED, Asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.previewing.samples import Corner, ValueRange, ValueSummary
    from ngcore.volume.segment_colours import Colour


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
    values : ValueSummary or None
        Of an image; None leaves the range to the client.
    labels : tuple of int
        Labels of a segmentation that are shown at the start; none shows all, without meshes.
    colours : mapping of int to (red, green, blue)
        Of a label table; labels without one have the client's. Only those of `labels` get into
        the state, which is part of a URL.
    time_step : float or None, in seconds
        Between the channels of an image, where they are points of time.
    asked : Asked
        What the user asks of the layer.
    properties_url : str or None
        Source of segment properties other than the volume's own.
    """

    name: str
    url: str
    info: VolumeInfo
    volume_to_world_nm: NDArray[np.float64] | None = None
    content: tuple[Corner, Corner] | None = None
    values: ValueSummary | None = None
    labels: tuple[int, ...] = ()
    colours: Mapping[int, Colour] = field(default_factory=dict)
    time_step: float | None = None
    asked: Asked = NOTHING_ASKED
    properties_url: str | None = None

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
    def has_mesh(self) -> bool:
        """There is something to draw in 3-D."""
        return self.info.mesh is not None or self.info.skeletons is not None

    @property
    def brightness(self) -> ValueRange | None:
        """The range of values that is shown."""
        return None if self.values is None else self.values.shown

    @property
    def voxel_to_nm(self) -> NDArray[np.float64]:
        """Affine matrix (4, 4) from voxels of scale 0 to the volume's nanometres."""
        return np.diag([*map(float, self.info.scales[0].resolution), 1.0])

    @property
    def finest_nm(self) -> tuple[float, float, float]:
        """Size of a voxel of scale 0."""
        return self.info.scales[0].resolution

    def corners_nm(self, *, is_world: bool) -> NDArray[np.float64]:
        """Return the eight corners of what the volume holds, (8, 3), in nanometres."""
        scale = self.info.scales[0]
        start = np.array(scale.voxel_offset, dtype=np.float64)
        stop = start + np.array(scale.size, dtype=np.float64)
        if self.content is not None:
            low, high = (np.array(corner, dtype=np.float64) for corner in self.content)
            start, stop = np.maximum(start, low), np.minimum(stop, high)
        matrix = self.voxel_to_world_nm(is_world=is_world)
        return _corners(start, stop) @ matrix[:3, :3].T + matrix[:3, 3]

    def voxel_to_world_nm(self, *, is_world: bool) -> NDArray[np.float64]:
        """Affine matrix (4, 4) from voxels of scale 0 to nanometres of what is shown."""
        matrix = self.voxel_to_nm
        if is_world and self.volume_to_world_nm is not None:
            matrix = self.volume_to_world_nm @ matrix
        return matrix


@dataclass(frozen=True, slots=True)
class ObjectLayer:
    """A layer without voxels: a surface, points and lines, or skeletons, in nanometres.

    Parameters
    ----------
    name, url : str
        As of a `VolumeLayer`.
    type : str
        Of the layer: `segmentation` for surfaces and skeletons, `annotation`.
    bounds_nm : two tuples of float, (x, y, z), or None
        Where it lies: the lowest and the highest corner. None where that is unknown.
    has_world : bool
        Its nanometres are those of the world.
    members : mapping of str to JSON
        What the state says about the layer besides.
    asked : Asked
    is_heavy : bool
        Without a graphics card it is drawn in one panel at most.
    """

    name: str
    url: str
    type: str
    bounds_nm: tuple[Corner, Corner] | None = None
    has_world: bool = True
    members: Mapping[str, Any] = field(default_factory=dict)
    asked: Asked = NOTHING_ASKED
    is_heavy: bool = False

    @property
    def has_mesh(self) -> bool:
        """There is something to draw in 3-D."""
        return True

    def corners_nm(self, *, is_world: bool) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the eight corners of where it lies, (8, 3); none where that is unknown."""
        if self.bounds_nm is None:
            return np.empty((0, 3))
        low, high = (np.array(corner, dtype=np.float64) for corner in self.bounds_nm)
        return _corners(low, high)


Layer = VolumeLayer | ObjectLayer


def _corners(start: NDArray[np.float64], stop: NDArray[np.float64]) -> NDArray[np.float64]:
    unit_cube = np.array(list(np.ndindex(2, 2, 2)), dtype=np.float64)
    return start + unit_cube * (stop - start)
