"""ngcore: put volumes, slices and meshes into Neuroglancer's precomputed format."""

import importlib
import logging
from typing import TYPE_CHECKING, Any

from ngcore._version import __version__
from ngcore._warnings import HANDLER

if TYPE_CHECKING:
    from ngcore import classic, compressed_segmentation, downsampling, testing
    from ngcore.annotating.annotate import annotations
    from ngcore.conversion.convert import convert
    from ngcore.conversion.create import create
    from ngcore.conversion.estimate import estimate
    from ngcore.errors import (
        DestinationError,
        FormatError,
        InputError,
        InputNotFoundError,
        KeywordError,
        MissingExtraError,
        NgcoreError,
        NgcoreWarning,
        StorageError,
        VolumeIndexError,
    )
    from ngcore.exporting.export import export
    from ngcore.labelling.labels import write_labels as labels
    from ngcore.meshing.mesh import write_meshes as mesh
    from ngcore.packing.pack import pack
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.repairing.repair import repair
    from ngcore.server.gallery import gallery
    from ngcore.server.pictures import preview
    from ngcore.server.verbs import link, serve, view
    from ngcore.tracing.skeletons import skeletons
    from ngcore.tracing.tracts import tracts
    from ngcore.validating.validate import validate
    from ngcore.volume.describe import describe as info
    from ngcore.volume.read import Volume, open  # noqa: A004 - ngcore.open is public
    from ngcore.volume.scale import ScaleArray

__all__ = [
    "DestinationError",
    "FormatError",
    "InputError",
    "InputNotFoundError",
    "KeywordError",
    "MissingExtraError",
    "NgcoreError",
    "NgcoreWarning",
    "ScaleArray",
    "ScaleInfo",
    "StorageError",
    "Volume",
    "VolumeIndexError",
    "VolumeInfo",
    "__version__",
    "annotations",
    "classic",
    "compressed_segmentation",
    "convert",
    "create",
    "downsampling",
    "estimate",
    "export",
    "gallery",
    "info",
    "labels",
    "link",
    "mesh",
    "open",
    "pack",
    "preview",
    "repair",
    "serve",
    "skeletons",
    "testing",
    "tracts",
    "validate",
    "view",
]

# Every verb of the command line. All that is public is imported when it is first used, so that
# `ngcore --help` waits for neither NumPy nor nibabel.
_VERBS = {
    "annotations": "annotating.annotate:annotations",
    "convert": "conversion.convert:convert",
    "create": "conversion.create:create",
    "estimate": "conversion.estimate:estimate",
    "export": "exporting.export:export",
    "gallery": "server.gallery:gallery",
    "info": "volume.describe:describe",
    "labels": "labelling.labels:write_labels",
    "link": "server.verbs:link",
    "mesh": "meshing.mesh:write_meshes",
    "open": "volume.read:open",
    "pack": "packing.pack:pack",
    "preview": "server.pictures:preview",
    "repair": "repairing.repair:repair",
    "serve": "server.verbs:serve",
    "skeletons": "tracing.skeletons:skeletons",
    "tracts": "tracing.tracts:tracts",
    "validate": "validating.validate:validate",
    "view": "server.verbs:view",
}
_VALUES = {
    "ScaleArray": "volume.scale",
    "ScaleInfo": "precomputed.info",
    "Volume": "volume.read",
    "VolumeInfo": "precomputed.info",
}
_MODULES = ("classic", "compressed_segmentation", "downsampling", "testing")

logging.getLogger("ngcore").addHandler(HANDLER)


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        from ngcore._verbs import load

        value = load(_VERBS[name], name)
    elif name in _MODULES:
        return importlib.import_module(f"ngcore.{name}")
    elif name in __all__:
        module = importlib.import_module(f"ngcore.{_VALUES.get(name, 'errors')}")
        value = getattr(module, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
