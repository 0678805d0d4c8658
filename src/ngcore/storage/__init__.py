"""Where the bytes of a volume live: stores, and what finds and puts chunks in them."""

from ngcore.storage.base import ChunkReader, ChunkWriter, Layout, ReadableStore, Store, StoreLock
from ngcore.storage.local import LocalStore
from ngcore.storage.opening import (
    create_chunks,
    is_http,
    is_url,
    open_chunks,
    open_store,
    parts_of_zip,
    place_in,
    split_place,
    writable_store,
)

__all__ = [
    "ChunkReader",
    "ChunkWriter",
    "Layout",
    "LocalStore",
    "ReadableStore",
    "Store",
    "StoreLock",
    "create_chunks",
    "is_http",
    "is_url",
    "open_chunks",
    "open_store",
    "parts_of_zip",
    "place_in",
    "split_place",
    "writable_store",
]
