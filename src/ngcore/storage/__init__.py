"""Where the bytes of a volume live: stores, and what finds and puts chunks in them."""

from ngcore.storage.base import ChunkReader, ChunkWriter, Store
from ngcore.storage.chunk_files import Layout
from ngcore.storage.chunks import create_chunks, open_chunks
from ngcore.storage.local import LocalStore

__all__ = [
    "ChunkReader",
    "ChunkWriter",
    "Layout",
    "LocalStore",
    "Store",
    "create_chunks",
    "open_chunks",
]
