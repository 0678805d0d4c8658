"""Volumes as other programs read and write them: tensorstore and CloudVolume.

Arrays are (x, y, z, channel) here, whatever the order of the peer. Each function skips the test
where its peer is not installed.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray


def _tensorstore() -> ModuleType:
    return pytest.importorskip("tensorstore")


def cloudvolume() -> ModuleType:
    """Return CloudVolume, whose dependencies warn while they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("cloudvolume")


def read_with_tensorstore(path: str | Path, scale: int = 0) -> NDArray[Any]:
    """Return every voxel of a scale, shape (x, y, z, channel)."""
    return np.asarray(_open_with_tensorstore(path, scale_index=scale, open=True).read().result())


def write_with_tensorstore(
    path: str | Path,
    voxels: NDArray[Any],
    *,
    resolution: tuple[float, float, float] = (1, 1, 1),
    voxel_offset: tuple[int, int, int] = (0, 0, 0),
    chunk_size: tuple[int, int, int] = (64, 64, 64),
    encoding: str = "raw",
    volume_type: str = "image",
    **scale_members: Any,
) -> None:
    """Add a scale to a volume, or make the volume with it.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z, channel)
    scale_members : mapping
        More members of the scale, such as `sharding` or `jpeg_quality`.
    """
    opened = _open_with_tensorstore(
        path,
        open=True,
        create=True,
        multiscale_metadata={
            "type": volume_type,
            "data_type": str(voxels.dtype),
            "num_channels": voxels.shape[3],
        },
        scale_metadata={
            "size": voxels.shape[:3],
            "resolution": resolution,
            "voxel_offset": voxel_offset,
            "chunk_size": chunk_size,
            "encoding": encoding,
            **scale_members,
        },
    )
    opened[...] = voxels


def _open_with_tensorstore(path: str | Path, **spec: Any) -> Any:
    tensorstore = _tensorstore()
    kvstore = {"driver": "file", "path": f"{Path(path).resolve().as_posix()}/"}
    open_options = {name: spec.pop(name) for name in ("open", "create") if name in spec}
    return tensorstore.open(
        {"driver": "neuroglancer_precomputed", "kvstore": kvstore, **spec}, **open_options
    ).result()


def read_with_cloudvolume(path: str | Path, scale: int = 0) -> NDArray[Any]:
    """Return every voxel of a scale, shape (x, y, z, channel); absent chunks are zeros."""
    volume = _open_with_cloudvolume(path, mip=scale, fill_missing=True, bounded=True)
    with _quiet():
        return np.asarray(volume[:, :, :])


def write_with_cloudvolume(
    path: str | Path,
    voxels: NDArray[Any],
    *,
    resolution: tuple[int, int, int] = (1, 1, 1),
    voxel_offset: tuple[int, int, int] = (0, 0, 0),
    chunk_size: tuple[int, int, int] = (64, 64, 64),
    encoding: str = "raw",
    volume_type: str = "image",
    compress: str | bool = "gzip",
) -> None:
    """Write a volume of one scale, unsharded.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z, channel)
    compress : "gzip" or False
        Whether chunks are ``.gz`` files.
    """
    info = cloudvolume().CloudVolume.create_new_info(
        num_channels=voxels.shape[3],
        layer_type=volume_type,
        data_type=str(voxels.dtype),
        encoding=encoding,
        resolution=resolution,
        voxel_offset=voxel_offset,
        chunk_size=chunk_size,
        volume_size=voxels.shape[:3],
    )
    volume = _open_with_cloudvolume(path, info=info, compress=compress, non_aligned_writes=True)
    with _quiet():
        volume.commit_info()
        volume[:, :, :] = voxels


def _open_with_cloudvolume(path: str | Path, **options: Any) -> Any:
    module = cloudvolume()
    with _quiet():
        return module.CloudVolume(
            f"file://{Path(path).resolve().as_posix()}", progress=False, **options
        )


def _quiet() -> warnings.catch_warnings[None]:
    """Keep the peers' own deprecations from failing our tests."""
    return warnings.catch_warnings(action="ignore")
