"""ngcore: put volumes, slices and meshes into Neuroglancer's precomputed format."""

from ngcore import compressed_segmentation, downsampling
from ngcore.errors import (
    DestinationError,
    FormatError,
    InputError,
    InputNotFoundError,
    MissingExtraError,
    NgcoreError,
    StorageError,
    VolumeIndexError,
)
from ngcore.formats.info import ScaleInfo, VolumeInfo
from ngcore.pipelines.convert import convert
from ngcore.volume import ScaleArray, Volume, open  # noqa: A004 (ngcore.open is its public name)

__all__ = [
    "DestinationError",
    "FormatError",
    "InputError",
    "InputNotFoundError",
    "MissingExtraError",
    "NgcoreError",
    "ScaleArray",
    "ScaleInfo",
    "StorageError",
    "Volume",
    "VolumeIndexError",
    "VolumeInfo",
    "compressed_segmentation",
    "convert",
    "downsampling",
    "open",
]
