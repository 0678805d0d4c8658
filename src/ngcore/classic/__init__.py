"""The steps of the classic pipeline, one by one, as functions."""

from typing import TYPE_CHECKING, Any

from ngcore._verbs import load

if TYPE_CHECKING:
    from ngcore.classic.chunks_from_source import slices_to_raw_chunks, volume_to_raw_chunks
    from ngcore.classic.coarser_scales import compute_scales
    from ngcore.classic.fullres_info import generate_fullres_info
    from ngcore.classic.pyramid import volume_to_pyramid
    from ngcore.classic.recode import (
        compress_segmentation_chunks,
        convert_chunks,
        convert_chunks_to_jpeg,
    )
    from ngcore.classic.scales_info import generate_scales_info
    from ngcore.classic.volume_stats import scale_stats

__all__ = [
    "compress_segmentation_chunks",
    "compute_scales",
    "convert_chunks",
    "convert_chunks_to_jpeg",
    "generate_fullres_info",
    "generate_scales_info",
    "link_mesh_fragments",
    "mesh_to_precomputed",
    "mesh_to_vtk",
    "scale_stats",
    "slices_to_raw_chunks",
    "stl_to_precomputed",
    "volume_to_pyramid",
    "volume_to_raw_chunks",
]

# Where they are; imported when they are first used.
_PLACES = {
    "compress_segmentation_chunks": "classic.recode",
    "compute_scales": "classic.coarser_scales",
    "convert_chunks": "classic.recode",
    "convert_chunks_to_jpeg": "classic.recode",
    "generate_fullres_info": "classic.fullres_info",
    "generate_scales_info": "classic.scales_info",
    "link_mesh_fragments": "meshing.fragments",
    "mesh_to_precomputed": "meshing.fragments",
    "mesh_to_vtk": "meshing.fragments",
    "scale_stats": "classic.volume_stats",
    "slices_to_raw_chunks": "classic.chunks_from_source",
    "stl_to_precomputed": "meshing.fragments",
    "volume_to_pyramid": "classic.pyramid",
    "volume_to_raw_chunks": "classic.chunks_from_source",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load(f"{_PLACES[name]}:{name}", name)


def __dir__() -> list[str]:
    return __all__
