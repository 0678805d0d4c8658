"""ngcore: put volumes, slices and meshes into Neuroglancer's precomputed format."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ngcore import compressed_segmentation, downsampling
    from ngcore.annotating.annotate import annotations
    from ngcore.conversion.convert import convert
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
    from ngcore.packing.pack import pack
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.tracing.skeletons import skeletons
    from ngcore.volume.read import Volume, open  # noqa: A004 - ngcore.open is public
    from ngcore.volume.scale import ScaleArray

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
    "annotations",
    "compressed_segmentation",
    "convert",
    "downsampling",
    "open",
    "pack",
    "skeletons",
]

# Where the public names live. They are imported when they are first used, so that `ngcore --help`
# waits for neither NumPy nor nibabel.
_MODULES = {
    "ScaleArray": "volume.scale",
    "ScaleInfo": "precomputed.info",
    "Volume": "volume.read",
    "VolumeInfo": "precomputed.info",
    "annotations": "annotating.annotate",
    "convert": "conversion.convert",
    "open": "volume.read",
    "pack": "packing.pack",
    "skeletons": "tracing.skeletons",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("compressed_segmentation", "downsampling"):
        return importlib.import_module(f"ngcore.{name}")
    module = importlib.import_module(f"ngcore.{_MODULES.get(name, 'errors')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return __all__
