"""Where voxels come from: `open_source` finds the reader for a path or an array."""

from ngcore.sources.base import Source, SourceHeader, SuggestedType
from ngcore.sources.opening import open_source

__all__ = ["Source", "SourceHeader", "SuggestedType", "open_source"]
