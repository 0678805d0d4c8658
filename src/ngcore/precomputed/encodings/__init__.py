"""How the voxels of a chunk become bytes: one module per encoding, each loaded when it is used.

A module has the name of its encoding, and its class is called `Encoding` there. An encoding from
elsewhere is one class, which `register` makes known.
"""

from ngcore.precomputed.encodings.base import (
    ChunkEncoding,
    JpegPlane,
    Shape4,
    Span,
    make_encoding,
    register,
    unregister,
)

__all__ = [
    "ChunkEncoding",
    "JpegPlane",
    "Shape4",
    "Span",
    "make_encoding",
    "register",
    "unregister",
]
