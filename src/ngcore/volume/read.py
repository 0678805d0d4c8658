"""Volumes that are there: `open` one, ask where it lies in the world, read its scales."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError, VolumeIndexError
from ngcore.precomputed.info import VolumeInfo
from ngcore.storage import LocalStore, ReadableStore, open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.volume.scale import ScaleArray

_MAX_INFO = 16 << 20
CACHE_BYTES = 128 << 20


def open(  # noqa: A001 (ngcore.open is its public name)
    path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Volume:
    """Open a volume to read it.

    Parameters
    ----------
    path : str or path
        The folder that holds its `info` file; or its URL, such as ``https://example.org/brain``
        or ``gs://bucket/brain``, for which the extra ``cloud`` is needed.
    workers : int, optional
        Threads that read; default all cores, and more for URLs.
    cache_bytes : int
        How many bytes of chunks may be kept in memory of which a part was read, so that the next
        plane or cutout needs not read them again; 0 keeps none.

    Returns
    -------
    Volume

    Raises
    ------
    InputNotFoundError
        There is no such folder, or it has no `info` file.
    FormatError
        The `info` file breaks the format's rules.
    InputError
        The path is empty, or `workers` or `cache_bytes` is not a number that makes sense.
    MissingExtraError
        A URL needs a package that is not installed.
    StorageError
        The server fails, or denies it.
    """
    text = os.fspath(path)
    if not text:
        raise InputError("the path of the volume is empty; pass that of the folder that holds it")
    if workers is not None and (isinstance(workers, bool) or workers < 1):
        raise InputError(f"workers must be 1 or more, got {workers!r}")
    if isinstance(cache_bytes, bool) or cache_bytes < 0:
        raise InputError(f"cache_bytes must be 0 or more, got {cache_bytes!r}")
    # Who has just written a volume needs neither.
    from ngcore.precomputed.layer_kinds import refuse_other_kinds
    from ngcore.storage.completeness import refuse_unfinished

    store = open_store(path)
    try:
        document = store.get_whole("info", _MAX_INFO)
    except FormatError as error:
        raise FormatError(f"{text}/info: {error}") from error
    if document is None:
        refuse_unfinished(store)
        is_folder = not isinstance(store, LocalStore) or store.path.is_dir()
        what = "has no info file" if is_folder else "is not a folder"
        raise InputNotFoundError(
            f"not a precomputed volume: {text} {what}; pass the folder that holds its info file"
        )
    refuse_other_kinds(document, text)
    try:
        info = VolumeInfo.from_json(document)
    except FormatError as error:
        raise FormatError(f"{text}/info: {error}") from error
    return Volume(store, info, workers=workers, cache_bytes=cache_bytes)


def world_bounds_like(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Return the lowest and the highest corner of a volume, shape (2, 3), in world millimetres.

    Where it has no world, in its own millimetres.
    """
    from ngcore.volume.world import world_bounds_mm, world_transform

    volume = open(path)
    return world_bounds_mm(volume.scales[0], world_transform(volume.store))


class Volume:
    """A multiscale volume. Safe to use from several threads at once; can be pickled.

    Parameters
    ----------
    store : ReadableStore
        Where it is.
    info : VolumeInfo
    workers : int, optional
        Threads that read; default all cores, and more for URLs.
    cache_bytes : int
        How much of the chunks of which a part was read may be kept.

    Attributes
    ----------
    info : VolumeInfo
    store : ReadableStore
    """

    def __init__(
        self,
        store: ReadableStore,
        info: VolumeInfo,
        *,
        workers: int | None = None,
        cache_bytes: int = 0,
    ) -> None:
        self.store = store
        self.info = info
        self._workers = workers
        self._cache_bytes = cache_bytes

    @cached_property
    def scales(self) -> tuple[ScaleArray, ...]:
        """Every scale, full resolution first."""
        from ngcore.volume.chunk_cache import ChunkCache
        from ngcore.volume.scale import ScaleArray  # who only writes a volume needs none

        cache = ChunkCache(self._cache_bytes)
        return tuple(
            ScaleArray(self.store, self.info, index, workers=self._workers, cache=cache)
            for index in range(len(self.info.scales))
        )

    @property
    def affine(self) -> NDArray[np.float64] | None:
        """From indices of voxel centres of scale 0 to millimetres of the world, 4x4.

        None where the volume has no world: it was made of an array or of slices without an affine.

        Raises
        ------
        FormatError
            `transform.json` holds no 4x4 affine matrix that can be inverted.
        """
        from ngcore.volume.world import has_world, scale_affine, world_transform

        transform = world_transform(self.store)
        return scale_affine(self.scales[0], transform) if has_world(transform) else None

    @property
    def labels(self) -> dict[int, str]:
        """Names of labels, by label; empty where the volume has none.

        Raises
        ------
        FormatError
            The segment properties are damaged.
        """
        folder = self.info.segment_properties
        document = None if folder is None else self.store.get(f"{folder}/info")
        if document is None:
            return {}
        from ngcore.precomputed.segment_properties import SegmentProperties, TextProperty

        try:
            properties = SegmentProperties.from_json(document)
        except FormatError as error:
            raise FormatError(f"{self.store.location}/{folder}/info: {error}") from error
        for item in properties.properties:
            if isinstance(item, TextProperty) and item.type == "label":
                return dict(zip(properties.ids, item.values, strict=True))
        return {}

    def at_mm(self, x: float, y: float, z: float) -> NDArray[Any]:
        """Return the values of the voxel of scale 0 at a place in the world.

        Parameters
        ----------
        x, y, z : float, in mm
            To the right, to the front, up, where the affine of the source is in RAS.

        Returns
        -------
        ndarray of the volume's type, shape (channel,)

        Raises
        ------
        VolumeIndexError
            The place is not a number, or lies outside of the volume.
        InputError
            The volume has no world.
        """
        affine = self.affine
        if affine is None:
            raise InputError(
                f"{self.store.location} has no world, so it has no voxel at {x, y, z} mm; "
                "index its scales instead"
            )
        try:
            point = [float(x), float(y), float(z), 1.0]
        except (TypeError, ValueError):
            raise VolumeIndexError(f"x, y and z must be numbers, in mm, got {x, y, z}") from None
        voxel = np.linalg.solve(affine, point)[:3]
        scale = self.scales[0]
        nearest = np.floor(voxel + 0.5)
        # Written so that a NaN is outside, too.
        if not all(0 <= index < size for index, size in zip(nearest, scale.shape, strict=False)):
            raise VolumeIndexError(
                f"{x, y, z} mm lies outside of {self.store.location}: it would be the voxel "
                f"{tuple(round(float(index), 1) for index in voxel)} of {scale.shape[:3]}"
            )
        i, j, k = (int(index) for index in nearest)
        return scale[i, j, k]

    def view(self) -> None:
        """Show the volume in Neuroglancer, in the browser, until Ctrl-C; see `ngcore.view`."""
        import ngcore

        ngcore.view(self.store.location)

    def __repr__(self) -> str:
        lines = [f"<Volume {self.store.location}: {self.info.type}, {self.info.data_type}"]
        lines += [f"  scales[{index}] {scale.summary}" for index, scale in enumerate(self.scales)]
        return "\n".join(lines) + ">"

    def _repr_html_(self) -> str:
        """Return what notebooks show: what the volume holds, and its scales as a table."""
        from html import escape

        title = f"{self.info.type}, {self.info.data_type}, {self.info.num_channels} channel"
        plural = "s" if self.info.num_channels > 1 else ""
        head = "".join(
            f"<th>{name}</th>"
            for name in ("scale", "size", "nm per voxel", "offset", "chunks", "encoding")
        )
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _row(scale)) + "</tr>"
            for scale in self.scales
        )
        return (
            f"<p><b>{escape(self.store.location)}</b>: {escape(title)}{plural}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _row(scale: ScaleArray) -> tuple[str, ...]:
    size, resolution, offset, chunk = (
        " x ".join(f"{number:g}" if isinstance(number, float) else str(number) for number in part)
        for part in (scale.shape[:3], scale.resolution, scale.voxel_offset, scale.chunk_size)
    )
    return scale.key, size, resolution, offset, chunk, scale.info.encoding
