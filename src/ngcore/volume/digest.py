"""A digest of every voxel of a scale, computed chunk by chunk, in any order.

It is a sum modulo 2**128: of a hash of the scale's geometry and, for each chunk that is not all
zeros, of a hash of its id and the checksum of its voxels. So threads may add chunks as they come,
chunks of zeros may be there or absent, and a chunk that changed, moved, went or came changes the
sum. It finds damage; it is no proof against forgery.

The checksum is a CRC-32, as in gzip and PNG: it costs a twentieth of any cryptographic hash that
Python has, and of damaged chunks it misses one in four billions. BLAKE2b spreads it over 128 bits,
so that what is wrong in two chunks does not cancel out.

What is digested are the voxels as a raw chunk holds them (little-endian, x fastest, channel
slowest). Only JPEG files are taken as they are: decoders need not agree to the last bit.
"""

from __future__ import annotations

import json
import struct
import threading
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo

ALGORITHM = "sum of blake2b-128 of (chunk id, bytes, crc32)"
"""How digests are made, in the words of the `provenance` file."""

_MODULUS = 1 << 128


class ScaleDigest:
    """The digest of one scale while its chunks are added. Safe to use from several threads.

    Parameters
    ----------
    info : VolumeInfo
    scale : ScaleInfo
        One of its scales; chunks are those of its first `chunk_sizes`.

    Examples
    --------
    >>> from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    >>> scale = ScaleInfo("1_1_1", size=(2, 1, 1), resolution=(1, 1, 1), chunk_sizes=[(1, 1, 1)])
    >>> info = VolumeInfo("image", "uint8", 1, (scale,))
    >>> one, other = ScaleDigest(info, scale), ScaleDigest(info, scale)
    >>> one.add((0, 0, 0), b"a"); one.add((1, 0, 0), b"b")
    >>> other.add((1, 0, 0), b"b"); other.add((0, 0, 0), b"a")
    >>> str(one) == str(other)
    True
    """

    def __init__(self, info: VolumeInfo, scale: ScaleInfo) -> None:
        self._grid = scale.grid
        geometry = [info.data_type, info.num_channels, scale.size, scale.chunk_size]
        self._geometry = _hash(json.dumps(geometry).encode())
        self._sum = 0
        self._lock = threading.Lock()

    def add(self, cell: Vec3, content: Buffer) -> None:
        """Add a chunk.

        Parameters
        ----------
        cell : tuple of int, (x, y, z)
            Its place on the grid of chunks.
        content : bytes-like
            What `digested` returns for it. Zeros add nothing, just as an absent chunk.
        """
        size = memoryview(content).nbytes
        crc32 = isal_zlib.crc32(content)
        if crc32 == _crc_of_zeros(size):
            return
        term = _hash(struct.pack("<QQI", self._grid.chunk_id(cell), size, crc32))
        self.add_sum(term)

    @property
    def chunk_sum(self) -> int:
        """The sum over the chunks that were added, without the geometry."""
        return self._sum

    def add_sum(self, chunk_sum: int) -> None:
        """Add the chunks of another digest of the same scale, by its `chunk_sum`."""
        with self._lock:
            self._sum = (self._sum + chunk_sum) % _MODULUS

    def __str__(self) -> str:
        return f"{(self._geometry + self._sum) % _MODULUS:032x}"


def digested(scale: ScaleInfo, encoded: Buffer, voxels: NDArray[Any]) -> Buffer:
    """Return the bytes of a chunk that its digest is about.

    Parameters
    ----------
    scale : ScaleInfo
    encoded : bytes-like
        The chunk in the scale's encoding.
    voxels : ndarray, shape (x, y, z, channel)
        The chunk decoded; not copied if it is in Fortran order.
    """
    if scale.encoding in ("raw", "jpeg"):
        return encoded
    little_endian = voxels.astype(voxels.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little_endian.transpose()).data


@lru_cache(maxsize=16)
def _crc_of_zeros(size: int) -> int:
    return isal_zlib.crc32(bytes(size))


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=16).digest(), "little")
