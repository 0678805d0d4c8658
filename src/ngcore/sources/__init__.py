"""Where voxels come from: `open_source` finds the reader for a path or an array."""

from ngcore.sources.base import Source, SourceHeader, SuggestedType
from ngcore.sources.opening import base_name, open_source, source_path

__all__ = [
    "Source",
    "SourceHeader",
    "SuggestedType",
    "base_name",
    "open_source",
    "source_path",
]
